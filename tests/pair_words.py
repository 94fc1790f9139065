"""The objects of the other clients and ours, compared and brought to each other by attribute names alone.

A client's object is a tree of plain values here (`{"lmtPrice": 1.5, ...}`), whether it comes from this
process or, as JSON, from one in which another client is installed. No layout takes part: the names are the
second opinion about them.
"""

from __future__ import annotations

import functools
import math
import re
from collections.abc import Mapping
from decimal import Decimal
from typing import Any, Final, TypeAlias

import attrs

from protocol.tws import messages as m
from protocol.tws.kinds import UNSET_DECIMAL, UNSET_DOUBLE, UNSET_INTEGER

Names: TypeAlias = Mapping[tuple[type, str], str]
"""How a client calls an attribute of ours, by our class and name, where it is not the name in camelCase."""
Tree: TypeAlias = dict[str, Any]

CONDITIONS: Final = (
    m.PriceCondition,
    m.TimeCondition,
    m.MarginCondition,
    m.ExecutionCondition,
    m.VolumeCondition,
    m.PercentChangeCondition,
)


@functools.cache
def camel(name: str) -> str:
    special = {"rule80a": "rule80A", "realized_pnl": "realizedPNL", "unrealized_pnl": "unrealizedPNL"}
    return special.get(name) or re.sub(r"_(\w)", lambda found: found[1].upper(), name)


def spoken(value: Any, names: Names) -> Any:
    """A value of ours as a client's: objects become trees that say in `is` what they are."""
    if attrs.has(type(value)):
        of = type(value)
        fields = {field.name: getattr(value, field.name) for field in attrs.fields(of)}
        said = {names.get((of, name), camel(name)): spoken(one, names) for name, one in fields.items()}
        return {"is": of.__name__} | said
    if isinstance(value, tuple):
        return [
            {"is": "TagValue", "tag": one[0], "value": one[1]}
            if isinstance(one, tuple)
            else spoken(one, names)
            for one in value
        ]
    return {"decimal": str(value)} if isinstance(value, Decimal) else value


def differences(ours: Any, theirs: Any, names: Names, at: str = "") -> dict[str, tuple[Any, Any]]:
    """Where a value of ours and a client's say different things: path to (ours, theirs)."""
    if attrs.has(type(ours)):
        found: dict[str, tuple[Any, Any]] = {}
        for field in attrs.fields(type(ours)):
            name = names.get((type(ours), field.name), camel(field.name))
            value = getattr(ours, field.name)
            if name not in theirs:
                # What a client does not know has to be unsaid.
                if value != field.default:
                    found[f"{at}.{name}"] = (value, "no such attribute")
                continue
            found |= differences(value, theirs[name], names, f"{at}.{name}")
        return found
    if isinstance(ours, tuple):
        told = list(theirs or [])
        if len(told) != len(ours):
            return {at: (ours, theirs)}
        found = {}
        for number, (one, other) in enumerate(zip(ours, told, strict=True)):
            found |= differences(one, other, names, f"{at}[{number}]")
        return found
    return {} if _plain(ours) == _as(ours, theirs) else {at: (ours, theirs)}


def unexpected(tree: Tree, fresh: Tree, of: type, names: Names) -> Tree:
    """What an object of theirs says that ours has no attribute for: nothing, or fields have shifted."""
    known = {names.get((of, field.name), camel(field.name)) for field in attrs.fields(of)}
    return {name: value for name, value in tree.items() if name not in known and value != fresh[name]}


def _plain(value: Any) -> Any:
    return float(value) if isinstance(value, int | Decimal) and not isinstance(value, bool) else value


def _as(ours: Any, theirs: Any) -> Any:
    """A plain value of theirs as it compares with ours: unset is None, numbers are floats."""
    if isinstance(ours, str):
        # Options are one text here, and a list there that no message from TWS carries.
        return theirs or ""
    if isinstance(ours, bool):
        if theirs is None:
            return False
        return {"a": True, "o": False}.get(theirs, theirs) if isinstance(theirs, str) else theirs
    if isinstance(theirs, bool) or theirs is None:
        return theirs
    if isinstance(theirs, str) and not theirs:
        return None
    if isinstance(theirs, dict):
        return theirs
    number = float(theirs)
    unset = number in {UNSET_DOUBLE, float(UNSET_INTEGER), float(UNSET_DECIMAL)}
    return None if unset and not math.isinf(number) else number
