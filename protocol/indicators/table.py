"""Every kind of indicator that a rule can name: how it is built, and how many past bars it needs.

How fast a formula forgets decides how far back its warm-up begins: a window forgets whole, an exponential
average 2/(period + 1) of the rest with each bar, Wilder's 1/period. The figures here leave of what came
before no more than one part in ten thousand.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

import attrs

from protocol.bars import DAY_S
from protocol.indicators import averages, oscillators, sessions, trend
from protocol.indicators.base import Indicator
from protocol.indicators.library import RECIPES, LibraryIndicator, Recipe
from protocol.rules.indicator_names import KINDS, IndicatorName

SESSION_S: Final = 23_400
"""Regular trading of a whole day."""
EXPONENTIAL_PERIODS: Final = 5
WILDER_PERIODS: Final = 10


@attrs.frozen
class _Build:
    """`bars` are those that the formula needs to be as good as if it had seen everything."""

    make: Callable[..., Indicator]
    bars: Callable[..., float]
    by_size: bool = False
    """Whether the number of bars depends on their size, which `bars` then takes last."""


def _exponential(*periods: float) -> float:
    return EXPONENTIAL_PERIODS * sum(periods)


def _wilder(period: float) -> float:
    return WILDER_PERIODS * period


def _library(recipe: Recipe) -> _Build:
    """The library's ones are given the most: what each of them forgets is not ours to say."""
    return _Build(
        lambda *parameters: LibraryIndicator(recipe, *parameters),
        lambda *parameters: WILDER_PERIODS * recipe.looks_back(*parameters),
    )


def _session(bar_s: int) -> float:
    return SESSION_S / bar_s + 1


BUILDS: Final[Mapping[str, _Build]] = {
    "adx": _Build(trend.DirectionalMovement, lambda period: 2 * WILDER_PERIODS * period),
    "atr": _Build(trend.AverageTrueRange, _wilder),
    "bollinger": _Build(averages.BollingerBands, lambda period, _: period),
    "cci": _Build(oscillators.CommodityChannel, lambda period: period),
    "donchian": _Build(oscillators.DonchianChannel, lambda period: period),
    "ema": _Build(averages.ExponentialAverage, _exponential),
    "macd": _Build(
        averages.ConvergenceDivergence, lambda _fast, slow, signal: EXPONENTIAL_PERIODS * (slow + signal)
    ),
    "mfi": _Build(oscillators.MoneyFlow, lambda period: period + 1),
    "momentum": _Build(oscillators.Momentum, lambda period: period + 1),
    "obv": _Build(sessions.SessionBalanceVolume, _session, by_size=True),
    "opening_range": _Build(sessions.OpeningRange, lambda _, bar_s: _session(bar_s), by_size=True),
    "relative_volume": _Build(
        sessions.RelativeVolume, lambda days, bar_s: (days + 1) * _session(bar_s), by_size=True
    ),
    "roc": _Build(oscillators.RateOfChange, lambda period: period + 1),
    "rsi": _Build(oscillators.RelativeStrength, _wilder),
    "sma": _Build(averages.SimpleAverage, lambda period: period),
    "stdev": _Build(averages.StandardDeviation, lambda period: period),
    "stochastic": _Build(oscillators.Stochastic, lambda *parameters: sum(parameters)),
    "vwap": _Build(sessions.SessionAveragePrice, _session, by_size=True),
    "williams_r": _Build(oscillators.WilliamsR, lambda period: period),
    "wma": _Build(averages.WeightedAverage, lambda period: period),
    **{kind: _library(recipe) for kind, recipe in RECIPES.items()},
}


def bar_size_s(name: IndicatorName, usual_s: int) -> int:
    """The size of the bars that `name` is reckoned on; `usual_s` is the plan's."""
    return name.bar_s or KINDS[name.kind].bar_s or usual_s


def build(name: IndicatorName, bar_s: int) -> Indicator:
    """A fresh indicator; all figures of one kind with the same parameters come from one."""
    wanted = BUILDS[name.kind]
    if name.kind == "opening_range":
        return sessions.OpeningRange(name.parameters[0], bar_s)
    return wanted.make(*name.parameters)


def bars_needed(name: IndicatorName, bar_s: int) -> int:
    """How many bars of the past make it as good as if it had seen all of them."""
    wanted = BUILDS[name.kind]
    parameters = (*name.parameters, min(bar_s, DAY_S)) if wanted.by_size else name.parameters
    return int(wanted.bars(*parameters)) + 1
