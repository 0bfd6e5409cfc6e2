"""Values of the store: what a rank writes survives the way, and anything else is refused within limits."""

from __future__ import annotations

import base64
import tracemalloc
import zlib
from typing import Any

import pytest
from hostile_store import bomb

from pgregistry.coordination.store.codec import (
    LARGEST,
    LARGEST_DECODED,
    WRONG_DATA,
    decode,
    encode,
    read_json,
    read_number,
    received,
    sendable,
)


@pytest.mark.parametrize("data", [[], {"a": [1, 2.5, None, True]}, "é\ud800\n" * 1000])
def test_what_is_encoded_is_decoded(data: Any) -> None:
    assert decode(encode(data)) == data


def packed(content: bytes) -> str:
    return base64.b64encode(zlib.compress(content)).decode()


GARBAGE = {
    "nothing": "",
    "not base64": "zz",
    "not compressed": base64.b64encode(b"plain").decode(),
    "cut off": encode(["a" * 1000])[:20],
    "not JSON": packed(b"{"),
    "not text": packed(b"\xff\xfe"),
    "too deep": packed(b"[" * 100_000),
    "too long": "A" * (LARGEST + 1),
}


@pytest.mark.parametrize("kind", GARBAGE)
def test_what_no_rank_encodes_is_an_error_that_a_reader_expects(kind: str) -> None:
    with pytest.raises(WRONG_DATA):
        decode(GARBAGE[kind])


@pytest.mark.parametrize(
    "text", ["", "{", "[" * 100_000, "1" + " " * LARGEST], ids=["nothing", "cut off", "deep", "long"]
)
def test_what_no_rank_writes_as_json_is_an_error_that_a_reader_expects(text: str) -> None:
    with pytest.raises(WRONG_DATA):
        read_json(text)


def test_a_small_value_that_would_be_large_is_refused_without_being_made() -> None:
    value = base64.b64encode(bomb(4 * LARGEST_DECODED >> 20)).decode()
    assert len(value) < LARGEST
    tracemalloc.start()
    with pytest.raises(ValueError, match="too large"):
        decode(value)
    assert tracemalloc.get_traced_memory()[1] < 3 * LARGEST_DECODED
    tracemalloc.stop()


def test_bytes_that_are_no_text_and_text_that_has_no_bytes_go_both_ways() -> None:
    assert received(b"\xff") == "\\xff"
    assert sendable("no \ud800") == "no \\ud800"


@pytest.mark.parametrize("text", ["0", "5", "-1", "x", "1e3", ""])
def test_a_number_out_of_range_is_refused(text: str) -> None:
    with pytest.raises(ValueError):
        read_number(1, 4, text)
