"""The lines of a market folder's CSV files become columns; what is wrong with a line is said, not raised.

Formats: `time,open,high,low,close,volume` (one-minute bars, the time names their start),
`time,price,size` (trades) and `time,bid,bid_size,ask,ask_size` (quotes); times are ISO 8601 with an
offset. Columns may stand in another order, and others beside them. A bad line is left out with a
warning, a line out of order is sorted in, and of two bars of one minute the first holds. Trades and
quotes of one instant are no duplicates: exchanges report several.
"""

from __future__ import annotations

from array import array
from collections.abc import Callable, Iterable, Sequence
from datetime import datetime
from itertools import chain, islice
from math import isfinite
from operator import le
from typing import Final, TypeAlias

import attrs

from protocol.exchange.history import MINUTE_US, micros
from protocol.exchange.series import BarSeries, QuoteSeries, Series, TradeSeries, rows_of

BAR_COLUMNS: Final = ("time", "open", "high", "low", "close", "volume")
TRADE_COLUMNS: Final = ("time", "price", "size")
QUOTE_COLUMNS: Final = ("time", "bid", "bid_size", "ask", "ask_size")

MAX_WARNINGS: Final = 100
"""Per file: one that is wrong throughout is said to be so in one more line, not in thousands."""
MAX_ECHO: Final = 60
"""Characters of a bad line that are repeated in a warning."""
CHUNK_LINES: Final = 1000
"""Lines that are converted in one go, which is three times faster than one by one."""
FIRST_YEAR, LAST_YEAR = 1970, 2199
"""Electronic trading began in 1971; a later time than the last is a slip of units."""
MAX_PRICE: Final = 1e8
"""Dollars a share: a hundred times the dearest that was ever listed."""
MAX_SHARES: Final = 1e12
_MILLISECOND_FORM: Final = len("2013-10-07T04:00:00.241-04:00")


class Complaints:
    """The warnings about one file, each with its line number, as many as a person can use."""

    def __init__(self, name: str) -> None:
        self.name = name
        self._lines: list[str] = []
        self._more = 0

    def add(self, line: int, what: str) -> None:
        if len(self._lines) < MAX_WARNINGS:
            self._lines.append(f"{self.name}:{line}: {what}")
        else:
            self._more += 1

    def lines(self) -> tuple[str, ...]:
        more = (f"{self.name}: {self._more} more lines like these",) if self._more else ()
        return (*self._lines, *more)


def parse_bars(lines: Iterable[str], complaints: Complaints) -> BarSeries:
    series = BarSeries()

    def add(at_us: array[int], numbers: list[array[float]]) -> None:
        opened, high, low, close, volume = numbers
        # A comparison with NaN fails, too.
        in_range = all(all(map(le, low, price)) and all(map(le, price, high)) for price in (opened, close))
        if not (in_range and min(low) > 0 and max(high) <= MAX_PRICE and _within(volume, MAX_SHARES)):
            raise ValueError(_fault_of_bar(*(column[0] for column in numbers)))
        if any(time_us % MINUTE_US for time_us in at_us):
            raise ValueError("a one-minute bar that does not start on the minute")
        series.at_us.extend(at_us)
        series.open.extend(opened)
        series.high.extend(high)
        series.low.extend(low)
        series.close.extend(close)
        series.volume.extend(map(round, volume))

    numbers = _read(lines, BAR_COLUMNS, add, complaints)
    order = _in_order(series.at_us, numbers, complaints)
    kept: list[int] = []
    for row in order:
        if kept and series.at_us[kept[-1]] == series.at_us[row]:
            complaints.add(
                numbers[row], f"the minute of line {numbers[kept[-1]]} once more; the first bar holds"
            )
        else:
            kept.append(row)
    return _arranged(series, kept)


def parse_trades(lines: Iterable[str], complaints: Complaints) -> TradeSeries:
    series = TradeSeries()

    def add(at_us: array[int], numbers: list[array[float]]) -> None:
        price, size = numbers
        if not (_within(price, MAX_PRICE) and min(price) > 0 and _within(size, MAX_SHARES)):
            raise ValueError(_fault_of_numbers(TRADE_COLUMNS[1:], [column[0] for column in numbers]))
        series.at_us.extend(at_us)
        series.price.extend(price)
        series.size.extend(map(round, size))

    numbers = _read(lines, TRADE_COLUMNS, add, complaints)
    return _arranged(series, _in_order(series.at_us, numbers, complaints))


def parse_quotes(lines: Iterable[str], complaints: Complaints) -> QuoteSeries:
    series = QuoteSeries()

    def add(at_us: array[int], numbers: list[array[float]]) -> None:
        bid, bid_size, ask, ask_size = numbers
        # A side that nobody quotes is a zero, and a crossed quote did happen: both are passed on.
        prices, sizes = _within(bid, MAX_PRICE) and _within(ask, MAX_PRICE), (bid_size, ask_size)
        if not (prices and all(_within(size, MAX_SHARES) for size in sizes)):
            raise ValueError(_fault_of_numbers(QUOTE_COLUMNS[1:], [column[0] for column in numbers]))
        series.at_us.extend(at_us)
        series.bid.extend(bid)
        series.bid_size.extend(map(round, bid_size))
        series.ask.extend(ask)
        series.ask_size.extend(map(round, ask_size))

    numbers = _read(lines, QUOTE_COLUMNS, add, complaints)
    return _arranged(series, _in_order(series.at_us, numbers, complaints))


def _within(numbers: array[float], limit: float) -> bool:
    return all(map(isfinite, numbers)) and min(numbers) >= 0 and max(numbers) <= limit


# --- lines ----------------------------------------------------------------------------------------

_Add: TypeAlias = Callable[["array[int]", "list[array[float]]"], None]
"""Takes columns of rows; if one of them is bad, takes none and raises ValueError, the first one's fault."""


def _read(lines: Iterable[str], columns: tuple[str, ...], add: _Add, complaints: Complaints) -> array[int]:
    """Hand all good lines to `add`, by the thousand where all are good, else one by one.

    Returns the numbers of the good lines.
    """
    good: array[int] = array("q")
    stream = iter(lines)
    header = next(stream, None)
    if header is None:
        complaints.add(1, "the file is empty")
        return good
    layout = _layout_of(header, columns, complaints)
    if layout is None:
        return good
    times = _Times()
    number = layout.first_line
    body = stream if number > 1 else chain((header,), stream)
    while chunk := list(islice(body, CHUNK_LINES)):
        try:
            _take(chunk, layout, times, add)
        except ValueError:
            for offset, line in enumerate(chunk):
                if not line.strip():
                    continue
                try:
                    _take([line], layout, times, add)
                except ValueError as fault:
                    complaints.add(number + offset, f"{fault}: {_echo(line)}")
                else:
                    good.append(number + offset)
        else:
            good.extend(range(number, number + len(chunk)))
        number += len(chunk)
    return good


def _take(lines: list[str], layout: _Layout, times: _Times, add: _Add) -> None:
    fields = ",".join(lines).split(",")
    width = layout.width
    if len(fields) != width * len(lines):
        raise ValueError(f"{len(fields)} fields instead of {width}")
    # Where lines of more and fewer fields make up for each other, something else stands in a time's place.
    time, *rest = (fields[place::width] for place in layout.places)
    numbers = [array("d", map(float, column)) for column in rest]
    add(array("q", map(times.time_us, time)), numbers)


@attrs.frozen
class _Layout:
    """Where the columns stand among the `width` fields of a line, and on which line the data begins."""

    places: tuple[int, ...]
    width: int
    first_line: int


def _layout_of(header: str, columns: tuple[str, ...], complaints: Complaints) -> _Layout | None:
    """None when the file cannot be read."""
    names = [name.strip().lower() for name in header.lstrip("\ufeff").split(",")]
    missing = [column for column in columns if column not in names]
    if not missing:
        return _Layout(tuple(names.index(column) for column in columns), len(names), 2)
    if len(names) == len(columns) and names[0][:2].isdecimal():
        complaints.add(1, f"no header; the columns are taken to be {','.join(columns)}")
        return _Layout(tuple(range(len(columns))), len(columns), 1)
    complaints.add(1, f"the header lacks {', '.join(missing)}; nothing of this file is used")
    return None


def _in_order(at_us: array[int], numbers: array[int], complaints: Complaints) -> list[int] | range:
    """The rows by time; equal times stay in the file's order."""
    if all(map(le, at_us, islice(at_us, 1, None))):
        return range(len(at_us))
    latest = -1
    for row, time_us in enumerate(at_us):
        if time_us < latest:
            complaints.add(numbers[row], "earlier than a line before it; sorted in")
        latest = max(latest, time_us)
    return sorted(range(len(at_us)), key=at_us.__getitem__)


def _arranged(series: Series, rows: list[int] | range) -> Series:
    unchanged = len(rows) == len(series.at_us) and all(row == place for place, row in enumerate(rows))
    return series if unchanged else rows_of(series, rows)


# --- values ---------------------------------------------------------------------------------------


class _Times:
    """Reads times. Those of one minute share all but their seconds, so the rest is read once a minute."""

    def __init__(self) -> None:
        self._minute: str | None = None
        self._minute_us = 0
        self._latest: str | None = None
        self._latest_us = 0

    def time_us(self, text: str) -> int:
        if text == self._latest:
            return self._latest_us
        # 2013-10-07T04:00:00.241-04:00
        if text[:17] + text[23:] == self._minute and text[19] == ".":
            millis = text[17:19] + text[20:23]
            if millis < "60000" and millis.isdecimal():
                self._latest, self._latest_us = text, self._minute_us + int(millis) * 1000
                return self._latest_us
        at_us = _time_us(text)
        if len(text) == _MILLISECOND_FORM and text[19] == ".":
            self._minute, self._minute_us = text[:17] + text[23:], at_us - at_us % MINUTE_US
        return at_us


def _time_us(text: str) -> int:
    try:
        at = datetime.fromisoformat(text)
    except ValueError:
        raise ValueError("not a time") from None
    if at.tzinfo is None:
        raise ValueError("a time without an offset from UTC")
    if not FIRST_YEAR <= at.year <= LAST_YEAR:
        raise ValueError("not a time of electronic trading")
    return micros(at)


def _fault_of_bar(opened: float, high: float, low: float, close: float, volume: float) -> str:
    if high < low:
        return "the high lies below the low"
    if not all(low <= price <= high for price in (opened, close)) and low > 0 and isfinite(opened + close):
        return "the open or the close lies outside the bar's range"
    return _fault_of_numbers(BAR_COLUMNS[1:], [opened, high, low, close, volume])


def _fault_of_numbers(names: Sequence[str], numbers: Sequence[float]) -> str:
    for name, number in zip(names, numbers, strict=True):
        limit = MAX_SHARES if "size" in name or name == "volume" else MAX_PRICE
        if not 0 <= number <= limit:
            return f"the {name} cannot be {number}"
    return "a price cannot be 0"


def _echo(text: str) -> str:
    text = text.strip()
    return repr(text if len(text) <= MAX_ECHO else text[:MAX_ECHO] + "…")
