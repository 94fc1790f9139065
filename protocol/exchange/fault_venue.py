"""Faults that happen at the venue: rejects, busts, what people and brokers do to orders and positions."""

from __future__ import annotations

from datetime import datetime, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, assert_never

import attrs

from protocol.exchange import faults as f
from protocol.exchange.contract_key import contract_key
from protocol.exchange.fault_armed import Occasion, is_leg
from protocol.exchange.happenings import Status, VenueExecution, VenueOrder
from protocol.exchange.interventions import MANUAL_CLIENT_ID, Interventions
from protocol.exchange.tws_orders import commission_report, echo, exec_details
from protocol.exchange.tws_server import TwsServer
from protocol.tws import messages as m
from protocol.values import exact

if TYPE_CHECKING:
    from protocol.exchange.fault_plan import FaultPlan

_OrderFault = f.RejectOrder | f.ManualCancel | f.ManualModify | f.SuspendOrder | f.OcaRace
_VenueFault = (
    f.ManualGlobalCancel | f.WithholdExecution | f.BustExecution | f.CorrectExecution | f.ManualTrade
    | f.Liquidation | f.ReplayExecutions
)  # fmt: skip


class VenueDeeds:
    """Each deed answers what it was done to, None when there was nothing."""

    def __init__(self, server: TwsServer, plan: FaultPlan) -> None:
        self._server, self._plan = server, plan
        self._interventions = Interventions(server.venue)

    # --- orders -----------------------------------------------------------------------------------

    def do_to_order(self, fault: _OrderFault, occasion: Occasion, at: datetime) -> str | None:
        order = self._target(fault, occasion)
        if order is None:
            return None
        perm_id, outside = order.perm_id, self._interventions
        match fault:
            case f.RejectOrder(reason=reason, code=code):
                outside.reject(at, perm_id, reason, code)
                self._arrange(fault.form, order, at)
            case f.ManualCancel(reason=reason):
                outside.cancel_manual(at, perm_id, reason)
            case f.ManualModify():
                self._move(fault, order, at)
            case f.SuspendOrder(duration_s=duration_s):
                self._suspend(order, at + timedelta(seconds=duration_s))
            case f.OcaRace():
                if not outside.leave_group(perm_id):
                    return None
            case _:
                assert_never(fault)
        return f"order {order.order_id} of client {order.client_id}"

    def _target(self, fault: _OrderFault, occasion: Occasion) -> VenueOrder | None:
        """The order that gave the opportunity if it still lives, or the first that fits."""
        live = self._server.venue.open_orders()
        if occasion.order is not None:
            perm_id = occasion.order.perm_id
            return next((order for order in live if order.perm_id == perm_id), None)
        when = fault.when
        return next(
            (
                order
                for order in live
                if when.client_id in (None, order.client_id)
                and when.symbol in ("", contract_key(order.contract))
                and is_leg(order, fault.leg)
            ),
            None,
        )

    def _arrange(self, form: f.Form, order: VenueOrder, at: datetime) -> None:
        """What is said of a rejected order, in the form that was asked for."""
        self._server.orders.hear()
        said = self._server.take()
        own = [each for each in said if _is_about(each[1], order.order_id)]
        rest = [each for each in said if each not in own]
        errors = [each for each in own if isinstance(each[1], m.ErrorMessage)]
        statuses = [each for each in own if each not in errors]
        match form:
            case f.Form.STATUS_FIRST:
                own = statuses + errors
            case f.Form.ERROR_FIRST:
                own = errors + statuses
            case f.Form.ONLY_ERROR:
                own = errors
            case f.Form.ONLY_STATUS:
                own = statuses
            case _:
                assert_never(form)
        self._plan.say(own + rest, at)

    def _move(self, fault: f.ManualModify, order: VenueOrder, at: datetime) -> None:
        asked, change = order.order, fault.price_change

        def moved(price: float | None) -> float | None:
            return float(exact(price) + change) if price and change else None

        self._interventions.modify_manual(
            at,
            order.perm_id,
            quantity=int(asked.total_quantity) + fault.quantity_change,
            limit_price=moved(asked.lmt_price),
            stop_price=moved(asked.aux_price),
        )

    def _suspend(self, order: VenueOrder, until: datetime) -> None:
        client = self._server.clients.named(order.client_id)
        if client is not None:
            self._server.clients.say(client, echo(attrs.evolve(order, status=Status.INACTIVE)))
        self._plan.later(until, lambda _: self._show(order.perm_id))

    def _show(self, perm_id: int) -> None:
        order = self._server.venue.by_perm_id(perm_id)
        client = self._server.clients.named(order.client_id)
        if client is not None:
            self._server.clients.say(client, echo(order))

    # --- fills --------------------------------------------------------------------------------------

    def do(self, fault: _VenueFault, occasion: Occasion, at: datetime) -> str | None:
        match fault:
            case f.ManualGlobalCancel():
                return f"{self._interventions.cancel_everything(at)} orders"
            case f.WithholdExecution(nth=nth):
                self._server.orders.withhold_execution(nth)
                return f"execution {nth}"
            case f.BustExecution() | f.CorrectExecution():
                return self._correct(fault, occasion, at)
            case f.ManualTrade():
                return self._trade(fault, occasion, at)
            case f.Liquidation():
                return self._liquidate(fault, occasion, at)
            case f.ReplayExecutions(copies=copies):
                return self._replay(fault, occasion, copies)
            case _:
                assert_never(fault)

    def _correct(
        self, fault: f.BustExecution | f.CorrectExecution, occasion: Occasion, at: datetime
    ) -> str | None:
        execution = self._execution(fault, occasion)
        if execution is None:
            return None
        exec_id = execution.exec_id
        if isinstance(fault, f.BustExecution):
            self._interventions.bust(at, exec_id)
            return f"execution {exec_id}"
        price = execution.price + fault.price_change
        quantity = max(0, execution.quantity + fault.quantity_change)
        if price <= 0:
            return None
        self._interventions.correct(at, exec_id, price=price, quantity=quantity)
        return f"execution {exec_id}"

    def _execution(self, fault: f.Fault, occasion: Occasion) -> VenueExecution | None:
        """The execution that gave the opportunity, as it stands now, or the last that fits."""
        root = occasion.exec_id.rpartition(".")[0]
        when = fault.when
        fitting = [
            execution
            for execution in self._interventions.effective_executions()
            if (not root or execution.exec_id.rpartition(".")[0] == root)
            and when.client_id in (None, execution.client_id)
            and when.symbol in ("", contract_key(execution.contract))
        ]
        return fitting[-1] if fitting else None

    def _trade(self, fault: f.ManualTrade, occasion: Occasion, at: datetime) -> str | None:
        contract = self._contract(fault.when.symbol or occasion.symbol)
        if contract is None:
            return None
        order = m.Order(
            action=fault.action,
            total_quantity=Decimal(fault.quantity),
            order_type="MKT" if fault.limit_price is None else "LMT",
            lmt_price=fault.limit_price,
            tif="DAY",
        )
        if fault.as_client == MANUAL_CLIENT_ID:
            self._interventions.place_manual(at, contract, order)
        else:
            venue = self._server.venue
            order_id = venue.largest_order_id(fault.as_client) + 1
            venue.place(at, fault.as_client, order_id, contract, order)
        return f"{fault.action} {fault.quantity} {contract_key(contract)}"

    def _liquidate(self, fault: f.Liquidation, occasion: Occasion, at: datetime) -> str | None:
        symbol = fault.when.symbol or occasion.symbol
        venue = self._server.venue
        for account in venue.account_names:
            for position in venue.positions(account):
                if contract_key(position.contract) != symbol or not position.quantity:
                    continue
                order = m.Order(
                    action="SELL" if position.quantity > 0 else "BUY",
                    total_quantity=Decimal(abs(position.quantity)),
                    order_type="MKT",
                    tif="DAY",
                    account=account,
                )
                placed = self._interventions.place_manual(at, position.contract, order)
                if placed is not None:
                    self._plan.conditions.liquidations[placed.perm_id] = None
                return f"{position.quantity} {symbol} of {account}"
        return None

    def _replay(self, fault: f.ReplayExecutions, occasion: Occasion, copies: int) -> str | None:
        told = 0
        for client in self._server.clients:
            if client.client_id is None or fault.when.client_id not in (None, client.client_id):
                continue
            if occasion.key not in (None, client.key):
                continue
            for execution in self._server.venue.executions() * copies:
                if execution.client_id == client.client_id:
                    charge = self._server.venue.charge(execution.exec_id)
                    report = commission_report(execution.exec_id, charge.commission, charge.realized_pnl)
                    self._server.clients.say(client, (exec_details(execution, client.version), report))
                    told += 1
        return f"{told} executions" if told else None

    def _contract(self, symbol: str) -> m.Contract | None:
        stock = m.Contract(symbol=symbol, sec_type="STK", exchange="SMART", currency="USD")
        return self._server.resolve(stock) if symbol else None


def _is_about(message: m.ServerMessage, order_id: int) -> bool:
    match message:
        case m.OpenOrder(order_id=about) | m.OrderStatus(order_id=about) | m.ErrorMessage(id=about):
            return about == order_id
        case _:
            return False
