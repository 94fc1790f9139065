"""What both sides of the wire speak about, orders apart: contracts, executions, bars, filters.

Field names are those of the TWS API in snake_case. Unset numbers are None, unset strings are empty.
"""

from __future__ import annotations

from decimal import Decimal

import attrs


@attrs.frozen(kw_only=True)
class ComboLeg:
    """One leg of a combination (`sec_type` BAG). `open_close` 0: same as the combination."""

    con_id: int = 0
    ratio: int = 0
    action: str = ""
    exchange: str = ""
    open_close: int = 0
    short_sale_slot: int = 0
    designated_location: str = ""
    exempt_code: int = -1


@attrs.frozen(kw_only=True)
class DeltaNeutralContract:
    con_id: int = 0
    delta: float = 0.0
    price: float = 0.0


@attrs.frozen(kw_only=True)
class Contract:
    con_id: int = 0
    symbol: str = ""
    sec_type: str = ""
    last_trade_date_or_contract_month: str = ""
    strike: float = 0.0
    right: str = ""
    multiplier: str = ""
    exchange: str = ""
    primary_exchange: str = ""
    currency: str = ""
    local_symbol: str = ""
    trading_class: str = ""
    include_expired: bool = False
    sec_id_type: str = ""
    sec_id: str = ""
    issuer_id: str = ""
    last_trade_date: str = ""
    """In contract details, from version 182 on."""
    combo_legs_descrip: str = ""
    combo_legs: tuple[ComboLeg, ...] = ()
    delta_neutral_contract: DeltaNeutralContract | None = None


@attrs.frozen(kw_only=True)
class Execution:
    exec_id: str
    time: str
    acct_number: str
    exchange: str
    side: str
    """BOT or SLD."""
    shares: Decimal
    price: float
    perm_id: int
    client_id: int
    order_id: int
    cum_qty: Decimal
    avg_price: float
    liquidation: int = 0
    order_ref: str = ""
    ev_rule: str = ""
    ev_multiplier: float | None = None
    model_code: str = ""
    last_liquidity: int = 0
    pending_price_revision: bool = False
    submitter: str = ""


@attrs.frozen(kw_only=True)
class FundDetails:
    """What TWS knows about a mutual fund. Amounts and loads are texts, as they travel."""

    name: str = ""
    family: str = ""
    type: str = ""
    front_load: str = ""
    back_load: str = ""
    back_load_time_interval: str = ""
    management_fee: str = ""
    closed: bool = False
    closed_for_new_investors: bool = False
    closed_for_new_money: bool = False
    notify_amount: str = ""
    minimum_initial_purchase: str = ""
    subsequent_minimum_purchase: str = ""
    blue_sky_states: str = ""
    blue_sky_territories: str = ""
    distribution_policy_indicator: str = ""
    """N accumulates, Y pays out."""
    asset_type: str = ""


@attrs.frozen(kw_only=True)
class ContractDetails:
    contract: Contract
    market_name: str = ""
    min_tick: float = 0.01
    order_types: str = ""
    valid_exchanges: str = ""
    price_magnifier: int = 1
    under_con_id: int = 0
    long_name: str = ""
    contract_month: str = ""
    industry: str = ""
    category: str = ""
    subcategory: str = ""
    time_zone_id: str = ""
    trading_hours: str = ""
    liquid_hours: str = ""
    ev_rule: str = ""
    ev_multiplier: int = 0
    sec_id_list: tuple[tuple[str, str], ...] = ()
    agg_group: int = 0
    under_symbol: str = ""
    under_sec_type: str = ""
    market_rule_ids: str = ""
    real_expiration_date: str = ""
    last_trade_time: str = ""
    """Travels behind the expiry, in one field with it."""
    stock_type: str = ""
    md_size_multiplier: int = 1
    """Below version 164, which replaced it by the three sizes."""
    min_size: Decimal = Decimal(1)
    size_increment: Decimal = Decimal(1)
    suggested_size_increment: Decimal = Decimal(100)
    fund: FundDetails = FundDetails()
    """Of a fund (`sec_type` FUND), from version 179 on."""
    ineligibility_reasons: tuple[tuple[str, str], ...] = ()
    """Id and description, from version 186 on."""


@attrs.frozen(kw_only=True)
class HistoricalBar:
    """`date` as TWS writes it: `20250123 09:30:00 US/Eastern` or epoch seconds, as the request asked."""

    date: str
    open: float
    high: float
    low: float
    close: float
    volume: Decimal
    wap: float
    count: int


@attrs.frozen(kw_only=True)
class ExecutionFilter:
    client_id: int = 0
    account: str = ""
    time: str = ""
    symbol: str = ""
    sec_type: str = ""
    exchange: str = ""
    side: str = ""
    last_n_days: int | None = None
    """From version 200 on, like the dates."""
    specific_dates: tuple[str, ...] = ()
    """Such as `20250123`."""
