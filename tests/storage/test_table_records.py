"""The record beside a result table: whose the table is, and which content is meant."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from airflow_provider_grokvideo.core.purchases.records import Owner
from airflow_provider_grokvideo.storage.local import LocalPlace
from airflow_provider_grokvideo.storage.table_files import write_table
from airflow_provider_grokvideo.storage.table_records import TableRecord, read_record, record_name

OWNER = Owner("films", "run", "make", 3)


@pytest.mark.parametrize("name", ["t.jsonl", "t.parquet", f"{'n' * 249}.jsonl"], ids=["jsonl", "parquet", "long name"])
def test_a_table_has_a_record_of_its_writer_and_its_content(tmp_path, name):
    """The record names the task instance, without a row, and the digest of the file."""
    write_table(
        tmp_path / name, [{"id": "a", "status": "failed"}], [], owner=Owner(*list(vars(OWNER).values())[:4], "a")
    )
    content = (tmp_path / name).read_bytes()

    expected = TableRecord(OWNER, hashlib.sha256(content).hexdigest(), len(content))
    assert expected == read_record(LocalPlace(tmp_path), name)
    assert 2 == len(list(tmp_path.iterdir()))


def test_an_object_has_its_record_beside_it(s3):
    """The record is in the same bucket, and hidden from patterns such as *.jsonl."""
    write_table("s3://bucket/a/t.jsonl", [{"id": "a", "status": "failed"}], [], owner=OWNER)

    assert {"bucket/a/t.jsonl", "bucket/a/.t.jsonl.owner"} == set(s3.fs.find("bucket/a"))


@pytest.mark.parametrize(
    "content",
    [b"", b"{", b"[]", b"{}", b'{"schema": 1}', b'{"schema": 1, "owner": {"dag_id": "a"}, "sha256": "", "bytes": 1}',
     b"[" * 100_000, b'{"schema": 2}', b'{"schema": 1, "owner": 7}', b"\xff"],
)  # fmt: skip
def test_a_record_that_is_none_is_not_believed(tmp_path: Path, content):
    """A damaged record counts as no record."""
    (tmp_path / record_name("t.jsonl")).write_bytes(content)

    assert read_record(LocalPlace(tmp_path), "t.jsonl") is None
