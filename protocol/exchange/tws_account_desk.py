"""The account side of the simulated TWS: positions, account updates, summaries, profit and loss."""

from __future__ import annotations

from datetime import datetime, timedelta
from decimal import Decimal

from protocol.exchange.account import VenuePosition
from protocol.exchange.contracts import contract_id
from protocol.exchange.happenings import PositionChanged
from protocol.exchange.tws_account import (
    account_summary,
    account_updates,
    account_updates_multi,
    portfolio_value,
    position_of,
    profit,
    profit_of,
)
from protocol.exchange.tws_clients import Client, Clients
from protocol.exchange.venue import Venue
from protocol.tws.messages import (
    Position,
    PositionEnd,
    ReqAccountSummary,
    ReqAccountUpdates,
    ReqAccountUpdatesMulti,
    ReqPnL,
    ReqPnLSingle,
)

REFRESH = timedelta(minutes=3)
"""Market time between two unasked bursts of account updates."""
PROFIT_PERIOD = timedelta(seconds=1)
"""Market time between two looks at profits that clients watch."""
VALIDATION_CODE = 321
_BAD_ACCOUNT = "Error validating request.-'bF' : cause - Invalid account code"


class AccountDesk:
    """Answers about accounts, and keeps the subscribers to them informed."""

    def __init__(self, venue: Venue, clients: Clients) -> None:
        self._venue, self._clients = venue, clients
        self._changed: set[str] = set()
        self._refreshed: datetime | None = None
        self._profits_seen: datetime | None = None

    def say_positions(self, client: Client) -> None:
        client.wants_positions = True
        for account in self._venue.account_names:
            held = (position for position in self._venue.positions(account) if position.quantity)
            self._clients.say(client, map(position_of, held))
        self._clients.say(client, (PositionEnd(),))

    def take_updates_request(self, client: Client, request: ReqAccountUpdates, at: datetime) -> None:
        if not request.subscribe:
            client.account_updates = None
            return
        account = self._account(client, -1, request.account)
        if account is not None:
            client.account_updates = account
            self._say_updates(client, account, at)

    def take_multi_request(self, client: Client, request: ReqAccountUpdatesMulti) -> None:
        account = self._account(client, request.req_id, request.account)
        if account is not None:
            client.multi_updates[request.req_id] = account, request.model_code
            books = self._venue.account(account)
            self._clients.say(client, account_updates_multi(request.req_id, request.model_code, books))

    def take_summary_request(self, client: Client, request: ReqAccountSummary) -> None:
        client.summaries[request.req_id] = request.tags
        self._say_summary(client, request.req_id, request.tags)

    def take_profit_request(self, client: Client, request: ReqPnL) -> None:
        account = self._account(client, request.req_id, request.account)
        if account is not None:
            said = profit(request.req_id, self._venue.account(account))
            client.profits[request.req_id] = account, said
            self._clients.say(client, (said,))

    def take_single_profit_request(self, client: Client, request: ReqPnLSingle) -> None:
        account = self._account(client, request.req_id, request.account)
        if account is not None:
            said = profit_of(request.req_id, self._position(account, request.con_id))
            client.single_profits[request.req_id] = account, request.con_id, said
            self._clients.say(client, (said,))

    def position_changed(self, changed: PositionChanged) -> None:
        """Tell at once those who watch positions; account figures follow with the next `advance`."""
        self._changed.add(changed.account)
        said = Position(
            changed.account, changed.contract, Decimal(changed.quantity), float(changed.average_cost)
        )
        for client in self._clients:
            if client.wants_positions:
                self._clients.say(client, (said,))
            if client.account_updates == changed.account:
                held = self._position(changed.account, contract_id(changed.contract.symbol))
                assert held is not None
                self._clients.say(client, (portfolio_value(held),))

    def advance(self, at: datetime) -> None:
        """It is `at`: say what is due."""
        if self._refreshed is None:
            self._refreshed = self._profits_seen = at
        assert self._profits_seen is not None
        everything = at - self._refreshed >= REFRESH
        if everything:
            self._refreshed = at
        if everything or self._changed:
            self._refresh(set(self._venue.account_names) if everything else self._changed, at)
            self._changed = set()
        if at - self._profits_seen >= PROFIT_PERIOD:
            self._profits_seen = at
            for client in self._clients:
                self._say_profits(client)

    def _refresh(self, accounts: set[str], at: datetime) -> None:
        for client in self._clients:
            if client.account_updates in accounts:
                self._say_updates(client, client.account_updates, at)
            for req_id, (account, model_code) in client.multi_updates.items():
                if account in accounts:
                    books = self._venue.account(account)
                    self._clients.say(client, account_updates_multi(req_id, model_code, books))
            for req_id, tags in client.summaries.items():
                self._say_summary(client, req_id, tags)

    def _say_updates(self, client: Client, account: str, at: datetime) -> None:
        books, positions = self._venue.account(account), self._venue.positions(account)
        self._clients.say(client, account_updates(books, positions, at))

    def _say_summary(self, client: Client, req_id: int, tags: str) -> None:
        books = tuple(self._venue.account(account) for account in self._venue.account_names)
        self._clients.say(client, account_summary(req_id, tags, books))

    def _say_profits(self, client: Client) -> None:
        for req_id, (account, said) in client.profits.items():
            now = profit(req_id, self._venue.account(account))
            if now != said:
                client.profits[req_id] = account, now
                self._clients.say(client, (now,))
        for req_id, (account, con_id, said_single) in client.single_profits.items():
            now_single = profit_of(req_id, self._position(account, con_id))
            if now_single != said_single:
                client.single_profits[req_id] = account, con_id, now_single
                self._clients.say(client, (now_single,))

    def _position(self, account: str, con_id: int) -> VenuePosition | None:
        positions = self._venue.positions(account)
        return next((held for held in positions if held.contract.con_id == con_id), None)

    def _account(self, client: Client, req_id: int, name: str) -> str | None:
        """The account that a request means: the first one when it names none. None: refused."""
        accounts = self._venue.account_names
        if name and name not in accounts:
            self._clients.refuse(client, req_id, VALIDATION_CODE, _BAD_ACCOUNT)
            return None
        return name or accounts[0]
