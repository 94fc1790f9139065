"""The long tail of indicators, by talipp: incremental, pure Python, https://github.com/nardew/talipp.

talipp keeps all it was ever fed, so what is older than anything looks at is cut off now and then. Its
definitions hold, with two of its ways: where a formula has no value for a bar it repeats the last one,
and what a formula smooths begins with a simple mean. It is imported when the first of them is built.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, Final

import attrs

from protocol.indicators.base import Indicator, whole
from protocol.values import Bar

_MARGIN_BARS: Final = 64
"""Kept beyond what a formula looks back: talipp takes a list of exactly that length for a beginning."""


@attrs.frozen
class Recipe:
    """One indicator of talipp.

    `name` is its class. `whole` says how many of them, from the first, count bars. `figures` maps
    our figures to talipp's own ones, "" being the plain number. `looks_back` is how many bars it needs.
    """

    name: str
    whole: int
    looks_back: Callable[..., float]
    figures: Mapping[str, str] = attrs.field(factory=lambda: {"": ""})
    of_bars: bool = True
    """Whether it is fed whole bars, else closes."""
    arguments: Callable[..., tuple[float, ...]] = lambda *parameters: parameters
    """What talipp takes for our parameters."""
    scale: float = 1.0
    """Our unit in talipp's."""


class LibraryIndicator(Indicator):
    """An indicator of talipp behind our face."""

    __slots__ = ("_figures", "_indicator", "_keep", "_make", "_of_bars", "_recipe")

    def __init__(self, recipe: Recipe, *parameters: float) -> None:
        from talipp import indicators as library  # half a tenth of a second that few runs need
        from talipp.ohlcv import OHLCV

        counts = [whole(number, "the period") for number in parameters[: recipe.whole]]
        arguments = recipe.arguments(*counts, *parameters[recipe.whole :])
        self._recipe, self._of_bars = recipe, OHLCV if recipe.of_bars else None
        self._make: Callable[[], Any] = partial(getattr(library, recipe.name), *arguments)
        self._keep = int(2 * recipe.looks_back(*parameters)) + _MARGIN_BARS
        self._begin()

    def _begin(self) -> None:
        self._indicator = self._make()
        self._figures: dict[str, float | None] = dict.fromkeys(self._recipe.figures)

    def add(self, bar: Bar) -> None:
        fed = bar.close
        if self._of_bars is not None:
            fed = self._of_bars(bar.open, bar.high, bar.low, bar.close, bar.volume)
        try:
            self._indicator.add(fed)
        except ArithmeticError:
            # Its lists no longer match after that: it has no value, and begins anew.
            self._begin()
            return
        self._read(self._indicator[-1])
        if len(self._indicator) >= 2 * self._keep:
            self._indicator.purge_oldest(len(self._indicator) - self._keep)

    def figure(self, field: str) -> float | None:
        return self._figures[field]

    def _read(self, said: Any) -> None:
        for field, name in self._recipe.figures.items():
            value = getattr(said, name, None) if name else said
            known = math.nan if value is None else float(value) * self._recipe.scale
            self._figures[field] = known if math.isfinite(known) else None


def _twice(period: float) -> float:
    return 2 * period


def _thrice(period: float) -> float:
    return 3 * period


def _all(*periods: float) -> float:
    return sum(periods)


def _once(period: float, *_: float) -> float:
    return period


def _none() -> float:
    return 1


_UPPER_MIDDLE_LOWER: Final = {"upper": "ub", "middle": "cb", "lower": "lb"}
RECIPES: Final[Mapping[str, Recipe]] = {
    "alma": Recipe("ALMA", 1, _once, of_bars=False),
    "aroon": Recipe("Aroon", 1, _once, {"up": "up", "down": "down"}),
    "awesome": Recipe("AO", 2, _all),
    "balance_of_power": Recipe("BOP", 0, _none),
    "chaikin": Recipe("ChaikinOsc", 2, _all),
    "chop": Recipe("CHOP", 1, _once),
    "coppock": Recipe("CoppockCurve", 3, _all, of_bars=False),
    "dema": Recipe("DEMA", 1, _twice, of_bars=False),
    "dpo": Recipe("DPO", 1, _twice, of_bars=False),
    "force_index": Recipe("ForceIndex", 1, _once),
    "hma": Recipe("HMA", 1, _twice, of_bars=False),
    "kama": Recipe("KAMA", 3, _once, of_bars=False),
    "keltner": Recipe(
        "KeltnerChannels", 2, lambda period, atr_period, _: period + atr_period, _UPPER_MIDDLE_LOWER,
        arguments=lambda period, atr_period, multiple: (period, atr_period, multiple, multiple),
    ),
    "natr": Recipe("NATR", 1, _once),
    "psar": Recipe(
        "ParabolicSAR", 0, lambda *_: 5, {"": "value"}, arguments=lambda step, most: (step, step, most)
    ),
    "smma": Recipe("SMMA", 1, _once, of_bars=False),
    "stoch_rsi": Recipe("StochRSI", 4, _all, {"k": "k", "d": "d"}, of_bars=False),
    "supertrend": Recipe("SuperTrend", 1, _once, {"": "value"}),
    "t3": Recipe("T3", 1, lambda period, _factor: 6 * period, of_bars=False),
    "tema": Recipe("TEMA", 1, _thrice, of_bars=False),
    "trix": Recipe("TRIX", 1, _thrice, of_bars=False, scale=0.01),
    "tsi": Recipe("TSI", 2, _all, of_bars=False),
    "ultimate": Recipe("UO", 3, _all),
    "zlema": Recipe("ZLEMA", 1, _twice, of_bars=False),
}  # fmt: skip
