"""What the examination asks of TWS: one question after the other, each with its deadline."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import attrs

from actors.tws_desk import TwsDesk
from protocol.doctor import Check, Finding, ok, skip, warn
from protocol.doctor_session import (
    DataHeard,
    OpenBooks,
    judge_books,
    judge_clock,
    judge_contract,
    judge_data,
    judge_history,
    judge_money,
    judge_read_only,
    judge_upstream,
    skip_without,
)
from protocol.session_contracts import grid_of
from protocol.session_translation import stock
from protocol.tws import messages as tws
from protocol.values import PriceGrid, Symbol, exact

REF_PREFIX = "doctor:"
"""What the references of our orders begin with; a run's own have another form, and leave these alone."""
MONEY_TAGS = "NetLiquidation,BuyingPower,AvailableFunds,ExcessLiquidity"
LIVE, DELAYED = 1, 3
"""TWS's types of market data, as they are asked for."""
BID, ASK, LAST, CLOSE = (1, 66), (2, 67), (4, 68), (9, 75)
"""Tick types of prices: live and delayed."""
HISTORY_SPAN, HISTORY_BAR = "3600 S", "1 min"


@attrs.define
class SymbolFound:
    """What one symbol has turned out to be."""

    symbol: Symbol
    contract: tws.Contract | None = None
    grid: PriceGrid = attrs.field(factory=lambda: PriceGrid.of(Decimal("0.01")))
    price: float | None = None


class Questions:
    """The questions of one examination. `within_loop_s`: how long each answer may take."""

    def __init__(
        self, desk: TwsDesk, within_loop_s: float, now: Callable[[], datetime] | None = None
    ) -> None:
        self.desk = desk
        self.within_loop_s = within_loop_s
        self._now = now or (lambda: datetime.now(UTC))

    async def _answered(self, kind: type[Any], *, since: int, req_id: int | None = None) -> bool:
        """Whether the end of an answer has come; an error about the request ends it, too."""

        def ended() -> bool:
            if req_id is None:
                return any(True for _ in self.desk.all(kind, since=since))
            ends = (message.req_id for message in self.desk.all(kind, since=since))
            return req_id in ends or bool(self.desk.errors(req_id, since=since))

        return await self.desk.until(ended, self.within_loop_s)

    # --- the session --------------------------------------------------------------------------------

    async def clock(self) -> Finding:
        mark = self.desk.mark
        self.desk.send(tws.ReqCurrentTime())
        if not await self._answered(tws.CurrentTime, since=mark):
            return warn(Check.CLOCK, f"TWS did not say its time within {self.within_loop_s:g} s")
        return judge_clock(next(self.desk.all(tws.CurrentTime, since=mark)).epoch_s, self._now())

    def upstream(self) -> Finding:
        return judge_upstream(self.desk.notices())

    async def books(self, account: str) -> tuple[Finding, Finding]:
        """Whether orders may be asked about, and what is open."""
        mark = self.desk.mark
        self.desk.send(tws.ReqAllOpenOrders(), tws.ReqPositions(), tws.ReqCompletedOrders(api_only=True))
        answered = await self._answered(tws.OpenOrderEnd, since=mark)
        positions_told = await self._answered(tws.PositionEnd, since=mark)
        await self._answered(tws.CompletedOrdersEnd, since=mark)
        self.desk.send(tws.CancelPositions())
        errors = tuple(self.desk.all(tws.ErrorMessage, since=mark))
        allowed = judge_read_only(errors, answered=answered)
        if not answered or not positions_told:
            return allowed, skip(Check.BOOKS, "TWS did not list orders and positions")
        orders = {order.order.perm_id: order.order for order in self.desk.all(tws.OpenOrder, since=mark)}
        leftovers = sum(order.order_ref.startswith(REF_PREFIX) for order in orders.values())
        own = sum(order.client_id == self.desk.client_id for order in orders.values())
        books = OpenBooks(
            positions=tuple(self.desk.all(tws.Position, since=mark)),
            own=max(0, own - leftovers),
            foreign=len(orders) - max(own, leftovers),
            leftovers=leftovers,
        )
        return allowed, judge_books(books, account)

    async def money(self, account: str) -> Finding:
        mark, req_id = self.desk.mark, self.desk.fresh_req_id()
        self.desk.send(tws.ReqAccountSummary(req_id, "All", MONEY_TAGS))
        if await self._answered(tws.AccountSummaryEnd, since=mark, req_id=req_id):
            self.desk.send(tws.CancelAccountSummary(req_id))
        return judge_money(
            {
                figure.tag: (figure.value, figure.currency)
                for figure in self.desk.all(tws.AccountSummary, since=mark)
                if figure.account == account
            }
        )

    # --- symbols ------------------------------------------------------------------------------------

    async def contract(self, symbol: Symbol, *, example: bool) -> tuple[Finding, SymbolFound]:
        mark, req_id = self.desk.mark, self.desk.fresh_req_id()
        self.desk.send(tws.ReqContractDetails(req_id, stock(symbol)))
        await self._answered(tws.ContractDataEnd, since=mark, req_id=req_id)
        answers = [
            answer.details
            for answer in self.desk.all(tws.ContractData, since=mark)
            if answer.req_id == req_id
        ]
        refusal = next(iter(self.desk.errors(req_id, since=mark)), None)
        finding = judge_contract(symbol, answers, refusal, example=example)
        found = SymbolFound(symbol)
        if finding.outcome.value == "ok":
            details = next(answer for answer in answers if answer.contract.symbol == symbol)
            found.contract = stock(symbol, details.contract.con_id)
            found.grid = await self._grid(details)
        return finding, found

    async def _grid(self, details: tws.ContractDetails) -> PriceGrid:
        rules = details.market_rule_ids.split(",")
        if rules[0].isdecimal():
            mark = self.desk.mark
            self.desk.send(tws.ReqMarketRule(int(rules[0])))
            await self._answered(tws.MarketRule, since=mark)
            for rule in self.desk.all(tws.MarketRule, since=mark):
                grid = grid_of(rule.increments)
                if grid is not None:
                    return grid
        return PriceGrid.of(exact(details.min_tick) if details.min_tick > 0 else Decimal("0.01"))

    async def market_data(self, found: SymbolFound) -> Finding:
        """As a run asks for it; and where that is refused, whether there would be delayed data."""
        if found.contract is None:
            return skip_without(Check.MARKET_DATA, found.symbol)
        live = await self._data(found.contract, LIVE)
        delayed = await self._data(found.contract, DELAYED) if live.refusal is not None else None
        if delayed is not None:
            self.desk.send(tws.ReqMarketDataType(LIVE))
        found.price = live.price or (None if delayed is None else delayed.price)
        return judge_data(found.symbol, live, delayed)

    async def _data(self, contract: tws.Contract, kind: int) -> DataHeard:
        mark, req_id = self.desk.mark, self.desk.fresh_req_id()
        self.desk.send(tws.ReqMarketDataType(kind), tws.ReqMktData(req_id, contract))

        def heard() -> DataHeard:
            refusals = [error for error in self.desk.errors(req_id, since=mark) if error.code != 10167]
            kinds = [
                said.type for said in self.desk.all(tws.MarketDataType, since=mark) if said.req_id == req_id
            ]
            return DataHeard(
                kind=kinds[-1] if kinds else None,
                bid=self._tick(req_id, mark, BID),
                ask=self._tick(req_id, mark, ASK),
                last=self._tick(req_id, mark, LAST) or self._tick(req_id, mark, CLOSE),
                refusal=refusals[0] if refusals else None,
                waited_s=self.within_loop_s,
            )

        def settled() -> bool:
            so_far = heard()
            return so_far.quoted or so_far.refusal is not None

        await self.desk.until(settled, self.within_loop_s)
        self.desk.send(tws.CancelMktData(req_id))
        return heard()

    def _tick(self, req_id: int, mark: int, kinds: Sequence[int]) -> float | None:
        """The latest price of these types; TWS says -1 or 0 where it has none."""
        prices = [
            tick.price
            for tick in self.desk.all(tws.TickPrice, since=mark)
            if tick.req_id == req_id and tick.tick_type in kinds and tick.price > 0
        ]
        return prices[-1] if prices else None

    async def history(self, found: SymbolFound) -> Finding:
        if found.contract is None:
            return skip_without(Check.HISTORY, found.symbol)
        mark, req_id = self.desk.mark, self.desk.fresh_req_id()
        self.desk.send(
            tws.ReqHistoricalData(
                req_id, found.contract, "", HISTORY_BAR, HISTORY_SPAN,
                use_rth=True, what="TRADES", format_date=1, keep_up_to_date=False,
            )
        )  # fmt: skip
        await self._answered(tws.HistoricalData, since=mark, req_id=req_id)
        answers = [
            answer for answer in self.desk.all(tws.HistoricalData, since=mark) if answer.req_id == req_id
        ]
        bars = answers[0].bars if answers else ()
        if found.price is None and bars:
            found.price = bars[-1].close
        refusal = next(iter(self.desk.errors(req_id, since=mark)), None)
        return judge_history(found.symbol, bars, refusal)


def told_order_id(desk: TwsDesk) -> Finding:
    """That TWS says where our order ids go on; a run goes on above everything that it ever used."""
    first = next(desk.all(tws.NextValidId))
    return ok(Check.ORDER_IDS, f"the next valid one is {first.order_id}")
