"""Requests for past bars: what to ask for so many bars of such a size, and the answer as bars.

TWS allows 60 requests in ten minutes, six for one contract in two seconds, and no identical one within 15
seconds (TWS API, "Historical Data Limitations"). It answers a breach with an error and no bars; we stay
below.
"""

from __future__ import annotations

import math
import re
from collections import deque
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from operator import attrgetter
from typing import Final
from zoneinfo import ZoneInfo

import attrs

from protocol.commands import AskHistory
from protocol.reports import HistoryLoaded
from protocol.session_words import Outbox
from protocol.tws import messages as tws
from protocol.values import Bar, Symbol

LIMIT, LIMIT_LOOP_S = 58, 600.0
CONTRACT_LIMIT, CONTRACT_LOOP_S = 5, 2.0
IDENTICAL_LOOP_S = 15.0
ANSWER_LOOP_S = 30.0
"""Bars come from another server than orders, and that one takes its time."""

BAR_SIZES: Final = {
    1: "1 secs", 5: "5 secs", 10: "10 secs", 15: "15 secs", 30: "30 secs", 60: "1 min", 120: "2 mins",
    180: "3 mins", 300: "5 mins", 600: "10 mins", 900: "15 mins", 1200: "20 mins", 1800: "30 mins",
    3600: "1 hour", 7200: "2 hours", 10_800: "3 hours", 14_400: "4 hours", 28_800: "8 hours",
    86_400: "1 day",
}  # fmt: skip
_LONGEST_S: Final = {1: 1800, 5: 3600, 10: 14_400, 15: 14_400, 30: 28_800}
"""The longest span in seconds that TWS gives for bars this small."""
_DAY_S = 86_400
_SESSION_S = 23_400
"""Regular trading of one day; a duration in days counts trading days."""
_NEW_YORK = ZoneInfo("America/New_York")
_DATE = re.compile(r"(\d{4})(\d\d)(\d\d)(?:[ -]+(\d\d):(\d\d):(\d\d))?(?:\s+(\S+))?")


@attrs.frozen
class _Asked:
    ask: AskHistory
    sent_loop_s: float

    @property
    def deadline_loop_s(self) -> float:
        return self.sent_loop_s + ANSWER_LOOP_S


class History:
    """Asks that wait for the link or their turn, and those that wait for an answer."""

    def __init__(self) -> None:
        self._waiting: dict[tuple[Symbol, int], AskHistory] = {}
        self._asked: dict[int, _Asked] = {}
        self._sent: deque[tuple[float, Symbol]] = deque()
        self._answered: dict[tuple[Symbol, str, str], float] = {}
        self._held_until: float | None = None

    def ask(self, ask: AskHistory, out: Outbox) -> None:
        """Queue an ask; the same one again takes the place of the first."""
        if ask.bar_s not in BAR_SIZES:
            out.tell(ask.symbol, HistoryLoaded(out.at, ask.symbol, ask.bar_s, ()))
            return
        self._waiting[ask.symbol, ask.bar_s] = ask

    def send(
        self,
        contract_of: Callable[[Symbol], tws.Contract | None],
        fresh_id: Callable[[], int],
        out: Outbox,
    ) -> None:
        """Ask for what waits, as far as TWS's limit lets us and the contract is known."""
        now = out.loop_s
        while self._sent and self._sent[0][0] <= now - LIMIT_LOOP_S:
            self._sent.popleft()
        self._answered = {key: at for key, at in self._answered.items() if at > now - IDENTICAL_LOOP_S}
        held = []
        for key, ask in tuple(self._waiting.items()):
            contract = contract_of(ask.symbol)
            if contract is None:
                continue
            free_at = self._free_at(ask)
            if free_at > now:
                held.append(free_at)
                continue
            del self._waiting[key]
            req_id = fresh_id()
            self._asked[req_id] = _Asked(ask, now)
            self._sent.append((now, ask.symbol))
            _, size, span = _words(ask)
            out.ask(tws.ReqHistoricalData(req_id, contract, "", size, span, True, "TRADES", 2, False))

        self._held_until = min(held, default=None)

    def _free_at(self, ask: AskHistory) -> float:
        """From when on TWS's limits let us ask this."""
        free_at = self._answered.get(_words(ask), -math.inf) + IDENTICAL_LOOP_S
        if len(self._sent) >= LIMIT:
            free_at = max(free_at, self._sent[-LIMIT][0] + LIMIT_LOOP_S)
        of_contract = [at for at, symbol in self._sent if symbol == ask.symbol][-CONTRACT_LIMIT:]
        if len(of_contract) == CONTRACT_LIMIT:
            free_at = max(free_at, of_contract[0] + CONTRACT_LOOP_S)
        return free_at

    def _over(self, req_id: int) -> AskHistory | None:
        """A request has got its answer, whatever that is."""
        asked = self._asked.pop(req_id, None)
        if asked is None:
            return None
        self._answered[_words(asked.ask)] = asked.sent_loop_s
        return asked.ask

    def knows_id(self, req_id: int) -> bool:
        return req_id in self._asked

    def loaded(self, message: tws.HistoricalData, out: Outbox) -> None:
        """The answer: complete bars, oldest first, at most as many as were asked for."""
        ask = self._over(message.req_id)
        if ask is None:
            return
        latest = out.at - timedelta(seconds=ask.bar_s)
        bars = map(_bar, message.bars)
        complete = [bar for bar in bars if bar is not None and bar.start <= latest]
        complete.sort(key=attrgetter("start"))
        out.tell(ask.symbol, HistoryLoaded(out.at, ask.symbol, ask.bar_s, tuple(complete[-ask.count :])))

    def failed(self, req_id: int, out: Outbox) -> None:
        """No bars: the broker has none, or refused, or did not answer."""
        ask = self._over(req_id)
        if ask is not None:
            out.tell(ask.symbol, HistoryLoaded(out.at, ask.symbol, ask.bar_s, ()))

    def link_lost(self) -> None:
        """What was not answered is asked again on the next link."""
        for asked in self._asked.values():
            self._waiting.setdefault((asked.ask.symbol, asked.ask.bar_s), asked.ask)
        self._asked.clear()

    def due(self) -> float | None:
        times = [asked.deadline_loop_s for asked in self._asked.values()]
        if self._waiting and self._held_until is not None:
            times.append(self._held_until)
        return min(times, default=None)

    def expire(self, out: Outbox) -> None:
        for req_id, asked in tuple(self._asked.items()):
            if out.loop_s >= asked.deadline_loop_s:
                self.failed(req_id, out)


def _words(ask: AskHistory) -> tuple[Symbol, str, str]:
    """What makes two requests identical: the contract, the bars' size and the span."""
    return ask.symbol, BAR_SIZES[ask.bar_s], duration(ask.bar_s, ask.count)


def duration(bar_s: int, count: int) -> str:
    """A span, in TWS's words, that holds at least `count` complete bars where that is allowed at all."""
    wanted_s = (count + 1) * bar_s
    longest_s = _LONGEST_S.get(bar_s)
    if longest_s is not None:
        return f"{min(wanted_s, longest_s)} S"
    # One day more than the bars need: today may have only begun.
    days = math.ceil(count * min(bar_s, _SESSION_S) / _SESSION_S) + 1
    return f"{days} D" if days <= 365 else f"{math.ceil(days / 252)} Y"


def _bar(bar: tws.HistoricalBar) -> Bar | None:
    start = _start(bar.date)
    if start is None:
        return None
    return Bar(start, bar.open, bar.high, bar.low, bar.close, float(bar.volume))


def _start(text: str) -> datetime | None:
    """Epoch seconds, or a date with or without time and zone (New York's where none is named)."""
    if text.isdecimal() and len(text) != 8:
        return datetime.fromtimestamp(int(text), UTC)
    found = _DATE.fullmatch(text.strip())
    if found is None:
        return None
    year, month, day, hour, minute, second, zone = found.groups()
    local = datetime(
        int(year), int(month), int(day), int(hour or 0), int(minute or 0), int(second or 0),
        tzinfo=_NEW_YORK if zone in (None, "US/Eastern") else ZoneInfo(zone),
    )  # fmt: skip
    return local.astimezone(UTC)
