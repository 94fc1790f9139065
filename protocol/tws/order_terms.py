"""Orders as the TWS API describes them: every attribute that placeOrder, openOrder and completedOrder carry.

Field names are those of the TWS API in snake_case. Unset numbers are None, unset strings are empty.
"""

from __future__ import annotations

from decimal import Decimal
from typing import TypeAlias

import attrs

# --- conditions: the order waits for them, or is cancelled by them -----------------------------------


@attrs.frozen(kw_only=True)
class PriceCondition:
    is_conjunction_connection: bool = True
    """True: and; False: or (with the condition that follows)."""
    is_more: bool
    price: float
    con_id: int
    exchange: str
    trigger_method: int = 0


@attrs.frozen(kw_only=True)
class TimeCondition:
    is_conjunction_connection: bool = True
    is_more: bool
    time: str


@attrs.frozen(kw_only=True)
class MarginCondition:
    """`percent` of the margin cushion."""

    is_conjunction_connection: bool = True
    is_more: bool
    percent: float


@attrs.frozen(kw_only=True)
class ExecutionCondition:
    is_conjunction_connection: bool = True
    sec_type: str
    exchange: str
    symbol: str


@attrs.frozen(kw_only=True)
class VolumeCondition:
    is_conjunction_connection: bool = True
    is_more: bool
    volume: int
    con_id: int
    exchange: str


@attrs.frozen(kw_only=True)
class PercentChangeCondition:
    is_conjunction_connection: bool = True
    is_more: bool
    change_percent: float
    con_id: int
    exchange: str


OrderCondition: TypeAlias = (
    PriceCondition
    | TimeCondition
    | MarginCondition
    | ExecutionCondition
    | VolumeCondition
    | PercentChangeCondition
)

# --- the order --------------------------------------------------------------------------------------


@attrs.frozen(kw_only=True)
class SoftDollarTier:
    """`display_name` travels only from TWS to the client."""

    name: str = ""
    val: str = ""
    display_name: str = ""


@attrs.frozen(kw_only=True)
class OrderComboLeg:
    price: float | None = None


@attrs.frozen(kw_only=True)
class Order:
    """The order attributes of the TWS API, all that placeOrder, openOrder and completedOrder carry."""

    action: str = ""
    total_quantity: Decimal = Decimal(0)
    order_type: str = ""
    lmt_price: float | None = None
    aux_price: float | None = None
    tif: str = ""
    oca_group: str = ""
    oca_type: int = 0
    """1 cancel with block, 2 reduce with block, 3 reduce without block."""
    account: str = ""
    order_ref: str = ""
    transmit: bool = True
    parent_id: int = 0
    outside_rth: bool = False
    good_after_time: str = ""
    good_till_date: str = ""
    all_or_none: bool = False
    min_qty: int | None = None
    e_trade_only: bool = False
    firm_quote_only: bool = False
    trail_stop_price: float | None = None
    trailing_percent: float | None = None
    cash_qty: float | None = None
    what_if: bool = False
    # ids that only the server side fills in
    client_id: int = 0
    perm_id: int = 0
    parent_perm_id: int = 0
    # how it is shown and triggered
    block_order: bool = False
    sweep_to_fill: bool = False
    display_size: int | None = 0
    """None: unset, which TWS echoes as 2147483647."""
    trigger_method: int = 0
    hidden: bool = False
    discretionary_amt: float = 0.0
    discretionary_up_to_limit_price: bool = False
    percent_offset: float | None = None
    override_percentage_constraints: bool = False
    nbbo_price_cap: float | None = None
    opt_out_smart_routing: bool = False
    not_held: bool = False
    solicited: bool = False
    randomize_size: bool = False
    randomize_price: bool = False
    active_start_time: str = ""
    active_stop_time: str = ""
    duration: int | None = None
    """Seconds, from version 158 on."""
    post_to_ats: int | None = None
    auto_cancel_parent: bool = False
    auto_cancel_date: str = ""
    route_marketable_to_bbo: bool = False
    imbalance_only: bool = False
    include_overnight: bool = False
    bond_accrued_interest: str = ""
    use_price_mgmt_algo: bool | None = None
    advanced_error_override: str = ""
    manual_order_time: str = ""
    order_misc_options: str = ""
    """As it travels: `tag=value;` one behind the other."""
    # whose it is
    open_close: str = ""
    origin: int = 0
    """0 customer, 1 firm."""
    fa_group: str = ""
    fa_method: str = ""
    fa_percentage: str = ""
    fa_profile: str = ""
    """Until version 177."""
    model_code: str = ""
    short_sale_slot: int = 0
    designated_location: str = ""
    exempt_code: int = -1
    rule80a: str = ""
    settling_firm: str = ""
    clearing_account: str = ""
    clearing_intent: str = ""
    ext_operator: str = ""
    soft_dollar_tier: SoftDollarTier = SoftDollarTier()
    mifid2_decision_maker: str = ""
    mifid2_decision_algo: str = ""
    mifid2_execution_trader: str = ""
    mifid2_execution_algo: str = ""
    is_oms_container: bool = False
    shareholder: str = ""
    customer_account: str = ""
    professional_customer: bool = False
    manual_order_indicator: int | None = None
    """Of the CME's rules on tagging, like `ext_operator`."""
    submitter: str = ""
    ref_futures_con_id: int = 0
    # auction, box and volatility orders
    auction_strategy: int = 0
    starting_price: float | None = None
    stock_ref_price: float | None = None
    delta: float | None = None
    stock_range_lower: float | None = None
    stock_range_upper: float | None = None
    volatility: float | None = None
    volatility_type: int | None = None
    continuous_update: bool = False
    reference_price_type: int | None = None
    delta_neutral_order_type: str = ""
    """Empty: none. TWS may echo the word `None`, which brings the fields below along all the same."""
    delta_neutral_aux_price: float | None = None
    delta_neutral_con_id: int = 0
    delta_neutral_settling_firm: str = ""
    delta_neutral_clearing_account: str = ""
    delta_neutral_clearing_intent: str = ""
    delta_neutral_open_close: str = ""
    delta_neutral_short_sale: bool = False
    delta_neutral_short_sale_slot: int = 0
    delta_neutral_designated_location: str = ""
    # combinations
    basis_points: float | None = None
    basis_points_type: int | None = None
    order_combo_legs: tuple[OrderComboLeg, ...] = ()
    smart_combo_routing_params: tuple[tuple[str, str], ...] = ()
    # scale orders: the last seven travel only with a positive increment
    scale_init_level_size: int | None = None
    scale_subs_level_size: int | None = None
    scale_price_increment: float | None = None
    scale_price_adjust_value: float | None = None
    scale_price_adjust_interval: int | None = None
    scale_profit_offset: float | None = None
    scale_auto_reset: bool = False
    scale_init_position: int | None = None
    scale_init_fill_qty: int | None = None
    scale_random_percent: bool = False
    scale_table: str = ""
    # hedges and algorithms
    hedge_type: str = ""
    hedge_param: str = ""
    dont_use_auto_price_for_hedge: bool = False
    algo_strategy: str = ""
    algo_params: tuple[tuple[str, str], ...] = ()
    algo_id: str = ""
    # pegged orders
    reference_contract_id: int = 0
    is_pegged_change_amount_decrease: bool = False
    pegged_change_amount: float = 0.0
    reference_change_amount: float = 0.0
    reference_exchange_id: str = ""
    min_trade_qty: int | None = None
    min_compete_size: int | None = None
    compete_against_best_offset: float | None = None
    """Infinity: up to the midpoint, with the two offsets below."""
    mid_offset_at_whole: float | None = None
    mid_offset_at_half: float | None = None
    # what it becomes once triggered
    adjusted_order_type: str = ""
    trigger_price: float | None = None
    lmt_price_offset: float | None = None
    adjusted_stop_price: float | None = None
    adjusted_stop_limit_price: float | None = None
    adjusted_trailing_amount: float | None = None
    adjustable_trailing_unit: int = 0
    # conditions
    conditions: tuple[OrderCondition, ...] = ()
    conditions_ignore_rth: bool = False
    conditions_cancel_order: bool = False


@attrs.frozen(kw_only=True)
class OrderAllocation:
    """The part of an order that one account of an advisor would get."""

    account: str = ""
    position: Decimal = Decimal(0)
    position_desired: Decimal = Decimal(0)
    position_after: Decimal = Decimal(0)
    desired_alloc_qty: Decimal = Decimal(0)
    allowed_alloc_qty: Decimal = Decimal(0)
    is_monetary: bool = False


@attrs.frozen(kw_only=True)
class OrderState:
    """`margin_currency` to `order_allocations` travel from version 195 on."""

    status: str = ""
    init_margin_before: float | None = None
    maint_margin_before: float | None = None
    equity_with_loan_before: float | None = None
    init_margin_change: float | None = None
    maint_margin_change: float | None = None
    equity_with_loan_change: float | None = None
    init_margin_after: float | None = None
    maint_margin_after: float | None = None
    equity_with_loan_after: float | None = None
    commission: float | None = None
    min_commission: float | None = None
    max_commission: float | None = None
    commission_currency: str = ""
    margin_currency: str = ""
    init_margin_before_outside_rth: float | None = None
    maint_margin_before_outside_rth: float | None = None
    equity_with_loan_before_outside_rth: float | None = None
    init_margin_change_outside_rth: float | None = None
    maint_margin_change_outside_rth: float | None = None
    equity_with_loan_change_outside_rth: float | None = None
    init_margin_after_outside_rth: float | None = None
    maint_margin_after_outside_rth: float | None = None
    equity_with_loan_after_outside_rth: float | None = None
    suggested_size: Decimal | None = None
    reject_reason: str = ""
    order_allocations: tuple[OrderAllocation, ...] = ()
    warning_text: str = ""
    completed_time: str = ""
    completed_status: str = ""
