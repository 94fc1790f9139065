"""Rows of answers, from what a symbol or a journal knows: positions, orders, rules, locks, levels, limits."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime
from decimal import Decimal
from types import MappingProxyType
from typing import Final

import attrs

from protocol.configuration_note import ConfigurationNote
from protocol.control_answers import FiguresTold, KillTold, LimitTold, LockTold, OrderTold, RuleTold
from protocol.control_events import KillLevelEvent, LockEvent
from protocol.order import Order
from protocol.position_record import PositionRecord, plain
from protocol.position_status import nearest_target, status_of, working_stop
from protocol.risk.figures import LimitFigure, RiskFigures
from protocol.risk.settings import CoolDown, DrawdownGuard, LowProfitLock, RiskLimits, StopLossGuard
from protocol.risk.tightening import TIGHTENABLE
from protocol.risk.words import KillLevel
from protocol.session_order import SentOrder
from protocol.settings import StockFacts
from protocol.symbol_state import SymbolState
from protocol.values import OrderRef, OrderSpec, Purpose, Symbol

MAX_PART: Final = 999.0
"""Of a limit of zero, whatever there is is more than that."""
MEANINGS: Final[Mapping[KillLevel, str]] = MappingProxyType({
    KillLevel.OPEN: "nothing is switched off",
    KillLevel.REDUCE: "only what makes positions smaller may leave",
    KillLevel.HALT: "working entries are cancelled, stops and targets stay, nothing is entered",
    KillLevel.FLATTEN: "every position is closed, nothing is entered",
    KillLevel.SEVER: "every position is closed, then the link is cut and stays cut",
})  # fmt: skip


def position_of(state: SymbolState, facts: StockFacts, price: Decimal | None) -> PositionRecord | None:
    """The trade that lives, as the position book has it, its changes apart; None without one."""
    trade, status = state.trade, status_of(state)
    if trade is None or status is None:
        return None
    entered = sum(order.filled for order in trade.orders if order.purpose is Purpose.ENTRY)
    record = PositionRecord(
        symbol=state.symbol,
        trade=trade.trade,
        side=trade.side,
        rule=trade.rule,
        signal_id=trade.signal_id,
        opened_at=trade.opened_at,
        status=status,
        quantity=state.position.quantity,
        entered=entered,
        average_entry=trade.average if entered else None,
        realized_pnl=state.position.realized_pnl - trade.realized_before,
        commission=state.position.commission - trade.commission_before,
        stop_price=working_stop(trade),
        target_price=nearest_target(trade),
        reason="" if trade.closing is None else trade.closing.reason,
        facts=facts,
    )
    return record if price is None else attrs.evolve(record, price=price)


# --- orders -----------------------------------------------------------------------------------------


def orders_of(state: SymbolState, sent: Iterable[SentOrder] = ()) -> Iterator[OrderTold]:
    """The orders that have not ended: those of the trade, then what else the broker session knows."""
    by_ref: dict[OrderRef, SentOrder] = {each.ref: each for each in sent}
    if state.trade is not None:
        for order in state.trade.orders:
            if order.live:
                yield _of_trade(order, by_ref.pop(order.ref, None))
            else:
                by_ref.pop(order.ref, None)
    for other in by_ref.values():
        if other.asked is not None:
            yield _of_session(other, other.asked)


def _of_trade(order: Order, sent: SentOrder | None) -> OrderTold:
    told = _order(order.spec, sent)
    return attrs.evolve(
        told,
        status=order.status.value,
        filled=order.filled,
        perm_id=order.perm_id or told.perm_id,
        as_asked=order.as_asked,
    )


def _of_session(sent: SentOrder, asked: OrderSpec) -> OrderTold:
    """Of a trade that is over, or not in the symbol's books yet."""
    told = _order(asked, sent)
    if sent.report is None:
        return attrs.evolve(told, status="unknown")
    return attrs.evolve(told, status=sent.report.status.value, filled=sent.report.filled)


def _order(spec: OrderSpec, sent: SentOrder | None) -> OrderTold:
    trail = spec.trail_amount if spec.trail_amount is not None else spec.trail_fraction
    return OrderTold(
        symbol=spec.symbol,
        role=spec.ref.role,
        purpose=spec.purpose.value,
        ref=str(spec.ref),
        status="",
        side=spec.side.value,
        type=spec.type.value,
        quantity=spec.quantity,
        filled=0,
        limit_price=spec.limit_price,
        stop_price=spec.stop_price,
        trail=trail,
        tif=spec.tif.value,
        perm_id=0 if sent is None else sent.perm_id,
        order_id=0 if sent is None else sent.order_id,
        as_asked=False,
        waits_for="" if sent is None or sent.pending is None else sent.pending.value,
        held="" if sent is None or sent.report is None else sent.report.why_held,
    )


# --- rules ------------------------------------------------------------------------------------------


def rules_for(
    note: ConfigurationNote, symbol: Symbol, state: SymbolState, at: datetime
) -> Iterator[RuleTold]:
    """The rules that concern a symbol, the most important first, as they stand at market time `at`."""
    for rule in sorted(note.rules, key=lambda rule: -rule.priority):
        if rule.concerns(symbol):
            yield RuleTold(
                symbol=symbol,
                name=rule.name,
                priority=rule.priority,
                on=rule.is_on(state),
                cooldown_left_s=round(rule.cooldown_left_s(state, at), 1),
                acted_today=rule.acted_today(state, at),
                max_per_day=rule.max_per_day,
                text=rule.text,
            )


# --- what bounds it ---------------------------------------------------------------------------------


def kill_told(level: KillLevel, since: KillLevelEvent | None = None) -> KillTold:
    """`since`: the event that made it so."""
    who, why = ("", "") if since is None else (since.who, since.why)
    return KillTold(level=int(level), name=level.name.lower(), meaning=MEANINGS[level], who=who, why=why)


def lock_told(lock: LockEvent) -> LockTold:
    return LockTold(
        lock=lock.lock,
        symbol=lock.symbol,
        kind=lock.kind,
        reason=lock.reason,
        who=lock.who,
        at=lock.at,
        until=lock.until,
    )


def read_level(text: str) -> KillLevel:
    """`halt`, `K2` or `2`. ValueError with a sentence."""
    word = text.strip().upper()
    number = word.removeprefix("K")
    if number.isdecimal() and int(number) in {level.value for level in KillLevel}:
        return KillLevel(int(number))
    if word in KillLevel.__members__:
        return KillLevel[word]
    known = ", ".join(f"{level.name.lower()} (K{level.value})" for level in KillLevel)
    raise ValueError(f"no kill level is called {text!r}; known: {known}")


def figures_told(figures: RiskFigures) -> FiguresTold:
    return FiguresTold(
        equity=figures.equity,
        excess_liquidity=figures.excess_liquidity,
        gross=figures.gross,
        gross_worst=figures.gross_worst,
        net=figures.net,
        net_worst=figures.net_worst,
        open_risk=figures.open_risk,
        positions=figures.positions,
    )


def limits_told(
    limits: RiskLimits, configured: RiskLimits, measured: Iterable[LimitFigure]
) -> Iterator[LimitTold]:
    """Every limit as it holds; where what it limits is measured, with how much of it is used, and by whom."""
    figures: dict[str, list[LimitFigure]] = {}
    for figure in measured:
        figures.setdefault(figure.name, []).append(figure)
    for field in attrs.fields(RiskLimits):
        name = field.name
        holds = getattr(limits, name)
        told = LimitTold(
            name=name,
            limit=_spelled(holds),
            tightened=holds != getattr(configured, name),
            tightenable=name in TIGHTENABLE,
        )
        rows = figures.pop(name, None)
        yield from [told] if rows is None else (_measured(told, row) for row in rows)
    for rows in figures.values():
        # What is limited by something that has no number of its own in the configuration: a trade's plan.
        yield from (
            _measured(LimitTold(name=row.name, limit=rounded(row.limit), tightenable=False), row)
            for row in rows
        )


def _measured(told: LimitTold, figure: LimitFigure) -> LimitTold:
    used = figure.used
    value = "" if figure.value is None else f"{rounded(figure.value)} of {rounded(figure.limit)}"
    return attrs.evolve(
        told,
        symbol=figure.of,
        control=figure.control,
        now=value,
        part=None if used is None else round(min(used, MAX_PART), 4),
    )


def rounded(number: Decimal) -> str:
    """To the cent where it has any."""
    return f"{number:.2f}".removesuffix(".00")


def _spelled(value: object) -> str:
    match value:
        case None:
            return "none"
        case tuple():
            return ", ".join(_spelled(each) for each in value) or "none"
        case CoolDown() | StopLossGuard() | DrawdownGuard() | LowProfitLock():
            fields = (f"{name}={_spelled(each)}" for name, each in attrs.asdict(value, recurse=False).items())
            return f"{type(value).__name__}({', '.join(fields)})"
        case float():
            return f"{value:g}"
        case _:
            return str(plain(value))
