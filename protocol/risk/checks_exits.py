"""R22: exits and flattens pass the gate too, and are refused only when they are insane.

An exit that is refused leaves a position open, so nothing here asks for a quote, an hour or a limit of the
account. Insane is: the wrong side, more than there is to close, a price that is none, or one so far through
the market that it can only be a mistake. A change that only makes an order smaller is always let.
"""

from __future__ import annotations

from decimal import Decimal

from protocol.order import Order
from protocol.risk.book import RiskBook
from protocol.risk.checks_orders import off_grid
from protocol.risk.question import far_side
from protocol.risk.settings import RiskLimits
from protocol.risk.words import ContractFacts, Quote, Refused
from protocol.values import OrderRef, OrderSpec, Purpose, exact


def exit_refusal(
    spec: OrderSpec,
    book: RiskBook,
    limits: RiskLimits,
    quote: Quote | None,
    facts: ContractFacts | None,
    *,
    together: frozenset[OrderRef] = frozenset(),
) -> Refused | None:
    """Why an exit may not be placed, or changed to what `spec` says.

    `together`: the references of one command, which are placed at once.
    """
    if spec.quantity < 1:
        return Refused("R16", "quantity", f"an order for {spec.quantity} shares")
    refused = None if facts is None else off_grid(spec, facts.grid)
    known = book.find(spec.ref)
    refused = refused or collar_refusal(spec, known, limits, quote)
    if refused is not None:
        return refused
    if known is not None and shrinks(spec, known):
        return None
    return _size_refusal(spec, known, book, together)


def shrinks(spec: OrderSpec, known: Order) -> bool:
    """Whether the broker has it for at least as many shares already."""
    return known.confirmed_quantity is not None and spec.quantity <= known.confirmed_quantity


def collar_refusal(
    spec: OrderSpec, known: Order | None, limits: RiskLimits, quote: Quote | None
) -> Refused | None:
    """The flatten collar: how far through the market a limit may reach, and a stop may lie beyond it.

    A target far away and a stop far behind are no mistakes; a stop just beyond the market closes at once,
    which is what it is for, and a quote that has come apart is no reason to do without one. A price that
    the broker works at already is judged no more.
    """
    near, far = far_side(spec.side, quote), far_side(spec.side.opposite, quote)
    sign, reach = spec.side.sign, Decimal(0)
    worked = () if known is None else (known.confirmed_limit, known.confirmed_stop)
    if spec.limit_price is not None and near is not None and spec.limit_price not in worked:
        reach = max(reach, (spec.limit_price - near) * sign / near)
    if spec.stop_price is not None and far is not None and spec.stop_price not in worked:
        reach = max(reach, (far - spec.stop_price) * sign / far)
    allowed = exact(limits.flatten_collar)
    if reach <= allowed:
        return None
    text = f"{spec.ref.role} reaches {reach:.1%} through the market at {near}, at most {allowed:.1%}"
    return Refused("R22", "flatten_collar", text)


def _size_refusal(
    spec: OrderSpec, known: Order | None, book: RiskBook, together: frozenset[OrderRef]
) -> Refused | None:
    held = book.position(spec.symbol)
    entering = sum(
        order.may_fill for order in book.live(spec.symbol) if order.enters and order.side is not spec.side
    )
    there = max(-held * spec.side.sign, 0) + entering
    if there == 0:
        wrong = "on the wrong side of" if held else "of"
        return Refused("R22", "nothing_to_close", f"{spec.ref.role} {wrong} a position of {held}")
    wanted = spec.quantity if known is None else min(spec.quantity, known.spec.quantity) - known.filled
    # The smaller: an execution of another exit, of which the broker takes off as many shares here, may have
    # crossed a growth. For that moment it covers too much; refused, it would cover too little.
    if spec.purpose is Purpose.CLOSE:
        # As asked: the broker takes off by itself what another exit of the group has executed.
        wanted += sum(
            order.order.remaining
            for order in book.live(spec.symbol)
            if order.spec.purpose is Purpose.CLOSE and order.ref != spec.ref and order.sent
            and order.ref not in together
        )  # fmt: skip
    if wanted > there:
        text = f"{spec.ref.role} for {wanted} shares where {there} are to be closed"
        return Refused("R22", "more_than_held", text)
    return None
