"""What a symbol does when the broker's position is not what its executions make: the table of the README.

Executions come first; a position may follow or precede them by seconds. So a difference only holds the
symbol, until it is gone, or until a second look, `LOOK_AGAIN` later on the same link, shows the same one.
Then the broker's word counts: an execution of somebody else, with an id that is the same whoever works it
out, stands for what nobody told. From there on everything is as after a trade of somebody else: exits follow
the position, a trade without shares ends, nothing is traded back, and a person resumes the symbol.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from decimal import Decimal
from typing import Final

import attrs

from protocol.chores import Chores
from protocol.events import CancelEvent, ForeignFillEvent, HoldEvent
from protocol.reconcile import LOOK_AGAIN_LOOP_S, Apart
from protocol.reports import ExecutionReport, OrderReport, SymbolSnapshot
from protocol.splits import split_ratio
from protocol.values import Purpose, Side, purpose_of

DIFFERS: Final = "the broker's position differs from our executions"
TAKEN_OVER: Final = "the broker's position was taken over"
BOOKS: Final = "books."
"""How the ids begin of executions that nobody told and that the broker's position speaks of."""
LOOK_AGAIN: Final = timedelta(seconds=LOOK_AGAIN_LOOP_S)

AWAITED: Final = timedelta(seconds=30.0)
"""How long a difference must have stood while executions are to come: a session asks for them sooner."""


def compare_positions(chores: Chores, snapshot: SymbolSnapshot) -> None:
    """Books that differ hold the symbol; a hold for another reason waits for a person."""
    view, held = chores.view, chores.state.held
    ours, theirs = chores.state.position.quantity, snapshot.position
    if ours == theirs:
        view.apart = None
        if held.startswith(DIFFERS):
            _hold(chores, "")
        return
    apart = Apart(snapshot.generation, ours, theirs, chores.at, chores.at + _pause(chores))
    if not held:
        reason = f"{DIFFERS}: {theirs} there, {ours} here"
        _hold(chores, reason)
        chores.alarm("BOOKS_DISAGREE", reason)
    known = view.apart
    if known is None or (known.generation, known.ours, known.theirs) != (snapshot.generation, ours, theirs):
        view.apart = apart
    elif snapshot.tradable and chores.at - known.since >= _patience(chores):
        _settle(chores, theirs)


def look_again(chores: Chores) -> None:
    """While the books differ they are asked for again and again: the actor sees `wants_books`."""
    apart = chores.view.apart
    if apart is not None and chores.due(apart.ask_at):
        chores.view.wants_books = True
        again = chores.at + _pause(chores)
        chores.view.apart = attrs.evolve(apart, ask_at=again)
        chores.look_again(again)


def _pause(chores: Chores) -> timedelta:
    return LOOK_AGAIN + chores.plan.latency


def _patience(chores: Chores) -> timedelta:
    """How long a difference must have stood. Executions that a status has spoken of say what there is, should
    they come."""
    trade = chores.state.trade
    awaited = trade is not None and any(order.awaits_executions for order in trade.orders)
    return AWAITED if awaited else LOOK_AGAIN


def _settle(chores: Chores, theirs: int) -> None:
    """The difference is real."""
    position, symbol = chores.state.position, chores.plan.symbol
    change = theirs - position.quantity
    price = _price(chores)
    ratio = split_ratio(position.quantity, theirs, position.average_price, price)
    if ratio is not None and price is not None:
        _suspect_split(chores, theirs, ratio)
        return
    if price is None and change * position.quantity < 0 and abs(change) <= abs(position.quantity):
        price = position.average_price  # Shares that are gone: no profit is made up.
    if price is None:
        return  # Shares that nobody knows the price of: at the next look there is one.
    number = sum(1 for root in position.executions if root.startswith(f"{BOOKS}{symbol}."))
    exec_id = f"{BOOKS}{symbol}.{number}.01"
    side = Side.BUY if change > 0 else Side.SELL
    reason = f"{TAKEN_OVER}: {theirs} there, {position.quantity} by our executions"
    if not chores.state.held or chores.state.held.startswith((DIFFERS, TAKEN_OVER)):
        _hold(chores, reason)
    chores.emit(ForeignFillEvent(
        at=chores.at, cause=exec_id, symbol=symbol, exec_id=exec_id, side=side, quantity=abs(change),
        price=price,
    ))  # fmt: skip
    chores.alarm("POSITION_TAKEN_OVER", f"{reason}; no entries until a person resumes it")
    chores.view.apart = None
    trade = chores.state.trade
    for order in () if trade is None else trade.live_entries:
        if not order.cancel_asked:
            chores.emit(CancelEvent(at=chores.at, cause=reason, ref=order.ref, why=reason))


def _price(chores: Chores) -> Decimal | None:
    """About what a share is worth now."""
    view = chores.view
    if view.last is None and view.bid is not None and view.ask is not None:
        return (Decimal(repr(view.bid)) + Decimal(repr(view.ask))) / 2
    worth = view.last or view.previous_close
    return Decimal(repr(worth)) if worth else None


def _suspect_split(chores: Chores, theirs: int, ratio: str) -> None:
    """Shares as many times as many and prices as many times lower (or the other way round): no trade of
    anybody. Nothing is booked, since prices and distances of the trade are those of before."""
    reason = f"{DIFFERS}: {theirs} there, {chores.state.position.quantity} here, as after a split {ratio}"
    if chores.state.held != reason:
        _hold(chores, reason)
        text = f"{reason}; its orders have the prices of before: guard it in TWS"
        chores.alarm("SPLIT_SUSPECTED", text)


def may_be_split(chores: Chores) -> bool:
    """Whether the stock may just have been split: then the prices of our orders mean nothing any more."""
    apart, position = chores.view.apart, chores.state.position
    if apart is None or position.quantity != apart.ours:
        return False
    return split_ratio(apart.ours, apart.theirs, position.average_price, _price(chores)) is not None


def make_room(chores: Chores, reports: Sequence[ExecutionReport]) -> None:
    """Executions that come after all, while others stand for them: as much of those is taken back."""
    if chores.state.held.startswith(TAKEN_OVER):
        for report in reports:
            if not chores.state.position.knows(report.exec_id):
                _make_room(chores, report)


def _make_room(chores: Chores, report: ExecutionReport) -> None:
    left = report.quantity
    for root, standing in tuple(chores.state.position.executions.items()):
        taken = min(left, standing.quantity)
        if root.startswith(BOOKS) and standing.side is report.side and taken > 0:
            left -= taken
            exec_id = f"{root}.{standing.revision + 1:02}"
            chores.emit(ForeignFillEvent(
                at=chores.at, cause=report.exec_id, symbol=chores.plan.symbol, exec_id=exec_id,
                side=standing.side, quantity=standing.quantity - taken, price=standing.price,
            ))  # fmt: skip


# --- exits that the journal does not know -----------------------------------------------------------


def keeps_unknown(chores: Chores, report: OrderReport, position: int) -> bool:
    """Whether an exit of a trade that the journal has never seen protects shares that it does not know.

    So after a journal was set back, or lost its last moments with the power. Flat, it is cancelled.
    """
    unknown = chores.state.trade is None and report.ref.trade >= chores.state.next_trade
    exits = purpose_of(report.ref.role) in (Purpose.STOP, Purpose.TARGET)
    keeps = unknown and exits and position * report.side.sign < 0
    if keeps:
        chores.view.kept[report.ref] = None
    return keeps


def clear_kept(chores: Chores) -> None:
    """What such exits protected is gone."""
    if not chores.view.kept or chores.state.position.quantity or chores.view.apart is not None:
        return
    why = "the shares that it protected are gone"
    for ref in chores.view.kept:
        chores.emit(CancelEvent(at=chores.at, cause=why, ref=ref, why=why))
    chores.view.kept.clear()


# --- small things -----------------------------------------------------------------------------------


def _hold(chores: Chores, reason: str) -> None:
    chores.emit(HoldEvent(at=chores.at, cause="snapshot", symbol=chores.plan.symbol, reason=reason))
