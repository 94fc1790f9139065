"""The order side of the simulated TWS: what clients ask about orders, carried out or answered.

What follows at the venue is told by `tws_order_news`. With an order latency, or while TWS has lost its
connection to IBKR, requests that are meant for the venue wait here, in order.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import assert_never

import attrs

from protocol.exchange.book import Completion
from protocol.exchange.happenings import (
    OrderRejected,
    PositionChanged,
    VenueExecution,
    VenueOrder,
)
from protocol.exchange.interventions import Interventions
from protocol.exchange.tws_account import margin_state
from protocol.exchange.tws_clients import Client, Clients
from protocol.exchange.tws_order_news import Noted, OrderNews
from protocol.exchange.tws_orders import (
    LIVE,
    commission_report,
    completed_order,
    days_of,
    echo,
    is_manual,
    matches,
)
from protocol.exchange.tws_refusals import (
    MAX_ORDER_ID,
    ONLY_DEFAULT_CLIENT,
    PRICE_BAND,
    PRICE_BAND_CODE,
    TOO_LATE_TO_REPLACE,
    OrderRefusals,
    late_cancel,
)
from protocol.exchange.tws_settings import TwsSettings
from protocol.exchange.venue import Venue
from protocol.tws.messages import (
    CancelOrder,
    CompletedOrdersEnd,
    Contract,
    ExecDetailsEnd,
    GlobalCancel,
    OpenOrder,
    OpenOrderEnd,
    OrderBound,
    PlaceOrder,
    ReqCompletedOrders,
    ReqExecutions,
)

__all__ = ["Noted", "OrderDesk"]

MANUAL_CLIENT_ID = 0
"""Manual orders belong to this client as soon as it binds them."""


@attrs.frozen(kw_only=True)
class _OnItsWay:
    """A request between TWS and the venue. `live`: the orders that it could reach when it was made."""

    due: datetime
    client_id: int
    request: PlaceOrder | CancelOrder | GlobalCancel
    live: frozenset[int]
    """Permanent ids."""


@attrs.frozen(kw_only=True)
class _Picture:
    """What TWS knew of the venue when it lost IBKR."""

    open_orders: tuple[VenueOrder, ...]
    completed: tuple[Completion, ...]
    executions: tuple[VenueExecution, ...]


class OrderDesk:
    """Places and cancels for clients, and lists what there is."""

    def __init__(
        self,
        venue: Venue,
        clients: Clients,
        settings: TwsSettings,
        *,
        resolve: Callable[[Contract], Contract | None],
        opens_after: Callable[[datetime], datetime | None],
        position_changed: Callable[[PositionChanged], None],
    ) -> None:
        """`opens_after`: when an order of that moment can trade, None when it can at once."""
        self._venue, self._clients, self._settings = venue, clients, settings
        self._resolve = resolve
        self._refusals = OrderRefusals(settings, lambda: venue.account_names)
        self._news = OrderNews(
            venue,
            clients,
            settings,
            opens_after=opens_after,
            position_changed=position_changed,
            bind=self._bind_new,
        )
        self._latency = timedelta(seconds=settings.order_latency_s)
        self._on_their_way: deque[_OnItsWay] = deque()
        self._largest_seen: dict[int, int] = {}
        self._picture: _Picture | None = None
        self.hear = self._news.hear
        self.take_noted = self._news.take_noted
        self.withhold_execution = self._news.withhold_execution

    # --- requests for the venue ---------------------------------------------------------------

    def place(self, client: Client, request: PlaceOrder, at: datetime) -> None:
        contract, client_id = self._resolve(request.contract), _id(client)
        refusal = self._refusals.refusal(contract, request)
        if refusal is None and request.order.what_if and contract is not None:
            refusal = self._preview(client, contract, request, at)
            if refusal is None:
                return
        if refusal is not None:
            self._refuse(client_id, request.order_id, refusal, at, request)
            return
        assert contract is not None
        seen = max(request.order_id, self._largest_seen.get(client_id, 0))
        self._largest_seen[client_id] = min(seen, MAX_ORDER_ID)
        self._clients.say(client, self._refusals.remarks(request))
        self._send(client_id, attrs.evolve(request, contract=contract), at)

    def cancel(self, client: Client, request: CancelOrder, at: datetime) -> None:
        self._send(_id(client), request, at)

    def cancel_all(self, client: Client, request: GlobalCancel, at: datetime) -> None:
        self._send(_id(client), request, at)

    def largest_order_id(self, client_id: int) -> int:
        """The largest order id of this client that TWS has seen."""
        return max(self._venue.largest_order_id(client_id), self._largest_seen.get(client_id, 0))

    def _send(self, client_id: int, request: PlaceOrder | CancelOrder | GlobalCancel, at: datetime) -> None:
        if not self._latency and self._picture is None:
            self._carry_out(client_id, request, at, frozenset())
            return
        live = frozenset(order.perm_id for order in self._venue.open_orders())
        self._on_their_way.append(
            _OnItsWay(due=at + self._latency, client_id=client_id, request=request, live=live)
        )

    def _carry_out(
        self,
        client_id: int,
        request: PlaceOrder | CancelOrder | GlobalCancel,
        at: datetime,
        live: frozenset[int],
    ) -> None:
        match request:
            case PlaceOrder() if self._meets_band(client_id, request, at):
                self._end_beyond_band(client_id, request, at)
            case PlaceOrder():
                self._venue.place(at, client_id, request.order_id, request.contract, request.order)
                self.hear(request)
            case CancelOrder(order_id=order_id):
                ended = self._venue.find(client_id, order_id)
                if ended is not None and ended.status not in LIVE and ended.perm_id in live:
                    self._refuse(client_id, order_id, late_cancel(ended.perm_id), at)
                    return
                self._venue.cancel(at, client_id, order_id)
            case GlobalCancel():
                for perm_id in sorted(live):
                    order = self._venue.by_perm_id(perm_id)
                    if order.status not in LIVE and order.client_id == client_id:
                        self._refuse(client_id, order.order_id, late_cancel(perm_id), at)
                self._venue.global_cancel(at, client_id)
            case _:
                assert_never(request)
        self.hear()

    def _meets_band(self, client_id: int, request: PlaceOrder, at: datetime) -> bool:
        if not self._settings.band_ends_order:
            return False
        known = self._venue.find(client_id, request.order_id)
        if known is None or known.status not in LIVE:
            return False
        refusal = self._venue.judge(at, client_id, request.contract, request.order)
        return refusal is not None and refusal[0] == PRICE_BAND_CODE

    def _end_beyond_band(self, client_id: int, request: PlaceOrder, at: datetime) -> None:
        order = self._venue.find(client_id, request.order_id)
        assert order is not None
        asked = attrs.evolve(order.order, lmt_price=request.order.lmt_price)
        self._news.beyond_band(order, attrs.evolve(order, order=asked))
        Interventions(self._venue).cancel_manual(at, order.perm_id, PRICE_BAND)
        self.hear()
        self._news.when_told(
            lambda: self._refuse(client_id, order.order_id, TOO_LATE_TO_REPLACE, at, request)
        )

    def _refuse(
        self,
        client_id: int,
        order_id: int,
        refusal: tuple[int, str],
        at: datetime,
        request: PlaceOrder | None = None,
    ) -> None:
        self._news.refuse(OrderRejected(at, client_id, order_id, *refusal), request)

    def _preview(
        self, client: Client, contract: Contract, request: PlaceOrder, at: datetime
    ) -> tuple[int, str] | None:
        """The answer to a what-if order: margin and commission, and no order (capture: api_whatif_margin)."""
        client_id = _id(client)
        refusal = self._venue.judge(at, client_id, contract, request.order)
        if refusal is not None:
            return refusal
        account = request.order.account or self._venue.account_names[0]
        shown = attrs.evolve(request.order, account=account, client_id=client_id)
        state = margin_state(self._venue.margin_impact(contract, shown))
        self._clients.say(client, (OpenOrder(request.order_id, contract, shown, state),))
        return None

    # --- questions ----------------------------------------------------------------------------

    def say_own_orders(self, client: Client) -> bool:
        """The live orders of this client id; False when there are none."""
        orders = self._live(_id(client))
        for order in orders:
            self._clients.say(client, echo(order))
        return bool(orders)

    def say_open_orders(self, client: Client, at: datetime, *, everyones: bool) -> None:
        """Client 0 binds the manual orders when it asks for its own."""
        client_id = _id(client)
        manual: tuple[VenueOrder, ...] = ()
        if not everyones and client_id == MANUAL_CLIENT_ID and self._picture is None:
            manual = tuple(order for order in self._live(None) if is_manual(order))
        for order in manual:
            self._bind(client, order, at)
        known = self._live(None if everyones else client_id)

        def answer() -> None:
            for order in known:
                self._clients.say(client, echo(order))
            self._clients.say(client, (OpenOrderEnd(),))

        self._news.when_told(answer)

    def take_auto_open_orders(self, client: Client, *, bind: bool) -> None:
        """Client 0 binds manual orders from now on, or no longer; nobody else may."""
        if _id(client) != MANUAL_CLIENT_ID:
            if bind:
                self._clients.refuse(client, -1, *ONLY_DEFAULT_CLIENT)
            return
        client.binds_manual_orders = bind

    def say_completed_orders(self, client: Client, request: ReqCompletedOrders) -> None:
        """Terminal orders by when they ended, those placed by hand only if all are wanted."""
        picture = self._picture
        completed = self._venue.completed_orders() if picture is None else picture.completed
        told = [ended for ended in completed if not (request.api_only and is_manual(ended.order))]

        def answer() -> None:
            self._clients.say(client, (completed_order(ended) for ended in told))
            self._clients.say(client, (CompletedOrdersEnd(),))

        self._news.when_told(answer)

    def say_executions(self, client: Client, request: ReqExecutions, at: datetime) -> None:
        """Each execution that passes the filter with its commission, oldest first; then the end."""
        within = days_of(request.filter, at, self._settings.execution_days)
        executions = self._venue.executions() if self._picture is None else self._picture.executions
        told = [
            execution
            for execution in executions
            if within(execution)
            and not self._news.is_withheld(execution.exec_id)
            and matches(request.filter, execution)
        ]

        def answer() -> None:
            for execution in told:
                charge = self._venue.charge(execution.exec_id)
                self._clients.say(
                    client,
                    (
                        self._news.details(execution, client.version, request.req_id),
                        commission_report(charge.exec_id, charge.commission, charge.realized_pnl),
                    ),
                )
            self._clients.say(client, (ExecDetailsEnd(request.req_id),))

        self._news.when_told(answer)

    # --- manual orders ------------------------------------------------------------------------

    def _bind(self, client: Client, order: VenueOrder, at: datetime) -> None:
        """The manual order gets an id of client 0, which hears of it from now on."""
        order_id = self._next_auto_id()
        self._news.bound(order.perm_id, order_id)
        self._clients.say(client, (OrderBound(order.perm_id, MANUAL_CLIENT_ID, order_id),))
        self._venue.bind(at, order.perm_id, order_id)
        self.hear()

    def _bind_new(self, order: VenueOrder, at: datetime) -> None:
        """A manual order has come to be; it is bound at once when client 0 wants that."""
        client = self._clients.named(MANUAL_CLIENT_ID)
        if client is not None and client.binds_manual_orders:
            self._bind(client, order, at)

    def _next_auto_id(self) -> int:
        if not self._settings.negative_auto_ids:
            return self.largest_order_id(MANUAL_CLIENT_ID) + 1
        orders = [*self._venue.open_orders(MANUAL_CLIENT_ID)]
        orders += [ended.order for ended in self._venue.completed_orders()]
        return min((order.order_id for order in orders if order.client_id == MANUAL_CLIENT_ID), default=0) - 1

    # --- time and TWS's own links -------------------------------------------------------------

    @property
    def next_at(self) -> datetime | None:
        """When something here is due; None when nothing is."""
        news_at = self._news.next_at
        if not self._on_their_way or self._picture is not None:
            return news_at
        return self._on_their_way[0].due if news_at is None else min(news_at, self._on_their_way[0].due)

    def advance(self, at: datetime) -> None:
        """Requests reach the venue and reports reach clients, each at its time."""
        while self._picture is None and self._on_their_way and self._on_their_way[0].due <= at:
            sent = self._on_their_way.popleft()
            self._news.advance(sent.due)
            self._carry_out(sent.client_id, sent.request, sent.due, sent.live)
        self._news.advance(at)

    def lose_venue(self, *, told: bool) -> None:
        """TWS hears nothing from the venue and cannot reach it; `told`: its clients hear all the same."""
        if self._picture is None:
            self._picture = _Picture(
                open_orders=self._venue.open_orders(),
                completed=self._venue.completed_orders(),
                executions=self._venue.executions(),
            )
        if not told:
            self._news.hold()

    def regain_venue(self, at: datetime) -> None:
        """What has happened meanwhile is told, then what was asked meanwhile is carried out."""
        self._picture = None
        self._news.release(at)
        waiting, self._on_their_way = self._on_their_way, deque()
        for sent in waiting:
            self._carry_out(sent.client_id, sent.request, at, sent.live)

    def restart(self, at: datetime) -> None:
        """TWS begins anew: what was on its way or not transmitted is lost, the day's orders have ended."""
        self._on_their_way.clear()
        self._largest_seen.clear()
        self._picture = None
        self._news.forget()
        self._venue.forget_held()
        self._venue.end_of_session(at)
        self.hear()

    def _open_orders(self) -> tuple[VenueOrder, ...]:
        return self._venue.open_orders() if self._picture is None else self._picture.open_orders

    def _live(self, client_id: int | None) -> tuple[VenueOrder, ...]:
        """What open-order requests list: of one client, or of everyone and by hand."""
        return tuple(
            order
            for order in self._open_orders()
            if order.status in LIVE
            and (client_id is None or (order.client_id == client_id and not is_manual(order)))
        )


def _id(client: Client) -> int:
    assert client.client_id is not None, "requests are answered after startApi only"
    return client.client_id
