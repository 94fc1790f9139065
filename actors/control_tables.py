"""Answers of the running system, as tables for people."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime
from decimal import Decimal

from actors.journal_tables import Screen
from protocol.control_answers import (
    ActorTold,
    FiguresTold,
    KillTold,
    LimitTold,
    LockTold,
    OrderTold,
    RuleTold,
    SourceTold,
    StatusTold,
    SymbolLine,
    SymbolTold,
)
from protocol.event_text import clock
from protocol.position_record import PositionRecord, said
from protocol.report import dollars

USUAL_HOLDS = frozenset({"", "trigger", "child,trigger", "child"})
"""What TWS says of every stop that waits for its price, and of the exits of an entry that has not filled."""
WHOLE = "all"
"""How a lock of the whole account is shown."""


def show_status(screen: Screen, told: StatusTold) -> None:
    _show_run(screen, told)
    screen.table(
        ("symbol", "actor", "trade", "position", "average", "last", "open P&L", "stop", "no entries because"),
        (_symbol_row(line) for line in told.symbols),
        right="position average last stop",
    )
    if told.tree:
        screen.table(
            ("actor", "state", "epoch", "restarts", "recent", "mail", "last exit"),
            (_actor_row(actor) for actor in told.tree),
            right="epoch restarts recent mail",
        )
    if told.locks:
        show_locks(screen, told.locks)
    if told.sources:
        show_sources(screen, told.sources)
    for health in told.health:
        screen.say(f"{health.subject}: {health.state}, {health.sentence}")
    if told.near:
        show_limits(screen, told.near)
    for alarm in told.alarms:
        about = f"{alarm.symbol}: " if alarm.symbol else ""
        screen.say(f"alarm {_time(alarm.at)}  {about}{alarm.text} ({alarm.code})")


def _show_run(screen: Screen, told: StatusTold) -> None:
    run, link = told.run, told.link
    kept = " (goes with the run)" if run.temporary else ""
    now = "market time not known yet" if run.market_now is None else f"{_time(run.market_now)} in New York"
    if run.running:
        screen.say(f"running: {run.mode}, process {run.pid}, {now}, speed {run.speed:g}")
        account = f", account {link.account}" if link.account else ""
        screen.say(f"state: {run.state}{kept}")
        screen.say(f"link: {link.state}{account}")
    else:
        screen.say(f"not running: {run.ended}; the journal ends {now}")
        screen.say(f"state: {run.state}{kept}")
    screen.say(kill_line(told.kill))
    figures = figures_line(told.figures)
    if figures:
        screen.say(figures)


def kill_line(kill: KillTold) -> str:
    by = f" (by {kill.who}: {kill.why})" if kill.who else ""
    return f"kill level: {kill.name}, {kill.meaning}{by}"


def figures_line(figures: FiguresTold) -> str:
    """Empty when nothing is known."""
    amounts = (
        ("equity", figures.equity),
        ("gross", figures.gross),
        ("net", figures.net),
        ("open risk", figures.open_risk),
    )
    return ", ".join(f"{name} {dollars(amount)}" for name, amount in amounts if amount is not None)


def _symbol_row(line: SymbolLine) -> Sequence[object]:
    return (
        line.symbol,
        line.actor,
        line.status,
        f"{line.position:+d}" if line.position else "0",
        said(line.average),
        "" if line.last is None else f"{line.last:.2f}",
        _amount(line.unrealized_pnl),
        said(line.stop),
        line.held,
    )


def _actor_row(actor: ActorTold) -> Sequence[object]:
    return (
        "  " * actor.depth + actor.id,
        actor.state,
        actor.epoch,
        actor.restarts,
        actor.recent or "",
        "" if actor.waiting is None else actor.waiting,
        actor.last_exit,
    )


def show_symbol(screen: Screen, told: SymbolTold) -> None:
    """What the running system adds to what the journal says of a symbol."""
    line, actor = told.line, told.actor
    screen.say(
        f"actor: {line.actor}, incarnation {actor.epoch}, {actor.restarts} restarts, "
        f"{actor.waiting or 0} messages wait"
        + (f", last ended: {actor.last_exit}" if actor.last_exit else "")
    )
    if told.bid is not None and told.ask is not None:
        age = "" if told.quote_age_s is None else f", {told.quote_age_s:.1f} s old"
        last = "" if line.last is None else f", last {line.last:.2f}"
        screen.say(f"market: {told.bid:.2f} bid, {told.ask:.2f} asked{last}{age}")
    if line.unrealized_pnl is not None and line.position:
        screen.say(f"open P&L: {_amount(line.unrealized_pnl)}")
    if line.held:
        screen.say(f"no entries: {line.held}")
    for health in told.health:
        screen.say(f"{health.subject}: {health.state}, {health.sentence}")
    if told.locks:
        show_locks(screen, told.locks)


# --- what it trades ---------------------------------------------------------------------------------


def show_positions(screen: Screen, records: Iterable[PositionRecord]) -> None:
    """Those that live, at the market's price."""
    screen.table(
        ("position", "status", "side", "shares", "average", "price", "open P&L", "stop", "target",
         "realized", "rule", "since"),
        (_position_row(record) for record in records),
        right="shares average price stop target realized",
    )  # fmt: skip


def _position_row(record: PositionRecord) -> Sequence[object]:
    return (
        record.position_id,
        record.status.value,
        "long" if record.side.sign > 0 else "short",
        record.quantity,
        said(record.average_entry),
        said(record.price),
        _amount(record.unrealized_pnl) if record.quantity else "",
        said(record.stop_price),
        said(record.target_price),
        dollars(record.realized_pnl),
        record.rule,
        _time(record.opened_at),
    )


def show_orders(screen: Screen, orders: Iterable[OrderTold]) -> None:
    screen.table(
        ("symbol", "link", "order", "side", "quantity", "filled", "price", "status", "as asked", "waits for",
         "perm id", "reference"),
        (_order_row(order) for order in orders),
        right="quantity filled price",
    )  # fmt: skip


def _order_row(order: OrderTold) -> Sequence[object]:
    prices = (price for price in (order.stop_price, order.limit_price, order.trail) if price is not None)
    return (
        order.symbol,
        order.role,
        f"{order.type} {order.tif}",
        order.side,
        order.quantity,
        order.filled,
        " ".join(map(said, prices)),
        order.status + (f" (held: {order.held})" if order.held not in USUAL_HOLDS else ""),
        "yes" if order.as_asked else "no",
        order.waits_for,
        order.perm_id or "",
        order.ref,
    )


def show_rules(screen: Screen, rules: Iterable[RuleTold]) -> None:
    screen.table(
        ("symbol", "rule", "on", "priority", "cooldown", "today", "what"),
        (_rule_row(rule) for rule in rules),
        right="priority",
    )


def _rule_row(rule: RuleTold) -> Sequence[object]:
    limit = "" if rule.max_per_day is None else f" of {rule.max_per_day}"
    left = f"{rule.cooldown_left_s:.0f} s" if rule.cooldown_left_s else ""
    return (
        rule.symbol, rule.name, "on" if rule.on else "off", rule.priority, left,
        f"{rule.acted_today}{limit}", rule.text,
    )  # fmt: skip


# --- what bounds it ---------------------------------------------------------------------------------


def show_locks(screen: Screen, locks: Iterable[LockTold]) -> None:
    screen.table(
        ("lock", "symbol", "kind", "reason", "who", "since", "until"),
        (
            (
                lock.lock, lock.symbol or WHOLE, lock.kind, lock.reason, lock.who, _time(lock.at),
                "a person lifts it" if lock.until is None else _time(lock.until),
            )
            for lock in locks
        ),
    )  # fmt: skip


def show_limits(screen: Screen, limits: Iterable[LimitTold]) -> None:
    screen.table(
        ("limit", "of", "holds", "now", "used", "", "control"),
        (
            (
                limit.name, limit.symbol, limit.limit, limit.now,
                "" if limit.part is None else f"{limit.part:.0%}",
                "tightened" if limit.tightened else "" if limit.tightenable else "fixed", limit.control,
            )
            for limit in limits
        ),
        right="holds now used",
    )  # fmt: skip


def show_sources(screen: Screen, sources: Iterable[SourceTold]) -> None:
    screen.table(
        ("source", "kind", "", "state", "what it means", "tickers", "counts"),
        (
            (
                source.name, source.kind, "runs" if source.running else "stopped", source.state,
                source.sentence, " ".join(source.tickers), source.counts,
            )
            for source in sources
        ),
    )  # fmt: skip


def _amount(amount: Decimal | None) -> str:
    return "" if amount is None else dollars(amount)


def _time(at: datetime) -> str:
    return clock(at)[:-4]
