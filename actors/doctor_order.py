"""The way of an order, there and back: asked as a question, placed far away, seen, cancelled, gone.

For paper accounts only. Whatever happens in between, the order is cancelled before this is left.
"""

from __future__ import annotations

from decimal import Decimal
from uuid import uuid4

import trio

from actors.doctor_session import REF_PREFIX, Questions, SymbolFound
from protocol.doctor import Check, Finding, fail, ok, skip, warn
from protocol.doctor_advice import advice_for, click
from protocol.doctor_session import told
from protocol.tws import messages as tws
from protocol.tws.codes import CodeClass, classify

PART_OF_PRICE = Decimal("0.4")
"""Of the market's price: a limit to buy there does not trade, and is no more than a few dollars at risk."""
ENDED = frozenset({"Cancelled", "ApiCancelled", "Filled"})
SEEN = frozenset({"PreSubmitted", "Submitted"})
REFUSALS = frozenset({CodeClass.ORDER_REFUSED, CodeClass.REQUEST_REFUSED})


class OrderTrial:
    """One order of one share."""

    def __init__(self, questions: Questions, found: SymbolFound, account: str) -> None:
        self.questions = questions
        self.desk = questions.desk
        self.symbol = found.symbol
        self.contract = found.contract
        price = None if found.price is None else found.grid.floor(Decimal(str(found.price)) * PART_OF_PRICE)
        self.limit = price if price else None
        self.account = account
        self.ref = f"{REF_PREFIX}{uuid4().hex[:12]}"
        self.order_id = 0

    async def run(self) -> tuple[Finding, ...]:
        if self.contract is None or self.limit is None:
            return (skip(Check.ORDER_PATH, "no price to stay away from is known", self.symbol),)
        findings = [await self.what_if()]
        self.order_id = self.desk.fresh_order_id()
        try:
            findings.append(await self.place())
        finally:
            with trio.CancelScope(shield=True):
                findings += await self.take_back()
        return tuple(findings)

    def _order(self, *, what_if: bool = False) -> tws.Order:
        return tws.Order(
            action="BUY",
            total_quantity=Decimal(1),
            order_type="LMT",
            lmt_price=float(self.limit or 0),
            tif="DAY",
            account=self.account,
            order_ref=self.ref,
            what_if=what_if,
        )

    def _place(self, order_id: int, order: tws.Order) -> None:
        assert self.contract is not None
        self.desk.send(tws.PlaceOrder(order_id, self.contract, order))

    async def what_if(self) -> Finding:
        """What the order would cost; nothing is placed."""
        mark, order_id = self.desk.mark, self.desk.fresh_order_id()
        self._place(order_id, self._order(what_if=True))

        def answered() -> bool:
            return self._echo(order_id, mark) is not None or bool(self._refusal(order_id, mark))

        await self.desk.until(answered, self.questions.within_loop_s)
        echo, refusal = self._echo(order_id, mark), self._refusal(order_id, mark)
        if refusal is not None:
            return fail(
                Check.ORDER_PATH, f"what-if: {told(refusal)}", *advice_for(refusal.code), subject=self.symbol
            )
        if echo is None:
            return fail(
                Check.ORDER_PATH,
                "what-if: no answer",
                click("Bypass Order Precautions for API Orders"),
                "look for a dialog in TWS that waits for a click",
                subject=self.symbol,
            )
        margin = echo.state.init_margin_change
        said = "" if margin is None else f", {margin:,.2f} of margin"
        return ok(Check.ORDER_PATH, f"what-if: 1 share at {self.limit} would be taken{said}", self.symbol)

    async def place(self) -> Finding:
        mark = self.desk.mark
        self._place(self.order_id, self._order())

        def answered() -> bool:
            return self._status(mark) in SEEN | ENDED or self._refusal(self.order_id, mark) is not None

        await self.desk.until(answered, self.questions.within_loop_s)
        status, refusal = self._status(mark), self._refusal(self.order_id, mark)
        if status not in SEEN:
            text = f"placed, and no answer; status {status or 'none'}" if refusal is None else told(refusal)
            code = 163 if refusal is None else refusal.code
            return fail(Check.ORDER_PATH, text, *advice_for(code), subject=self.symbol)
        listed = await self._listed()
        seen = "listed" if listed else "not listed"
        text = f"1 share at {self.limit} placed, {status}, {seen} among open orders"
        if not listed:
            return fail(Check.ORDER_PATH, text, "restart TWS", subject=self.symbol)
        notices = [error for error in self.desk.errors(self.order_id, since=mark) if error.code == 399]
        if notices:
            return warn(Check.ORDER_PATH, f"{text}; {told(notices[0])}", subject=self.symbol)
        return ok(Check.ORDER_PATH, text, self.symbol)

    async def take_back(self) -> tuple[Finding, ...]:
        """Cancel it, and see that it is gone."""
        mark = self.desk.mark
        self.desk.send(tws.CancelOrder(self.order_id))

        def ended() -> bool:
            gone = any(
                error.code in (10147, 10148, 161) for error in self.desk.errors(self.order_id, since=mark)
            )
            return gone or self._status(0) in ENDED

        await self.desk.until(ended, self.questions.within_loop_s)
        status = self._status(0)
        listed = await self._listed()
        if status == "Filled":
            return (
                fail(
                    Check.ORDER_PATH,
                    f"1 share was bought at {self.limit} or better: the price that TWS told was wrong",
                    "sell it in TWS",
                    subject=self.symbol,
                ),
            )
        if listed:
            return (
                fail(
                    Check.ORDER_PATH,
                    f"the order {self.ref} still works; status {status or 'none'}",
                    "cancel it in TWS",
                    subject=self.symbol,
                ),
            )
        if status not in ENDED:
            # It never came to be: what was wrong has been said.
            return ()
        return (ok(Check.ORDER_PATH, f"cancelled, {status}, nothing left", self.symbol),)

    def _echo(self, order_id: int, mark: int) -> tws.OpenOrder | None:
        return next(
            (echo for echo in self.desk.all(tws.OpenOrder, since=mark) if echo.order_id == order_id), None
        )

    def _refusal(self, order_id: int, mark: int) -> tws.ErrorMessage | None:
        errors = self.desk.errors(order_id, since=mark)
        return next((error for error in errors if classify(error.code) in REFUSALS), None)

    def _status(self, mark: int) -> str:
        """The last word about the order; "" when there was none."""
        said = [
            status.status
            for status in self.desk.all(tws.OrderStatus, since=mark)
            if status.order_id == self.order_id and status.client_id == self.desk.client_id
        ]
        return said[-1] if said else ""

    async def _listed(self) -> bool:
        mark = self.desk.mark
        self.desk.send(tws.ReqAllOpenOrders())
        await self.desk.until(
            lambda: any(True for _ in self.desk.all(tws.OpenOrderEnd, since=mark)),
            self.questions.within_loop_s,
        )
        return any(
            echo.order.order_ref == self.ref and echo.state.status not in ENDED
            for echo in self.desk.all(tws.OpenOrder, since=mark)
        )
