"""What faults of a moment and faults of an order do: to the wires, to the venue, to what clients are told."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Final, assert_never

from protocol.exchange import faults as f
from protocol.exchange.fault_armed import Occasion
from protocol.exchange.fault_effects import (
    ChangeDoor,
    CloseWire,
    PauseWire,
    RawBytes,
    ShapeWire,
    WireEffect,
)
from protocol.exchange.fault_market import MarketDeeds
from protocol.exchange.fault_rewriting import garbage
from protocol.exchange.fault_venue import VenueDeeds
from protocol.exchange.tws_clients import NO_ID, Client
from protocol.exchange.tws_server import TwsServer

if TYPE_CHECKING:
    from protocol.exchange.fault_plan import FaultPlan

RATE_CODE: Final = 100
RATE_TEXT: Final = "Max rate of messages per second has been exceeded"


class FaultDeeds:
    """Does one fault at a time; `what` it answers is to whom, None when there was nobody."""

    def __init__(self, server: TwsServer, plan: FaultPlan) -> None:
        self._server, self._plan = server, plan
        self._effects: list[WireEffect] = []
        self._venue = VenueDeeds(server, plan)
        self._market = MarketDeeds(server, plan)

    def take_effects(self) -> tuple[WireEffect, ...]:
        effects, self._effects = self._effects, []
        return tuple(effects)

    @property
    def busy(self) -> bool:
        return bool(self._effects)

    def do(self, fault: f.Fault, occasion: Occasion, at: datetime) -> str | None:
        match fault:
            case (
                f.DropConnection() | f.Silence() | f.Freeze() | f.StopReading() | f.SplitBytes()
                | f.GlueBytes() | f.BurstBytes() | f.GarbageFrame() | f.RateExceeded() | f.Notice()
            ):  # fmt: skip
                return self._to_clients(fault, occasion)
            case f.RefuseConnections() | f.SilentHandshake():
                self._effects.append(ChangeDoor(fault))
                return f"for {fault.duration_loop_s:g} s"
            case f.ConnectivityLost():
                return self._lose_connectivity(fault, at)
            case f.FarmBroken():
                return self._break_farm(fault, at)
            case f.Restart():
                return self._restart(fault, at)
            case f.RejectOrder() | f.ManualCancel() | f.ManualModify() | f.SuspendOrder() | f.OcaRace():
                return self._venue.do_to_order(fault, occasion, at)
            case (
                f.ManualGlobalCancel() | f.WithholdExecution() | f.BustExecution() | f.CorrectExecution()
                | f.ManualTrade() | f.Liquidation() | f.ReplayExecutions()
            ):  # fmt: skip
                return self._venue.do(fault, occasion, at)
            case (
                f.ShreddedFills() | f.Halt() | f.SilentFeed() | f.OldTicks() | f.BadTick()
                | f.MarketDataError() | f.DelayedData()
            ):  # fmt: skip
                return self._market.do(fault, occasion, at)
            case _:
                raise AssertionError(f"{f.kind_of(fault)} is done to messages, not at a moment")

    # --- clients and their wires ----------------------------------------------------------------------

    def _to_clients(self, fault: _ClientFault, occasion: Occasion) -> str | None:
        clients = clients_of(self._server, fault, occasion)
        for client in clients:
            self._do_to(fault, client)
        return names(clients)

    def _do_to(self, fault: _ClientFault, client: Client) -> None:
        key = client.key
        match fault:
            case f.DropConnection(reset=reset, flush=flush):
                self._effects.append(CloseWire(key, reset, flush))
            case f.Silence(duration_loop_s=for_s, lost=lost):
                self._effects.append(PauseWire(key, False, True, for_s, lost))
            case f.Freeze(duration_loop_s=for_s):
                self._effects.append(PauseWire(key, True, True, for_s))
            case f.StopReading(duration_loop_s=for_s):
                self._effects.append(PauseWire(key, True, False, for_s))
            case f.SplitBytes() | f.GlueBytes() | f.BurstBytes():
                self._effects.append(ShapeWire(key, fault))
            case f.GarbageFrame(what=what):
                self._effects.append(RawBytes(key, garbage(what)))
            case f.RateExceeded(warnings=warnings):
                for _ in range(warnings):
                    self._server.clients.refuse(client, NO_ID, RATE_CODE, RATE_TEXT)
                self._effects.append(CloseWire(key, flush=True))
            case f.Notice(code=code, text=text, id=about):
                self._server.clients.refuse(client, about, code, text)
            case _:
                assert_never(fault)

    # --- TWS and the world ----------------------------------------------------------------------------

    def _lose_connectivity(self, fault: f.ConnectivityLost, at: datetime) -> str:
        self._server.connectivity_lost(at, told=fault.told)

        def restore(due: datetime) -> None:
            self._plan.before_deed(due)
            self._server.connectivity_restored(due, data_lost=fault.data_lost)
            self._plan.settle(due)

        self._plan.later(at + timedelta(seconds=fault.duration_s), restore)
        return f"for {fault.duration_s:g} s"

    def _break_farm(self, fault: f.FarmBroken, at: datetime) -> str:
        self._server.farm_broken(fault.farm)
        until = at + timedelta(seconds=fault.duration_s)
        self._plan.later(until, lambda _: self._server.farm_ok(fault.farm))
        return fault.farm.value

    def _restart(self, fault: f.Restart, at: datetime) -> str:
        clients = [client for client in self._server.clients if client.client_id is not None]
        self._server.restart(at)
        self._effects.append(ChangeDoor(f.RefuseConnections(duration_loop_s=fault.down_loop_s)))
        if fault.rolls_back:
            for client in clients:
                when = f.When(client_id=client.client_id)
                self._plan.inject(f.ShiftNextId(by=-fault.rolls_back, when=when), at)
        return names(clients) or "no client"


_ClientFault = (
    f.DropConnection | f.Silence | f.Freeze | f.StopReading | f.SplitBytes | f.GlueBytes | f.BurstBytes
    | f.GarbageFrame | f.RateExceeded | f.Notice
)  # fmt: skip


def clients_of(server: TwsServer, fault: f.Fault, occasion: Occasion) -> tuple[Client, ...]:
    """The clients that it is about: the one that gave the opportunity, or all that its `when` names."""
    wanted = fault.when.client_id
    return tuple(
        client
        for client in server.clients
        if client.client_id is not None
        and (occasion.key is None or client.key == occasion.key)
        and wanted in (None, client.client_id)
    )


def names(clients: tuple[Client, ...] | list[Client]) -> str | None:
    ids = ", ".join(str(client.client_id) for client in clients)
    return f"client {ids}" if ids else None
