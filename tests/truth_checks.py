"""What must hold between a truth file and a journal, whatever died or broke in between.

The venue's own lines are the measure: every reference once, every execution on both sides, equal positions,
and no position without its whole stop for longer than it takes to act while somebody could act.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, Final, TypeAlias

import attrs
import orjson

from actors.journal import Journal
from protocol.events import FillEvent

Line: TypeAlias = dict[str, Any]

ON_ITS_WAY_S: Final = 0.25
"""What the venue did so shortly before the last client left may never have reached it."""
NAKED_S: Final = 2.0
"""How long a position may have less stop than its size while there is a link (INV-01)."""
STOPS: Final = frozenset({"STP", "STP LMT", "TRAIL"})
WORKING: Final = frozenset({"PreSubmitted", "Submitted"})
BOUGHT: Final = frozenset({"BOT", "BUY"})


@attrs.define
class Tail:
    """The truth file as it grows."""

    path: Path
    lines: list[Line] = attrs.field(factory=list)
    _at: int = 0

    def read(self) -> list[Line]:
        """The lines that are new; a torn last one comes with the next look."""
        if not self.path.exists():
            return []
        with self.path.open("rb") as file:
            file.seek(self._at)
            data = file.read()
        whole = data[: data.rfind(b"\n") + 1]
        self._at += len(whole)
        new = [orjson.loads(line) for line in whole.splitlines()]
        self.lines += new
        return new


def while_anybody_was_there(lines: list[Line]) -> list[Line]:
    """The market goes on after the last client has left; nobody can have heard of that."""
    ends = [number for number, line in enumerate(lines) if line["kind"] == "client_disconnected"]
    return lines[: ends[-1] + 1] if ends else lines


def positions_of(lines: Iterable[Line]) -> Counter[str]:
    """By symbol, from executions alone."""
    held: Counter[str] = Counter()
    for line in lines:
        if line["kind"] == "execution":
            held[line["symbol"]] += signed(line)
    return held


def signed(execution: Line) -> int:
    quantity: int = execution["quantity"]
    return quantity if execution["side"] in BOUGHT else -quantity


def twice(lines: Iterable[Line]) -> list[str]:
    """References that the venue knows under more than one permanent id."""
    ids: dict[str, set[int]] = {}
    for line in lines:
        if line["kind"].startswith("order_") and line.get("order_ref") and line.get("perm_id"):
            ids.setdefault(line["order_ref"], set()).add(line["perm_id"])
    return [ref for ref, found in ids.items() if len(found) > 1]


# --- how long a position was uncovered ------------------------------------------------------------


@attrs.define
class Bare:
    """The longest that a position had less working stop than its size, in seconds of link time.

    `in_one_s`: within one connection. `in_all_s`: one bare spell over all the connections that saw it.
    """

    in_one_s: float = 0.0
    in_all_s: float = 0.0


@attrs.define
class _Cover:
    """One symbol as the lines tell it."""

    position: int = 0
    stops: dict[int, tuple[str, int]] = attrs.field(factory=dict)
    """By permanent id: the action, and what is left of the quantity."""
    spell_s: float = 0.0
    link_s: float = 0.0
    worst: Bare = attrs.field(factory=Bare)

    @property
    def bare(self) -> bool:
        closing = "SELL" if self.position > 0 else "BUY"
        covered = sum(left for action, left in self.stops.values() if action == closing and left > 0)
        return covered < abs(self.position)

    def pass_time(self, seconds: float) -> None:
        if not self.bare:
            self.spell_s = self.link_s = 0.0
            return
        self.spell_s += seconds
        self.link_s += seconds
        self.worst.in_one_s = max(self.worst.in_one_s, self.link_s)
        self.worst.in_all_s = max(self.worst.in_all_s, self.spell_s)

    def take(self, line: Line) -> None:
        kind, perm_id = line["kind"], line.get("perm_id")
        if kind == "execution":
            self.position += signed(line)
            if perm_id in self.stops:
                action, left = self.stops[perm_id]
                self.stops[perm_id] = (action, left - line["quantity"])
        elif kind.startswith("order_") and perm_id and line.get("type") in STOPS:
            if line["status"] in WORKING and kind not in ("order_cancelled", "order_rejected"):
                self.stops[perm_id] = (line["action"], line["quantity"] - line["filled"])
            else:
                self.stops.pop(perm_id, None)


def uncovered(lines: Iterable[Line], apart: Sequence[tuple[float, float]] = ()) -> dict[str, Bare]:
    """By symbol. Time counts while a client is connected, and not within `apart` (monotonic spans in which
    nobody could act although the venue saw a client: a line that was stalled, for instance)."""
    covers: dict[str, _Cover] = {}
    connected, before = False, 0.0
    for line in lines:
        now = line["mono"]
        if connected:
            seconds = _counted(before, now, apart)
            for cover in covers.values():
                cover.pass_time(seconds)
        before = now
        if line["kind"] in ("client_connected", "client_disconnected"):
            connected = bool(line["connected"])
            for cover in covers.values():
                cover.link_s = 0.0
        elif line.get("symbol"):
            covers.setdefault(line["symbol"], _Cover()).take(line)
    return {symbol: cover.worst for symbol, cover in covers.items()}


def _counted(start: float, end: float, apart: Sequence[tuple[float, float]]) -> float:
    """How much of a span lies outside all of `apart`, which are in order and do not overlap."""
    return (end - start) - sum(max(0.0, min(end, last) - max(start, first)) for first, last in apart)


# --- truth against journal ------------------------------------------------------------------------


def fills_of(state: Path) -> dict[str, FillEvent]:
    """By execution id, from a journal that nobody has open."""
    journal = Journal.open(state)
    fills = {event.exec_id: event for event in journal.read() if isinstance(event, FillEvent)}
    journal.close()
    return fills


def differences(lines: Sequence[Line], state: Path) -> Iterator[str]:
    """Everything that the two sides disagree about, and every order that exists twice."""
    for ref in twice(lines):
        yield f"two orders carry {ref}"
    fills = fills_of(state)
    told_until = max(
        (line["mono"] for line in lines if line["kind"] == "client_disconnected"), default=math.inf
    )
    executed = {
        line["exec_id"]: line
        for line in lines
        if line["kind"] == "execution"
        if line["exec_id"] in fills or line["mono"] < told_until - ON_ITS_WAY_S
    }
    for exec_id in executed.keys() - fills.keys():
        yield f"the journal lacks the execution {exec_id} of {executed[exec_id]['order_ref']}"
    for exec_id in fills.keys() - executed.keys():
        yield f"the venue lacks the execution {exec_id}"
    ours: Counter[str] = Counter()
    for event in fills.values():
        ours[event.ref.symbol] += event.side.sign * event.quantity
    theirs = positions_of(executed.values())
    for symbol in sorted({*ours, *theirs}):
        if ours[symbol] != theirs[symbol]:
            yield f"{symbol}: {theirs[symbol]} at the venue, {ours[symbol]} in the journal"


def too_long_bare(
    lines: Sequence[Line], bound_s: float = NAKED_S, apart: Sequence[tuple[float, float]] = ()
) -> Iterator[str]:
    for symbol, bare in sorted(uncovered(lines, apart).items()):
        if bare.in_one_s > bound_s:
            yield f"{symbol} was {bare.in_one_s:.2f} s without its whole stop in one connection"
        if bare.in_all_s > bound_s:
            yield f"{symbol} was {bare.in_all_s:.2f} s of link time without its whole stop"
