"""What the session knows of the account's money: its worth, and what of it is free."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal, InvalidOperation
from typing import Final

import attrs

from protocol.reports import AccountReport
from protocol.risk.words import AccountMoney
from protocol.session_words import Outbox
from protocol.tws import messages as tws
from protocol.values import Symbol

WORTH: Final = "NetLiquidation"
FIELDS: Final = {WORTH: "equity", "ExcessLiquidity": "excess_liquidity", "BuyingPower": "buying_power"}
"""Tags of TWS's account summary, and what they are here."""


class AccountFigures:
    """Asked once for each link; TWS then tells of changes about every three minutes.

    `wanted`: whether anything uses the figures; nobody is asked for what nobody needs.
    """

    def __init__(self, *, wanted: bool) -> None:
        self.money = AccountMoney()
        self._wanted = wanted
        self._req_id: int | None = None

    def ask(self, fresh_id: Callable[[], int], out: Outbox) -> None:
        if self._wanted:
            if self._req_id is not None:
                out.ask(tws.CancelAccountSummary(self._req_id))
            self._req_id = fresh_id()
            out.ask(tws.ReqAccountSummary(self._req_id, "All", ",".join(FIELDS)))

    def link_lost(self) -> None:
        """A subscription ends with its link; what it told last stands."""
        self._req_id = None

    def receive(self, message: tws.AccountSummary, account: str, out: Outbox) -> None:
        """A figure that is no number, of another account or tag is let go: the last good one stands."""
        field = FIELDS.get(message.tag)
        if field is None or message.req_id != self._req_id or message.account != account:
            return
        try:
            figure = Decimal(message.value)
        except InvalidOperation:
            return
        if not figure.is_finite() or getattr(self.money, field) == figure:
            return
        change = {field: figure}
        self.money = attrs.evolve(self.money, **change)
        if message.tag == WORTH:
            out.tell(None, AccountReport(out.at, figure))

    def tell_again(self, symbol: Symbol, out: Outbox) -> None:
        """A symbol that has been restarted has to hear it anew; the others have nothing to do with it."""
        if self.money.equity is not None:
            out.tell(symbol, AccountReport(out.at, self.money.equity))
