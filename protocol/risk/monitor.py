"""What the state of things demands now: locks, kill levels, alarms, from limits that no single order breaks.

The gate looks at one order, the monitor at what has become of all of them: R5, R10 to R13, the second
half of R20, and the protections. `watch` is asked every second and after each event that matters, and is
idempotent: once its events are folded, the same state asks for nothing more.

* R5: a fill of the last `fill_window_s` that lies more than `max_fill_deviation` from the market of now:
  it was off the market, or the market has run that far in so short a time. Both stop the symbol.
* R12: a day's loss is what was realized since midnight of the schedule's zone, commissions included, and
  what is open at the price at which it could be closed (the last trade where the quote is crossed or wide,
  nothing where there is none). The account's is the worse of that sum and the fall of the equity that the
  broker tells, which also knows what others trade in it, but is told only every few minutes. A drawdown
  is measured by our own reckoning alone: a late word would look like a fall from a best of now.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Final, Protocol, TypeAlias

import attrs

from protocol.control_events import EquityEvent, KillLevelEvent, LockEvent, UnlockEvent
from protocol.events import AlarmEvent
from protocol.position import ZERO
from protocol.risk.ledger import ACCOUNT, Ledger
from protocol.risk.patience import Patience
from protocol.risk.protections import WantedLock, wanted_locks
from protocol.risk.settings import RiskLimits
from protocol.risk.standing import Standing
from protocol.risk.words import KillLevel, LockKind, Quote, Surroundings
from protocol.values import Symbol

CLOCK: Final = "clock"
"""Who lifts a lock whose time has come."""
LIMITS: Final = "limits"
"""Who locks and raises the level when a limit is reached."""
MESSAGES_HIGH, LIMIT_LOCK, KILL_LEVEL = "MESSAGES_HIGH", "LIMIT_LOCK", "KILL_LEVEL"
"""Codes of alarms."""
WARN_AT: Final = 0.5
"""Part of R13's limit at which a person is told."""
FEW_MESSAGES: Final = 100
"""Of a day: the ratio of so few says nothing yet (IB means programs that send thousands)."""
BEST_GROWS: Final = Decimal("1.001")
"""A new best equity is worth a row of the journal when it is so many times the old one."""
NO_PRICE: Final = 1e7
"""No share costs so many dollars: it is a bad tick, as are infinity and NaN, of which no comparison holds."""
HOUR: Final = timedelta(hours=1)
LONG_AGO: Final = timedelta(days=3650)

RiskEvent: TypeAlias = LockEvent | UnlockEvent | KillLevelEvent | AlarmEvent | EquityEvent


class Book(Protocol):
    def position(self, symbol: Symbol) -> int: ...


class Watched(Protocol):
    """What of the gate the monitor looks at."""

    @property
    def standing(self) -> Standing: ...
    @property
    def ledger(self) -> Ledger: ...
    @property
    def book(self) -> Book: ...


@attrs.frozen
class Demand:
    """A kill level that the state of things demands at least."""

    level: KillLevel
    why: str


@attrs.frozen
class Reckoning:
    """The day in dollars, as it looks now: what each symbol made, and the equity of the account."""

    pnl: Mapping[Symbol, Decimal]
    """Realized since midnight and open."""
    first: Decimal | None
    best: Decimal | None
    told: Decimal | None
    """By the broker, perhaps minutes ago."""

    @property
    def total(self) -> Decimal:
        return sum(self.pnl.values(), ZERO)

    @property
    def reckoned(self) -> Decimal | None:
        """The equity by our own books: the day's first and what was made since."""
        return None if self.first is None else self.first + self.total

    @property
    def worth(self) -> Decimal | None:
        """The equity, by the worse of our own books and the broker's word."""
        reckoned = self.reckoned
        if reckoned is None or self.told is None:
            return self.told if reckoned is None else reckoned
        return min(reckoned, self.told)


def reckon(gate: Watched, around: Surroundings, *, at: datetime, market: bool = True) -> Reckoning:
    """`market` false: without what is open, so that no tick is believed."""
    ledger = gate.ledger
    pnl = {
        symbol: day_pnl(gate, around, symbol, at) if market else ledger.realized_today(symbol, at)
        for symbol in ledger.symbols
    }
    return Reckoning(pnl, ledger.first_equity(at), ledger.best_equity(at), around.money.equity)


def watch(
    gate: Watched, around: Surroundings, *, at: datetime, patience: Patience | None = None
) -> tuple[RiskEvent, ...]:
    """What must be journalled and done now; empty when nothing has changed. `at` is market time.

    With `patience`, what follows from the market's prices alone is demanded when it has lasted.
    """
    standing, day = gate.standing, reckon(gate, around, at=at)
    events: list[RiskEvent] = [
        UnlockEvent(at=at, lock=lock.lock, who=CLOCK, why="its time has come")
        for lock in standing.expired(at)
    ]
    events += _equity(day, at)
    events += _warnings(gate, at)
    locks = [
        wanted
        for wanted in _new_locks(gate, around, day, at)
        if patience is None or _is_lasting(wanted, gate, around, patience, at)
    ]
    for number, wanted in enumerate(locks):
        events.append(LockEvent(
            at=at, cause=LIMITS, lock=standing.lock_name(number), symbol=wanted.symbol,
            kind=wanted.kind.value, reason=wanted.reason, who=LIMITS, until=wanted.until,
        ))  # fmt: skip
        if not wanted.symbol or wanted.kind not in _QUIET:
            where = wanted.symbol or "the account"
            text = f"{where} is locked: {wanted.reason}"
            events.append(AlarmEvent(at=at, cause=LIMITS, code=LIMIT_LOCK, text=text, symbol=wanted.symbol))
    demand = _highest(gate, day, at)
    if patience is not None and demand is not None and demand.level > standing.level:
        certain = _highest(gate, reckon(gate, around, at=at, market=False), at)
        lasts = patience.confirmed("level", demand.level.name, at)
        demand = demand if lasts else certain
    if demand is not None and demand.level > standing.level:
        events += raised(standing.level, demand, at=at, who=LIMITS)
    if patience is not None:
        patience.end_look()
    return tuple(events)


def _is_lasting(
    wanted: WantedLock, gate: Watched, around: Surroundings, patience: Patience, at: datetime
) -> bool:
    """Whether a lock is certain by the journal alone, or the market has demanded it for long enough."""
    symbol = Symbol(wanted.symbol)
    match wanted.kind:
        case LockKind.DAILY_LOSS:
            certain = reckon(gate, around, at=at, market=False)
            if any(True for _ in loss_locks(gate, certain, symbol, at=at)):
                return True
        case LockKind.FILLS_OFF_MARKET:
            pass
        case _:
            return True
    return patience.confirmed(wanted.kind.value, symbol, at)


def _highest(gate: Watched, day: Reckoning, at: datetime) -> Demand | None:
    return max(demands(gate, day, at=at), key=lambda each: each.level, default=None)


def raised(before: KillLevel, demand: Demand, *, at: datetime, who: str) -> tuple[RiskEvent, ...]:
    """The events of a kill level that goes up: the level and its alarm."""
    text = f"kill level {demand.level.name} (from {before.name}), by {who}: {demand.why}"
    return (
        KillLevelEvent(
            at=at, cause=who, level=demand.level.value, before=before.value, who=who, why=demand.why
        ),
        AlarmEvent(at=at, cause=who, code=KILL_LEVEL, text=text),
    )


# --- locks ----------------------------------------------------------------------------------------


def _new_locks(gate: Watched, around: Surroundings, day: Reckoning, at: datetime) -> Iterator[WantedLock]:
    """Those that are demanded and do not hold. A protection says by itself when it has its lock."""
    holding = {(lock.kind, lock.symbol) for lock in gate.standing.locks(at)}
    for wanted in _limit_locks(gate, around, day, at):
        if (wanted.kind.value, wanted.symbol) not in holding:
            yield wanted
    protections = gate.standing.limits.protections
    if protections:
        yield from wanted_locks(protections, gate.ledger, at, equity=day.first)


def _limit_locks(gate: Watched, around: Surroundings, day: Reckoning, at: datetime) -> Iterator[WantedLock]:
    limits, ledger = gate.standing.limits, gate.ledger
    yield from _messages(limits, ledger, at)
    few = min(limits.max_round_trips, limits.max_stop_outs_in_a_row)
    for symbol in ledger.symbols:
        entry = ledger.get(symbol)
        assert entry is not None
        # Nearly always there is nothing to look at, every second, for each symbol.
        if entry.fills and entry.fills[-1].at > at - timedelta(seconds=limits.fill_window_s):
            yield from _fills_off_market(limits, ledger, around, symbol, at)
        if len(entry.results) > few:
            yield from _repeated_trades(limits, ledger, symbol, at)
        if entry.refusals:
            yield from _refusals(limits, ledger, symbol, at)
        yield from loss_locks(gate, day, symbol, at=at)


def _fills_off_market(
    limits: RiskLimits, ledger: Ledger, around: Surroundings, symbol: Symbol, at: datetime
) -> Iterator[WantedLock]:
    """R5 (RTS 6 Art. 15(1)(a): price collars over time)."""
    fills = ledger.fills(symbol, _since(ledger, LockKind.FILLS_OFF_MARKET, symbol, at, limits.fill_window_s))
    quote = around.quote(symbol) if fills else None
    market = None if quote is None else reference(quote, limits)
    if market is None:
        return
    furthest = max((fill.price for fill in fills), key=lambda price: abs(price - market))
    off = abs(furthest - market) / market
    if off > Decimal(repr(limits.max_fill_deviation)):
        reason = (
            f"a fill at {furthest} within {limits.fill_window_s:g} s is {off:.1%} from the market at "
            f"{market}; the limit is {limits.max_fill_deviation:.1%}"
        )
        yield WantedLock(symbol, LockKind.FILLS_OFF_MARKET, reason)


def _repeated_trades(
    limits: RiskLimits, ledger: Ledger, symbol: Symbol, at: datetime
) -> Iterator[WantedLock]:
    """R10 (RTS 6 Art. 15(3): repeated automated execution throttle)."""
    kind = LockKind.REPEATED_TRADES
    trips = len(ledger.results(symbol, _since(ledger, kind, symbol, at, HOUR.total_seconds())))
    stopped = ledger.stop_outs_in_a_row(symbol, ledger.lifted_at(kind.value, symbol) or at - LONG_AGO)
    if trips > (most := limits.max_round_trips):
        reason = f"{trips} round trips within an hour, {most} are allowed (max_round_trips)"
        yield WantedLock(symbol, kind, reason)
    elif stopped > (most := limits.max_stop_outs_in_a_row):
        reason = f"{stopped} stop-outs in a row, {most} are allowed (max_stop_outs_in_a_row)"
        yield WantedLock(symbol, kind, reason)


def _refusals(limits: RiskLimits, ledger: Ledger, symbol: Symbol, at: datetime) -> Iterator[WantedLock]:
    """R11"""
    refused = ledger.refusals(symbol, _since(ledger, LockKind.REJECTS, symbol, at, limits.reject_window_s))
    if refused >= limits.max_rejects:
        reason = f"the broker refused {refused} orders within {limits.reject_window_s:g} s (max_rejects)"
        yield WantedLock(symbol, LockKind.REJECTS, reason)


def _messages(limits: RiskLimits, ledger: Ledger, at: datetime) -> Iterator[WantedLock]:
    """R13: the ratio is the account's, what it comes from are symbols, and the day is what IB reckons it of.

    A symbol that hardly trades and trails its stop is over it by itself, which nobody minds.
    """
    most = limits.max_messages_per_execution
    ratio = message_ratio(ledger, at)
    if ratio < most:
        return
    of = f"{ratio:.1f} order messages for each executed order of the account today"
    until, alone = ledger.day_end(at), True
    for symbol in ledger.symbols:
        own = ledger.messages_per_execution(symbol, at)
        if own >= most:
            alone = False
            reason = f"{of}, {own:.1f} of this symbol (max_messages_per_execution)"
            yield WantedLock(symbol, LockKind.MESSAGES, reason, until)
    if alone:
        yield WantedLock(ACCOUNT, LockKind.MESSAGES, f"{of} (max_messages_per_execution)", until)


def message_ratio(ledger: Ledger, at: datetime) -> float:
    """R13's ratio of the account; 0 while there are few messages."""
    messages, _ = ledger.messages_today(ACCOUNT, at)
    return 0.0 if messages < FEW_MESSAGES else ledger.messages_per_execution(ACCOUNT, at)


def loss_locks(gate: Watched, day: Reckoning, symbol: Symbol, *, at: datetime) -> Iterator[WantedLock]:
    """R12 of one symbol: the lock that its loss of the day demands, whether or not it holds already."""
    lost, most = -day.pnl.get(symbol, ZERO), gate.standing.limits.max_daily_loss_of_symbol
    if lost >= most:
        reason = f"{symbol} has lost ${lost:.2f} today, realized and open; the limit is ${most}"
        yield WantedLock(symbol, LockKind.DAILY_LOSS, reason, gate.ledger.day_end(at))


def _since(ledger: Ledger, kind: LockKind, symbol: str, at: datetime, window_s: float) -> datetime:
    """From when on things count: within the window, and after a lock for them was last lifted."""
    begins = at - timedelta(seconds=window_s)
    lifted = ledger.lifted_at(kind.value, symbol)
    return begins if lifted is None else max(begins, lifted)


# --- the account ----------------------------------------------------------------------------------


def demands(gate: Watched, day: Reckoning, *, at: datetime) -> Iterator[Demand]:
    """The kill levels that limits and mismatches demand now."""
    yield from lasting_demands(gate, day)
    limits, ledger = gate.standing.limits, gate.ledger
    since = at - timedelta(seconds=limits.reject_window_s)
    if ledger.lowered_at is not None:
        since = max(since, ledger.lowered_at)
    refused = ledger.refusals(ACCOUNT, since)
    if refused >= limits.max_rejects_in_all:
        window = f"{limits.reject_window_s:g} s"
        yield Demand(
            KillLevel.HALT, f"the broker refused {refused} orders within {window} (max_rejects_in_all)"
        )


def lasting_demands(gate: Watched, day: Reckoning) -> Iterator[Demand]:
    """Those that a person's word does not end: the day's loss (R12), books that differ (R20)."""
    limits, first, now = gate.standing.limits, day.first, day.worth
    if first is not None and now is not None and first > 0:
        lost = float((first - now) / first)
        why = f"the account has lost {lost:.2%} of the day's first equity"
        if lost >= limits.daily_loss_halt:
            yield Demand(KillLevel.FLATTEN, f"{why} (daily_loss_halt {limits.daily_loss_halt:.2%})")
        elif lost >= limits.daily_loss_reduce:
            yield Demand(KillLevel.REDUCE, f"{why} (daily_loss_reduce {limits.daily_loss_reduce:.2%})")
    best, reckoned = day.best, day.reckoned
    if limits.max_drawdown is not None and best is not None and reckoned is not None and best > 0:
        fall = float((best - reckoned) / best)
        if fall >= limits.max_drawdown:
            why = f"the account is {fall:.2%} below its best of the day"
            yield Demand(KillLevel.REDUCE, f"{why} (max_drawdown {limits.max_drawdown:.2%})")
    for why in book_mismatches(gate):
        yield Demand(KillLevel.HALT, why)


def book_mismatches(gate: Watched) -> Iterator[str]:
    """R20: our own books against each other, and against the broker's where no symbol has seen to it.

    A symbol whose position is not the broker's holds itself; that it does not is a fault of ours.
    """
    for symbol in gate.ledger.symbols:
        entry = gate.ledger.get(symbol)
        if entry is None:
            continue
        ours, booked = entry.position.quantity, gate.book.position(symbol)
        if ours != booked:
            yield f"{symbol}: our executions make {ours} shares, the risk book holds {booked}"
        look = entry.look
        if look is not None and look.broker != look.ours and not entry.held:
            yield (
                f"{symbol}: our executions made {look.ours} shares when the broker held {look.broker}, "
                "and the symbol does not hold itself"
            )


# --- money ----------------------------------------------------------------------------------------


def day_pnl(gate: Watched, around: Surroundings, symbol: Symbol, at: datetime) -> Decimal:
    """What a symbol has made today in dollars, realized and open."""
    entry = gate.ledger.get(symbol)
    if entry is None:
        return ZERO
    made = gate.ledger.realized_today(symbol, at)
    held = entry.position
    if held.quantity == 0:
        return made
    quote = around.quote(symbol)
    price = None if quote is None else mark(quote, held.quantity, gate.standing.limits)
    return made if price is None else made + held.unrealized_pnl(price)


def _equity(day: Reckoning, at: datetime) -> Iterator[EquityEvent]:
    """The day's first equity once it is known, and its best when that has grown."""
    if day.first is None or day.best is None:
        if day.told is not None and day.told > 0:
            # What was made before it was told belongs to the day, not to its beginning.
            began = day.told - day.total
            yield EquityEvent(at=at, first=began, best=max(began, day.told))
    elif day.reckoned is not None and day.reckoned >= day.best * BEST_GROWS:
        yield EquityEvent(at=at, first=day.first, best=day.reckoned)


def _warnings(gate: Watched, at: datetime) -> Iterator[AlarmEvent]:
    """R13 at half of its limit, once a day."""
    ledger, most = gate.ledger, gate.standing.limits.max_messages_per_execution
    ratio = message_ratio(ledger, at)
    if ratio >= most * WARN_AT and not ledger.warned(MESSAGES_HIGH, ACCOUNT, at):
        text = f"{ratio:.1f} order messages for each executed order today; {most} lock what they come from"
        yield AlarmEvent(at=at, cause=LIMITS, code=MESSAGES_HIGH, text=text)


def _is_sane(quote: Quote, limits: RiskLimits) -> bool:
    bid, ask = quote.bid, quote.ask
    if bid is None or ask is None or not 0 < bid <= ask < NO_PRICE:
        return False
    return (ask - bid) / ((ask + bid) / 2) <= limits.max_spread


def mark(quote: Quote, quantity: int, limits: RiskLimits) -> Decimal | None:
    """Where a signed quantity could be closed: the bid for a long, the ask for a short, else the last.

    Of a quote and a last trade that contradict each other one is a bad tick: nothing is closed on the worse.
    """
    last = _price(quote.last)
    if not _is_sane(quote, limits):
        return last
    price = _price(quote.bid if quantity > 0 else quote.ask)
    if price is None or last is None or _agree(price, last, limits):
        return price
    return max(price, last) if quantity > 0 else min(price, last)


def reference(quote: Quote, limits: RiskLimits) -> Decimal | None:
    """The market in one price: the middle of a good quote, else the last trade; None where they differ."""
    last = _price(quote.last)
    if not _is_sane(quote, limits):
        return last
    assert quote.bid is not None
    assert quote.ask is not None
    middle = _price(round((quote.bid + quote.ask) / 2, 6))
    if middle is None or last is None or _agree(middle, last, limits):
        return middle
    return None


def _price(tick: float | None) -> Decimal | None:
    return Decimal(repr(tick)) if tick is not None and 0 < tick < NO_PRICE else None


def _agree(one: Decimal, other: Decimal, limits: RiskLimits) -> bool:
    return abs(one - other) <= Decimal(repr(limits.max_fill_deviation)) * min(one, other)


_QUIET: Final = frozenset({
    LockKind.COOL_DOWN, LockKind.STOP_LOSS_GUARD, LockKind.LOW_PROFIT, LockKind.DRAWDOWN
})  # fmt: skip
"""Locks that belong to trading as it was meant: they close and open without an alarm."""
