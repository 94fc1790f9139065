"""ibapi's objects and ours, brought to each other by the names of their attributes alone.

`lmtPrice` is `lmt_price`: no layout takes part, so that the tests of layouts have a second opinion. It
works with the ibapi of PyPI (9.81.1) and with a current one (10.x, see `ibapi_current`).
"""

from __future__ import annotations

import functools
import re
from decimal import Decimal
from enum import Enum
from typing import Any, get_type_hints

import attrs
from hypothesis import HealthCheck, Phase, settings
from ibapi import contract as ib_contract
from ibapi import order as ib_order
from ibapi import order_condition as ib_condition
from ibapi.common import BarData, PriceIncrement
from ibapi.server_versions import MAX_CLIENT_VER
from ibapi.softdollartier import SoftDollarTier
from ibapi.tag_value import TagValue
from ibapi.wrapper import EWrapper

from protocol.tws import messages as m
from protocol.tws.kinds import UNSET_DECIMAL, UNSET_DOUBLE, UNSET_INTEGER
from tests.tws_strategies import GATES, without

VERSIONS: tuple[int, ...] = tuple(version for version in GATES if version <= int(MAX_CLIENT_VER))
"""Those at which this ibapi can speak: 157 alone, or every version at which some message changes."""
VERSION = VERSIONS[0]
IS_CURRENT = len(VERSIONS) > 1
"""Whether this is an ibapi of the 10.x line, which reads sizes as Decimal and has renamed some things."""

random_messages = settings(
    max_examples=25,
    deadline=None,
    phases=(Phase.explicit, Phase.reuse, Phase.generate, Phase.shrink),
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)


@functools.cache
def snake(name: str) -> str:
    special = {"rule80A": "rule80a", "dailyPnL": "daily_pnl", "unrealizedPNL": "unrealized_pnl"}
    special |= {
        "realizedPNL": "realized_pnl",
        "unrealizedPnL": "unrealized_pnl",
        "realizedPnL": "realized_pnl",
    }
    special |= {"barCount": "count", "average": "wap", "acctCode": "account"}
    special |= {"ineligibilityReasonList": "ineligibility_reasons", "lastNDays": "last_n_days"}
    name = name.replace("RTH", "Rth").replace("ommissionAndFees", "ommission")
    return special.get(name) or re.sub(r"(?<!^)([A-Z])", lambda found: "_" + found[1].lower(), name).lower()


def value_as(hint: Any, value: Any) -> Any:
    """One attribute value of theirs as ours of type `hint`."""
    optional = "None" in str(hint)
    if optional and value in {UNSET_DOUBLE, UNSET_INTEGER, UNSET_DECIMAL, "", None}:
        return None
    if str(hint) == "float | None":
        return None if float(value) == UNSET_DOUBLE else float(value)
    if hint is Decimal or str(hint) == "decimal.Decimal | None":
        return Decimal(0) if value == UNSET_DECIMAL else Decimal(str(value))
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


hints_of = functools.cache(get_type_hints)


def ours(value: Any, of: type | None = None) -> Any:
    """An object of theirs as the object of ours with the same attributes."""
    if isinstance(value, list):
        return tuple(ours(element) for element in value)
    if isinstance(value, TagValue):
        return (value.tag, value.value)
    if isinstance(value, PriceIncrement):
        return (value.lowEdge, value.increment)
    if isinstance(value, Enum):
        return "" if value.name == "NoneItem" else value.value[0]
    if type(value).__name__ == "IneligibilityReason":
        return (value.id_, value.description)
    of = of or CLASSES.get(type(value))
    if of is None:
        return value
    hints = hints_of(of)
    known = {}
    for name, theirs in vars(value).items():
        hint = hints.get(snake(name))
        # None stands for an empty list or text there, as our defaults do here.
        if hint is not None and theirs is not None:
            known[snake(name)] = value_as(hint, ours(theirs))
    if of is m.ContractDetails and hasattr(value, "fundName"):
        fund = {name.removeprefix("fund"): said for name, said in vars(value).items() if "fund" in name}
        names = {field.name for field in attrs.fields(m.FundDetails)}
        said_of_it = {snake(name): ours(said) for name, said in fund.items() if snake(name) in names}
        known["fund"] = m.FundDetails(**said_of_it)
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


if IS_CURRENT:
    from ibapi.order_state import OrderAllocation  # only this line has it

    CLASSES[OrderAllocation] = m.OrderAllocation


def without_old(order: m.Order) -> m.Order:
    """An order without what a current ibapi has no attribute for any more."""
    gone = ("fa_profile", "e_trade_only", "firm_quote_only", "nbbo_price_cap") if IS_CURRENT else ()
    return without(order, gone)


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
