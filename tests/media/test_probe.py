"""What a media file is, by its content."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest
from delivery_kit import WITHOUT_AV

from airflow_provider_grokvideo.media.probe import probe
from airflow_provider_grokvideo.media.sniffing import sniff

POLL = """
import json, sys
from pathlib import Path
from airflow_provider_grokvideo.media.probe import probe
print(json.dumps([vars(probe(Path(name))) for name in sys.argv[1:]]))
assert "av" not in sys.modules
"""


@pytest.mark.parametrize("name", ["clip", "faststart", "silent", "fragmented"])
def test_a_good_clip_is_measured_and_decoded(media, name):
    """Size, length, sound and codec come from the file itself."""
    found = probe(getattr(media, name))

    assert ("video/mp4", "mp4", "h264", 64, 36) == (
        found.mime,
        found.container,
        found.codec,
        found.width,
        found.height,
    )
    assert 2.0 == pytest.approx(found.duration, abs=0.25)
    assert (name != "silent") is found.has_audio
    assert ("decoded", None) == (found.checked, found.problem)


@pytest.mark.parametrize("name", ["clip", "faststart", "silent"])
def test_structure_alone_measures_the_same(media, name):
    """Without decoding the boxes say the same about an ordinary clip."""
    by_boxes, by_frames = (probe(getattr(media, name), decode=decode) for decode in (False, True))

    assert "structure" == by_boxes.checked
    assert by_frames.duration == pytest.approx(by_boxes.duration, abs=0.05)
    assert (by_frames.width, by_frames.height, by_frames.has_audio, by_frames.codec) == (
        by_boxes.width,
        by_boxes.height,
        by_boxes.has_audio,
        by_boxes.codec,
    )


@pytest.mark.parametrize(
    ("name", "codec"), [("clip", "h264"), ("mpeg4", "mpeg4"), ("vp9", "vp9"), ("hevc", "hevc")], ids=str
)
@pytest.mark.parametrize("decode", [True, False], ids=["decoded", "structure"])
def test_codecs_are_told_apart(media, name, codec, decode):
    """The codec has FFmpeg's name, whoever looked."""

    assert codec == probe(getattr(media, name), decode=decode).codec


@pytest.mark.parametrize("name", ["clip", "faststart", "fragmented"])
@pytest.mark.parametrize("share", [0.02, 0.3, 0.7, 0.999])
@pytest.mark.parametrize("decode", [True, False], ids=["decoded", "structure"])
def test_a_cut_clip_is_found_wherever_it_was_cut(media, tmp_path, name, share, decode):
    """A missing end is seen with and without PyAV."""
    data = getattr(media, name).read_bytes()
    cut = tmp_path / "cut.mp4"
    cut.write_bytes(data[: int(len(data) * share)])

    assert probe(cut, decode=decode).problem is not None


def test_a_cut_is_found_in_a_data_box_without_length(media, tmp_path):
    """A last box that reaches to the end of the file hides a cut, but its samples do not."""
    data = bytearray(media.faststart.read_bytes())
    at = data.index(b"mdat") - 4
    data[at : at + 4] = bytes(4)
    whole, cut = tmp_path / "whole.mp4", tmp_path / "cut.mp4"
    whole.write_bytes(data)
    cut.write_bytes(data[:-200])

    assert probe(whole, decode=False).problem is None
    assert "cut off" in probe(cut, decode=False).problem


def test_long_box_lengths_are_read(media, tmp_path):
    """A data box with a 64-bit length is a box like any other."""
    data = media.clip.read_bytes()
    at = data.index(b"mdat") - 4
    free, mdat = data[at - 8 : at], int.from_bytes(data[at : at + 4], "big")
    long = data[: at - 8] + (1).to_bytes(4, "big") + b"mdat" + (mdat + 8).to_bytes(8, "big") + data[at + 8 :]
    file = tmp_path / "x.mp4"
    file.write_bytes(long)
    whole = probe(file)
    file.write_bytes(long[:-1])

    assert b"\x00\x00\x00\x08free" == free
    assert (len(data), None) == (whole.bytes, whole.problem)
    assert "cut off" in probe(file, decode=False).problem


def test_samples_are_held_against_the_file_exactly(media, tmp_path):
    """A data box one byte too short for its last sample is found, for every kind of index."""
    for name in ("clip", "faststart", "silent"):
        data = bytearray(getattr(media, name).read_bytes())
        at = data.index(b"mdat") - 4
        end = at + int.from_bytes(data[at : at + 4], "big")
        file = tmp_path / "x.mp4"
        file.write_bytes(data[:at] + (end - at - 1).to_bytes(4, "big") + data[at + 4 : end - 1] + data[end:])
        # The index behind the data moves with it, the samples do not.
        assert "a sample that ends at byte" in probe(file, decode=False).problem


def test_a_hole_in_the_middle_is_found_by_decoding(media, tmp_path):
    """A file of the right structure with overwritten pictures does not pass."""
    data = bytearray(media.faststart.read_bytes())
    middle = data.index(b"mdat") + (len(data) - data.index(b"mdat")) // 2
    data[middle : middle + 6000] = bytes(6000)
    holed = tmp_path / "holed.mp4"
    holed.write_bytes(data)
    found = probe(holed)

    assert "decoded" == found.checked
    assert "cannot be decoded" in found.problem
    assert str(tmp_path) not in found.problem


@pytest.mark.parametrize(
    ("name", "kind", "mime"),
    [
        ("png", "image", "image/png"),
        ("jpeg", "image", "image/jpeg"),
        ("webp", "image", "image/webp"),
        ("lossless", "image", "image/webp"),
        ("gif", "image", "image/gif"),
        ("quicktime", "video", "video/quicktime"),
        ("webm", "video", "video/webm"),
        ("wav", "audio", "audio/wav"),
        ("mp3", "audio", "audio/mpeg"),
        ("m4a", "audio", "audio/mp4"),
    ],
)
def test_the_content_decides_not_the_name(media, tmp_path, name, kind, mime):
    """Whatever is called .mp4 is told by its bytes."""
    disguised = tmp_path / "x.mp4"
    disguised.write_bytes(getattr(media, name).read_bytes())
    found = probe(disguised)

    assert (kind, mime, None) == (found.kind, found.mime, found.problem)


@pytest.mark.parametrize("name", ["png", "jpeg", "webp", "lossless"])
def test_images_have_pixels(media, name):
    """Width and height come from the header."""
    found = probe(getattr(media, name))

    assert (40, 30, None) == (found.width, found.height, found.duration)


@pytest.mark.parametrize("name", ["png", "jpeg", "webp", "lossless", "wav"])
@pytest.mark.parametrize("share", [0.2, 0.95])
def test_a_cut_image_or_sound_is_found(media, tmp_path, name, share):
    """A missing end is seen in headers and lengths."""
    data = getattr(media, name).read_bytes()
    cut = tmp_path / "cut"
    cut.write_bytes(data[: int(len(data) * share)])

    assert probe(cut).problem is not None


@pytest.mark.parametrize(("name", "seconds"), [("wav", 3.0), ("mp3", 2.0), ("m4a", 2.0)])
def test_sounds_have_a_length(media, name, seconds):
    """The length of a sound is measured."""

    assert seconds == pytest.approx(probe(getattr(media, name)).duration, abs=0.15)


@pytest.mark.parametrize(
    ("head", "label"),
    [
        (b"", "an empty file"),
        (b"<!DOCTYPE html><html>", "a web page"),
        (b"\xef\xbb\xbf\n<HTML>", "a web page"),
        (b"<?xml version='1.0'?><Error>", "an XML document"),
        (b'{"error": 1}', "a JSON document"),
        (b"\x1f\x8b\x08", "gzip data"),
        (b"%PDF-1.7", "a PDF document"),
        (b"\x00\x00\x00\x18ftypheic", "a HEIC image"),
        (b"\x00\x00\x00\x08wide\x00\x00\x00\x00mdat", "a QuickTime video"),
        (b"RIFF\x00\x00\x00\x00AVI LIST", "an AVI video"),
        (b"\xff\xfb\x90\x44", "an MP3 audio file"),
        (b"\xff\xf1\x50\x80", "an AAC audio file"),
        (b"\x00" * 64, "a file of an unknown kind"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_other_files_are_named(head, label):
    """What cannot be used is named in a way a person understands."""

    assert label == sniff(head).label


@pytest.mark.parametrize("content", [b"", b"hello", os.urandom(5000), b"\x00\x00\x00\x18ftypmp42" + bytes(5000)])
def test_nonsense_is_never_a_good_video(tmp_path, content):
    """Empty, short, random and hollow files are judged without an exception."""
    file = tmp_path / "x.mp4"
    file.write_bytes(content)
    found = probe(file)

    assert found.kind == "unknown" or found.problem is not None


def test_damaged_indexes_are_judged_not_believed(media, tmp_path):
    """Whatever byte of the index is damaged, the walk ends with a verdict."""
    data = media.faststart.read_bytes()
    start, end = data.index(b"moov") - 4, data.index(b"mdat") - 4
    file = tmp_path / "x.mp4"
    for at in range(start, end, 7):
        damaged = bytearray(data)
        damaged[at] ^= 0xFF
        file.write_bytes(damaged)
        probe(file, decode=False)


def test_without_pyav_the_structure_is_checked(media, tmp_path):
    """Without the extra nothing is imported from PyAV and a cut clip is still found."""
    cut = tmp_path / "cut.mp4"
    cut.write_bytes(media.clip.read_bytes()[:-100])
    run = subprocess.run(
        [sys.executable, "-c", WITHOUT_AV + POLL, str(media.clip), str(cut), str(media.png)],
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    good, bad, image = json.loads(run.stdout)

    assert ("structure", None, "h264") == (good["checked"], good["problem"], good["codec"])
    assert "cut off" in bad["problem"]
    assert "a PNG image" == image["label"]


def test_importing_delivery_imports_neither_airflow_nor_pyav():
    """Parsing a DAG stays fast: heavy modules are imported where they are used."""
    names = (
        "delivery.deliver",
        "delivery.download",
        "delivery.store",
        "media.inputs",
        "media.probe",
        "storage.destination",
    )
    code = f"import {', '.join(f'airflow_provider_grokvideo.{name}' for name in names)}, sys; print(*sys.modules)"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)

    assert {"airflow", "av", "fsspec"}.isdisjoint(run.stdout.split())
