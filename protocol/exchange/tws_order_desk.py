"""The order side of the simulated TWS: requests about orders come in, the venue's happenings go out."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from datetime import datetime, timedelta
from decimal import Decimal
from math import isfinite
from typing import assert_never

import attrs

from protocol.exchange.account import order_commission
from protocol.exchange.happenings import (
    CommissionCharged,
    Executed,
    Happening,
    OrderAccepted,
    OrderCancelled,
    OrderChanged,
    OrderModified,
    OrderRejected,
    OrderTriggered,
    PositionChanged,
    Status,
    VenueOrder,
)
from protocol.exchange.tws_account import MARGIN_RATE
from protocol.exchange.tws_clients import Client, Clients
from protocol.exchange.tws_orders import (
    LIVE,
    cancelled,
    commission_report,
    completed_order,
    echo,
    exec_details,
    held_until_open,
    matches,
)
from protocol.exchange.tws_settings import TwsSettings
from protocol.exchange.tws_text import NEW_YORK
from protocol.exchange.venue import Venue
from protocol.exchange.venue_settings import VenueSettings
from protocol.tws.messages import (
    CompletedOrdersEnd,
    Contract,
    ExecDetailsEnd,
    OpenOrder,
    OpenOrderEnd,
    Order,
    OrderState,
    PlaceOrder,
    ReqExecutions,
    ServerMessage,
)

NO_SECURITY_CODE = 200
NO_SECURITY = "No security definition has been found for the request"
VALIDATION_CODE = 321
ETRADE_ONLY_CODE = 10268
SIZE_CODE = 434
SIZE_LIMIT_CODE = 383
MAX_QUANTITY = 1_000_000_000
"""Shares in one order: more than any company's float, and small enough for old clients' integers."""


@attrs.frozen
class Noted:
    """One happening for the record, with the placement that brought it about, if one did."""

    happening: Happening
    request: PlaceOrder | None = None


class OrderDesk:
    """Places and cancels for clients; tells the owner of each order what the venue does with it."""

    def __init__(
        self,
        venue: Venue,
        clients: Clients,
        settings: TwsSettings,
        costs: VenueSettings,
        *,
        resolve: Callable[[Contract], Contract | None],
        price_of: Callable[[str], float | None],
        opens_after: Callable[[datetime], datetime | None],
        position_changed: Callable[[PositionChanged], None],
    ) -> None:
        """`opens_after`: when an order of that moment can trade, None when it can at once."""
        self._venue, self._clients, self._settings = venue, clients, settings
        self._costs = costs
        self._resolve, self._price_of = resolve, price_of
        self._opens_after, self._position_changed = opens_after, position_changed
        self._owners = {execution.exec_id: execution.client_id for execution in venue.executions()}
        self._withheld: set[str] = set()
        self._withhold: set[int] = set()
        self._noted: list[Noted] = []

    # --- what clients ask ---------------------------------------------------------------------

    def place(self, client: Client, request: PlaceOrder, at: datetime) -> None:
        contract, order = self._resolve(request.contract), request.order
        client_id, order_id = _id(client), request.order_id
        refusal = self._refusal(contract, request)
        if refusal is not None:
            self._note(OrderRejected(at, client_id, order_id, *refusal), request)
            return
        assert contract is not None
        if order.what_if:
            self._clients.say(client, (self._preview(client_id, contract, request),))
            return
        self._venue.place(at, client_id, order_id, contract, order)
        self.hear(request)

    def cancel(self, client: Client, order_id: int, at: datetime) -> None:
        self._venue.cancel(at, _id(client), order_id)
        self.hear()

    def cancel_all(self, client: Client, at: datetime) -> None:
        self._venue.global_cancel(at, _id(client))
        self.hear()

    def say_own_orders(self, client: Client) -> bool:
        """The live orders of this client id; False when there are none."""
        orders = self._live(_id(client))
        for order in orders:
            self._clients.say(client, echo(order))
        return bool(orders)

    def say_open_orders(self, client: Client, *, everyones: bool) -> None:
        for order in self._live(None if everyones else _id(client)):
            self._clients.say(client, echo(order))
        self._clients.say(client, (OpenOrderEnd(),))

    def say_completed_orders(self, client: Client) -> None:
        self._clients.say(client, (completed_order(ended) for ended in self._venue.completed_orders()))
        self._clients.say(client, (CompletedOrdersEnd(),))

    def say_executions(self, client: Client, request: ReqExecutions, at: datetime) -> None:
        """Each execution that passes the filter with its commission, oldest first; then the end."""
        midnight = at.astimezone(NEW_YORK).replace(hour=0, minute=0, second=0, microsecond=0)
        since = midnight - timedelta(days=self._settings.execution_days - 1)
        for execution in self._venue.executions():
            if execution.at < since or execution.exec_id in self._withheld:
                continue
            if not matches(request.filter, execution):
                continue
            self._clients.say(client, (exec_details(execution, client.version, request.req_id),))
            self._say_commission(client, self._venue.charge(execution.exec_id))
        self._clients.say(client, (ExecDetailsEnd(request.req_id),))

    # --- what the venue does ------------------------------------------------------------------

    def hear(self, request: PlaceOrder | None = None) -> None:
        """Take what has happened at the venue: note it, and tell the owners."""
        for happening in self._venue.take():
            self._note(happening, request)

    def withhold_execution(self, nth: int) -> None:
        """No client ever hears of the `nth` execution of these books (the first is 1)."""
        self._withhold.add(nth)

    def take_noted(self) -> tuple[Noted, ...]:
        noted, self._noted = self._noted, []
        return tuple(noted)

    def _note(self, happening: Happening, request: PlaceOrder | None = None) -> None:
        self._noted.append(Noted(happening, request))
        match happening:
            case OrderAccepted(at, order):
                self._accepted(order, at)
            case OrderModified(order=order) | OrderTriggered(order=order) | OrderChanged(order=order):
                self._tell(order.client_id, self._echo(order))
            case OrderCancelled(order=order, reason=reason, by_client=by_client):
                self._tell(order.client_id, cancelled(order, reason, by_client=by_client))
            case OrderRejected():
                self._rejected(happening)
            case Executed():
                self._executed(happening)
            case CommissionCharged():
                self._charged(happening)
            case PositionChanged():
                self._position_changed(happening)
            case _:
                assert_never(happening)

    def _accepted(self, order: VenueOrder, at: datetime) -> None:
        self._tell(order.client_id, self._echo(order))
        if order.order.outside_rth or order.order.parent_id or order.status is not Status.PRE_SUBMITTED:
            return
        opens = self._opens_after(at)
        if opens is not None:
            self._tell(order.client_id, (held_until_open(order, opens),))

    def _rejected(self, rejected: OrderRejected) -> None:
        client = self._clients.named(rejected.client_id)
        if client is None:
            return
        if rejected.order is not None and rejected.order.status is Status.INACTIVE:
            self._clients.say(client, echo(rejected.order))
        self._clients.refuse(client, rejected.order_id, rejected.code, rejected.text)

    def _executed(self, executed: Executed) -> None:
        execution = executed.execution
        self._owners[execution.exec_id] = execution.client_id
        if len(self._owners) in self._withhold:
            self._withheld.add(execution.exec_id)
        client = self._clients.named(execution.client_id)
        if client is None:
            return
        if execution.exec_id not in self._withheld:
            self._clients.say(client, (exec_details(execution, client.version),))
        self._clients.say(client, self._echo(executed.order))

    def _charged(self, charged: CommissionCharged) -> None:
        client = self._clients.named(self._owners[charged.exec_id])
        if client is not None and charged.exec_id not in self._withheld:
            self._say_commission(client, charged)

    def _say_commission(self, client: Client, charged: CommissionCharged) -> None:
        report = commission_report(charged.exec_id, charged.commission, charged.realized_pnl)
        self._clients.say(client, (report,))

    def _tell(self, client_id: int, messages: Iterable[ServerMessage]) -> None:
        client = self._clients.named(client_id)
        if client is not None:
            self._clients.say(client, messages)

    def _echo(self, order: VenueOrder) -> tuple[ServerMessage, ...]:
        return echo(order) * 2 if self._settings.duplicate_echo else echo(order)

    def _live(self, client_id: int | None) -> tuple[VenueOrder, ...]:
        return tuple(order for order in self._venue.open_orders(client_id) if order.status in LIVE)

    def _refusal(self, contract: Contract | None, request: PlaceOrder) -> tuple[int, str] | None:
        """What TWS itself refuses before any exchange sees the order."""
        order = request.order
        if contract is None:
            return NO_SECURITY_CODE, NO_SECURITY
        if order.account and order.account not in self._venue.account_names:
            return VALIDATION_CODE, "Error validating request.-'bF' : cause - Invalid account code"
        if not all(isfinite(number) for number in _numbers(order)):
            return VALIDATION_CODE, "Error validating request.-'bF' : cause - A number is not finite"
        if order.total_quantity > MAX_QUANTITY:
            return SIZE_LIMIT_CODE, f"Order size exceeds the limit of {MAX_QUANTITY} shares"
        if order.what_if and (order.total_quantity <= 0 or order.total_quantity % 1):
            return SIZE_CODE, "The order size must be a whole number of shares above zero."
        if self._settings.reject_etrade_only and (order.e_trade_only or order.firm_quote_only):
            name = "EtradeOnly" if order.e_trade_only else "FirmQuoteOnly"
            return ETRADE_ONLY_CODE, f"The '{name}' order attribute is not supported."
        return None

    def _preview(self, client_id: int, contract: Contract, request: PlaceOrder) -> OpenOrder:
        """The answer to a what-if order: margin and commission, and no order (capture: api_whatif_margin)."""
        order = request.order
        account = order.account or self._venue.account_names[0]
        books = self._venue.account(account)
        price = Decimal(repr(order.lmt_price or self._price_of(contract.symbol) or 0.0))
        value = price * order.total_quantity
        commission = float(order_commission(self._costs, int(order.total_quantity), value))
        before, change = float(books.gross_position_value * MARGIN_RATE), float(value * MARGIN_RATE)
        equity = float(books.net_liquidation)
        state = OrderState(
            status=Status.PRE_SUBMITTED.value,
            init_margin_before=before, init_margin_change=change, init_margin_after=before + change,
            maint_margin_before=before, maint_margin_change=change, maint_margin_after=before + change,
            equity_with_loan_before=equity, equity_with_loan_change=-commission,
            equity_with_loan_after=equity - commission,
            commission=commission, min_commission=commission, max_commission=commission,
            commission_currency="USD",
        )  # fmt: skip
        shown = attrs.evolve(order, account=account, client_id=client_id)
        return OpenOrder(request.order_id, contract, shown, state)


def _numbers(order: Order) -> Iterator[float | Decimal]:
    """What the venue calculates with; a client can write infinity and NaN on the wire."""
    yield order.total_quantity
    for price in (order.lmt_price, order.aux_price, order.trail_stop_price, order.trailing_percent):
        if price is not None:
            yield price


def _id(client: Client) -> int:
    assert client.client_id is not None, "requests are answered after startApi only"
    return client.client_id
