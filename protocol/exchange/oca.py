"""One-cancels-all groups: what the fill of one member means for its live siblings.

Types as in the TWS API: 1 cancels the others with block, 2 reduces them with block, 3 reduces them
without block. With block, no two members trade in the same instant of the market.
"""

from __future__ import annotations

from protocol.exchange.book import OrderRecord

CANCEL_WITH_BLOCK, REDUCE_WITH_BLOCK, REDUCE = 1, 2, 3
BLOCKING = frozenset({CANCEL_WITH_BLOCK, REDUCE_WITH_BLOCK})
DEFAULT_TYPE = REDUCE
"""What TWS assumes for a group without a type, and gives to bracket children without a group."""


def sibling_total(filler: OrderRecord, quantity: int, sibling: OrderRecord) -> int | None:
    """The sibling's total quantity after the filler traded `quantity` shares; None when it is cancelled."""
    complete = filler.view.remaining == 0
    if complete or filler.view.order.oca_type == CANCEL_WITH_BLOCK:
        return None
    total = sibling.total - quantity
    return total if total > sibling.view.filled else None
