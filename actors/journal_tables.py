"""What the journal says, as tables for people."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence
from typing import Any, TextIO

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table
from rich.text import Text

from protocol.causes import depth
from protocol.event_text import clock, symbol_of, what
from protocol.journal import JournalRow
from protocol.position_record import PositionRecord, said
from protocol.position_summary import TradeSummary
from protocol.report import dollars
from protocol.symbol_snapshot import SignalStory
from protocol.trade_story import TradeStory, waits_s
from protocol.values import Side

PIPED_COLUMNS = 200
"""The width where there is no terminal to ask."""


class Screen:
    """Where tables go; a reader who has gone is met with BrokenPipeError, like any other write."""

    def __init__(self, out: TextIO | None = None) -> None:
        self._out = sys.stdout if out is None else out
        width = None if self._out.isatty() else PIPED_COLUMNS
        self._console = _Console(file=self._out, width=width, highlight=False)

    def say(self, line: str) -> None:
        self._console.print(Text(_harmless(line)), soft_wrap=True)

    def table(self, head: Sequence[str], rows: Iterable[Sequence[object]], *, right: str = "") -> None:
        """`right` names the columns of numbers, separated by blanks."""
        table = Table(box=SIMPLE_HEAD, pad_edge=False, show_edge=False)
        for name in head:
            table.add_column(name, justify="right" if name in right.split() else "left", overflow="fold")
        for row in rows:
            # Text, not markup: what comes from outside may hold brackets.
            table.add_row(*(Text(_harmless(str(cell))) for cell in row))
        self._console.print(table)


def _harmless(text: str) -> str:
    """On one line, without anything that a terminal would obey, and whole."""
    return "".join(character if character.isprintable() else " " for character in text)


class _Console(Console):
    def on_broken_pipe(self) -> None:
        raise BrokenPipeError


def event_rows(rows: Iterable[JournalRow]) -> Iterable[Sequence[object]]:
    for row in rows:
        yield row.seq, clock(row.at), row.kind, symbol_of(row.event), what(row.event)


EVENT_HEAD = ("id", "New York time", "type", "symbol", "what")


def chain_rows(rows: Iterable[JournalRow]) -> Iterable[Sequence[object]]:
    """The same, each further in the deeper down the chain it is."""
    for row in rows:
        further = "  " * depth(row.event)
        yield row.seq, clock(row.at), f"{further}{row.kind}", f"{further}{what(row.event)}"


POSITION_HEAD = (
    "position", "status", "side", "shares", "average", "stop", "target", "realized", "commission", "rule",
    "since", "reason",
)  # fmt: skip


def position_row(record: PositionRecord) -> Sequence[object]:
    side = "long" if record.side.sign > 0 else "short"
    shares = record.quantity if record.is_active else record.entered
    return (
        record.position_id, record.status.value, side, shares,
        said(record.average_entry), said(record.stop_price), said(record.target_price),
        dollars(record.realized_pnl), dollars(record.commission), record.rule,
        clock(record.opened_at)[:-4], record.reason,
    )  # fmt: skip


SUMMARY_HEAD = (
    "symbol", "trades", "won", "lost", "rate", "realized", "commission", "a-win", "a-loss", "factor",
    "best", "worst", "expectancy", "drawdown",
)  # fmt: skip


def summary_row(name: str, summary: TradeSummary) -> Sequence[object]:
    rate, factor = summary.win_rate, summary.profit_factor
    averages = (summary.average_win, summary.average_loss)
    return (
        name, summary.trades, summary.winners, summary.losers, "" if rate is None else f"{rate:.0%}",
        dollars(summary.realized_pnl), dollars(summary.commission),
        *("" if amount is None else dollars(amount) for amount in averages),
        "" if factor is None else f"{factor:.2f}",
        *("" if amount is None else dollars(amount) for amount in (
            summary.largest_win, summary.largest_loss, summary.expectancy, summary.max_drawdown
        )),
    )  # fmt: skip


SIGNAL_HEAD = ("New York time", "symbol", "signal", "confidence", "verdict", "code", "reason", "id")


def signal_row(story: SignalStory) -> Sequence[object]:
    told = story.to_dict()
    confidence = "" if told["confidence"] is None else f"{told['confidence']:.2f}"
    return (
        clock(story.at), told["symbol"], told["signal"] or "?", confidence, told["verdict"], told["code"],
        told["reason"], told["signal_id"],
    )  # fmt: skip


# --- one trade --------------------------------------------------------------------------------------

STEP_HEAD = ("id", "New York time", "after", "step", "order", "what")


def step_rows(story: TradeStory) -> Iterable[Sequence[object]]:
    """Each step with the market time since the one before."""
    for step, after_s in zip(story.steps, waits_s(story.steps), strict=True):
        order = "" if step.ref is None else f"{step.ref.role}.r{step.ref.revision}"
        yield step.event_id, clock(step.at), waited(after_s), step.step, order, step.text


def waited(seconds: float) -> str:
    """A wait as a person reads it; nothing for none."""
    if not seconds:
        return ""
    if abs(seconds) < 1:
        return f"{seconds * 1000:.0f} ms"
    minutes, left_s = divmod(seconds, 60)
    return f"{left_s:.1f} s" if not minutes else f"{minutes:.0f} min {left_s:.0f} s"


def show_trade(screen: Screen, story: TradeStory) -> None:
    side = "long" if story.side is Side.BUY else "short"
    asked = f"by signal {story.signal_id}" if story.signal_id else "without a signal"
    end = f"closed, {story.reason}" if story.reason else f"lives, holds {story.quantity:+d}"
    screen.say(f"{story.id}: {side} {story.entered} by rule {story.rule}, {asked}; {end}")
    screen.table(STEP_HEAD, step_rows(story), right="id after")
    screen.say(
        f"realized {dollars(story.realized_pnl)}, commission {dollars(story.commission)}, "
        f"net {dollars(story.net_pnl)}"
    )
    times = "; ".join(f"{name.replace('_', ' ')} {waited(s) or '0 ms'}" for name, s in story.times_s.items())
    if times:
        screen.say(f"market time from {times}")


# --- one symbol -------------------------------------------------------------------------------------


def show_snapshot(screen: Screen, told: dict[str, Any]) -> None:
    """The state of one symbol, as `SymbolWatch.snapshot` tells it."""
    position, trade = told["position"], told["trade"]
    held = f", held: {told['held']}" if told["held"] else ""
    screen.say(f"{told['symbol']}: {told['status']}{held}; the actor: {told['actor'] or 'never ran'}")
    screen.say(
        f"position {position['quantity']:+d} at {position['average_price'][:12]}, "
        f"realized ${position['realized_pnl']}, commission ${position['commission']}"
    )
    if told["pending"] is not None:
        screen.say(f"waits to enter {told['pending']['side']} by rule {told['pending']['rule']}")
    if trade is not None:
        _show_trade(screen, trade)
    facts = {name: value for name, value in ((told["record"] or {}).get("facts") or {}).items() if value}
    if facts:
        screen.say("stock: " + ", ".join(f"{name} {value}" for name, value in facts.items()))
    for name, value in told["values"].items():
        screen.say(f"value.{name} = {value}")
    for name, rule in told["prepared"].items():
        screen.say(f"entry '{name}' is ready, made by rule {rule}")
    if told["rules"]:
        screen.table(("rule", "on", "cooldown", "today", "what"), (_rule_row(rule) for rule in told["rules"]))
    if told["signals"]:
        screen.table(("last signals", "signal", "verdict", "code", "reason"), (
            (each["at"][:19], each["signal"] or "?", each["verdict"], each["code"], each["reason"])
            for each in told["signals"]
        ))  # fmt: skip


def _show_trade(screen: Screen, trade: dict[str, Any]) -> None:
    closing = f", closing: {trade['closing']}" if trade["closing"] else ""
    asked = trade["signal_id"] or "no signal"
    screen.say(f"trade {trade['trade']}: {trade['side']} by rule {trade['rule']} ({asked}){closing}")
    screen.table(("link", "order", "status", "side", "quantity", "filled", "price", "as asked"), (
        (
            link, order["type"], order["status"], order["side"], order["quantity"], order["filled"],
            order["stop_price"] or order["limit_price"] or order["trail"] or "",
            "yes" if order["as_asked"] else "no",
        )
        for link, orders in trade["orders"].items() for order in orders
    ), right="quantity filled price")  # fmt: skip


def _rule_row(rule: dict[str, Any]) -> Sequence[object]:
    limit = "" if rule["max_per_day"] is None else f" of {rule['max_per_day']}"
    left = f"{rule['cooldown_left_s']:.0f} s" if rule["cooldown_left_s"] else ""
    on = "on" if rule["on"] else "off"
    return rule["name"], on, left, f"{rule['acted_today']}{limit}", rule["text"]
