"""What is decided about a simulated venue before it opens."""

from __future__ import annotations

import enum
from decimal import Decimal

import attrs

from protocol.exchange.margin import MarginRules


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
    commission_per_option: Decimal = Decimal("0.65")
    commission_per_future: Decimal = Decimal("0.85")
    currency_commission_rate: Decimal = Decimal("0.00002")
    min_currency_commission: Decimal = Decimal("2.00")
    margin: MarginRules = MarginRules()
    check_margin: bool = True
    """Refuse what would open more than the equity with loan value carries, working orders included."""
    child_activation: ChildActivation = ChildActivation.SCALED
    default_grid: Decimal = Decimal("0.01")
    """Of a contract that nobody has given a grid of its own."""
    sub_dollar_grid: Decimal = Decimal("0.0001")
    """Of a stock below one dollar (SEC rule 612), where it is finer than `default_grid`."""
    assumed_size: int = 100
    """Shares behind a quote or trade whose size the market does not tell: one round lot."""
    slippage_bps: Decimal = Decimal(0)
    """How much worse than the quote a market order and an elected stop trade, in basis points of it."""
    slippage_ticks: int = 0
    """The same in steps of the price grid; both add up."""
    participation: Decimal = Decimal(1)
    """The share of the size of a trade that resting limit orders which it passed may take."""
    price_band: Decimal | None = None
    """A limit order whose price is further through the market than this share of it is refused (163),
    unless it overrides percentage constraints; None: any price is taken."""
    closing_cutoff_s: int = 600
    """Before the regular close: from then on no MOC or LOC is taken (NYSE: 15:50)."""
    short_locate: tuple[str, ...] = ()
    """Keys of stocks that are hard to borrow (`*`: all): a short sale is held until shares are found."""
    locate_delay_s: float | None = None
    """How long finding them takes; None: they are never found."""
    max_working_per_side: int = 15
    """Per account, contract and side, as at IBKR; children that wait for their parent do not count."""
    buying_power_multiple: Decimal | None = None
    """Gross positions may reach this multiple of the net liquidation value; None: never checked."""
    exchange: str = "IEX"
    """Where executions are said to have happened."""
    zone: str = "America/New_York"
    """Of a good-till date that names none."""
