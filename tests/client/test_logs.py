"""What libraries log while we use them holds no signature; what they log for others is left alone."""

from __future__ import annotations

import asyncio
import logging
import subprocess
import sys
import threading
from pathlib import Path

from airflow_provider_grokvideo.client.logs import cut_logs

SIGNED = "https://bucket.example/o/a.mp4?X-Amz-Signature=ab12cd34"


def test_addresses_lose_their_queries(caplog):
    """A library's line is cut while we use it, and only then."""
    caplog.set_level(logging.DEBUG)
    library, ours = logging.getLogger("httpcore.http11"), logging.getLogger("mine")
    with cut_logs():
        library.debug("headers %r at 100 %%", [(b"location", SIGNED.encode())])
        ours.info("kept %s", SIGNED)
    library.debug("kept %s", SIGNED)

    cut, mine, later = [record.getMessage() for record in caplog.records]
    assert "ab12cd34" not in cut
    assert "https://bucket.example/o/a.mp4?…" in cut
    assert "at 100 %" in cut
    assert [f"kept {SIGNED}"] * 2 == [mine, later]


def test_a_line_that_cannot_be_formatted_is_left_to_logging(caplog):
    """The library's own mistake raises nothing here."""
    caplog.set_level(logging.DEBUG)
    with cut_logs():
        record = logging.getLogRecordFactory()("httpx", logging.INFO, "f", 1, "%d", ("x",), None)

    assert ("%d", ("x",)) == (record.msg, record.args)


def test_signing_an_upload_logs_no_signature(caplog):
    """botocore logs what it signs and the signature; together they are the address."""
    import botocore.session
    from botocore.config import Config

    caplog.set_level(logging.DEBUG)
    session = botocore.session.get_session()
    session.set_credentials("id", "secret")
    client = session.create_client("s3", region_name="us-east-1", config=Config(signature_version="s3v4"))
    with cut_logs():
        address = client.generate_presigned_url("put_object", {"Bucket": "bucket", "Key": "a.mp4"}, ExpiresIn=60)

    signature = address.partition("X-Amz-Signature=")[2]
    assert 64 == len(signature)
    assert any(record.name == "botocore.auth" for record in caplog.records)
    assert signature not in caplog.text


def test_a_thread_that_works_for_us_is_cut_too(caplog):
    """fsspec hands calls to a loop in a thread of its own, which takes our context with it."""
    caplog.set_level(logging.DEBUG)
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()

    async def work() -> None:
        logging.getLogger("aiobotocore.endpoint").debug("sending %s", SIGNED)

    with cut_logs():
        asyncio.run_coroutine_threadsafe(work(), loop).result(10)
    asyncio.run_coroutine_threadsafe(work(), loop).result(10)
    loop.call_soon_threadsafe(loop.stop)
    thread.join(10)
    loop.close()

    assert [True, False] == [
        "ab12cd34" not in record.getMessage() for record in caplog.records if "sending" in record.msg
    ]


def test_the_trigger_brings_what_its_first_poll_needs():
    """A first poll imports nothing of httpx's kin, which would hold up the triggerer's loop."""
    script = """
import asyncio, sys
import airflow_provider_grokvideo.triggers.grokvideo
from airflow_provider_grokvideo.client.account import Account
from airflow_provider_grokvideo.client.carriers import AsyncClient
from airflow_provider_grokvideo.client import flow
known = set(sys.modules)
async def go():
    async with AsyncClient(Account("http://127.0.0.1:9/v1", "k3y-abcdefg")) as client:
        await client.run(flow.poll("r", retry=False))
asyncio.run(go())
kin = ("anyio", "sniffio", "httpcore", "h11", "httpx")
print([name for name in set(sys.modules) - known if name.split(".")[0] in kin])
"""
    here = Path(__file__).resolve().parents[2]
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, timeout=120, cwd=here, check=True
    )

    assert "[]" == done.stdout.strip().splitlines()[-1]
