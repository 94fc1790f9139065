"""How much of its quantity a bracket child may work with.

Children sleep until their parent fills. What IB does with them on a partial fill is not proven, so the
venue offers both behaviours that clients report (`ChildActivation`).
"""

from __future__ import annotations

from protocol.exchange.book import OrderRecord
from protocol.exchange.venue_settings import ChildActivation


def share(child: OrderRecord, parent_filled: int, elder: int = 0) -> int:
    """What the child asked for, in proportion to what the parent has filled; whole shares, rounded down.

    `elder` is what elder children of its kind asked for: what is rounded off theirs is in this one, so that
    several stops together stand for what has filled.
    """
    together = (elder + child.asked) * parent_filled // child.parent_quantity
    return together - elder * parent_filled // child.parent_quantity


def total_after_parent_fill(
    child: OrderRecord, filled_before: int, filled_now: int, activation: ChildActivation, elder: int = 0
) -> int:
    """The child's total quantity once the parent has filled `filled_now` shares; 0 keeps it asleep."""
    if child.waits_for_parent:
        return share(child, filled_now, elder) if activation is ChildActivation.SCALED else child.asked
    if activation is ChildActivation.FULL:
        return child.total
    due, due_now = share(child, filled_before, elder), share(child, filled_now, elder)
    # Less than its share: an OCA sibling has filled, or the owner made it smaller; that difference
    # stays. More than its share: the owner asked ahead of the fills, which must not be added on top.
    if child.total >= due:
        return max(child.total, due_now)
    return child.total + due_now - due


def total_after_parent_end(
    child: OrderRecord, parent_filled: int, activation: ChildActivation, elder: int = 0
) -> int:
    """The child's total quantity once the parent has ended short of the quantity it was sized for.

    A scaled child already works for its share, and what its owner has asked for since stands.
    """
    if activation is ChildActivation.SCALED or child.sized_by_owner:
        return child.total
    return child.total - (child.asked - share(child, parent_filled, elder))
