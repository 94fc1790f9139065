"""Faults of requests, orders and fills, and what others do to the account."""

from __future__ import annotations

import enum
from decimal import Decimal

import attrs
from attrs import validators

from protocol.exchange.fault_base import ABOVE_ZERO, COUNT, NOT_BELOW_ZERO, WITHIN, Family, FaultBase, Leg


@attrs.frozen(kw_only=True)
class SwallowRequest(FaultBase):
    """A request is lost: it is neither carried out nor answered."""

    family = Family.REQUEST
    usual = ("place_order",)


@attrs.frozen(kw_only=True)
class RefuseRequest(FaultBase):
    """A request is answered with an error and not carried out."""

    family = Family.REQUEST
    usual = ("place_order",)
    code: int
    text: str = "The simulated TWS was told to refuse this request."


@attrs.frozen(kw_only=True)
class DelayRequest(FaultBase):
    """A request takes effect later; others of the client overtake it."""

    family = Family.REQUEST
    usual = ("cancel_order",)
    by_s: float = attrs.field(default=1.0, validator=ABOVE_ZERO)


@attrs.frozen(kw_only=True)
class UnansweredOrder(FaultBase):
    """An order is carried out and its owner hears nothing of it, unless it asks; 0 s: for ever."""

    family = Family.REQUEST
    usual = ("place_order",)
    duration_s: float = attrs.field(default=0.0, validator=NOT_BELOW_ZERO)


@attrs.frozen(kw_only=True)
class OrderNotice(FaultBase):
    """An error message that changes nothing follows the answer to an order: 399, 404, 10349 and such."""

    family = Family.REQUEST
    usual = ("place_order",)
    code: int = 399
    text: str = "Order Message:\nThe simulated TWS was told to say so."


@attrs.frozen(kw_only=True)
class DoubleModify(FaultBase):
    """A modify leaves two live orders of one order id and reference, of different permanent ids.

    The second keeps the old parameters; its owner hears of it only in answer to an open-order request.
    """

    family = Family.REQUEST
    usual = ("modify_order",)


@attrs.frozen(kw_only=True)
class FillAfterCancel(FaultBase):
    """An order that was cancelled trades all the same, `after_s` later; `quantity` 0: all that was left."""

    family = Family.REQUEST
    usual = ("cancel_order",)
    quantity: int = attrs.field(default=0, validator=NOT_BELOW_ZERO)
    after_s: float = attrs.field(default=0.0, validator=NOT_BELOW_ZERO)


class Form(enum.Enum):
    """What is said of a rejected order."""

    STATUS_FIRST = "status_first"
    ERROR_FIRST = "error_first"
    ONLY_ERROR = "only_error"
    ONLY_STATUS = "only_status"


@attrs.frozen(kw_only=True)
class RejectOrder(FaultBase):
    """The exchange rejects an order that was taken: Inactive and 201."""

    family = Family.ORDER
    usual = ("order_accepted",)
    leg: Leg = Leg.ANY
    code: int = 201
    reason: str = "Rejected by the exchange."
    form: Form = Form.STATUS_FIRST


@attrs.frozen(kw_only=True)
class ManualCancel(FaultBase):
    """A person in TWS, or the exchange, cancels an order: Cancelled and 202."""

    family = Family.ORDER
    leg: Leg = Leg.ANY
    reason: str = ""


@attrs.frozen(kw_only=True)
class ManualModify(FaultBase):
    """A person in TWS moves or resizes an order; the changes are added to what it has."""

    family = Family.ORDER
    leg: Leg = Leg.ANY
    price_change: Decimal = attrs.field(default=Decimal(0), validator=WITHIN)
    quantity_change: int = attrs.field(default=0, validator=WITHIN)


@attrs.frozen(kw_only=True)
class SuspendOrder(FaultBase):
    """An order is shown as Inactive without an error, and as it is again `duration_s` later."""

    family = Family.ORDER
    usual = ("order_accepted",)
    leg: Leg = Leg.ANY
    duration_s: float = attrs.field(default=10.0, validator=ABOVE_ZERO)


@attrs.frozen(kw_only=True)
class OcaRace(FaultBase):
    """The venue forgets that an order belongs to an OCA group, while TWS still says so: both can fill."""

    family = Family.ORDER
    usual = ("order_accepted",)
    leg: Leg = Leg.CHILD


@attrs.frozen(kw_only=True)
class ManualGlobalCancel(FaultBase):
    """A person in TWS cancels everything, stops included."""


@attrs.frozen(kw_only=True)
class WithholdExecution(FaultBase):
    """No client ever hears of the `nth` execution of the books (the first is 1), asked or not."""

    nth: int = attrs.field(validator=ABOVE_ZERO)


@attrs.frozen(kw_only=True)
class BustExecution(FaultBase):
    """The exchange takes an execution back: the one that gave the opportunity, or the last there is."""

    usual = ("execution",)


@attrs.frozen(kw_only=True)
class CorrectExecution(FaultBase):
    """The exchange corrects an execution, as `BustExecution` chooses it; its id then ends in `.02`."""

    usual = ("execution",)
    price_change: Decimal = attrs.field(default=Decimal(0), validator=WITHIN)
    quantity_change: int = attrs.field(default=0, validator=WITHIN)


@attrs.frozen(kw_only=True)
class ManualTrade(FaultBase):
    """Somebody else trades on the account: a person in TWS (client 0, order 0), or another API client."""

    action: str = attrs.field(default="BUY", validator=validators.in_(("BUY", "SELL")))
    quantity: int = attrs.field(default=100, validator=ABOVE_ZERO)
    limit_price: float | None = attrs.field(default=None, validator=validators.optional(ABOVE_ZERO))
    as_client: int = attrs.field(default=0, validator=NOT_BELOW_ZERO)


@attrs.frozen(kw_only=True)
class Liquidation(FaultBase):
    """The broker closes a position for want of margin; its execution says `liquidation` 1."""


@attrs.frozen(kw_only=True)
class ShreddedFills(FaultBase):
    """For a while only `size` shares are shown and the market comes again and again: many small fills."""

    parts: int = attrs.field(default=100, validator=COUNT)
    size: int = attrs.field(default=1, validator=ABOVE_ZERO)
    over_s: float = attrs.field(default=0.2, validator=ABOVE_ZERO)


@attrs.frozen(kw_only=True)
class ReplayExecutions(FaultBase):
    """All executions of the client are told again, `copies` times, without having been asked for."""

    copies: int = attrs.field(default=3, validator=COUNT)
