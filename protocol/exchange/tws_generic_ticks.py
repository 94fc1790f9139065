"""Generic ticks: what a market data line says beyond prices and sizes when its request lists their numbers.

What can be worked out from the market is told. The rest of the legal numbers (option volume, auction
imbalance, news …) are taken and nothing is said of them, as TWS does where it has nothing.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from datetime import datetime
from decimal import Decimal
from typing import Final

import attrs

from protocol.exchange.happenings import MarketTick
from protocol.exchange.tws_quotes import Quote
from protocol.tws.messages import TickGeneric, TickPrice, TickSize, TickString
from protocol.tws.ticks import AnyTick

NAMES: Final = {
    100: "Option Volume", 101: "Option Open Interest", 104: "Historical Volatility",
    105: "Average Opt Volume", 106: "Option Implied Volatility", 162: "Index Future Premium",
    165: "Miscellaneous Stats", 221: "Mark Price", 225: "Auction Values", 232: "Mark Price",
    233: "RT Volume", 236: "Inventory", 258: "Fundamentals", 292: "News", 293: "Trade Count",
    294: "Trade Rate", 295: "Volume Rate", 318: "Last RTH Trade", 375: "RT Trade Volume",
    411: "Real-time Historical Volatility", 456: "IB Dividends", 460: "Bond Factor Multiplier",
    577: "ETF Nav Last", 586: "IPO Estimates", 588: "Futures Open Interest", 595: "Short-Term Volume X Mins",
    614: "ETF Nav Misc", 619: "Slow Mark Price", 623: "ETF Nav Frozen",
}  # fmt: skip
_OF_ANY: Final = frozenset({221, 225, 232, 233, 293, 294, 295, 318, 375, 619})
_OF_STOCKS: Final = frozenset(
    {100, 101, 104, 105, 106, 165, 236, 258, 292, 411, 456, 577, 586, 595, 614, 623}
)
LEGAL: Final = {
    "STK": _OF_ANY | _OF_STOCKS,
    "OPT": _OF_ANY | {100, 101, 104, 106, 411},
    "FUT": _OF_ANY | {165, 588},
    "CASH": frozenset({221, 232, 619}),
}
RATE_S: Final = 60
"""Trade and volume rates are those of the last minute."""

HISTORICAL_VOLATILITY, IMPLIED_VOLATILITY, MARK_PRICE = 23, 24, 37
LOW_13W, HIGH_13W, LOW_26W, HIGH_26W, LOW_52W, HIGH_52W, AVERAGE_VOLUME = range(15, 22)
RT_VOLUME, TRADE_COUNT, TRADE_RATE, VOLUME_RATE, LAST_RTH, RT_HISTORICAL_VOLATILITY = 48, 54, 55, 56, 57, 58
SHORTABLE, DIVIDENDS, RT_TRADE_VOLUME, SHORTABLE_SHARES = 46, 59, 77, 89
EASY_TO_BORROW, HARD_TO_BORROW = 3.0, 1.6
"""More than 2.5: a thousand shares at least; from 1.5 to 2.5: they have to be located first."""
BORROWABLE_SHARES: Final = 1_000_000


@attrs.frozen(kw_only=True)
class Facts:
    """What is known of a contract from its past days; None what is not."""

    historical_volatility: float | None = None
    implied_volatility: float | None = None
    ranges: tuple[tuple[float, float], ...] = ()
    """(low, high) of the last 13, 26 and 52 weeks, as far back as there is a past."""
    average_volume: int | None = None
    hard_to_borrow: bool = False


def read_list(text: str, sec_type: str) -> frozenset[int] | None:
    """The numbers of a generic tick list; None when one of them is illegal. `mdoff` is not among them."""
    wanted: set[int] = set()
    for word in text.replace(" ", "").split(","):
        number = word.partition(":")[0]
        if word in ("", "mdoff"):
            continue
        if not (number.isascii() and number.isdecimal() and len(number) < 5):
            return None
        wanted.add(int(number))
    return frozenset(wanted) if wanted <= LEGAL.get(sec_type, _OF_ANY) else None


def illegal_text(text: str, sec_type: str) -> str:
    legal = ",".join(f"{number}({NAMES[number]})" for number in sorted(LEGAL.get(sec_type, _OF_ANY)))
    return (
        f"Error validating request.-'bQ' : cause - Incorrect generic tick list of {text}."
        f"  Legal ones for ({sec_type}) are: {legal}"
    )


def standing(req_id: int, wanted: Iterable[int], facts: Facts) -> Iterator[AnyTick]:
    """What a line says once, at its beginning."""
    for number in sorted(wanted):
        match number:
            case 104 if facts.historical_volatility is not None:
                yield TickGeneric(req_id, HISTORICAL_VOLATILITY, facts.historical_volatility)
            case 106 if facts.implied_volatility is not None:
                yield TickGeneric(req_id, IMPLIED_VOLATILITY, facts.implied_volatility)
            case 165:
                kinds = ((LOW_13W, HIGH_13W), (LOW_26W, HIGH_26W), (LOW_52W, HIGH_52W))
                for (low_kind, high_kind), (low, high) in zip(kinds, facts.ranges, strict=False):
                    yield TickPrice(req_id, low_kind, low, Decimal(0))
                    yield TickPrice(req_id, high_kind, high, Decimal(0))
                if facts.average_volume is not None:
                    yield TickSize(req_id, AVERAGE_VOLUME, Decimal(facts.average_volume))
            case 236:
                ease = HARD_TO_BORROW if facts.hard_to_borrow else EASY_TO_BORROW
                shares = 0 if facts.hard_to_borrow else BORROWABLE_SHARES
                yield TickGeneric(req_id, SHORTABLE, ease)
                yield TickSize(req_id, SHORTABLE_SHARES, Decimal(shares))
            case 411 if facts.historical_volatility is not None:
                yield TickGeneric(req_id, RT_HISTORICAL_VOLATILITY, facts.historical_volatility)
            case 456:
                yield TickString(req_id, DIVIDENDS, ",,,")
            case _:
                pass


class TradePace:
    """The trades of one contract in the last minute."""

    def __init__(self) -> None:
        self._recent: deque[tuple[int, int]] = deque()
        self.shares = 0

    def add(self, epoch_s: int, size: int) -> None:
        self._recent.append((epoch_s, size))
        self.shares += size
        while self._recent[0][0] <= epoch_s - RATE_S:
            self.shares -= self._recent.popleft()[1]

    @property
    def trades(self) -> int:
        return len(self._recent)


def after_quote(req_id: int, wanted: frozenset[int], before: float | None, quote: Quote) -> Iterator[AnyTick]:
    """What a changed quote says; `before`: the mark price before it."""
    mark = quote.mark
    if mark is not None and mark != before and wanted & {221, 232, 619}:
        yield TickPrice(req_id, MARK_PRICE, mark, Decimal(0))


def after_trade(
    req_id: int,
    wanted: frozenset[int],
    quote: Quote,
    tick: MarketTick,
    pace: TradePace | None,
    *,
    regular: bool,
) -> Iterator[AnyTick]:
    """What a trade says."""
    for number, kind in ((233, RT_VOLUME), (375, RT_TRADE_VOLUME)):
        if number in wanted:
            yield TickString(req_id, kind, _sale(quote, tick.at))
    if 293 in wanted:
        yield TickGeneric(req_id, TRADE_COUNT, float(quote.trades))
    if pace is not None and 294 in wanted:
        yield TickGeneric(req_id, TRADE_RATE, float(pace.trades))
    if pace is not None and 295 in wanted:
        yield TickGeneric(req_id, VOLUME_RATE, float(pace.shares))
    if regular and 318 in wanted and quote.last is not None:
        yield TickPrice(req_id, LAST_RTH, quote.last, Decimal(0))


def _sale(quote: Quote, at: datetime) -> str:
    """`price;size;epoch ms;volume;average price;single`: true when one market maker filled the trade."""
    ms = int(at.timestamp() * 1000)
    return f"{quote.last};{quote.last_size or 0};{ms};{quote.volume or 0};{quote.vwap:.8f};false"
