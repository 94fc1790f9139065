"""What a feed that pushes predictions says: its messages read, its sequence numbers followed.

A message is one prediction, a list of them, or an envelope `{"type": "prediction", "data": …, "seq": n}`.
Envelopes of other types (heartbeats, greetings) say nothing about the market. Sequence numbers tell what
was missed and where to resume; they never decide whether a prediction counts, its id does.
"""

from __future__ import annotations

import enum
from collections.abc import Iterable
from typing import TypeAlias

import attrs
import orjson

MAX_MESSAGE_BYTES = 65_536
MAX_BODIES = 100
"""Predictions in one message."""
MAX_SEQ = 2**63 - 1
MAX_MISSING = 1000
"""Numbers that are still waited for. A larger gap is counted whole, and its newest part waited for."""
PREDICTION = "prediction"


@attrs.frozen
class Predictions:
    """What a message brings to be judged, decoded. `seq`: its number, where it has one."""

    bodies: tuple[object, ...]
    seq: int | None = None


@attrs.frozen
class Aside:
    """A heartbeat, a greeting, the answer to a subscription."""

    seq: int | None = None


@attrs.frozen
class BadMessage:
    """What cannot be read; `reason` quotes nothing of it."""

    reason: str


FeedMessage: TypeAlias = Predictions | Aside | BadMessage


def read_message(message: str | bytes) -> FeedMessage:
    """One message of a feed. Whether a prediction is a good one is for the gate to say."""
    if isinstance(message, bytes):
        return BadMessage("is binary: a feed speaks JSON as text")
    if len(message) > MAX_MESSAGE_BYTES:
        return BadMessage(f"exceeds {MAX_MESSAGE_BYTES} bytes")
    try:
        said: object = orjson.loads(message)
    except orjson.JSONDecodeError as error:
        return BadMessage(f"is no JSON: {error.msg}")
    match said:
        case dict():
            return _read_object(said)
        case list() if len(said) <= MAX_BODIES:
            return Predictions(tuple(said))
        case list():
            return BadMessage(f"holds more than {MAX_BODIES} predictions")
        case _:
            return BadMessage("is neither an object nor a list")


def _read_object(said: dict[str, object]) -> FeedMessage:
    seq = said.get("seq")
    if seq is not None and not _is_seq(seq):
        return BadMessage("its seq is no whole number from 0 on")
    number = seq if isinstance(seq, int) else None
    if "type" not in said:
        # The number belongs to the message: sent again under another one it is the same prediction.
        return Predictions(({key: value for key, value in said.items() if key != "seq"},), number)
    if said["type"] != PREDICTION:
        return Aside(number)
    match said.get("data"):
        case dict() as data:
            return Predictions((data,), number)
        case list() as several if len(several) <= MAX_BODIES:
            return Predictions(tuple(several), number)
        case _:
            return BadMessage("is a prediction without its data")


def _is_seq(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= MAX_SEQ


def fill_subscription(text: str, tickers: Iterable[str], last_seq: int | None) -> str:
    """The text that subscribes: `{tickers}` as `SLV,GLD`, `{tickers_json}` as a JSON list, `{last_seq}`.

    Without any number seen `{last_seq}` is 0.
    """
    names = list(tickers)
    return (
        text.replace("{tickers_json}", orjson.dumps(names).decode())
        .replace("{tickers}", ",".join(names))
        .replace("{last_seq}", str(last_seq or 0))
    )


# --- sequence numbers -----------------------------------------------------------------------------


class SeqNews(enum.Enum):
    """What one number says after those before it."""

    NEXT = "next"
    GAP = "gap"
    """Numbers between the newest one and this one are missing."""
    LATE = "late"
    """One that was missing."""
    REPEATED = "repeated"
    RESTARTED = "restarted"
    """An old number with a prediction that was never seen: the feed counts anew."""


@attrs.define
class SeqCounts:
    gaps: int = 0
    missing: int = 0
    """Numbers skipped by the gaps, whether they came late or never."""
    late: int = 0
    repeated: int = 0
    restarted: int = 0


class FeedSequence:
    """The numbers of one feed over all its connections.

    What a gap left out is asked for again at the next connection; once the feed has gone on without it
    then, it is lost.
    """

    __slots__ = ("_asked_again", "_highest", "_missing", "_went_on", "counts")

    def __init__(self, highest: int | None = None) -> None:
        """`highest`: where an earlier run of the program left off, None if it did not say."""
        self._highest = highest
        self._missing: dict[int, None] = {}
        self._asked_again: dict[int, None] = {}
        self._went_on = False
        self.counts = SeqCounts()

    @property
    def resume_after(self) -> int | None:
        """The number after which the feed is asked to go on; None before any was seen."""
        oldest = min((*self._missing, *self._asked_again), default=None)
        return self._highest if oldest is None else oldest - 1

    def begin_connection(self) -> int | None:
        """A connection is made: give up what was asked for in vain; the number to resume after."""
        if self._went_on:
            self._asked_again.clear()
        self._asked_again |= self._missing
        self._missing.clear()
        self._went_on = False
        while len(self._asked_again) > MAX_MISSING:
            del self._asked_again[next(iter(self._asked_again))]
        return self.resume_after

    def note(self, seq: int, *, brought_news: bool) -> SeqNews:
        """Take one number, as it came; `brought_news`: with a prediction that was never received before."""
        if self._highest is None or seq == self._highest + 1:
            self._highest, self._went_on = seq, True
            return SeqNews.NEXT
        if seq > self._highest + 1:
            return self._note_gap(self._highest, seq)
        if seq in self._missing or seq in self._asked_again:
            self._missing.pop(seq, None)
            self._asked_again.pop(seq, None)
            self.counts.late += 1
            return SeqNews.LATE
        if brought_news:
            self._highest = seq
            self._missing.clear()
            self._asked_again.clear()
            self.counts.restarted += 1
            return SeqNews.RESTARTED
        self.counts.repeated += 1
        return SeqNews.REPEATED

    def _note_gap(self, before: int, seq: int) -> SeqNews:
        self._went_on = True
        self.counts.gaps += 1
        self.counts.missing += seq - before - 1
        self._highest = seq
        for number in range(max(before + 1, seq - MAX_MISSING), seq):
            self._missing[number] = None
        while len(self._missing) > MAX_MISSING:
            del self._missing[next(iter(self._missing))]
        return SeqNews.GAP
