"""What the simulated TWS writes down: the truth file, the books on disk, how long stops were missing."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from typing import Protocol

import attrs
import trio

from actors.simulated_tws_books import BooksFile
from protocol.exchange.account import VenuePosition
from protocol.exchange.coverage import Coverage
from protocol.exchange.fault_armed import FaultState
from protocol.exchange.happenings import Happening
from protocol.exchange.truth import Moment, client_line, end_line, fault_line, happening_line
from protocol.exchange.tws_order_desk import Noted
from protocol.exchange.venue import Venue

SAVE_TIME_EVERY_LOOP_S = 0.5
SAVE_ALL_EVERY_LOOP_S = 60.0
"""So that a restart has at most so much of the market to replay silently."""


@attrs.frozen(kw_only=True)
class SymbolBooks:
    """What the venue's books say of one symbol. `realized_pnl` is apart from `commission`."""

    position: int
    executions: int
    realized_pnl: Decimal
    commission: Decimal
    open_orders: int
    max_uncovered_s: float


class Witness(Protocol):
    """Who looks on in the same process, and is told what the truth file says, before any client is."""

    def happened(self, happening: Happening) -> None: ...
    def connected(self, client_id: int, *, up: bool) -> None: ...
    def fault(self, kind: str, what: str, at: datetime) -> None: ...


class Record:
    """Told of everything that happens, before any client is."""

    def __init__(
        self, venue: Venue, *, truth: Path | None, books: BooksFile | None, mono: Callable[[], float]
    ) -> None:
        """Raises OSError when the truth file cannot be written; lines are added to one that exists."""
        self._venue, self._books, self._mono = venue, books, mono
        self._coverage = Coverage()
        self._time_saved_loop_s = self._all_saved_loop_s = float("-inf")
        self.witness: Witness | None = None
        self._truth = None if truth is None else os.open(truth, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)

    def begin(self) -> None:
        """The run begins, on the venue's books as they are."""
        self._coverage.resume(self._venue.open_orders(), self._positions(), trio.current_time())

    def happened(self, noted: Sequence[Noted], at: datetime, connected: tuple[int, ...]) -> None:
        """A batch that counts as one instant."""
        self._coverage.feed([note.happening for note in noted], trio.current_time())
        if self.witness is not None:
            for note in noted:
                self.witness.happened(note.happening)
        if self._truth is None:
            return
        moment = Moment(at, self._mono(), connected)
        self._write(*(happening_line(note, moment) for note in noted))

    def client(self, client_id: int, at: datetime, connected: tuple[int, ...], *, came: bool) -> None:
        """A client has connected, or is gone; `connected` are those that are there now."""
        self._coverage.link(bool(connected), trio.current_time())
        if self.witness is not None:
            self.witness.connected(client_id, up=came)
        self._write(client_line(Moment(at, self._mono(), connected), client_id, came=came))

    def fault(self, name: str, what: str, at: datetime, connected: tuple[int, ...]) -> None:
        if self.witness is not None:
            self.witness.fault(name, what, at)
        self._write(fault_line(Moment(at, self._mono(), connected), name, what))

    def save(
        self, at: datetime, *, changed: bool, faults: Callable[[], tuple[FaultState, ...]] = tuple
    ) -> None:
        """Books to disk when something has `changed`, market time now and then."""
        if self._books is None:
            return
        now = trio.current_time()
        if changed or now - self._all_saved_loop_s >= SAVE_ALL_EVERY_LOOP_S:
            self._books.save(self._venue.snapshot(), at, faults())
            self._all_saved_loop_s = self._time_saved_loop_s = now
        elif now - self._time_saved_loop_s >= SAVE_TIME_EVERY_LOOP_S:
            self._books.save_time(at)
            self._time_saved_loop_s = now

    def close(self, at: datetime, connected: tuple[int, ...]) -> None:
        """The program ends, or is made to: the last words, and the books as they are."""
        if self._books is not None:
            self._books.save(self._venue.snapshot(), at)
            self._books.close()
            self._books = None
        accounts = [self._venue.account(name) for name in self._venue.account_names]
        moment = Moment(at, self._mono(), connected)
        self._write(end_line(moment, accounts, self._positions(), self._venue.open_orders()))
        if self._truth is not None:
            os.close(self._truth)
            self._truth = None

    def symbol_books(self) -> dict[str, SymbolBooks]:
        """Per symbol that was ever held or has an open order, all accounts together."""
        self._coverage.finish(trio.current_time())
        orders, executions = self._venue.open_orders(), self._venue.executions()
        held: dict[str, list[VenuePosition]] = {order.contract.symbol: [] for order in orders}
        for position in self._positions():
            held.setdefault(position.contract.symbol, []).append(position)
        return {
            symbol: SymbolBooks(
                position=sum(position.quantity for position in positions),
                executions=sum(execution.contract.symbol == symbol for execution in executions),
                realized_pnl=sum((position.realized_pnl for position in positions), Decimal(0)),
                commission=sum((position.commission for position in positions), Decimal(0)),
                open_orders=sum(order.contract.symbol == symbol for order in orders),
                max_uncovered_s=self._coverage.max_uncovered_s(symbol),
            )
            for symbol, positions in sorted(held.items())
        }

    def _positions(self) -> tuple[VenuePosition, ...]:
        names = self._venue.account_names
        return tuple(position for name in names for position in self._venue.positions(name))

    def _write(self, *lines: bytes) -> None:
        if self._truth is not None:
            os.write(self._truth, b"".join(lines))
