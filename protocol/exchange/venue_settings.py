"""What is decided about a simulated venue before it opens."""

from __future__ import annotations

import enum
from decimal import Decimal

import attrs


class ChildActivation(enum.Enum):
    """What becomes of bracket children when their parent has filled in part (not proven for IB)."""

    SCALED = "scaled"
    """A child works for its share of what the parent has filled so far, and grows with each further fill."""
    FULL = "full"
    """A child works with its whole quantity from the parent's first fill on."""


@attrs.frozen
class AccountSettings:
    """`cash` in dollars, before the first execution."""

    name: str
    cash: Decimal


@attrs.frozen(kw_only=True)
class VenueSettings:
    """The first account takes orders that name none. Dollars are `Decimal`, sizes are shares."""

    accounts: tuple[AccountSettings, ...] = (AccountSettings("DU1234567", Decimal(1_000_000)),)
    commission_per_share: Decimal = Decimal("0.005")
    min_commission: Decimal = Decimal("1.00")
    max_commission_rate: Decimal = Decimal("0.01")
    """Of the traded value; wins over the minimum where it is smaller (IBKR fixed pricing, US stocks)."""
    child_activation: ChildActivation = ChildActivation.SCALED
    default_grid: Decimal = Decimal("0.01")
    assumed_size: int = 100
    """Shares behind a quote or trade whose size the market does not tell: one round lot."""
    max_working_per_side: int = 15
    """Per account, contract and side, as at IBKR; children that wait for their parent do not count."""
    buying_power_multiple: Decimal | None = None
    """Gross positions may reach this multiple of the net liquidation value; None: never checked."""
    exchange: str = "IEX"
    """Where executions are said to have happened."""
    zone: str = "America/New_York"
    """Of a good-till date that names none."""
