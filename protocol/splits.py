"""Whether a position that changed without a trade looks like a split of the stock."""

from __future__ import annotations

from decimal import Decimal
from typing import Final

LARGEST: Final = 50
"""The largest ratio that is looked for; larger ones are hardly ever done."""
PRICE_TOLERANCE: Final = Decimal("0.35")
"""How far the price may be from the old one divided by the ratio: a stock also moves overnight."""


def split_ratio(before: int, after: int, price_before: Decimal, price_after: Decimal | None) -> str | None:
    """`4:1` for four shares in the place of one, `1:4` for one in the place of four; None: no split.

    The shares must fit the ratio exactly (a reverse split pays fractions out), the price about inversely. As
    long as nobody knows the price (None), the shares alone say that it may be one.
    """
    if before * after <= 0 or price_before <= 0:
        return None
    old, new = abs(before), abs(after)
    if new > old and new % old == 0 and new // old <= LARGEST:
        ratio = Decimal(new // old)
        text = f"{ratio}:1"
    elif new < old and (many := old // new) <= LARGEST and old // many == new and many > 1:
        ratio, text = 1 / Decimal(many), f"1:{many}"
    else:
        return None
    expected = price_before / ratio
    fits = price_after is None or abs(price_after - expected) <= expected * PRICE_TOLERANCE
    return text if fits else None
