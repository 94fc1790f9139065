"""The document lists the indicators that there are, as rules write them."""

from __future__ import annotations

from pathlib import Path

from protocol.rules.indicator_names import KINDS, IndicatorKind

DOCUMENT = Path(__file__).parent.parent / "protocol" / "README.md"


def row(kind: IndicatorKind) -> str:
    asked = ", ".join(f"{one.name}={one.default:g}" for one in kind.parameters)
    written = f"`{kind.name}({asked})`" if asked else f"`{kind.name}`"
    plain = kind.default_field
    figures = ", ".join(
        f"`.{field}`" + (" (plain)" if field == plain else "") for field in kind.fields if field
    )
    return f"| {written} | {figures} | {kind.bar_s or ''} | {kind.meaning} |"


def table() -> str:
    head = "| indicator, with its defaults | figures | bars, s | what it is |\n|---|---|---|---|"
    return "\n".join([head, *map(row, KINDS.values())])


def test_the_table_of_indicators_is_the_one_that_rules_are_read_by() -> None:
    assert table() in DOCUMENT.read_text(encoding="utf-8")
