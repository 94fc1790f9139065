"""What must not be done twice, against itself, or too often."""

from __future__ import annotations

from collections import deque
from datetime import datetime, timedelta

from protocol.risk.question import Question
from protocol.risk.settings import RiskLimits
from protocol.risk.words import Refused
from protocol.values import MAIN, Symbol


def not_a_repetition(question: Question) -> Refused | None:
    """R7: one main entry at a time, and none right after another."""
    if not question.wish.main:
        return None
    wish, book = question.wish, question.book
    if book.position(wish.symbol):
        text = f"a trade is opened from flat, {book.position(wish.symbol)} shares are held"
        return Refused("R7", "position_held", text)
    here = {order.ref for order in wish.orders}
    other = next((o for o in book.live(wish.symbol) if o.ref.role == MAIN and o.ref not in here), None)
    if other is not None:
        return Refused("R7", "main_lives", f"the main entry {other.ref} still lives")
    last = question.book.last_main_at(question.wish.symbol)
    if last is None:
        return None
    since_s = (question.wish.decided_at - last).total_seconds()
    if since_s < question.limits.repeat_guard_s:
        return Refused("R7", "repeat", f"the last main entry was only {since_s:.1f} s ago")
    return None


def signal_is_fresh(question: Question) -> Refused | None:
    """R8: a signal leads to one trade, ever."""
    if not question.wish.main:
        return None
    used = question.book.trade_of_signal(question.wish.symbol, question.wish.signal_id)
    if used is None or used == question.wish.trade:
        return None
    return Refused("R8", "signal_used", f"signal {question.wish.signal_id} has led to trade {used} already")


def not_against_ourselves(question: Question) -> Refused | None:
    """R17: nothing is entered against a position, an entry, or an order of another trade."""
    held = question.book.position(question.wish.symbol)
    if held * question.wish.side.sign < 0:
        text = f"{question.wish.side.value} against a position of {held}: close it first"
        return Refused("R17", "opposite_position", text)
    for order in question.book.live(question.wish.symbol):
        if order.side is question.wish.side:
            continue
        if order.enters or order.ref.trade != question.wish.trade is not None:
            return Refused("R17", "self_cross", f"{order.ref} works on the other side")
    return None


class Throttle:
    """R9: order messages of each symbol within a window of market time; the wire's own pace is the pacer's.

    Only entries wait for room. Cancels, stops and closes count and are never refused, so that a flood of
    them leaves no room for entries, and a flood of entries never any less for them.
    """

    def __init__(self) -> None:
        self._messages: dict[Symbol, deque[datetime]] = {}
        self._entries: dict[Symbol, deque[datetime]] = {}

    def refusal(self, limits: RiskLimits, symbol: Symbol, messages: int, at: datetime) -> Refused | None:
        """Whether an entry of so many messages is one too many now."""
        window = limits.message_window_s
        sent = _within(self._messages, symbol, at - timedelta(seconds=window))
        if len(sent) + messages > limits.max_order_messages:
            text = f"{len(sent)} order messages in {window:g} s, {limits.max_order_messages} are the most"
            return Refused("R9", "message_throttle", text)
        entered = _within(self._entries, symbol, at - timedelta(seconds=window))
        if len(entered) + 1 > limits.max_entries:
            text = f"{len(entered)} entries in {window:g} s, {limits.max_entries} are the most"
            return Refused("R9", "entry_throttle", text)
        return None

    def count(self, limits: RiskLimits, symbol: Symbol, messages: int, at: datetime, *, entry: bool) -> None:
        """They leave."""
        since = at - timedelta(seconds=limits.message_window_s)
        _within(self._messages, symbol, since).extend([at] * messages)
        if entry:
            _within(self._entries, symbol, since).append(at)


def _within(times: dict[Symbol, deque[datetime]], symbol: Symbol, since: datetime) -> deque[datetime]:
    kept = times.get(symbol)
    if kept is None:
        kept = times[symbol] = deque()
    while kept and kept[0] <= since:
        kept.popleft()
    return kept
