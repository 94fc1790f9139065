"""Faults of the market and of its data: halts, silence, nonsense, delayed and old ticks, shredded sizes."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import TYPE_CHECKING, assert_never

from protocol.exchange import faults as f
from protocol.exchange.fault_armed import Occasion
from protocol.exchange.fault_rewriting import DELAYED, nonsense
from protocol.exchange.happenings import MarketTick
from protocol.exchange.tws_server import TwsServer
from protocol.tws import messages as m

if TYPE_CHECKING:
    from protocol.exchange.fault_plan import FaultPlan

_MarketFault = (
    f.ShreddedFills | f.Halt | f.SilentFeed | f.OldTicks | f.BadTick | f.MarketDataError | f.DelayedData
)
DELAYED_CODE = 10167
DELAYED_TEXT = "Requested market data is not subscribed. Displaying delayed market data."


class MarketDeeds:
    def __init__(self, server: TwsServer, plan: FaultPlan) -> None:
        self._server, self._plan = server, plan

    def do(self, fault: _MarketFault, occasion: Occasion, at: datetime) -> str | None:
        symbol = fault.when.symbol or occasion.symbol
        conditions = self._plan.conditions
        match fault:
            case f.Halt(duration_s=duration_s):
                self._halt(symbol, at, duration_s)
            case f.ShreddedFills():
                return self._shred(fault, symbol, at)
            case f.SilentFeed(duration_s=duration_s):
                conditions.silent[symbol] = at + timedelta(seconds=duration_s)
            case f.OldTicks(hold_s=hold_s):
                until = at + timedelta(seconds=hold_s)
                conditions.stalled[symbol] = until
            case f.BadTick():
                return self._tell_nonsense(fault, symbol, at, occasion)
            case f.MarketDataError():
                return self._refuse_lines(fault, symbol, at, occasion)
            case f.DelayedData(duration_s=duration_s):
                conditions.delayed[symbol] = at + timedelta(seconds=duration_s)
                for client, req_id in self._lines(fault, symbol, occasion):
                    self._server.clients.say_to(client, m.ErrorMessage(req_id, DELAYED_CODE, DELAYED_TEXT))
                    self._server.clients.say_to(client, m.MarketDataType(req_id, DELAYED))
            case _:
                assert_never(fault)
        return symbol or "all symbols"

    def _halt(self, symbol: str, at: datetime, duration_s: float) -> None:
        self._server.tick(MarketTick(at, symbol, halted=True))

        def resume(due: datetime) -> None:
            self._plan.before_deed(due)
            self._server.tick(MarketTick(due, symbol, halted=False))
            self._plan.settle(due)

        self._plan.later(at + timedelta(seconds=duration_s), resume)

    def _shred(self, fault: f.ShreddedFills, symbol: str, at: datetime) -> str | None:
        quote = self._server.venue.quote(symbol)
        if quote is None:
            return None
        step = timedelta(seconds=fault.over_s / fault.parts)

        def show(due: datetime, bid_size: int | None, ask_size: int | None) -> None:
            now = self._server.venue.quote(symbol)
            if now is not None:
                self._plan.before_deed(due)
                tick = MarketTick(due, symbol, now.bid, bid_size, now.ask, ask_size)
                self._server.tick(tick)
                self._plan.settle(due)

        for part in range(fault.parts):
            self._plan.later(at + part * step, lambda due: show(due, fault.size, fault.size))
        end = at + fault.parts * step
        self._plan.later(end, lambda due: show(due, quote.bid_size, quote.ask_size))
        return symbol

    def _tell_nonsense(self, fault: f.BadTick, symbol: str, at: datetime, occasion: Occasion) -> str | None:
        quote = self._server.venue.quote(symbol) or MarketTick(at, symbol)
        lines = self._lines(fault, symbol, occasion)
        for key, req_id in lines:
            for message in nonsense(req_id, fault.what, quote):
                self._server.clients.say_to(key, message)
        return f"{len(lines)} lines of {symbol}" if lines else None

    def _refuse_lines(
        self, fault: f.MarketDataError, symbol: str, at: datetime, occasion: Occasion
    ) -> str | None:
        until = at + timedelta(seconds=fault.duration_s) if fault.duration_s else None
        lines = self._lines(fault, symbol, occasion)
        for key, req_id in lines:
            self._server.clients.say_to(key, m.ErrorMessage(req_id, fault.code, fault.text))
            if fault.stops:
                self._plan.conditions.muted_lines[key, req_id] = until
        return f"{len(lines)} lines" if lines else None

    def _lines(self, fault: f.Fault, symbol: str, occasion: Occasion) -> list[tuple[int, int]]:
        """The market data lines that it is about: connections and request ids."""
        return [
            (client.key, req_id)
            for client in self._server.clients
            if client.client_id is not None
            and fault.when.client_id in (None, client.client_id)
            and occasion.key in (None, client.key)
            for req_id, _ in self._plan.lines_of(client.key, symbol)
        ]
