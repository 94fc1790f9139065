"""Limits made tighter while the system runs. Looser ones need a restart on a changed configuration (R21)."""

from __future__ import annotations

import math
from decimal import Decimal, InvalidOperation
from typing import Any, Final

import attrs

from protocol.risk.settings import RiskLimits

TIGHTER_UPWARDS: Final = frozenset({
    "min_stop_distance", "min_stop_ticks", "repeat_guard_s", "min_excess_liquidity", "initial_margin",
    "message_window_s", "fill_window_s", "reject_window_s",
})  # fmt: skip
"""Limits that are tighter when they are larger; all others when they are smaller."""
_NOT_ONE_NUMBER: Final = frozenset({"restricted", "protections", "currency"})
TIGHTENABLE: Final = tuple(
    field.name for field in attrs.fields(RiskLimits) if field.name not in _NOT_ONE_NUMBER
)


def tightened(limits: RiskLimits, name: str, text: str) -> RiskLimits:
    """`limits` with `name` at the value that `text` spells.

    ValueError with a sentence: an unknown name, no number, or a looser value than the one that holds.
    """
    if name not in TIGHTENABLE:
        raise ValueError(
            f"no limit is called {name!r}; those that can be tightened: {', '.join(TIGHTENABLE)}"
        )
    old = getattr(limits, name)
    new = _number(name, text)
    if old is not None:
        looser = new < old if name in TIGHTER_UPWARDS else new > old
        if looser:
            way = "at least" if name in TIGHTER_UPWARDS else "at most"
            raise ValueError(
                f"{name} = {text} is looser than {old}; while running it can be {way} {old}, "
                "anything else needs a restart on a changed configuration"
            )
    kind = type(old) if old is not None else _kind(name)
    change: dict[str, Any] = {name: kind(new)}
    return attrs.evolve(limits, **change)


def _number(name: str, text: str) -> Decimal:
    try:
        found = Decimal(text)
    except InvalidOperation:
        raise ValueError(f"{name} needs a number, not {text!r}") from None
    if not found.is_finite() or found < 0:
        raise ValueError(f"{name} needs a finite number that is not negative, not {text!r}")
    if isinstance(getattr(RiskLimits(), name), int) and found != math.floor(found):
        raise ValueError(f"{name} needs a whole number, not {text!r}")
    return found


def _kind(name: str) -> type[int] | type[float] | type[Decimal]:
    """Of a limit that was not set: by the annotation of its field."""
    annotation = str(attrs.fields_dict(RiskLimits)[name].type)
    if "Decimal" in annotation:
        return Decimal
    return int if annotation.startswith("int") else float
