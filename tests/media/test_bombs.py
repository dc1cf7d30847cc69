"""Files that would take hours or gigabytes to decode are told by their index, before a frame is decoded."""

from __future__ import annotations

import io
import struct
import subprocess
import sys

import av
import pytest

from airflow_provider_grokvideo.core.errors import InvalidInput
from airflow_provider_grokvideo.media import boxes, decoding, inputs
from airflow_provider_grokvideo.media.probe import probe, probe_structure


@pytest.fixture
def clip(media):
    """Return the bytes of a clip of two seconds."""
    return media.clip.read_bytes()


def changed(data: bytes, box: bytes, offset: int, value: bytes, *, which: int = 0) -> bytes:
    """Return a file with some bytes of a box replaced."""
    at = -1
    for _ in range(which + 1):
        at = data.index(box, at + 1)
    at += len(box) + offset
    return data[:at] + value + data[at + len(value) :]


@pytest.mark.parametrize("tail", [bytes(4), bytes(512), b"\0\0\0", b"\r\n", b"\0\0\x0a\x08trailerSEFT"])
def test_bytes_behind_the_last_box_are_no_damage(tmp_path, clip, tail):
    """What a phone, a proxy or padding appends is a warning; the index and all samples are there."""
    path = tmp_path / "a.mp4"
    path.write_bytes(clip + tail)
    found = probe(path)

    assert (None, 1) == (found.problem, len(found.odd))
    assert "decoded" == found.checked


TAILS = [bytes(4), bytes(512), b"\r\n", b"\0\0\x0a\x08trailerSEFT", b"\0\0\0\1trailer"]


@pytest.mark.parametrize("name", ["clip", "fragmented"])
@pytest.mark.parametrize("tail", TAILS)
def test_bytes_behind_a_fragmented_file_are_no_damage_either(tmp_path, media, name, tail):
    """A file in fragments that plays is delivered, whatever was appended."""
    path = tmp_path / "a.mp4"
    path.write_bytes(getattr(media, name).read_bytes() + tail)

    assert (None, len(tail)) == (probe(path).problem, probe_trailing(path))


def probe_trailing(path) -> int:
    """Return how many bytes stand behind the last box."""
    with path.open("rb") as file:
        return boxes.walk(file).trailing


def test_samples_of_a_file_in_fragments_are_counted_before_it_is_decoded(tmp_path, clip):
    """FFmpeg makes room for all samples that the index lists, also where it says that there are fragments."""
    at = clip.index(b"mvhd") - 4
    moov = clip.index(b"moov") - 4
    size = struct.unpack_from(">I", clip, moov)[0]
    grown = (
        clip[:moov] + struct.pack(">I", size + 8) + clip[moov + 4 : at] + struct.pack(">I4s", 8, b"mvex") + clip[at:]
    )
    path = tmp_path / "a.mp4"
    path.write_bytes(changed(grown, b"stsz", 4, struct.pack(">II", 1, 60_000_000)))
    found = probe(path)

    assert ("structure", True) == (found.checked, found.odd_size is not None)


def test_many_tracks_are_no_clip(tmp_path, clip):
    """Each track's samples are held against the data, so there must not be thousands of tracks."""
    moov, track = clip.index(b"moov") - 4, clip.index(b"trak") - 4
    size, length = struct.unpack_from(">I", clip, moov)[0], struct.unpack_from(">I", clip, track)[0]
    more = 1000 * clip[track : track + length]
    path = tmp_path / "a.mp4"
    path.write_bytes(clip[:moov] + struct.pack(">I", size + len(more)) + clip[moov + 4 : track] + more + clip[track:])

    assert probe(path).problem is not None


@pytest.mark.parametrize("missing", [1, 200, 5000])
def test_a_cut_file_stays_damaged(tmp_path, clip, missing):
    """A file that lacks its end is damaged, whatever stands there."""
    path = tmp_path / "a.mp4"
    path.write_bytes(clip[:-missing])

    assert probe(path).problem is not None


@pytest.mark.parametrize(("ticks", "seconds"), [(b"\xff" * 4, 2.0), (b"\0" * 4, 2.0), (struct.pack(">I", 2**31), 2.0)])
def test_a_header_that_does_not_know_is_not_believed(clip, ticks, seconds):
    """A length of all ones or 0, or one that no track has, gives way to the tracks' length."""
    found = probe_structure(io.BytesIO(changed(clip, b"mvhd", 16, ticks)))

    assert seconds == pytest.approx(found.duration, abs=0.2)


def test_more_pixels_than_a_clip_has_are_not_decoded(tmp_path, clip):
    """A picture size that no clip has is told by the index, and the file is refused as an input."""
    path = tmp_path / "a.mp4"
    path.write_bytes(changed(clip, b"tkhd", 76, struct.pack(">II", 16_000 << 16, 16_000 << 16)))
    found = probe(path)

    assert ("structure", True) == (found.checked, found.odd_size is not None)
    with pytest.raises(InvalidInput), inputs.load(path, field="video", want="video", limits=inputs.EDIT_VIDEO):
        pass


def test_another_codec_than_a_clips_is_not_decoded(tmp_path):
    """Pictures of a codec that no clip has are not handed to a decoder."""
    path = tmp_path / "a.mp4"
    with av.open(str(path), "w") as out:
        stream = out.add_stream("png", rate=10)
        stream.width, stream.height, stream.pix_fmt = 64, 64, "rgb24"
        for _ in range(5):
            out.mux(stream.encode(av.VideoFrame(64, 64, "rgb24")))
        out.mux(stream.encode())
    found = probe(path)

    assert ("structure", None, True) == (found.checked, found.problem, found.odd_size is not None)


def test_decoding_ends_in_time(media, monkeypatch):
    """Decoding stops when its time is over, and the file counts as looked at, not as damaged."""
    monkeypatch.setattr(decoding, "MOST_SECONDS", -1.0)
    found = probe(media.clip)

    assert ("structure", None, True) == (found.checked, found.problem, found.odd_size is not None)


def test_a_long_caption_costs_as_much_as_a_short_one():
    """The emulator's caption of a prompt without blanks is measured a handful of times, however long it is."""
    program = (
        "from airflow_provider_grokvideo.emulator.sprites import font, wrap\n"
        "rows = wrap('夏' * 1_000_000, font(20), 400, 3)\n"
        "print(len(rows), all(len(row) < 401 for row in rows))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=True)

    assert "1 True" == done.stdout.strip()
