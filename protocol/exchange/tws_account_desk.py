"""The account side of the simulated TWS: positions, account updates, summaries, profit and loss.

Each client's subscriptions are kept here with what it was told last, so that a refresh says only what has
changed. Positions are told at once with every execution; figures follow with the next `advance`, at least
every three minutes, and profits once a second when they have changed.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from datetime import datetime, timedelta
from typing import TypeAlias, assert_never

import attrs

from protocol.exchange.account_figures import AccountFigures
from protocol.exchange.contract_key import contract_key
from protocol.exchange.happenings import PositionChanged
from protocol.exchange.tws_account import (
    Row,
    account_summary,
    account_updates,
    account_updates_multi,
    account_values,
    multi_rows,
    portfolio_value,
    position_multi,
    position_of,
    profit,
    profit_of,
    summary_rows,
)
from protocol.exchange.tws_clients import NO_ID, Client, ClientKey, Clients
from protocol.exchange.venue import Venue
from protocol.tws import messages as m

REFRESH = timedelta(minutes=3)
"""Market time between two unasked looks at all account figures."""
PROFIT_PERIOD = timedelta(seconds=1)
"""Market time between two looks at profits that clients watch."""
VALIDATION_CODE = 321
PROCESSING_CODE = 322
MAX_SUMMARIES = 2
"""Account summaries that one client may watch at a time, as IBKR documents."""
MAX_WATCHES = 100
"""Subscriptions of one kind that a client may have: they are paid for at every refresh."""
ALL_ACCOUNTS = "All"
_BAD_ACCOUNT = "Error validating request.-'bF' : cause - Invalid account code"
_BAD_GROUP = "Error validating request.-'bF' : cause - Account group name is invalid"
_NO_ADVISOR = "Error validating request.-'bF' : cause - FA data operations ignored for non FA customers."
_TOO_MANY_SUMMARIES = (
    "Error processing request.-'bF' : cause - Maximum number of account summary requests exceeded"
)
_TOO_MANY = "Error processing request.-'bF' : cause - Maximum number of subscriptions exceeded"

AccountRequest: TypeAlias = (
    m.ReqPositions | m.CancelPositions | m.ReqPositionsMulti | m.CancelPositionsMulti
    | m.ReqAccountUpdates | m.ReqAccountUpdatesMulti | m.CancelAccountUpdatesMulti
    | m.ReqAccountSummary | m.CancelAccountSummary
    | m.ReqPnL | m.CancelPnL | m.ReqPnLSingle | m.CancelPnLSingle
    | m.ReqFamilyCodes | m.ReqSoftDollarTiers | m.RequestFa | m.ReplaceFa
)  # fmt: skip
_Said: TypeAlias = dict[tuple[str, str, str], str]
"""Account, key and currency to the value that was told last."""


@attrs.define
class _Summary:
    accounts: tuple[str, ...]
    tags: tuple[str, ...]
    said: _Said = attrs.Factory(dict)


@attrs.define
class _Multi:
    account: str
    model_code: str
    ledger_only: bool
    said: _Said = attrs.Factory(dict)


@attrs.define
class _Watch:
    """What one client has subscribed to, by request id where there is one."""

    client: Client
    positions: bool = False
    updates: str | None = None
    updates_said: _Said = attrs.Factory(dict)
    position_multis: dict[int, tuple[str, str]] = attrs.Factory(dict)
    """Account and model."""
    multis: dict[int, _Multi] = attrs.Factory(dict)
    summaries: dict[int, _Summary] = attrs.Factory(dict)
    profits: dict[int, tuple[str, m.PnL]] = attrs.Factory(dict)
    """Account and what was told last."""
    single_profits: dict[int, tuple[str, int, m.PnLSingle]] = attrs.Factory(dict)
    """Account, contract id and what was told last."""


class AccountDesk:
    """Answers about accounts, and keeps the subscribers to them informed."""

    def __init__(self, venue: Venue, clients: Clients) -> None:
        self._venue, self._clients = venue, clients
        self._watches: dict[ClientKey, _Watch] = {}
        self._changed: set[str] = set()
        self._refreshed: datetime | None = None
        self._profits_seen: datetime | None = None

    def answer(self, client: Client, request: AccountRequest, at: datetime) -> None:
        watch = self._watches.get(client.key)
        if watch is None:
            watch = self._watches[client.key] = _Watch(client)
        match request:
            case m.ReqPositions():
                self._say_positions(watch)
            case m.CancelPositions():
                watch.positions = False
            case m.ReqPositionsMulti() | m.CancelPositionsMulti():
                self._take_positions_multi(watch, request)
            case m.ReqAccountUpdates():
                self._take_updates(watch, request, at)
            case m.ReqAccountUpdatesMulti():
                self._take_multi(watch, request)
            case m.CancelAccountUpdatesMulti(req_id=req_id):
                watch.multis.pop(req_id, None)
            case m.ReqAccountSummary():
                self._take_summary(watch, request)
            case m.CancelAccountSummary(req_id=req_id):
                watch.summaries.pop(req_id, None)
            case m.ReqPnL() | m.CancelPnL() | m.ReqPnLSingle() | m.CancelPnLSingle():
                self._take_profit(watch, request)
            case m.ReqFamilyCodes() | m.ReqSoftDollarTiers() | m.RequestFa() | m.ReplaceFa():
                self._answer_advisor(client, request)
            case _:
                assert_never(request)

    def forget(self, client: Client) -> None:
        """The client is gone, and its subscriptions with it."""
        self._watches.pop(client.key, None)

    # --- what clients ask -----------------------------------------------------------------------

    def _say_positions(self, watch: _Watch) -> None:
        watch.positions = True
        for account in self._venue.account_names:
            held = (position for position in self._venue.positions(account) if position.quantity)
            self._clients.say(watch.client, map(position_of, held))
        self._clients.say(watch.client, (m.PositionEnd(),))

    def _take_positions_multi(
        self, watch: _Watch, request: m.ReqPositionsMulti | m.CancelPositionsMulti
    ) -> None:
        req_id = request.req_id
        if isinstance(request, m.CancelPositionsMulti):
            watch.position_multis.pop(req_id, None)
            return
        account = self._account(watch.client, req_id, request.account)
        if account is None or not self._room(watch.client, watch.position_multis, req_id):
            return
        watch.position_multis[req_id] = account, request.model_code
        held = (position for position in self._venue.positions(account) if position.quantity)
        self._clients.say(
            watch.client, (position_multi(req_id, request.model_code, position) for position in held)
        )
        self._clients.say(watch.client, (m.PositionMultiEnd(req_id),))

    def _take_updates(self, watch: _Watch, request: m.ReqAccountUpdates, at: datetime) -> None:
        if not request.subscribe:
            watch.updates = None
            return
        account = self._account(watch.client, NO_ID, request.account)
        if account is not None:
            watch.updates, watch.updates_said = account, {}
            self._say_updates(watch, account, self._venue.figures(account), at)

    def _take_multi(self, watch: _Watch, request: m.ReqAccountUpdatesMulti) -> None:
        account = self._account(watch.client, request.req_id, request.account)
        if account is None or not self._room(watch.client, watch.multis, request.req_id):
            return
        multi = _Multi(account, request.model_code, request.ledger_and_nlv)
        watch.multis[request.req_id] = multi
        self._say_multi(watch.client, request.req_id, multi, self._venue.figures(account))
        self._clients.say(watch.client, (m.AccountUpdateMultiEnd(request.req_id),))

    def _take_summary(self, watch: _Watch, request: m.ReqAccountSummary) -> None:
        names, req_id = self._venue.account_names, request.req_id
        if request.group not in ("", ALL_ACCOUNTS, *names):
            self._clients.refuse(watch.client, req_id, VALIDATION_CODE, _BAD_GROUP)
            return
        if len(watch.summaries) >= MAX_SUMMARIES and req_id not in watch.summaries:
            self._clients.refuse(watch.client, req_id, PROCESSING_CODE, _TOO_MANY_SUMMARIES)
            return
        accounts = (request.group,) if request.group in names else names
        tags = tuple(tag.strip() for tag in request.tags.split(",") if tag.strip())
        watch.summaries[req_id] = _Summary(accounts, tags)
        for account in accounts:
            self._say_summary(watch, req_id, account, self._venue.figures(account))
        self._clients.say(watch.client, (m.AccountSummaryEnd(req_id),))

    def _take_profit(
        self, watch: _Watch, request: m.ReqPnL | m.CancelPnL | m.ReqPnLSingle | m.CancelPnLSingle
    ) -> None:
        req_id = request.req_id
        if isinstance(request, m.CancelPnL):
            watch.profits.pop(req_id, None)
            return
        if isinstance(request, m.CancelPnLSingle):
            watch.single_profits.pop(req_id, None)
            return
        account = self._account(watch.client, req_id, request.account)
        if account is None:
            return
        if isinstance(request, m.ReqPnL):
            if self._room(watch.client, watch.profits, req_id):
                said = profit(req_id, self._venue.figures(account))
                watch.profits[req_id] = account, said
                self._clients.say(watch.client, (said,))
        elif self._room(watch.client, watch.single_profits, req_id):
            single = self._profit_of(req_id, account, request.con_id)
            watch.single_profits[req_id] = account, request.con_id, single
            self._clients.say(watch.client, (single,))

    def _answer_advisor(
        self, client: Client, request: m.ReqFamilyCodes | m.ReqSoftDollarTiers | m.RequestFa | m.ReplaceFa
    ) -> None:
        """The accounts belong to one person, to no family, and to no financial advisor."""
        match request:
            case m.ReqFamilyCodes():
                codes = tuple((account, "") for account in self._venue.account_names)
                self._clients.say(client, (m.FamilyCodes(codes),))
            case m.ReqSoftDollarTiers(req_id):
                self._clients.say(client, (m.SoftDollarTiers(req_id, ()),))
            case m.RequestFa():
                self._clients.refuse(client, NO_ID, VALIDATION_CODE, _NO_ADVISOR)
            case m.ReplaceFa(req_id=req_id):
                self._clients.refuse(client, req_id, VALIDATION_CODE, _NO_ADVISOR)
            case _:
                assert_never(request)

    # --- what they are told -----------------------------------------------------------------------

    def position_changed(self, changed: PositionChanged) -> None:
        """Tell at once those who watch positions; account figures follow with the next `advance`."""
        account = changed.account
        self._changed.add(account)
        held = self._venue.position(account, contract_key(changed.contract))
        assert held is not None
        for watch in self._watches.values():
            if watch.positions:
                self._clients.say(watch.client, (position_of(held),))
            for req_id, (watched, model_code) in watch.position_multis.items():
                if watched == account:
                    self._clients.say(watch.client, (position_multi(req_id, model_code, held),))
            if watch.updates == account:
                self._clients.say(watch.client, (portfolio_value(held),))

    def advance(self, at: datetime) -> None:
        """It is `at`: say what is due."""
        if self._refreshed is None:
            self._refreshed = self._profits_seen = at
        assert self._profits_seen is not None
        everything = at - self._refreshed >= REFRESH
        if everything:
            self._refreshed = at
        if everything or self._changed:
            names = self._venue.account_names
            self._refresh(names if everything else tuple(n for n in names if n in self._changed), at)
            self._changed = set()
        if at - self._profits_seen >= PROFIT_PERIOD:
            self._profits_seen = at
            self._say_profits()

    def _refresh(self, accounts: Iterable[str], at: datetime) -> None:
        for account in accounts:
            # The figures are the same for every client, and dear where many positions are held.
            figures: AccountFigures | None = None
            for watch in self._watches.values():
                if not _watches_account(watch, account):
                    continue
                figures = figures or self._venue.figures(account)
                if watch.updates == account:
                    self._say_updates(watch, account, figures, at)
                for req_id, multi in watch.multis.items():
                    if multi.account == account:
                        self._say_multi(watch.client, req_id, multi, figures)
                for req_id, summary in watch.summaries.items():
                    if account in summary.accounts:
                        self._say_summary(watch, req_id, account, figures)

    def _say_updates(self, watch: _Watch, account: str, figures: AccountFigures, at: datetime) -> None:
        rows = _news(account, account_values(figures), watch.updates_said)
        self._clients.say(watch.client, account_updates(account, rows, self._venue.positions(account), at))

    def _say_multi(self, client: Client, req_id: int, multi: _Multi, figures: AccountFigures) -> None:
        rows = _news(multi.account, multi_rows(figures, ledger_only=multi.ledger_only), multi.said)
        self._clients.say(client, account_updates_multi(req_id, multi.account, multi.model_code, rows))

    def _say_summary(self, watch: _Watch, req_id: int, account: str, figures: AccountFigures) -> None:
        summary = watch.summaries[req_id]
        rows = _news(account, summary_rows(figures, summary.tags), summary.said)
        self._clients.say(watch.client, account_summary(req_id, account, rows))

    def _say_profits(self) -> None:
        figures: dict[str, AccountFigures] = {}
        for watch in self._watches.values():
            for req_id, (account, said) in watch.profits.items():
                if account not in figures:
                    figures[account] = self._venue.figures(account)
                now = profit(req_id, figures[account])
                if now != said:
                    watch.profits[req_id] = account, now
                    self._clients.say(watch.client, (now,))
            for req_id, (account, con_id, said_single) in watch.single_profits.items():
                single = self._profit_of(req_id, account, con_id)
                if single != said_single:
                    watch.single_profits[req_id] = account, con_id, single
                    self._clients.say(watch.client, (single,))

    def _profit_of(self, req_id: int, account: str, con_id: int) -> m.PnLSingle:
        key = self._venue.held_key(account, con_id)
        return profit_of(req_id, None if key is None else self._venue.position(account, key))

    def _account(self, client: Client, req_id: int, name: str) -> str | None:
        """The account that a request means: the first one when it names none. None: refused."""
        accounts = self._venue.account_names
        if name and name not in accounts:
            self._clients.refuse(client, req_id, VALIDATION_CODE, _BAD_ACCOUNT)
            return None
        return name or accounts[0]

    def _room(self, client: Client, watched: Collection[int], req_id: int) -> bool:
        """Whether one more subscription of a kind can be taken; it is refused where it cannot."""
        if req_id in watched or len(watched) < MAX_WATCHES:
            return True
        self._clients.refuse(client, req_id, PROCESSING_CODE, _TOO_MANY)
        return False


def _watches_account(watch: _Watch, account: str) -> bool:
    return (
        watch.updates == account
        or any(multi.account == account for multi in watch.multis.values())
        or any(account in summary.accounts for summary in watch.summaries.values())
    )


def _news(account: str, rows: Iterable[Row], said: _Said) -> Iterable[Row]:
    """The rows that differ from what was `said`, which is brought up to date."""
    for key, value, currency in rows:
        name = (account, key, currency)
        if said.get(name) != value:
            said[name] = value
            yield key, value, currency
