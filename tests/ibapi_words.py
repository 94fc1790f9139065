"""ibapi's objects and ours, brought to each other by the names of their attributes alone.

`lmtPrice` is `lmt_price`: no layout takes part, so that the tests of layouts have a second opinion.
"""

from __future__ import annotations

import re
from decimal import Decimal
from typing import Any, get_type_hints

from hypothesis import HealthCheck, Phase, settings
from ibapi import contract as ib_contract
from ibapi import order as ib_order
from ibapi import order_condition as ib_condition
from ibapi.common import UNSET_DOUBLE, UNSET_INTEGER, BarData, PriceIncrement
from ibapi.softdollartier import SoftDollarTier
from ibapi.tag_value import TagValue
from ibapi.wrapper import EWrapper

from protocol.tws import messages as m

VERSION = 157

random_messages = settings(
    max_examples=25,
    deadline=None,
    phases=(Phase.explicit, Phase.reuse, Phase.generate, Phase.shrink),
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)


def snake(name: str) -> str:
    special = {"rule80A": "rule80a", "dailyPnL": "daily_pnl", "unrealizedPNL": "unrealized_pnl"}
    special |= {
        "realizedPNL": "realized_pnl",
        "unrealizedPnL": "unrealized_pnl",
        "realizedPnL": "realized_pnl",
    }
    special |= {"barCount": "count", "average": "wap", "acctCode": "account"}
    return special.get(name) or re.sub(r"(?<!^)([A-Z])", lambda found: "_" + found[1].lower(), name).lower()


def value_as(hint: Any, value: Any) -> Any:
    """One attribute value of theirs as ours of type `hint`."""
    optional = "None" in str(hint)
    if optional and value in {UNSET_DOUBLE, UNSET_INTEGER, "", None}:
        return None
    if str(hint) == "float | None":
        return None if float(value) == UNSET_DOUBLE else float(value)
    if hint is Decimal:
        return Decimal(str(value))
    return hint(value) if hint in {float, int, bool} else value


CLASSES: dict[type, type] = {
    ib_contract.Contract: m.Contract,
    ib_contract.ContractDetails: m.ContractDetails,
    ib_contract.ComboLeg: m.ComboLeg,
    ib_contract.DeltaNeutralContract: m.DeltaNeutralContract,
    ib_order.OrderComboLeg: m.OrderComboLeg,
    SoftDollarTier: m.SoftDollarTier,
    BarData: m.HistoricalBar,
    ib_condition.PriceCondition: m.PriceCondition,
    ib_condition.TimeCondition: m.TimeCondition,
    ib_condition.MarginCondition: m.MarginCondition,
    ib_condition.ExecutionCondition: m.ExecutionCondition,
    ib_condition.VolumeCondition: m.VolumeCondition,
    ib_condition.PercentChangeCondition: m.PercentChangeCondition,
}


def ours(value: Any, of: type | None = None) -> Any:
    """An object of theirs as the object of ours with the same attributes."""
    if isinstance(value, list):
        return tuple(ours(element) for element in value)
    if isinstance(value, TagValue):
        return (value.tag, value.value)
    if isinstance(value, PriceIncrement):
        return (value.lowEdge, value.increment)
    of = of or CLASSES.get(type(value))
    if of is None:
        return value
    hints = get_type_hints(of)
    known = {}
    for name, theirs in vars(value).items():
        hint = hints.get(snake(name))
        # None stands for an empty list or text there, as our defaults do here.
        if hint is not None and theirs is not None:
            known[snake(name)] = value_as(hint, ours(theirs))
    return of(**known)


def theirs(value: Any, of: Any) -> Any:
    """An object of ours as theirs; `of` makes the empty one."""
    target = of()
    for name in vars(target):
        ours_value = getattr(value, snake(name), None)
        if ours_value is None or name == "condType":
            continue
        setattr(target, name, _their_value(ours_value))
    return target


def _their_value(value: Any) -> Any:
    if isinstance(value, tuple):
        return [TagValue(*one) if isinstance(one, tuple) else _their_value(one) for one in value]
    if isinstance(value, Decimal):
        return value
    for their_class, our_class in CLASSES.items():
        if isinstance(value, our_class):
            return theirs(value, their_class)
    return value


class RecordingWrapper(EWrapper):  # type: ignore[misc]
    """Keeps what ibapi's decoder calls, by name and arguments."""

    def __init__(self) -> None:
        super().__init__()
        self.calls: list[tuple[str, tuple[Any, ...]]] = []

    def __getattribute__(self, name: str) -> Any:
        if name in {"calls", "__class__", "__dict__"} or not hasattr(EWrapper, name):
            return super().__getattribute__(name)

        def record(*args: Any) -> None:
            self.calls.append((name, args))

        return record
