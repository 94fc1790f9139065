"""What TWS says, and in which order, when something happens to an order.

The order of messages is that of captured live sessions. Where TWS is known to vary, `TwsSettings` chooses.
"""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal

import attrs

from protocol.exchange.happenings import OrderRejected, Status, VenueOrder
from protocol.exchange.tws_orders import CANCELLED_CODE, echo, held_until_open, open_order, order_status
from protocol.exchange.tws_settings import PendingCancel, TwsSettings
from protocol.tws.messages import CommissionReport, ErrorMessage, ExecDetails, ServerMessage

LOCATE_CODE = 404
LOCATE = (
    "Shares for this order are not immediately available for short sale. "
    "The order will be held while we attempt to locate the shares."
)
STOP_ECHO_OFFSET = 0.03
"""Dollars by which the first echo of a stop shows a limit price beyond it."""
UNSAID_REASONS = frozenset({"Another order of the OCA group was filled.", "The parent order has ended."})
"""Cancels that follow from other orders say nothing behind "reason:" (captures: api_bracket_trigger)."""
NO_FILL = ("IOC", "FOK")


class Sequences:
    """Messages about one happening, as all who hear of the order are told it."""

    def __init__(self, settings: TwsSettings) -> None:
        self._settings = settings

    def accepted(self, order: VenueOrder, opens: datetime | None) -> tuple[ServerMessage, ...]:
        """`opens`: when the session begins that a day order waits for; None when it waits for none."""
        said: tuple[ServerMessage, ...] = ()
        if self._settings.stop_price_echo and "trigger" in order.why_held:
            said = echo(_with_stop_limit(order))
        said += self.modified(order)
        if "locate" in order.why_held:
            said += (ErrorMessage(order.order_id, LOCATE_CODE, LOCATE),)
        if opens is not None:
            said += (held_until_open(order, opens),)
            said += echo(order) if self._settings.duplicate_echo else ()
        return said

    def shown(self, order: VenueOrder) -> tuple[ServerMessage, ...]:
        """The order as it is now, after whatever changed it."""
        return self._repeated(echo(order))

    def modified(self, order: VenueOrder) -> tuple[ServerMessage, ...]:
        """The order as its owner wants it, on its way to the exchange perhaps."""
        before: tuple[ServerMessage, ...] = ()
        if self._settings.presubmitted_first and order.status is Status.SUBMITTED and not order.filled:
            before = echo(attrs.evolve(order, status=Status.PRE_SUBMITTED))
        return before + self._repeated(echo(order))

    def cancelled(self, order: VenueOrder, reason: str, *, by_client: bool) -> tuple[ServerMessage, ...]:
        """No openOrder comes with Cancelled; the 202 follows the status (capture: api_order_rest_cancel)."""
        unfilled = not by_client and order.order.tif in NO_FILL
        said_reason = "" if unfilled or reason in UNSAID_REASONS else reason
        notice = ErrorMessage(order.order_id, CANCELLED_CODE, f"Order Canceled - reason:{said_reason}")
        pending: tuple[ServerMessage, ...] = ()
        if unfilled:
            # What an immediate order did not get (capture: api_ioc_fok).
            pending = echo(attrs.evolve(order, status=Status.PENDING_CANCEL))
        elif by_client and self._settings.pending_cancel is PendingCancel.ECHO:
            pending = echo(attrs.evolve(order, status=Status.PENDING_CANCEL))
        elif by_client and self._settings.pending_cancel is PendingCancel.STATUS:
            pending = (order_status(order, Status.PENDING_CANCEL),)
        return (*pending, order_status(order), notice)

    def rejected(self, rejected: OrderRejected) -> tuple[ServerMessage, ...]:
        """An Inactive order is shown; of a refused modify or a request without an order, only the error."""
        error = ErrorMessage(rejected.order_id, rejected.code, rejected.text)
        if rejected.order is None or rejected.order.status is not Status.INACTIVE:
            return (error,)
        shown = echo(rejected.order)
        again = (error,) if self._settings.repeat_rejection else ()
        return (error, *shown, *again) if self._settings.error_before_inactive else (*shown, error, *again)

    def beyond_band(self, order: VenueOrder, wanted: VenueOrder) -> tuple[ServerMessage, ...]:
        """A modify to what `wanted` shows meets the exchange's price band; Cancelled, 202 and 201 follow
        (capture: api_order_rejects)."""
        return (
            open_order(attrs.evolve(wanted, status=Status.PRE_SUBMITTED)),
            order_status(order, Status.PENDING_CANCEL),
            order_status(order),
            open_order(attrs.evolve(order, status=Status.PRE_SUBMITTED)),
        )

    def executed(self, order: VenueOrder, details: ExecDetails | None) -> tuple[ServerMessage, ...]:
        """`details` None: they are kept from the clients."""
        execution = () if details is None else (details,)
        shown = self._repeated(echo(order))
        return (*shown, *execution) if self._settings.status_before_execution else (*execution, *shown)

    def charged(
        self, order: VenueOrder | None, cost: Decimal, report: CommissionReport
    ) -> tuple[ServerMessage, ...]:
        """`order` as it was told last, `cost` what it has cost so far."""
        if order is None or order.status is not Status.FILLED or not self._settings.commission_echo:
            return (report,)
        return (open_order(order, cost), order_status(order), report)

    def _repeated(self, said: tuple[ServerMessage, ...]) -> tuple[ServerMessage, ...]:
        return said * 2 if self._settings.duplicate_echo else said


def _with_stop_limit(order: VenueOrder) -> VenueOrder:
    asked = order.order
    stop = asked.trail_stop_price if asked.order_type.startswith("TRAIL") else asked.aux_price
    if stop is None:
        return order
    offset = STOP_ECHO_OFFSET if asked.action == "BUY" else -STOP_ECHO_OFFSET
    return attrs.evolve(order, order=attrs.evolve(asked, lmt_price=round(stop + offset, 4)))
