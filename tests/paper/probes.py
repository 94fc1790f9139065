"""What the simulator imitates without proof, beside what the user's TWS does: one row for each behaviour."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import attrs
import pytest


@attrs.frozen
class Row:
    """`imitated`: what `protocol/exchange/FIDELITY.md` says; `seen`: what this TWS did.

    `settings`: (other form that is imitated when asked for, the setting of the simulator that asks for it).
    """

    behaviour: str
    imitated: str
    seen: str
    settings: tuple[tuple[str, str], ...] = ()

    @property
    def verdict(self) -> str:
        if self.imitated == self.seen:
            return "as imitated"
        setting = dict(self.settings).get(self.seen)
        return "differs" if setting is None else f"as imitated with {setting}"


@attrs.define
class Probes:
    rows: list[Row] = attrs.field(factory=list)

    def record(self, behaviour: str, *, imitated: str, seen: str, **settings: str) -> None:
        """A behaviour that was seen. One that differs fails nothing: it is news for the table.

        `settings`: setting of the simulator = the form that it makes it imitate.
        """
        forms = tuple((form, setting) for setting, form in settings.items())
        self.rows.append(Row(behaviour, imitated, seen, forms))


ROWS: Final = pytest.StashKey[Probes]()

NOT_PROBED: Final = (
    (
        "sizes of a bracket's children while its parent fills in parts",
        "needs a partial fill, which one share has not",
    ),
    ("two members of an OCA group that could fill at once", "needs a market that jumps"),
    ("data lines after 1102", "needs a loss between TWS and IBKR: unplug it, and look at the journal"),
    ("a reader that is too slow", "would disturb the other clients of this TWS"),
    ("`+PACEAPI`", "the library of this client cannot ask for it"),
)
"""What no suite of a minute can show on an account that it leaves as it was."""


def lines(probes: Probes, *, fills: bool) -> list[str]:
    """The table, as it can be pasted beside FIDELITY.md."""
    told = ["| behaviour | imitated | seen | |", "|---|---|---|---|"]
    told += [f"| {row.behaviour} | {row.imitated} | {row.seen} | {row.verdict} |" for row in probes.rows]
    missing: Sequence[tuple[str, str]] = NOT_PROBED
    if not fills:
        missing = (
            ("everything about fills", "set RINGFENCE_PAPER_FILLS=1: one share is bought and sold"),
            *missing,
        )
    told += [f"| {behaviour} | | | not probed: {why} |" for behaviour, why in missing]
    return told


def write(probes: Probes, path: Path) -> None:
    rows = [attrs.asdict(row) | {"verdict": row.verdict} for row in probes.rows]
    path.write_text(json.dumps(rows, indent=1) + "\n", encoding="utf-8")
