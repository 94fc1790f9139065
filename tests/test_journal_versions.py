"""Rows of other versions: older ones are read for ever, what nobody can read is refused by name."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import attrs
import orjson
import pytest

from protocol.journal import KINDS, UnreadableRow, decode, encode

SCHEMA_1 = Path(__file__).with_name("journal_schema_1.jsonl")
"""Of each kind a row without the fields that have defaults, and one with all, as schema 1 writes them."""


def rows_of_schema_1() -> list[dict[str, Any]]:
    return [orjson.loads(line) for line in SCHEMA_1.read_bytes().splitlines()]


def test_rows_of_schema_1_are_read_for_ever_with_defaults_for_what_came_later() -> None:
    """Who changes an event so that this fails raises SCHEMA_VERSION and translates the older rows."""
    kinds = set()
    for row in rows_of_schema_1():
        event = decode(row["kind"], 1, orjson.dumps(row["payload"]))
        kinds.add(row["kind"])
        written = orjson.loads(encode(event))
        assert {name: written[name] for name in row["payload"]} == row["payload"]
        later = {field.name: field.default for field in attrs.fields(type(event))} | row["payload"]
        assert set(written) == set(later)
        for name in written.keys() - row["payload"].keys():
            assert getattr(event, name) == later[name], f"{row['kind']}.{name} is not its default"
    assert kinds <= set(KINDS)
    assert len(kinds) >= 48


def test_a_row_that_lacks_what_has_no_default_is_refused_by_name() -> None:
    for row in rows_of_schema_1():
        for name in row["payload"]:
            default = next(field.default for field in attrs.fields(KINDS[row["kind"]]) if field.name == name)
            if default is not attrs.NOTHING:
                continue
            less = {key: value for key, value in row["payload"].items() if key != name}
            with pytest.raises(UnreadableRow, match=row["kind"]):
                decode(row["kind"], 1, orjson.dumps(less))
