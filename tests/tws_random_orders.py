"""Orders with every field set, by the thousand: a seeded generator that is fast where Hypothesis is thorough.

As in `tws_strategies`, an order says only what travels at its version.
"""

from __future__ import annotations

import random
import string
import types
import typing
from decimal import Decimal
from typing import Any, get_args, get_origin, get_type_hints

import attrs

from protocol.tws import messages as m
from tests.tws_strategies import (
    CONTRACT_OF_A_REQUEST,
    CONTRACT_OF_AN_ORDER_ECHO,
    NOT_COMPLETED,
    NOT_IN_A_STATE_ECHO,
    NOT_PLACED,
    ORDER_TYPES,
    PREVIEW,
    consistent,
    echoed,
    only,
    placeable,
    without,
)

_LETTERS = string.ascii_letters + string.digits + " .,:;-_/#()"
SET_SHARE = 0.9
"""How often an optional attribute has a value."""

_HINTS: dict[type, dict[str, Any]] = {}


def _hints(of: type) -> dict[str, Any]:
    if of not in _HINTS:
        _HINTS[of] = get_type_hints(of)
    return _HINTS[of]


def _text(rng: random.Random) -> str:
    return "".join(rng.choices(_LETTERS, k=rng.randint(1, 8)))


def _float(rng: random.Random) -> float:
    return rng.choice(
        (round(rng.uniform(-1000, 1000), 4), 1e-07 * rng.randint(1, 99), float(rng.randint(0, 9)))
    )


def random_value(rng: random.Random, hint: Any) -> Any:
    """A value of a type that occurs in the messages."""
    if hint is bool:
        return rng.random() < 0.5
    if hint is int:
        return rng.randint(-(2**31), 2**31 - 2)
    if hint is float:
        return _float(rng)
    if hint is str:
        return _text(rng)
    if hint is Decimal:
        return Decimal(rng.randint(1, 10**7)).scaleb(-rng.randint(0, 4))
    origin, arguments = get_origin(hint), get_args(hint)
    if origin in {types.UnionType, typing.Union}:
        if type(None) not in arguments:
            return random_value(rng, rng.choice(arguments))
        given = [argument for argument in arguments if argument is not type(None)]
        return random_value(rng, rng.choice(given)) if rng.random() < SET_SHARE else None
    if origin is tuple:
        if arguments[-1] is Ellipsis:
            return tuple(random_value(rng, arguments[0]) for _ in range(rng.randint(1, 3)))
        return tuple(random_value(rng, argument) for argument in arguments)
    return random_object(rng, hint)


def random_object(rng: random.Random, of: Any) -> Any:
    """An object of an attrs class with every attribute drawn."""
    return of(**{field.name: random_value(rng, _hints(of)[field.name]) for field in attrs.fields(of)})


def random_order(rng: random.Random, version: int) -> m.Order:
    """An order of any type with every block that there is."""
    drawn = {field.name: random_value(rng, _hints(m.Order)[field.name]) for field in attrs.fields(m.Order)}
    drawn["order_type"] = rng.choice(ORDER_TYPES)
    drawn["delta_neutral_order_type"] = rng.choice(("MKT", "LMT", "None", ""))
    drawn["hedge_type"] = rng.choice(("D", "B", "F", "P", ""))
    drawn["algo_strategy"] = rng.choice(("Adaptive", "Vwap", ""))
    drawn["scale_price_increment"] = rng.choice((None, 0.0, 0.01, 2.5))
    if rng.random() < 0.3:
        drawn["compete_against_best_offset"] = float("inf")
    return consistent(m.Order(**drawn), version)


def random_contract(rng: random.Random, names: frozenset[str]) -> m.Contract:
    """A contract that says everything of `names`; every other one is a combination."""
    contract: m.Contract = only(random_object(rng, m.Contract), names)
    exchange = rng.choice(("SMART", "IBKRATS", "CBOE"))
    return attrs.evolve(contract, sec_type=rng.choice(("STK", "BAG", "OPT", "BAG")), exchange=exchange)


def random_placement(rng: random.Random, version: int) -> m.PlaceOrder:
    """A placeOrder as a client of that version can send it."""
    names = CONTRACT_OF_A_REQUEST | {"sec_id_type", "sec_id", "delta_neutral_contract", "combo_legs"}
    contract = random_contract(rng, names)
    order = without(random_order(rng, version), NOT_PLACED)
    return m.PlaceOrder(rng.randint(1, 2**31 - 2), *placeable(contract, order))


def random_open_order(rng: random.Random, version: int) -> m.OpenOrder:
    """An openOrder with every field that its version has."""
    unsaid = NOT_IN_A_STATE_ECHO if version >= 195 else (*NOT_IN_A_STATE_ECHO, *PREVIEW)
    return m.OpenOrder(
        rng.randint(1, 2**31 - 2),
        random_contract(rng, CONTRACT_OF_AN_ORDER_ECHO),
        echoed(random_order(rng, version), version),
        without(random_object(rng, m.OrderState), unsaid),
    )


def random_completed_order(rng: random.Random, version: int) -> m.CompletedOrder:
    """A completedOrder with every field that its version has."""
    order = attrs.evolve(
        without(random_order(rng, version), NOT_COMPLETED),
        # Here the two flags are older than their gates in the other two messages.
        auto_cancel_parent=rng.random() < 0.5,
        imbalance_only=rng.random() < 0.5,
    )
    return m.CompletedOrder(
        random_contract(rng, CONTRACT_OF_AN_ORDER_ECHO),
        order,
        only(random_object(rng, m.OrderState), ["status", *NOT_IN_A_STATE_ECHO]),
        Decimal(rng.randint(0, 10**6)),
    )
