"""A session with the user's own paper account: orders that are found again by their reference, and removed.

Every reference begins with `paper:`. Whoever opens a desk leaves it as it was: what works is cancelled,
what was bought is sold, whatever the test in between did.
"""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable, Iterable
from decimal import Decimal
from typing import Final
from uuid import uuid4

import attrs
import trio

from actors.doctor_session import Questions, SymbolFound
from actors.tws_desk import ClientIdBusy, TwsDesk
from protocol.tws import messages as tws
from protocol.tws.codes import CodeClass, classify
from protocol.values import Symbol

PREFIX: Final = "paper:"
RUN: Final = uuid4().hex[:6]
PAPER_ACCOUNTS: Final = ("DU", "DF")
WORKING: Final = frozenset({"PreSubmitted", "Submitted"})
ENDED: Final = frozenset({"Cancelled", "ApiCancelled", "Filled", "Inactive"})
REFUSALS: Final = frozenset({CodeClass.ORDER_REFUSED, CodeClass.REQUEST_REFUSED})
BUSY_LOOP_S: Final = 60.0
"""For so long TWS may hold a client id whose session is gone."""
HOURS_NOTICE: Final = 399

DEFAULT_SYMBOL: Final = Symbol("SPY")

_numbers = itertools.count(1)


class NotPaper(Exception):
    """The account is not a paper account: nothing is done there."""


@attrs.frozen
class Target:
    """Where the paper account is; all of it from the environment."""

    host: str = "127.0.0.1"
    port: int = 7497
    client_id: int = 77
    symbol: Symbol = DEFAULT_SYMBOL
    fills: bool = False
    """Whether one share may be bought and sold again."""
    patience_loop_s: float = 10.0
    """For each answer."""
    quiet_loop_s: float = 1.0
    """After which nothing more is expected to come by itself."""

    @classmethod
    def of_environment(cls) -> Target:
        """Raises ValueError for an address that is none."""
        named = os.environ.get("RINGFENCE_PAPER_TWS") or "127.0.0.1:7497"
        host, _, port = named.rpartition(":")
        if not host or not port.isdecimal():
            raise ValueError(f"RINGFENCE_PAPER_TWS: must be HOST:PORT, not {named!r}")
        return cls(
            host=host,
            port=int(port),
            client_id=int(os.environ.get("RINGFENCE_PAPER_CLIENT_ID", "77")),
            symbol=Symbol(os.environ.get("RINGFENCE_PAPER_SYMBOL", "SPY").upper()),
            fills=os.environ.get("RINGFENCE_PAPER_FILLS", "") == "1",
            patience_loop_s=float(os.environ.get("RINGFENCE_PAPER_PATIENCE_S", "10")),
            quiet_loop_s=float(os.environ.get("RINGFENCE_PAPER_QUIET_S", "1")),
        )


class PaperDesk:
    """One session. Prices are far from the market unless a test says otherwise."""

    def __init__(self, target: Target, desk: TwsDesk, account: str, found: SymbolFound) -> None:
        """Use `open`."""
        assert found.contract is not None
        assert found.price is not None, f"no price of {target.symbol} is known: no data permission?"
        self.target, self.desk, self.account = target, desk, account
        self.contract, self.grid = found.contract, found.grid
        self.price = Decimal(str(found.price))
        self._sent: list[int] = []

    @classmethod
    async def open(cls, target: Target) -> PaperDesk:
        """Raises `NotPaper` before anything but the account has been asked for, and `LinkDown`."""
        desk = await connect(target)
        try:
            account = paper_account(desk.accounts)
            questions = Questions(desk, target.patience_loop_s)
            finding, found = await questions.contract(target.symbol, example=False)
            assert found.contract is not None, finding.text
            await questions.market_data(found)
            if found.price is None:
                await questions.history(found)
            return cls(target, desk, account, found)
        except BaseException:
            desk.link.close()
            raise

    async def leave(self) -> None:
        """Take back everything that carries our reference, and end the session."""
        try:
            await self.sweep()
        finally:
            self.desk.link.close()

    async def reopen(self) -> None:
        """End the session and begin another one, as after a loss."""
        self.desk.link.close()
        self.desk = await connect(self.target)

    # --- orders -------------------------------------------------------------------------------------

    def at(self, part: str) -> float:
        """A price on the grid, as a part of the market's."""
        return float(self.grid.floor(self.price * Decimal(part)))

    def order(self, **fields: object) -> tws.Order:
        """To buy one share at two fifths of the price, for the day, unless told otherwise."""
        asked: dict[str, object] = {
            "action": "BUY",
            "total_quantity": Decimal(1),
            "order_type": "LMT",
            "lmt_price": self.at("0.4"),
            "tif": "DAY",
            "account": self.account,
            "order_ref": f"{PREFIX}{RUN}:{next(_numbers)}",
        }
        order: tws.Order = tws.Order(**asked | fields)  # type: ignore[arg-type]
        assert order.order_ref.startswith(PREFIX), "an order that would not be found again"
        return order

    def send(self, order: tws.Order, order_id: int | None = None) -> int:
        """Place it, or with the id of another one modify that. The order's id."""
        used = self.desk.fresh_order_id() if order_id is None else order_id
        self._sent.append(used)
        self.desk.send(tws.PlaceOrder(used, self.contract, order))
        return used

    async def place(self, order: tws.Order, order_id: int | None = None) -> int:
        """The same, and wait until it works."""
        since = self.desk.mark
        used = self.send(order, order_id)
        assert await self.until(
            lambda: self.status(used, since=since) in WORKING or self.refused(used, since)
        ), f"nothing was heard of order {used}"
        assert self.status(used, since=since) in WORKING, self.refused(used, since)
        return used

    async def cancel(self, *order_ids: int) -> None:
        """Cancel, and wait until they have ended."""
        for order_id in order_ids:
            self.desk.send(tws.CancelOrder(order_id))
        assert await self.until(lambda: all(self.status(each) in ENDED for each in order_ids)), (
            f"not all of {order_ids} have ended: {[self.status(each) for each in order_ids]}"
        )

    async def until(self, holds: Callable[[], object]) -> bool:
        return await self.desk.until(lambda: bool(holds()), self.target.patience_loop_s)

    async def quiet(self) -> None:
        """Until what follows by itself has been heard."""
        await self.desk.listen(self.target.quiet_loop_s)

    # --- what was heard -----------------------------------------------------------------------------

    def status(self, order_id: int, *, since: int = 0) -> str:
        """The last word; "" for none."""
        said = [each.status for each in self.statuses(order_id, since=since)]
        return said[-1] if said else ""

    def statuses(self, order_id: int, *, since: int = 0) -> list[tws.OrderStatus]:
        mine = self.desk.all(tws.OrderStatus, since=since)
        return [
            each for each in mine if each.order_id == order_id and each.client_id == self.target.client_id
        ]

    def echoes(self, order_id: int, *, since: int = 0) -> list[tws.OpenOrder]:
        return [each for each in self.desk.all(tws.OpenOrder, since=since) if each.order_id == order_id]

    def echo(self, order_id: int, *, since: int = 0) -> tws.OpenOrder:
        return self.echoes(order_id, since=since)[-1]

    def codes(self, order_id: int, *, since: int = 0) -> list[int]:
        return [error.code for error in self.desk.errors(order_id, since=since)]

    def answer(self, order_id: int, *, since: int) -> str:
        """The codes that an order or request was answered with, notices about market hours apart."""
        codes = [f"error {code}" for code in self.codes(order_id, since=since) if code != HOURS_NOTICE]
        return ", ".join(codes) or "no error"

    def refused(self, order_id: int, since: int) -> str:
        """The refusal in words; "" for none."""
        refusals = [
            each for each in self.desk.errors(order_id, since=since) if classify(each.code) in REFUSALS
        ]
        return f"{refusals[0].code}: {refusals[0].text}" if refusals else ""

    def story(self, *order_ids: int, since: int) -> str:
        """What was heard of these orders, in order, repetitions once: the first order is told by its
        messages alone, the others with their number among them."""
        told: list[str] = []
        for message in self.desk.heard[since:]:
            match message:
                case tws.OpenOrder(order_id=about, state=state):
                    said = f"openOrder {state.status}"
                case tws.OrderStatus(order_id=about, status=status):
                    said = f"orderStatus {status}"
                case tws.ExecDetails(execution=execution):
                    about, said = execution.order_id, "execDetails"
                case tws.ErrorMessage(id=about, code=code):
                    said = f"error {code}"
                case _:
                    continue
            if about in order_ids:
                number = order_ids.index(about)
                told.append(f"{number + 1}: {said}" if number else said)
        return ", ".join(dict.fromkeys(told)) or "nothing"

    async def listed(self) -> dict[str, tws.OpenOrder]:
        """Our working orders as TWS lists them when it is asked, by reference."""
        since = self.desk.mark
        self.desk.send(tws.ReqAllOpenOrders())
        assert await self.until(lambda: any(True for _ in self.desk.all(tws.OpenOrderEnd, since=since)))
        return {
            each.order.order_ref: each
            for each in self.desk.all(tws.OpenOrder, since=since)
            if each.order.order_ref.startswith(PREFIX) and each.state.status not in ENDED
        }

    async def executions(self) -> list[tws.Execution]:
        """Our own of this day, each once."""
        since, req_id = self.desk.mark, self.desk.fresh_req_id()
        self.desk.send(tws.ReqExecutions(req_id, tws.ExecutionFilter()))
        assert await self.until(
            lambda: any(end.req_id == req_id for end in self.desk.all(tws.ExecDetailsEnd, since=since))
        )
        return own(self.desk.all(tws.ExecDetails), self.target.symbol)

    async def now_epoch_s(self) -> int:
        """TWS's time."""
        since = self.desk.mark
        self.desk.send(tws.ReqCurrentTime())
        assert await self.until(lambda: any(True for _ in self.desk.all(tws.CurrentTime, since=since)))
        return next(self.desk.all(tws.CurrentTime, since=since)).epoch_s

    # --- leaving ------------------------------------------------------------------------------------

    async def sweep(self) -> None:
        """Cancel what works under our references, and sell or buy back what they traded."""
        # Those that were not transmitted are on no list; an id that is none is refused, and that is all.
        for order_id in dict.fromkeys(self._sent):
            if self.status(order_id) not in ENDED:
                self.desk.send(tws.CancelOrder(order_id))
        for left in (await self.listed()).values():
            self.desk.send(tws.CancelOrder(left.order_id))
            await self.until(lambda about=left.order_id: self.status(about) in ENDED)  # type: ignore[misc]
        open_shares = net(await self.executions())
        if open_shares:
            side = "SELL" if open_shares > 0 else "BUY"
            closing = self.order(
                action=side, total_quantity=abs(open_shares), order_type="MKT", lmt_price=None
            )
            order_id = self.send(closing)
            await self.until(lambda: self.status(order_id) in ENDED)
        await self.check_nothing_left()

    async def check_nothing_left(self) -> None:
        left = await self.listed()
        assert not left, f"these orders still work, cancel them in TWS: {sorted(left)}"
        shares = net(await self.executions())
        assert not shares, f"{shares} {self.target.symbol} of ours are still held, close them in TWS"


async def connect(target: Target) -> TwsDesk:
    """A session; TWS may hold the client id of the last one for a while. Raises `LinkDown`."""
    deadline = trio.current_time() + BUSY_LOOP_S
    while True:
        try:
            return await TwsDesk.open(
                target.host, target.port, target.client_id, timeout_loop_s=target.patience_loop_s
            )
        except ClientIdBusy:
            if trio.current_time() > deadline:
                raise
        await trio.sleep(0.2)


def paper_account(accounts: tuple[str, ...]) -> str:
    """The first of them, if all of them are paper accounts. Raises `NotPaper`."""
    if not accounts or not all(account.startswith(PAPER_ACCOUNTS) for account in accounts):
        raise NotPaper(
            f"TWS manages {', '.join(accounts) or 'no account'}, and not only paper accounts (DU…, DF…)"
        )
    return accounts[0]


def own(details: Iterable[tws.ExecDetails], symbol: str) -> list[tws.Execution]:
    """Executions of our references, each id once."""
    found = {each.execution.exec_id: each.execution for each in details if each.contract.symbol == symbol}
    return [each for each in found.values() if each.order_ref.startswith(PREFIX)]


def net(executions: Iterable[tws.Execution]) -> Decimal:
    """Shares that are still held."""
    return sum((each.shares if each.side == "BOT" else -each.shares for each in executions), Decimal(0))
