"""The blocks that placeOrder, openOrder and completedOrder have in common.

The conditions are those on which the official client writes and reads them.
"""

from __future__ import annotations

from protocol.tws.kinds import (
    BOOL,
    CONJUNCTION,
    FLOAT,
    INT,
    MAX_INT,
    OFFSET,
    OPT_FLOAT,
    OPT_INT,
    SHORT_FLOAT,
    STR,
    UNSET_INTEGER_TEXT,
)
from protocol.tws.layout import (
    Constant,
    Field,
    Given,
    Item,
    OneOf,
    Pairs,
    Positive,
    Presence,
    Repeat,
    Variants,
    When,
    fields,
)
from protocol.tws.order_terms import (
    ExecutionCondition,
    MarginCondition,
    OrderComboLeg,
    PercentChangeCondition,
    PriceCondition,
    TimeCondition,
    VolumeCondition,
)
from protocol.tws.terms import ComboLeg, DeltaNeutralContract
from protocol.tws.versions import (
    CUSTOMER_ACCOUNT,
    FA_PROFILE_DESUPPORT,
    PEGBEST_PEGMID_OFFSETS,
    PROFESSIONAL_CUSTOMER,
    RFQ_FIELDS,
    UNDO_RFQ_FIELDS,
)

CONTRACT: tuple[Item, ...] = (
    *fields(INT, "contract.con_id"),
    *fields(STR, "contract.symbol", "contract.sec_type", "contract.last_trade_date_or_contract_month"),
    *fields(FLOAT, "contract.strike"),
    *fields(
        STR,
        "contract.right",
        "contract.multiplier",
        "contract.exchange",
        "contract.currency",
        "contract.local_symbol",
        "contract.trading_class",
    ),
)
"""The contract as TWS sends it with an order: without the primary exchange."""

COMBO_LEGS = Repeat(
    "contract.combo_legs",
    ComboLeg,
    (
        *fields(INT, "con_id", "ratio"),
        *fields(STR, "action", "exchange"),
        *fields(INT, "open_close", "short_sale_slot"),
        *fields(STR, "designated_location"),
        *fields(INT, "exempt_code"),
    ),
)

LEGS: tuple[Item, ...] = (
    COMBO_LEGS,
    Repeat("order.order_combo_legs", OrderComboLeg, fields(OPT_FLOAT, "price")),
    Pairs("order.smart_combo_routing_params", STR, STR),
)

DELTA_NEUTRAL_CONTRACT = Presence(
    "contract.delta_neutral_contract",
    DeltaNeutralContract,
    (*fields(INT, "con_id"), *fields(FLOAT, "delta", "price")),
)

FA: tuple[Item, ...] = (
    *fields(STR, "order.fa_group", "order.fa_method", "order.fa_percentage"),
    Field("order.fa_profile", STR, until=FA_PROFILE_DESUPPORT),
    *fields(STR, "order.model_code"),
)

SHORT_SALE: tuple[Item, ...] = (
    *fields(INT, "order.short_sale_slot"),
    *fields(STR, "order.designated_location"),
    *fields(INT, "order.exempt_code"),
)

SHORT_SALE_OF_THE_HEDGE: tuple[Item, ...] = (
    *fields(BOOL, "order.delta_neutral_short_sale"),
    *fields(INT, "order.delta_neutral_short_sale_slot"),
    *fields(STR, "order.delta_neutral_designated_location"),
)

VOLATILITY: tuple[Item, ...] = (
    *fields(OPT_FLOAT, "order.volatility"),
    *fields(OPT_INT, "order.volatility_type"),
    *fields(STR, "order.delta_neutral_order_type"),
    *fields(OPT_FLOAT, "order.delta_neutral_aux_price"),
    When(
        Given("order.delta_neutral_order_type"),
        (
            *fields(INT, "order.delta_neutral_con_id"),
            *fields(
                STR,
                "order.delta_neutral_settling_firm",
                "order.delta_neutral_clearing_account",
                "order.delta_neutral_clearing_intent",
                "order.delta_neutral_open_close",
            ),
            *SHORT_SALE_OF_THE_HEDGE,
        ),
    ),
    *fields(BOOL, "order.continuous_update"),
    *fields(OPT_INT, "order.reference_price_type"),
)

TRAIL = fields(OPT_FLOAT, "order.trail_stop_price", "order.trailing_percent")

SCALE: tuple[Item, ...] = (
    *fields(OPT_INT, "order.scale_init_level_size", "order.scale_subs_level_size"),
    *fields(OPT_FLOAT, "order.scale_price_increment"),
    When(
        Positive("order.scale_price_increment"),
        (
            *fields(OPT_FLOAT, "order.scale_price_adjust_value"),
            *fields(OPT_INT, "order.scale_price_adjust_interval"),
            *fields(OPT_FLOAT, "order.scale_profit_offset"),
            *fields(BOOL, "order.scale_auto_reset"),
            *fields(OPT_INT, "order.scale_init_position", "order.scale_init_fill_qty"),
            *fields(BOOL, "order.scale_random_percent"),
        ),
    ),
)

HEDGE: tuple[Item, ...] = (
    *fields(STR, "order.hedge_type"),
    When(Given("order.hedge_type"), fields(STR, "order.hedge_param")),
)

CLEARING: tuple[Item, ...] = (
    *fields(STR, "order.clearing_account", "order.clearing_intent"),
    *fields(BOOL, "order.not_held"),
    DELTA_NEUTRAL_CONTRACT,
)

ALGO: tuple[Item, ...] = (
    *fields(STR, "order.algo_strategy"),
    When(Given("order.algo_strategy"), (Pairs("order.algo_params", STR, STR),)),
)

RANDOMIZE = fields(BOOL, "order.randomize_size", "order.randomize_price")

PEG_TO_BENCHMARK = When(
    OneOf("order.order_type", ("PEG BENCH", "PEGBENCH")),
    (
        *fields(INT, "order.reference_contract_id"),
        *fields(BOOL, "order.is_pegged_change_amount_decrease"),
        *fields(FLOAT, "order.pegged_change_amount", "order.reference_change_amount"),
        *fields(STR, "order.reference_exchange_id"),
    ),
)

_CONJUNCTION = Field("is_conjunction_connection", CONJUNCTION)
_IS_MORE = Field("is_more", BOOL)
_WHERE: tuple[Item, ...] = (*fields(INT, "con_id"), *fields(STR, "exchange"))

CONDITIONS: tuple[Item, ...] = (
    Variants(
        "order.conditions",
        {
            1: (
                PriceCondition,
                (_CONJUNCTION, _IS_MORE, Field("price", FLOAT), *_WHERE, Field("trigger_method", INT)),
            ),
            3: (TimeCondition, (_CONJUNCTION, _IS_MORE, Field("time", STR))),
            4: (MarginCondition, (_CONJUNCTION, _IS_MORE, Field("percent", SHORT_FLOAT))),
            5: (ExecutionCondition, (_CONJUNCTION, *fields(STR, "sec_type", "exchange", "symbol"))),
            6: (VolumeCondition, (_CONJUNCTION, _IS_MORE, Field("volume", INT), *_WHERE)),
            7: (PercentChangeCondition, (_CONJUNCTION, _IS_MORE, Field("change_percent", FLOAT), *_WHERE)),
        },
    ),
    When(
        Given("order.conditions"),
        fields(BOOL, "order.conditions_ignore_rth", "order.conditions_cancel_order"),
    ),
)

RFQ = (
    Constant("", since=RFQ_FIELDS, until=UNDO_RFQ_FIELDS),
    Constant(UNSET_INTEGER_TEXT, since=RFQ_FIELDS, until=UNDO_RFQ_FIELDS),
)
"""Two fields about quotes on request, which three versions had."""

CUSTOMER = (
    Field("order.customer_account", STR, since=CUSTOMER_ACCOUNT),
    Field("order.professional_customer", BOOL, since=PROFESSIONAL_CUSTOMER),
)

MID_OFFSETS = fields(OPT_FLOAT, "order.mid_offset_at_whole", "order.mid_offset_at_half")

PEG_OFFSETS_ECHOED: tuple[Item, ...] = (
    Field("order.min_trade_qty", MAX_INT, since=PEGBEST_PEGMID_OFFSETS),
    Field("order.min_compete_size", MAX_INT, since=PEGBEST_PEGMID_OFFSETS),
    Field("order.compete_against_best_offset", OFFSET, since=PEGBEST_PEGMID_OFFSETS),
    Field("order.mid_offset_at_whole", OPT_FLOAT, since=PEGBEST_PEGMID_OFFSETS),
    Field("order.mid_offset_at_half", OPT_FLOAT, since=PEGBEST_PEGMID_OFFSETS),
)
