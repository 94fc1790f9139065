"""The live table: what it shows of a run, and how it looks. Drawn from values taken at one instant."""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal
from zoneinfo import ZoneInfo

import attrs
from rich.console import Group
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from protocol.books import SymbolSummary
from protocol.report import dollars
from protocol.reports import LinkState
from protocol.summary import clean
from protocol.values import Symbol, exact

_COLUMNS = ("symbol", "state", "position", "average", "last", "P&L", "stop", "last verdict")
_NUMBERS = frozenset({"position", "average", "last", "P&L", "stop"})


@attrs.frozen
class SymbolStatus:
    """What only the running system knows of a symbol. `state` empty: as the journal has it."""

    symbol: Symbol
    last: float | None = None
    state: str = ""


@attrs.frozen
class RunStatus:
    """The run at this moment. `market_from` and `market_to` are None when it has no end that is known."""

    symbols: tuple[SymbolStatus, ...] = ()
    market_now: datetime | None = None
    speed: float = 1.0
    link: LinkState = LinkState.DOWN
    market_from: datetime | None = None
    market_to: datetime | None = None

    @property
    def progress(self) -> float | None:
        """How much of a replay is over, from 0 to 1; None when that is not known."""
        if self.market_now is None or self.market_from is None or self.market_to is None:
            return None
        whole_s = (self.market_to - self.market_from).total_seconds()
        if whole_s <= 0:
            return None
        return min(1.0, max(0.0, (self.market_now - self.market_from).total_seconds() / whole_s))


@attrs.frozen
class View:
    """Everything that one drawing shows. `lines` are the last notable events, `control` is a command."""

    status: RunStatus
    rows: tuple[tuple[SymbolSummary, SymbolStatus], ...]
    lines: tuple[str, ...]
    zone: ZoneInfo
    control: str = ""


def draw(view: View) -> Group:
    parts: list[Text | Table | ProgressBar] = [_header(view)]
    progress = view.status.progress
    if progress is not None:
        parts.append(ProgressBar(total=1.0, completed=progress))
    parts.append(_table(view))
    parts += [Text(line, style="bold red" if "  ALARM " in line else "") for line in view.lines]
    if view.control:
        parts.append(Text(f"control: {view.control}   (in another terminal)", style="dim"))
    return Group(*parts)


def _header(view: View) -> Text:
    status = view.status
    now = "market time not known yet"
    if status.market_now is not None:
        now = f"{status.market_now.astimezone(view.zone):%Y-%m-%d %H:%M:%S %Z}"
    header = Text(f"{now}   speed {status.speed:g}   link ")
    return header.append(status.link.value, style="green" if status.link is LinkState.UP else "bold red")


def _table(view: View) -> Table:
    table = Table(expand=False)
    for name in _COLUMNS:
        table.add_column(name, justify="right" if name in _NUMBERS else "left", no_wrap=True)
    for summary, status in view.rows:
        table.add_row(*_cells(summary, status))
    return table


def _cells(summary: SymbolSummary, status: SymbolStatus) -> tuple[Text, ...]:
    """Texts, never markup: a reason that holds square brackets is shown as it is."""
    position = summary.books.position
    profit = profit_of(summary, status.last)
    return (
        Text(summary.symbol, style="bold"),
        Text(status.state or summary.state),
        Text(f"{position:+d}" if position else "0"),
        Text(f"{summary.average_price:.2f}" if position else ""),
        Text("" if status.last is None else f"{status.last:.2f}"),
        Text(dollars(profit), style="green" if profit > 0 else "red" if profit < 0 else ""),
        Text("" if summary.stop_price is None else str(summary.stop_price)),
        Text(clean(summary.last_verdict)),
    )


def profit_of(summary: SymbolSummary, last: float | None) -> Decimal:
    """Realized, and what the open position would add at the last price."""
    realized = summary.books.realized_pnl or Decimal(0)
    if last is None or not summary.books.position:
        return realized
    return realized + (exact(last) - summary.average_price) * summary.books.position
