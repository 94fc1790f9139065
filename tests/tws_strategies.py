"""Random messages of the TWS API for the tests of its codec.

Every strategy yields messages that say only what travels at the given version, so that what is read
back has to be equal to what was written. What does not travel is listed here by name, on purpose not
derived from the layouts: these lists are the second opinion about them.
"""

from __future__ import annotations

import functools
import types
import typing
from collections.abc import Collection
from decimal import Decimal
from typing import Any, TypeAlias, TypeVar, cast, get_args, get_origin, get_type_hints

import attrs
from hypothesis import strategies as st

from protocol.tws import messages as m
from protocol.tws.kinds import UNSET_DOUBLE
from protocol.tws.versions import NEWEST
from tests.tws_market_samples import ASKED_ABOUT, TICK_KINDS, tick_of

T = TypeVar("T")

ANY_TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=6)
"""Everything a Python string can hold, NUL and backslashes included, but for lone surrogates."""
PLAIN_TEXT = st.text(st.characters(min_codepoint=32, max_codepoint=126, exclude_characters="\\"), max_size=6)
"""What ibapi takes and gives back unchanged in any field."""
NUMBERS = st.one_of(
    st.sampled_from([0.0, 0.01, 20.5, 1e-07, 123456.789]),
    st.floats(allow_nan=False, allow_infinity=False).filter(lambda number: number != UNSET_DOUBLE),
)
INTEGERS = st.integers(-(2**31), 2**31 - 2)
QUANTITIES = st.one_of(
    st.sampled_from([Decimal(100), Decimal("1E+3"), Decimal("0.0001"), Decimal("100.0")]),
    st.decimals(-(10**9), 10**9, allow_nan=False, places=8),
)
WHOLE_QUANTITIES = st.integers(-(10**12), 10**12).map(Decimal)


def _names(text: str, prefix: str = "") -> frozenset[str]:
    return frozenset(prefix + name for name in text.split())


CONTRACT_OF_AN_ORDER_ECHO = _names(
    "con_id symbol sec_type last_trade_date_or_contract_month strike right multiplier exchange currency"
    " local_symbol trading_class combo_legs_descrip combo_legs delta_neutral_contract"
)
CONTRACT_OF_AN_EXECUTION = CONTRACT_OF_AN_ORDER_ECHO - _names(
    "combo_legs_descrip combo_legs delta_neutral_contract"
)
CONTRACT_OF_A_HOLDING = CONTRACT_OF_AN_EXECUTION - {"exchange"} | {"primary_exchange"}
CONTRACT_OF_A_REQUEST = CONTRACT_OF_AN_EXECUTION | {"primary_exchange"}

_ONLY_COMPLETED = _names(
    "parent_perm_id auto_cancel_date route_marketable_to_bbo shareholder ref_futures_con_id"
)
NOT_PLACED = _ONLY_COMPLETED | _names(
    "client_id perm_id basis_points basis_points_type bond_accrued_interest submitter"
)
_ONLY_PLACED = _names(
    "transmit override_percentage_constraints active_start_time active_stop_time advanced_error_override"
    " manual_order_time order_misc_options mifid2_decision_maker mifid2_decision_algo"
    " mifid2_execution_trader mifid2_execution_algo scale_table algo_id"
)
NOT_ECHOED = _ONLY_PLACED | _ONLY_COMPLETED
NOT_COMPLETED = _ONLY_PLACED | _names(
    "ext_operator manual_order_indicator include_overnight bond_accrued_interest client_id parent_id"
    " block_order auction_strategy e_trade_only firm_quote_only nbbo_price_cap"
    " basis_points basis_points_type opt_out_smart_routing what_if delta_neutral_settling_firm"
    " delta_neutral_clearing_account delta_neutral_clearing_intent delta_neutral_open_close"
    " adjusted_order_type trigger_price adjusted_stop_price adjusted_stop_limit_price"
    " adjusted_trailing_amount adjustable_trailing_unit soft_dollar_tier"
    " discretionary_up_to_limit_price use_price_mgmt_algo duration post_to_ats"
)
SINCE = {
    "duration": 158,
    "post_to_ats": 160,
    "auto_cancel_parent": 162,
    "advanced_error_override": 166,
    "manual_order_time": 169,
    "min_trade_qty": 170,
    "min_compete_size": 170,
    "compete_against_best_offset": 170,
    "mid_offset_at_whole": 170,
    "mid_offset_at_half": 170,
    "customer_account": 183,
    "professional_customer": 184,
    "bond_accrued_interest": 185,
    "include_overnight": 189,
    "manual_order_indicator": 192,
    "submitter": 198,
    "imbalance_only": 199,
}
SINCE_IN_AN_ECHO = {"ext_operator": 193, "manual_order_indicator": 193}
PREVIEW = (
    "margin_currency",
    *(
        f"{margin}_{when}_outside_rth"
        for margin in ("init_margin", "maint_margin", "equity_with_loan")
        for when in ("before", "change", "after")
    ),
    "suggested_size",
    "reject_reason",
    "order_allocations",
)
"""What a state says from 195 on."""
GATES = (
    157, 159, 160, 162, 163, 164, 166, 169, 170, 176, 177, 178,
    179, 182, 183, 184, 185, 186, 187, 189, 190, 192, 193, 194, 195, 196, 197, 198, 199, 200,
)  # fmt: skip
"""The versions at which some message looks different from before; 159 for what came with 158."""
DELTA_NEUTRAL = _names(
    "con_id settling_firm clearing_account clearing_intent open_close short_sale short_sale_slot"
    " designated_location",
    prefix="delta_neutral_",
)
SCALE = _names(
    "price_adjust_value price_adjust_interval profit_offset auto_reset init_position init_fill_qty"
    " random_percent",
    prefix="scale_",
)
PEG_BENCH = _names(
    "reference_contract_id is_pegged_change_amount_decrease pegged_change_amount reference_change_amount"
    " reference_exchange_id"
)
MID_OFFSETS = ("mid_offset_at_whole", "mid_offset_at_half")
_Texts: TypeAlias = st.SearchStrategy[str]
ORDER_TYPES = ("LMT", "MKT", "STP", "STP LMT", "TRAIL", "PEG BENCH", "PEG BEST", "PEG MID", "VOL", "REL")


@functools.cache
def _fields(of: type) -> tuple[attrs.Attribute[Any], ...]:
    return tuple(attrs.fields(cast("Any", of)))


@functools.cache
def _hints(of: type) -> dict[str, Any]:
    return get_type_hints(of)


def without(value: T, names: Collection[str]) -> T:
    """`value` with these attributes as they are by default."""
    defaults = {field.name: field.default for field in _fields(cast("Any", type(value)))}
    changed: T = attrs.evolve(cast("Any", value), **{name: defaults[name] for name in names})
    return changed


def only(value: T, names: Collection[str]) -> T:
    """`value` with all attributes but these as they are by default."""
    others = {field.name for field in _fields(cast("Any", type(value)))} - set(names)
    return without(value, others)


@functools.cache
def of_type(hint: Any, text: _Texts, whole: bool) -> st.SearchStrategy[Any]:
    """Random values of a type that occurs in the messages."""
    simple: dict[Any, st.SearchStrategy[Any]] = {
        bool: st.booleans(),
        int: INTEGERS,
        float: NUMBERS,
        str: text,
        Decimal: WHOLE_QUANTITIES if whole else QUANTITIES,
        type(None): st.none(),
    }
    if hint in simple:
        return simple[hint]
    origin, arguments = get_origin(hint), get_args(hint)
    if origin in {types.UnionType, typing.Union}:
        return st.one_of(*(of_type(argument, text, whole) for argument in arguments))
    if origin is tuple:
        if arguments[-1] is Ellipsis:
            return st.lists(of_type(arguments[0], text, whole), max_size=3).map(tuple)
        return st.tuples(*(of_type(argument, text, whole) for argument in arguments))
    return instances(hint, text, whole)


def instances(of: type[T], text: _Texts = ANY_TEXT, whole: bool = False) -> st.SearchStrategy[T]:
    """Random objects of an attrs class: each attribute at its default or drawn from its type."""
    if of is m.Order:
        return cast("st.SearchStrategy[T]", orders(NEWEST, text))
    hints = _hints(cast("Any", of))
    parts = {}
    for field in _fields(cast("Any", of)):
        drawn = of_type(hints[field.name], text, whole)
        parts[field.name] = drawn if field.default is attrs.NOTHING else st.just(field.default) | drawn
    return st.builds(of, **parts)


@st.composite
def orders(draw: st.DrawFn, version: int, text: _Texts = ANY_TEXT) -> m.Order:
    """An order, plain or exotic, whose blocks are set only where their condition holds."""
    hints = _hints(m.Order)
    special = {"order_type", "hedge_type", "algo_strategy", "delta_neutral_order_type", "conditions"}
    drawn: dict[str, Any] = {"order_type": draw(st.sampled_from(ORDER_TYPES))}
    names = [field.name for field in _fields(m.Order) if field.name not in special]
    for name in draw(st.lists(st.sampled_from(names), unique=True, max_size=25)):
        drawn[name] = draw(of_type(hints[name], text, whole=False))
    if draw(st.booleans()):
        drawn["hedge_type"], drawn["hedge_param"] = draw(st.sampled_from("DBFP")), draw(text)
    if draw(st.booleans()):
        drawn["algo_strategy"] = draw(st.sampled_from(["Adaptive", "Vwap"]))
        drawn["algo_params"] = draw(of_type(tuple[tuple[str, str], ...], text, whole=False))
    if draw(st.booleans()):
        drawn["delta_neutral_order_type"] = draw(st.sampled_from(["MKT", "LMT", "None"]))
        drawn |= {name: draw(of_type(hints[name], text, whole=False)) for name in sorted(DELTA_NEUTRAL)}
    if draw(st.booleans()):
        drawn["scale_price_increment"] = draw(st.floats(0.01, 1000))
        drawn |= {name: draw(of_type(hints[name], text, whole=False)) for name in sorted(SCALE)}
    if draw(st.booleans()):
        drawn["conditions"] = tuple(draw(st.lists(conditions(text), min_size=1, max_size=3)))
    if drawn["order_type"] == "PEG BENCH":
        drawn |= {name: draw(of_type(hints[name], text, whole=False)) for name in sorted(PEG_BENCH)}
    if drawn["order_type"] == "PEG BEST":
        drawn["compete_against_best_offset"] = draw(st.just(float("inf")) | NUMBERS | st.none())
    return consistent(m.Order(**drawn), version)


def consistent(order: m.Order, version: int) -> m.Order:
    """`order` without the blocks whose condition does not hold, and without what is newer or gone."""
    unsaid = [name for name, since in SINCE.items() if version < since]
    if version >= 177:
        unsaid.append("fa_profile")
    if not order.hedge_type:
        unsaid.append("hedge_param")
    if not order.algo_strategy:
        unsaid.append("algo_params")
    if not order.delta_neutral_order_type:
        unsaid += DELTA_NEUTRAL
    if order.scale_price_increment is None or order.scale_price_increment <= 0:
        unsaid += SCALE
    if not order.conditions:
        unsaid += ["conditions_ignore_rth", "conditions_cancel_order"]
    if order.order_type != "PEG BENCH":
        unsaid += PEG_BENCH
    return without(order, unsaid)


def telling_orders(version: int) -> list[m.Order]:
    """An order with every block, in which no two attributes of a type are alike, and one more for each flag.

    Two attributes that change places cannot go unnoticed, which they can in random orders.
    """
    hints = _hints(m.Order)
    said: dict[str, Any] = {}
    flags = []
    for number, field in enumerate(_fields(m.Order), start=1):
        kind = str(hints[field.name])
        if "bool" in kind:
            flags.append(field.name)
        elif "Decimal" in kind:
            said[field.name] = Decimal(number)
        elif "float" in kind:
            said[field.name] = number + 0.25
        elif "int" in kind:
            said[field.name] = number
        elif hints[field.name] is str:
            said[field.name] = f"text {number}"
    price = m.PriceCondition(is_more=True, price=1.5, con_id=2, exchange="E", trigger_method=3)
    full = m.Order(
        **said
        | {
            "order_type": "PEG BENCH",
            "soft_dollar_tier": m.SoftDollarTier(name="n", val="v", display_name="d"),
            "order_combo_legs": (m.OrderComboLeg(price=1.25), m.OrderComboLeg()),
            "smart_combo_routing_params": (("tag", "value"),),
            "algo_params": (("urgency", "patient"), ("other", "")),
            "conditions": (price, m.TimeCondition(is_more=False, time="t")),
        }
    )
    orders = [full, *(attrs.evolve(full, **cast("Any", {flag: not getattr(full, flag)})) for flag in flags)]
    return [consistent(order, version) for order in orders]


def telling_contract() -> m.Contract:
    """A combination in which no two attributes of a type are alike; as orders carry it."""
    leg = m.ComboLeg(
        con_id=1,
        ratio=2,
        action="BUY",
        exchange="LEG",
        open_close=3,
        short_sale_slot=4,
        designated_location="there",
        exempt_code=5,
    )
    said = {name: f"text {number}" for number, name in enumerate(sorted(CONTRACT_OF_A_REQUEST))}
    return m.Contract(
        **cast("Any", said)
        | {
            "con_id": 6,
            "sec_type": "BAG",
            "strike": 7.5,
            "combo_legs": (leg, m.ComboLeg(con_id=8)),
            "delta_neutral_contract": m.DeltaNeutralContract(con_id=9, delta=0.5, price=10.5),
        }
    )


def conditions(text: _Texts) -> st.SearchStrategy[m.OrderCondition]:
    classes = (
        m.PriceCondition,
        m.TimeCondition,
        m.MarginCondition,
        m.ExecutionCondition,
        m.VolumeCondition,
        m.PercentChangeCondition,
    )
    return st.one_of(*(instances(of, text) for of in classes))


def contracts(names: Collection[str], text: _Texts = ANY_TEXT) -> st.SearchStrategy[m.Contract]:
    """Contracts that say only `names`, a combination now and then."""
    kinds = st.sampled_from(["STK", "BAG", "OPT"])
    whole = instances(m.Contract, text).map(lambda contract: only(contract, names))
    return st.builds(lambda contract, kind: attrs.evolve(contract, sec_type=kind), whole, kinds)


@st.composite
def placements(draw: st.DrawFn, version: int, text: _Texts = ANY_TEXT) -> m.PlaceOrder:
    names = CONTRACT_OF_A_REQUEST | {"sec_id_type", "sec_id", "delta_neutral_contract", "combo_legs"}
    contract = draw(contracts(names, text))
    if draw(st.booleans()):
        contract = attrs.evolve(contract, exchange="IBKRATS")
    order = without(draw(orders(version, text)), NOT_PLACED)
    return m.PlaceOrder(draw(INTEGERS), *placeable(contract, order))


def placeable(contract: m.Contract, order: m.Order) -> tuple[m.Contract, m.Order]:
    """Both without the blocks that only another kind of contract or order brings along."""
    unsaid: list[str] = [] if contract.exchange == "IBKRATS" else ["min_trade_qty"]
    best, up_to_mid = order.order_type == "PEG BEST", order.compete_against_best_offset == float("inf")
    if not best:
        unsaid += ["min_compete_size", "compete_against_best_offset"]
    if order.order_type != "PEG MID" and not (best and up_to_mid):
        unsaid += MID_OFFSETS
    if contract.sec_type != "BAG":
        contract = without(contract, ["combo_legs"])
        unsaid += ["order_combo_legs", "smart_combo_routing_params"]
    tier = without(order.soft_dollar_tier, ["display_name"])
    return contract, attrs.evolve(without(order, unsaid), soft_dollar_tier=tier)


NOT_IN_A_STATE_ECHO = ("completed_time", "completed_status")


def echoed(order: m.Order, version: int) -> m.Order:
    """What an openOrder repeats of an order."""
    late = {name for name, since in SINCE_IN_AN_ECHO.items() if version < since}
    return without(order, NOT_ECHOED | late)


@st.composite
def open_orders(draw: st.DrawFn, version: int, text: _Texts = ANY_TEXT) -> m.OpenOrder:
    unsaid = NOT_IN_A_STATE_ECHO if version >= 195 else (*NOT_IN_A_STATE_ECHO, *PREVIEW)
    state = draw(instances(m.OrderState, text).map(lambda state: without(state, unsaid)))
    order = echoed(draw(orders(version, text)), version)
    return m.OpenOrder(draw(INTEGERS), draw(contracts(CONTRACT_OF_AN_ORDER_ECHO, text)), order, state)


@st.composite
def completed_orders(draw: st.DrawFn, version: int, text: _Texts = ANY_TEXT) -> m.CompletedOrder:
    state = draw(
        instances(m.OrderState, text).map(lambda state: only(state, ["status", *NOT_IN_A_STATE_ECHO]))
    )
    # Here the two flags are older than their gates in the other two messages.
    order = attrs.evolve(
        without(draw(orders(version, text)), NOT_COMPLETED),
        auto_cancel_parent=draw(st.booleans()),
        imbalance_only=draw(st.booleans()),
    )
    contract = draw(contracts(CONTRACT_OF_AN_ORDER_ECHO, text))
    return m.CompletedOrder(contract, order, state, draw(QUANTITIES))


@st.composite
def contract_data(draw: st.DrawFn, version: int, text: _Texts = ANY_TEXT) -> m.ContractData:
    details = draw(instances(m.ContractDetails, text))
    contract = attrs.evolve(
        only(details.contract, CONTRACT_OF_A_REQUEST),
        last_trade_date_or_contract_month=draw(st.sampled_from(["", "20260320"])),
        last_trade_date=draw(text) if version >= 182 else "",
        sec_type=draw(st.sampled_from(["STK", "FUND", "OPT"])),
    )
    details = attrs.evolve(
        details, contract=contract, last_trade_time=draw(st.sampled_from(["", "16:00:00"]))
    )
    fund = attrs.evolve(
        details.fund,
        distribution_policy_indicator=draw(st.sampled_from(["", "N", "Y"])),
        asset_type=draw(st.sampled_from(["", "001", "007"])),
    )
    details = attrs.evolve(details, fund=fund)
    if not contract.last_trade_date_or_contract_month:
        details = without(details, ["last_trade_time"])
    sizes = ["min_size", "size_increment", "suggested_size_increment"]
    unsaid = sizes if version < 163 else sizes[1:] if version < 164 else ["md_size_multiplier"]
    unsaid = unsaid + ["fund"] * (version < 179 or contract.sec_type != "FUND")
    unsaid += ["ineligibility_reasons"] * (version < 186)
    return m.ContractData(draw(INTEGERS), without(details, unsaid))


def server_messages(of: type, version: int, text: _Texts = ANY_TEXT) -> st.SearchStrategy[Any]:
    """Random messages of one class of `ServerMessage`."""
    whole = version < 163
    if of is m.OpenOrder:
        return open_orders(version, text)
    if of is m.CompletedOrder:
        return completed_orders(version, text)
    if of is m.ContractData:
        return contract_data(version, text)
    if of is m.ManagedAccounts:
        names = st.text("ABCDU0123456789", min_size=1, max_size=9)
        return st.builds(m.ManagedAccounts, st.lists(names, max_size=3).map(tuple))
    drawn: st.SearchStrategy[Any] = instances(of, text, whole)
    if of is m.TickByTick:
        return st.builds(tick_of, drawn, st.sampled_from(sorted(TICK_KINDS)))
    if of is m.TickOptionComputation:
        return drawn.filter(lambda said: not {-1.0, -2.0} & set(attrs.astuple(said)[3:]))
    if of is m.SymbolSamples and version < 176:
        unsaid = ["description", "issuer_id"]
        return drawn.map(
            lambda said: attrs.evolve(said, contracts=tuple(without(one, unsaid) for one in said.contracts))
        )
    if of is m.ErrorMessage:
        unsaid = ["advanced_json"] * (version < 166) + ["time_ms"] * (version < 194)
        return drawn.map(lambda error: without(error, unsaid))
    if of is m.HistoricalData and version >= 196:
        return drawn.map(lambda said: without(said, ["start", "end"]))
    if of is m.ExecDetails:
        late = ["pending_price_revision"] * (version < 178) + ["submitter"] * (version < 198)
        drawn = drawn.map(lambda said: attrs.evolve(said, execution=without(said.execution, late)))
    if of in {m.ExecDetails, m.Position, m.PositionMulti}:
        return drawn.map(
            lambda said: attrs.evolve(said, contract=only(said.contract, CONTRACT_OF_AN_EXECUTION))
        )
    if of is m.PortfolioValue:
        return drawn.map(lambda said: attrs.evolve(said, contract=only(said.contract, CONTRACT_OF_A_HOLDING)))
    return drawn


LEG_OF_A_REQUEST = ("con_id", "ratio", "action", "exchange")


def _with_short_legs(contract: m.Contract) -> m.Contract:
    """Requests other than orders carry four fields of a leg, and legs only of a combination."""
    if contract.sec_type != "BAG":
        return without(contract, ["combo_legs"])
    return attrs.evolve(
        contract, combo_legs=tuple(only(leg, LEG_OF_A_REQUEST) for leg in contract.combo_legs)
    )


def client_requests(of: type, version: int, text: _Texts = ANY_TEXT) -> st.SearchStrategy[Any]:
    """Random requests of one class of `ClientRequest`."""
    if of is m.PlaceOrder:
        return placements(version, text)
    drawn: st.SearchStrategy[Any] = instances(of, text)
    if of in {m.CancelOrder, m.GlobalCancel}:
        unsaid = ["manual_cancel_time"] * (of is m.CancelOrder and version < 169)
        unsaid += ["ext_operator", "manual_order_indicator"] * (version < 192)
        return drawn.map(lambda asked: without(asked, unsaid))
    if of is m.ReqExecutions and version < 200:
        days = ["last_n_days", "specific_dates"]
        return drawn.map(lambda asked: attrs.evolve(asked, filter=without(asked.filter, days)))
    if of in ASKED_ABOUT:
        hints = {name: of_type(hint, text, False) for name, hint in _hints(of).items()}
        return st.builds(of, **(hints | {"contract": st.sampled_from(ASKED_ABOUT[of])}))
    names = {
        m.ReqContractDetails: CONTRACT_OF_A_REQUEST | {"include_expired", "sec_id_type", "sec_id"},
        m.ReqMktData: CONTRACT_OF_A_REQUEST | {"combo_legs", "delta_neutral_contract"},
        m.ReqHistoricalData: CONTRACT_OF_A_REQUEST | {"include_expired", "combo_legs"},
    }.get(of)
    if names is None:
        return drawn
    if of is m.ReqContractDetails and version >= 176:
        names |= {"issuer_id"}
    asked_about = contracts(names, text).map(_with_short_legs)
    return st.builds(lambda asked, contract: attrs.evolve(asked, contract=contract), drawn, asked_about)
