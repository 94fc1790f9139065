"""Whether anything may be entered at all now: levels, locks, the link, the hour, the contract, the quote."""

from __future__ import annotations

from datetime import datetime
from typing import Final

from protocol.reports import LinkState
from protocol.risk.exposure import dollars
from protocol.risk.protections import lock_wanted_on
from protocol.risk.question import Question
from protocol.risk.words import DataState, KillLevel, Refused
from protocol.schedule import DayPhase, phase

_NOT_LIVE: Final = {
    DataState.WAITING: "nothing has been heard yet",
    DataState.DELAYED: "it is delayed or frozen",
    DataState.NOT_PERMITTED: "the account has no permission for it",
    DataState.COMPETING: "another session of the user has it",
    DataState.NO_LINE: "there are more symbols than market data lines",
    DataState.ENDED: "it has ended and is asked for again",
}


def switched_on(question: Question) -> Refused | None:
    """Kill levels and locks, and what a protection locks though its lock is not written yet."""
    level, symbol = question.standing.level, question.wish.symbol
    if level >= KillLevel.REDUCE:
        why = question.standing.why or "no reason given"
        text = f"kill level {level.name} ({level.value}), positions only become smaller: {why}"
        return Refused(f"K{level.value}", "kill_level", text)
    lock = question.standing.lock_on(symbol, question.at)
    if lock is not None:
        return _locked(lock.symbol, f"{lock.lock}, {lock.kind}", lock.until, lock.reason)
    wanted = lock_wanted_on(
        question.limits.protections, question.ledger, symbol, question.at, equity=question.money.equity
    )
    return None if wanted is None else _locked(wanted.symbol, wanted.kind.value, wanted.until, wanted.reason)


def _locked(symbol: str, name: str, until: datetime | None, reason: str) -> Refused:
    whose = f"{symbol} is" if symbol else "all entries are"
    how_long = "until a person lifts it" if until is None else f"until {until:%H:%M:%S} UTC"
    return Refused("lock", "locked", f"{whose} locked ({name}) {how_long}: {reason}")


def reconciled(question: Question) -> Refused | None:
    """R19: the books are compared on this link."""
    if question.state is LinkState.UP:
        return None
    return Refused("R19", "not_reconciled", "the link is not reconciled, or TWS is cut off: no new risk")


def contract_is_ours(question: Question) -> Refused | None:
    """R16: a contract that was chosen, confirmed, in the account's currency, and not restricted."""
    symbol, limits, facts = question.wish.symbol, question.limits, question.facts
    if symbol not in question.sectors:
        return Refused("R16", "not_allowed", f"{symbol} is not among the symbols of the configuration")
    if symbol in limits.restricted:
        return Refused("R16", "restricted", f"{symbol} is restricted")
    if facts is None or facts.con_id <= 0:
        return Refused("R16", "contract_unknown", f"the broker has not confirmed the contract of {symbol}")
    if facts.currency != limits.currency:
        text = f"{symbol} trades in {facts.currency}, the limits are in {limits.currency}"
        return Refused("R16", "currency", text)
    return None


def in_session(question: Question) -> Refused | None:
    """R15: the exchange's calendar and the schedule's window."""
    now = phase(question.schedule, question.at)
    return None if now is DayPhase.OPEN else Refused("R15", "session", now.value)


def quote_is_sound(question: Question) -> Refused | None:
    """R6: a live, fresh, uncrossed and narrow quote of a symbol that trades."""
    quote, limits = question.quote, question.limits
    if quote is None:
        return Refused("R6", "no_quote", "there is no market data line")
    if quote.data is not DataState.LIVE:
        text = f"the market data is not live: {_NOT_LIVE[quote.data]}"
        return Refused("R6", f"data_{quote.data.value}", text)
    if quote.halted:
        return Refused("R6", "halted", "trading in the symbol is halted")
    if dollars(quote.bid) is None or dollars(quote.ask) is None or quote.heard_at is None:
        return Refused("R6", "no_quote", "there is no quote with two sides")
    age_s = (question.at - quote.heard_at).total_seconds()
    if age_s > limits.max_quote_age_s + question.latency_s:
        text = f"the quote is {age_s:.1f} s old, at most {limits.max_quote_age_s:g} s are allowed"
        return Refused("R6", "stale_quote", text)
    assert quote.bid is not None
    assert quote.ask is not None
    return _spread_refusal(quote.bid, quote.ask, limits.max_spread)


def _spread_refusal(bid: float, ask: float, max_spread: float) -> Refused | None:
    if bid >= ask:
        return Refused("R6", "crossed_quote", f"bid {bid:g} is not below ask {ask:g}")
    if (ask - bid) / ask > max_spread:
        text = f"the spread {ask - bid:.2f} is wider than {max_spread:.1%} of the price"
        return Refused("R6", "wide_spread", text)
    return None
