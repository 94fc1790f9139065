"""What expressions can read of a symbol, by name: meaning, unit, and what makes a fact change."""

from __future__ import annotations

import enum
from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

import attrs


class Change(enum.Enum):
    """What can change a fact: a rule has to be looked at only when one of its facts can have changed."""

    SIGNAL = "signal"
    EVENT = "event"
    TICK = "tick"
    BAR = "bar"
    POSITION = "position"
    TIME = "time"


class Kind(enum.Enum):
    """What a value is, as far as it can be told before it is known."""

    NUMBER = "a number"
    TEXT = "a text"
    TRUTH = "true or false"
    ANY = "anything"


@attrs.frozen
class FactName:
    """`words`: all that a text can be; empty where it can be anything."""

    name: str
    meaning: str
    unit: str
    change: Change
    kind: Kind = Kind.NUMBER
    words: tuple[str, ...] = ()


VALUE_PREFIX: Final = "value."
"""What rules keep under a name of their own."""
EVENT_PREFIX: Final = "event."
"""The fields of the event that a rule answers."""

STATES: Final = ("flat", "planned", "opening", "open", "adjusting", "closing")
SIDES: Final = ("long", "short", "")
WEEKDAYS: Final = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")


def _number(name: str, meaning: str, unit: str, change: Change) -> FactName:
    return FactName(name, meaning, unit, change)


def _text(name: str, meaning: str, change: Change, words: tuple[str, ...] = ()) -> FactName:
    return FactName(name, meaning, "text", change, Kind.TEXT, words)


def _truth(name: str, meaning: str, change: Change) -> FactName:
    return FactName(name, meaning, "true or false", change, Kind.TRUTH)


_ALL: Final = (
    _text("signal", "what the prediction says: BUY, SELL, SHORT or another word", Change.SIGNAL),
    _number("confidence", "how sure the prediction is", "0 to 1", Change.SIGNAL),
    _text("source", "where the prediction comes from", Change.SIGNAL),
    _number("signal_price", "the stock's price when it was predicted", "$", Change.SIGNAL),
    _text("symbol", "the symbol itself", Change.TIME),
    _number("price", "last trade", "$", Change.TICK),
    _number("bid", "best bid", "$", Change.TICK),
    _number("ask", "best ask", "$", Change.TICK),
    _number("mid", "middle of bid and ask", "$", Change.TICK),
    _number("spread", "ask less bid", "$", Change.TICK),
    _number("spread_pct", "ask less bid, of the middle", "fraction", Change.TICK),
    _number("volume", "shares traded today", "shares", Change.TICK),
    _number("volatility", "the symbol's ATR, of the price", "fraction", Change.TICK),
    _number("change_pct", "last trade against the previous close", "fraction", Change.TICK),
    _text("state", "where the trade is in its life", Change.POSITION, STATES),
    _text("side", 'of the trade; "" without one', Change.POSITION, SIDES),
    _number("quantity", "shares held, negative when short", "shares", Change.POSITION),
    _number("average_price", "average entry", "$", Change.POSITION),
    _number("pnl", "open profit of the trade at the price it could be closed at", "$", Change.TICK),
    _number("pnl_pct", "the same, of what was paid for it", "fraction", Change.TICK),
    _number("realized_today", "made by the trades that ended today and by this one", "$", Change.POSITION),
    _number("mfe_pct", "most that the trade has been in profit", "fraction", Change.TICK),
    _number("mae_pct", "most that it has been in loss, not negative", "fraction", Change.TICK),
    _number("drawdown_pct", "how far below its best the trade is", "fraction", Change.TICK),
    _number("duration_s", "since the trade began", "s", Change.TIME),
    _number("stop_price", "where the trade's own stop works", "$", Change.POSITION),
    _number("target_price", "where its nearest target works", "$", Change.POSITION),
    _number("scale_ins", "additions in profit to this trade", "count", Change.POSITION),
    _number("double_downs", "additions in loss to this trade", "count", Change.POSITION),
    _number("trades_today", "trades begun today", "count", Change.POSITION),
    _number("losses_today", "trades of today that ended in loss", "count", Change.POSITION),
    _number("seconds_since_stop_out", "since a stop last ended a trade", "s", Change.TIME),
    _number("minutes_to_close", "until the session ends; below 0 after it", "min", Change.TIME),
    _number("minutes_since_open", "since the session began; below 0 before it", "min", Change.TIME),
    _text("time", 'of day in the zone of the schedule, "HH:MM"', Change.TIME),
    _text("weekday", "in the zone of the schedule", Change.TIME, WEEKDAYS),
    _truth("market_open", "whether the session is on", Change.TIME),
    _truth("half_day", "whether the session ends early today", Change.TIME),
    _number("equity", "net liquidation value of the account", "$", Change.POSITION),
    _number("open_pnl_all", "open profit of all symbols", "$", Change.POSITION),
    _number("exposure_all", "worth of all positions, each counted positive", "$", Change.POSITION),
    _number("realized_today_all", "made by the trades of all symbols that ended today", "$", Change.POSITION),
    _number("pnl_today_all", "open profit and what was realized today, of all symbols", "$", Change.POSITION),
    _number("positions_all", "symbols that hold a position", "count", Change.POSITION),
)

ACCOUNT_FACTS: Final = frozenset(fact.name for fact in _ALL if fact.name.endswith("_all"))
"""What no symbol sees: a rule that reads one of these is the portfolio's and can read nothing of a symbol."""
PORTFOLIO_FACTS: Final = ACCOUNT_FACTS | {
    "equity", "time", "weekday", "market_open", "half_day", "minutes_to_close", "minutes_since_open",
}  # fmt: skip
"""All that such a rule can read."""

FACTS: Final[Mapping[str, FactName]] = MappingProxyType({fact.name: fact for fact in _ALL})


def change_of(name: str) -> Change:
    """What can change the fact, the kept value or the event's field of that name."""
    if name.startswith(VALUE_PREFIX):
        return Change.POSITION
    if name.startswith(EVENT_PREFIX):
        return Change.EVENT
    return FACTS[name].change
