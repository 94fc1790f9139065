"""The byte stream: however it is cut, the same messages come out; nonsense is refused."""

from __future__ import annotations

import itertools
import struct

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from protocol.tws.framing import (
    MAX_FRAME_BYTES,
    Deframer,
    FrameTooLong,
    escape,
    escape_fully,
    frame,
    join,
    split,
    unescape,
)

ANY_TEXT = st.text(st.characters(exclude_categories=["Cs"]))


def cut(stream: bytes, at: list[int]) -> list[bytes]:
    edges = sorted({0, len(stream), *(place % (len(stream) + 1) for place in at)})
    return [stream[start:end] for start, end in itertools.pairwise(edges)]


@given(st.lists(st.binary(max_size=40)), st.lists(st.integers(0, 10_000)))
def test_however_the_stream_is_cut_the_same_payloads_come_out(payloads: list[bytes], at: list[int]) -> None:
    deframer = Deframer()
    stream = b"".join(frame(payload) for payload in payloads)
    assert [payload for part in cut(stream, at) for payload in deframer.feed(part)] == payloads
    assert deframer.pending == 0


def test_one_byte_at_a_time_is_enough() -> None:
    deframer = Deframer()
    stream = frame(b"49\x001\x00") + frame(b"")
    assert [payload for byte in stream for payload in deframer.feed(bytes([byte]))] == [b"49\x001\x00", b""]


def test_an_incomplete_payload_is_held_back() -> None:
    deframer = Deframer()
    assert deframer.feed(frame(b"12345")[:-1]) == []
    assert deframer.pending == 8
    assert deframer.feed(b"5") == [b"12345"]


def test_a_burst_of_whole_pages_loses_nothing() -> None:
    payload = b"x" * (4096 - 4)
    assert Deframer().feed(frame(payload) * 8) == [payload] * 8


def test_a_length_beyond_the_cap_is_refused_and_what_came_before_is_kept() -> None:
    with pytest.raises(FrameTooLong) as caught:
        Deframer().feed(frame(b"8\x001\x001\x00") + struct.pack("!I", MAX_FRAME_BYTES + 1))
    assert caught.value.complete == [b"8\x001\x001\x00"]
    assert caught.value.size == MAX_FRAME_BYTES + 1


def test_a_payload_at_the_cap_is_taken_and_one_beyond_is_not_sent() -> None:
    longest = bytes(MAX_FRAME_BYTES)
    deframer = Deframer()
    payloads = [
        payload for part in (frame(longest)[:100], frame(longest)[100:]) for payload in deframer.feed(part)
    ]
    assert payloads == [longest]
    with pytest.raises(FrameTooLong):
        frame(longest + b"\0")


@given(st.lists(ANY_TEXT, min_size=1))
@settings(deadline=None)
def test_fields_of_any_text_survive_in_ascii(fields: list[str]) -> None:
    for way in (escape, escape_fully):
        payload = join([way(field) for field in fields])
        assert payload.isascii()
        assert payload.count(b"\0") == len(fields)
        assert split(payload) == fields


@pytest.mark.parametrize(
    ("text", "in_a_plain_field", "in_a_field_of_escapes"),
    [
        ("Zürich", "Z\\u00fcrich", "Z\\u00fcrich"),
        ("\U0001f600", "\\ud83d\\ude00", "\\ud83d\\ude00"),
        ("a\\b", "a\\b", "a\\u005cb"),
        ("a\\u0041", "a\\u005cu0041", "a\\u005cu0041"),
        ("two\nlines", "two\nlines", "two\nlines"),
        ("a\0b", "a\\u0000b", "a\\u0000b"),
    ],
)
def test_only_what_must_be_escaped_is(text: str, in_a_plain_field: str, in_a_field_of_escapes: str) -> None:
    assert escape(text) == in_a_plain_field
    assert escape_fully(text) == in_a_field_of_escapes
    assert unescape(in_a_plain_field) == unescape(in_a_field_of_escapes) == text


def test_half_a_surrogate_pair_becomes_a_replacement_character() -> None:
    assert unescape("\\ud83d!") == "�!"


def test_bytes_that_are_not_ascii_stay_visible() -> None:
    assert split(b"3\x00\xe9\x00") == ["3", "\\xe9"]


def test_a_last_field_without_its_nul_is_read() -> None:
    assert split(b"3\x007") == ["3", "7"]
    assert split(b"3\x00\x00") == ["3", ""]
    assert split(b"") == []
