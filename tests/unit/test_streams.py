"""The process's own streams: they take everything, wait for those who don't, and never end a command."""

import io
import json
import os
import threading
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from reconciler.present.streams import ESCAPE, Outlet


def test_a_pipe_that_does_not_want_to_wait_gets_everything() -> None:
    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    content, got = os.urandom(1_000_000), bytearray()

    def read() -> None:
        with os.fdopen(reading, "rb") as stream:
            got.extend(stream.read())

    reader = threading.Thread(target=read)
    reader.start()
    outlet = Outlet(writing)
    assert outlet.write(content) == len(content)
    os.close(writing)
    reader.join()
    assert got == content
    assert outlet.trouble is None


def test_after_the_first_error_nothing_more_is_written(tmp_path: Path) -> None:
    with (tmp_path / "out").open("w+b") as file, open("/dev/full", "wb", buffering=0) as full:  # noqa: PTH123 # a device
        number = os.dup(full.fileno())
        outlet = Outlet(number)
        assert outlet.write(b"one") == 3
        os.dup2(file.fileno(), number)
        assert outlet.write(b"two") == 3
        os.close(number)
        assert "No space left" in str(outlet.trouble)
        assert file.read() == b""


def test_a_closed_stream_that_nothing_was_for_is_no_trouble() -> None:
    outlet = Outlet(1, closed=True)
    assert outlet.write(b"") == 0
    assert outlet.trouble is None
    assert not outlet.isatty()
    assert outlet.write(b"x") == 1
    assert "it is closed" in str(outlet.trouble)


@given(st.text(st.characters()))
def test_no_text_is_too_odd_for_an_encoding_and_json_reads_it_back(text: str) -> None:
    for encoding in ("ascii", "utf-8", "latin-1"):
        raw = io.BytesIO()
        with io.TextIOWrapper(raw, encoding, ESCAPE, newline="", write_through=True) as stream:
            stream.write(json.dumps(text, ensure_ascii=False))
            assert json.loads(raw.getvalue().decode(encoding)) == json.loads(json.dumps(text))
