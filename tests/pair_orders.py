"""Random orders with every attribute set or not, made fast: a thousand of them in a second.

The strategies of `tws_strategies` make cases that shrink; these make the many. What does not travel at a
version or with a kind of order is unsaid by the lists there.
"""

from __future__ import annotations

import functools
import math
import types
import typing
from collections.abc import Callable
from decimal import Decimal
from random import Random
from typing import Any, Final, cast, get_args, get_origin, get_type_hints

import attrs

from protocol.tws import messages as m
from tests.tws_strategies import (
    CONTRACT_OF_A_REQUEST,
    CONTRACT_OF_AN_EXECUTION,
    CONTRACT_OF_AN_ORDER_ECHO,
    DELTA_NEUTRAL,
    MID_OFFSETS,
    NOT_COMPLETED,
    NOT_IN_A_STATE_ECHO,
    NOT_PLACED,
    ORDER_TYPES,
    PEG_BENCH,
    PREVIEW,
    SCALE,
    SINCE,
    echoed,
    only,
    telling_contract,
    telling_orders,
    without,
)

LETTERS: Final = "abcXYZ019 .,:-=;/_#%&'()*+<>?@[]^{|}~"
NUMBERS: Final = (0.0, 0.01, -1.0, 20.5, 1e-07, 123456.789, 1e15, -3.25e-12)
CONDITIONS: Final = (
    m.PriceCondition,
    m.TimeCondition,
    m.MarginCondition,
    m.ExecutionCondition,
    m.VolumeCondition,
    m.PercentChangeCondition,
)
ALL_CONDITIONS: Final[tuple[m.OrderCondition, ...]] = (
    m.PriceCondition(is_more=True, price=1.5, con_id=2, exchange="E", trigger_method=3),
    m.TimeCondition(is_conjunction_connection=False, is_more=False, time="20250123 10:00:00 US/Eastern"),
    m.MarginCondition(is_more=True, percent=4.0),
    m.ExecutionCondition(is_conjunction_connection=False, sec_type="S", exchange="X", symbol="Y"),
    m.VolumeCondition(is_more=True, volume=5, con_id=6, exchange="V"),
    m.PercentChangeCondition(is_more=False, change_percent=7.5, con_id=8, exchange="P"),
)
MISC_OPTIONS: Final = ("", "a=1;", "a=1;b=2;", "tag=;")


def text(dice: Random) -> str:
    return "".join(dice.choices(LETTERS, k=dice.randrange(7)))


def number(dice: Random) -> float:
    return dice.choice(NUMBERS) if dice.random() < 0.5 else dice.uniform(-1e6, 1e6)


def quantity(dice: Random) -> Decimal:
    return Decimal(dice.randrange(-(10**6), 10**9)).scaleb(-dice.randrange(0, 5))


_PLAIN: Final[dict[Any, Callable[[Random], Any]]] = {
    bool: lambda dice: dice.random() < 0.5,
    int: lambda dice: dice.randrange(-(2**31), 2**31 - 1),
    float: number,
    str: text,
    Decimal: quantity,
    type(None): lambda _: None,
}


@functools.cache
def maker(hint: Any) -> Callable[[Random], Any]:
    """What draws random values of a type that occurs in the messages."""
    if hint in _PLAIN:
        return _PLAIN[hint]
    origin, arguments = get_origin(hint), get_args(hint)
    if origin in {types.UnionType, typing.Union}:
        makers = [maker(argument) for argument in arguments]
        return lambda dice: dice.choice(makers)(dice)
    if origin is tuple and arguments[-1] is Ellipsis:
        one = maker(arguments[0])
        return lambda dice: tuple(one(dice) for _ in range(dice.randrange(4)))
    if origin is tuple:
        makers = [maker(argument) for argument in arguments]
        return lambda dice: tuple(make(dice) for make in makers)
    hints = get_type_hints(hint)
    fields = [(field.name, maker(hints[field.name])) for field in attrs.fields(hint)]
    return lambda dice: hint(**{name: make(dice) for name, make in fields})


def instance(of: Any, dice: Random) -> Any:
    """A random object of an attrs class, every attribute drawn."""
    return maker(of)(dice)


def order_at(version: int, dice: Random) -> m.Order:
    """An order with every attribute drawn, of any type, with or without each of its blocks."""
    order = cast("m.Order", instance(m.Order, dice))
    order = attrs.evolve(
        order,
        order_type=dice.choice(ORDER_TYPES),
        hedge_type=dice.choice(("", "D", "B", "F", "P")),
        algo_strategy=dice.choice(("", "Adaptive", "Vwap")),
        delta_neutral_order_type=dice.choice(("", "MKT", "None")),
        scale_price_increment=dice.choice((None, 0.0, -1.0, 0.05, 12.5)),
        compete_against_best_offset=dice.choice((None, math.inf, 0.02, -1.5)),
        order_misc_options=dice.choice(MISC_OPTIONS),
        conditions=tuple(whole_percent(one) for one in order.conditions),
    )
    if dice.random() < 0.3:
        order = attrs.evolve(order, conditions=tuple(whole_percent(instance(of, dice)) for of in CONDITIONS))
    return consistent(order, version)


def whole_percent(condition: m.OrderCondition) -> m.OrderCondition:
    """ibapi 9.81 and ib_async know only whole percents of the margin cushion."""
    if isinstance(condition, m.MarginCondition):
        return attrs.evolve(condition, percent=float(int(condition.percent)))
    return condition


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


def contract_of(names: frozenset[str], dice: Random) -> m.Contract:
    kind = dice.choice(("STK", "BAG", "OPT"))
    return attrs.evolve(only(cast("m.Contract", instance(m.Contract, dice)), names), sec_type=kind)


def placement(version: int, dice: Random) -> m.PlaceOrder:
    """A placeOrder that says only what travels."""
    names = CONTRACT_OF_A_REQUEST | {"sec_id_type", "sec_id", "delta_neutral_contract", "combo_legs"}
    contract = contract_of(names, dice)
    if dice.random() < 0.5:
        contract = attrs.evolve(contract, exchange="IBKRATS")
    if contract.sec_type != "BAG":
        contract = without(contract, ["combo_legs"])
    return m.PlaceOrder(instance(int, dice), contract, as_placed(order_at(version, dice), contract))


def as_placed(order: m.Order, contract: m.Contract) -> m.Order:
    """`order` without what does not travel when it is placed for this contract."""
    unsaid = set(NOT_PLACED)
    if contract.sec_type != "BAG":
        unsaid |= {"order_combo_legs", "smart_combo_routing_params"}
    if contract.exchange != "IBKRATS":
        unsaid.add("min_trade_qty")
    if order.order_type != "PEG BEST":
        unsaid |= {"min_compete_size", "compete_against_best_offset"}
    up_to_mid = order.order_type == "PEG BEST" and order.compete_against_best_offset == math.inf
    if not up_to_mid and order.order_type != "PEG MID":
        unsaid |= set(MID_OFFSETS)
    tier = without(order.soft_dollar_tier, ["display_name"])
    return attrs.evolve(without(order, unsaid), soft_dollar_tier=tier)


def telling_placements(version: int) -> list[m.PlaceOrder]:
    """Placements with every block, in which no two attributes of a type are alike: see `telling_orders`."""
    contract = attrs.evolve(telling_contract(), sec_id_type="ISIN", sec_id="US0", exchange="IBKRATS")
    full, *others = (
        attrs.evolve(order, order_misc_options="a=1;b=2;", conditions=ALL_CONDITIONS)
        for order in telling_orders(version)
    )
    kinds: tuple[dict[str, Any], ...] = (
        {"order_type": "PEG BEST", "compete_against_best_offset": 1.5 if version >= 170 else None},
        {"order_type": "PEG BEST", "compete_against_best_offset": math.inf if version >= 170 else None},
        {"order_type": "PEG MID"},
        {"order_type": "VOL"},
        {"scale_price_increment": None},
        {"delta_neutral_order_type": ""},
        {"hedge_type": ""},
        {"algo_strategy": ""},
        {"conditions": ()},
    )
    orders = [full, *others, *(consistent(attrs.evolve(full, **kind), version) for kind in kinds)]
    return [m.PlaceOrder(7, contract, as_placed(order, contract)) for order in orders]


def open_order(version: int, dice: Random) -> m.OpenOrder:
    """An openOrder that says only what travels."""
    unsaid = NOT_IN_A_STATE_ECHO if version >= 195 else (*NOT_IN_A_STATE_ECHO, *PREVIEW)
    state = without(cast("m.OrderState", instance(m.OrderState, dice)), unsaid)
    order = echoed(order_at(version, dice), version)
    return m.OpenOrder(instance(int, dice), contract_of(CONTRACT_OF_AN_ORDER_ECHO, dice), order, state)


def completed_order(version: int, dice: Random) -> m.CompletedOrder:
    """A completedOrder that says only what travels; two of its flags are older than in the others."""
    state = only(cast("m.OrderState", instance(m.OrderState, dice)), ("status", *NOT_IN_A_STATE_ECHO))
    order = attrs.evolve(
        without(order_at(version, dice), NOT_COMPLETED),
        auto_cancel_parent=instance(bool, dice),
        imbalance_only=instance(bool, dice),
    )
    return m.CompletedOrder(contract_of(CONTRACT_OF_AN_ORDER_ECHO, dice), order, state, quantity(dice))


def exec_details(version: int, dice: Random) -> m.ExecDetails:
    """An execDetails that says only what travels."""
    late = ["pending_price_revision"] * (version < 178) + ["submitter"] * (version < 198)
    execution = without(cast("m.Execution", instance(m.Execution, dice)), late)
    return m.ExecDetails(instance(int, dice), contract_of(CONTRACT_OF_AN_EXECUTION, dice), execution)
