"""A hedge: a position of this symbol that another symbol's trade asked for, and that ends with it."""

from __future__ import annotations

from decimal import Decimal
from typing import assert_never

import attrs

from protocol.chores import Chores
from protocol.closing import start_closing
from protocol.commands import EndHedge, HedgeTrade
from protocol.entry import enter, market_refusal, plan_bracket
from protocol.events import NotifyEvent
from protocol.planning import Refusal
from protocol.rules.actions import Enter
from protocol.rules.amounts import Shares
from protocol.values import Side

HEDGE_RULE = "hedge"


def name_of(trade_of: str, trade: int) -> str:
    return f"{trade_of}:{trade}"


def hear_peer(chores: Chores, command: HedgeTrade | EndHedge) -> None:
    """Take on a hedge, once, or end it. A refusal is told to a person: the other trade lives on unhedged."""
    match command:
        case HedgeTrade():
            _take_on(chores, command)
        case EndHedge(trade_of=trade_of, trade=number):
            trade = chores.state.trade
            if trade is not None and trade.plan.hedge_of == name_of(trade_of, number):
                start_closing(chores, f"the trade of {trade_of} that it hedged is over")
        case _:
            assert_never(command)


def _take_on(chores: Chores, command: HedgeTrade) -> None:
    state, name = chores.state, name_of(command.trade_of, command.trade)
    if name in state.values or (state.trade is not None and state.trade.plan.hedge_of == name):
        return
    refusal = Refusal("busy", "it has a trade of its own") if state.trade or state.pending else None
    refusal = refusal or market_refusal(chores)
    side = Side.BUY if command.dollars > 0 else Side.SELL
    price = chores.view.far_side(side)
    quantity = 0 if price is None else int(abs(command.dollars) / Decimal(repr(price)))
    bracket = refusal or plan_bracket(chores, Enter(side, target=None, sizing=Shares(max(quantity, 0))))
    if isinstance(bracket, Refusal):
        chores.emit(NotifyEvent(
            at=chores.at, cause=name, symbol=chores.plan.symbol, rule=HEDGE_RULE, urgent=True,
            text=f"no hedge for {command.trade_of}: {bracket.reason}",
        ))  # fmt: skip
        return
    plan = attrs.evolve(bracket.plan, hedge_of=name)
    enter(chores, attrs.evolve(bracket, plan=plan), "", HEDGE_RULE)
