"""What the session knows of the account's money: its worth, for sizes that are a part of it."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal, InvalidOperation

from protocol.reports import AccountReport
from protocol.session_words import Outbox
from protocol.tws import messages as tws

WORTH = "NetLiquidation"


class AccountFigures:
    """Asked once for each link; TWS then tells of changes about every three minutes.

    `wanted`: whether anything uses the figures; nobody is asked for what nobody needs.
    """

    def __init__(self, *, wanted: bool) -> None:
        self._wanted = wanted
        self._req_id: int | None = None
        self._equity: Decimal | None = None

    def ask(self, fresh_id: Callable[[], int], out: Outbox) -> None:
        if self._wanted:
            self._req_id = fresh_id()
            out.ask(tws.ReqAccountSummary(self._req_id, "All", WORTH))

    def knows_id(self, req_id: int) -> bool:
        return req_id == self._req_id

    def receive(self, message: tws.AccountSummary, account: str, out: Outbox) -> None:
        """A figure that is no number, of another account or tag is let go: the size is refused meanwhile."""
        if message.req_id != self._req_id or message.tag != WORTH or message.account != account:
            return
        try:
            equity = Decimal(message.value)
        except InvalidOperation:
            return
        if equity.is_finite() and equity != self._equity:
            self._equity = equity
            out.tell(None, AccountReport(out.at, equity))

    def tell_again(self, out: Outbox) -> None:
        """A symbol that has been restarted has to hear it anew."""
        if self._equity is not None:
            out.tell(None, AccountReport(out.at, self._equity))
