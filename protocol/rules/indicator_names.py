"""The indicators by name: which kinds there are, what each is asked with, and what it answers.

The table says nothing about how one is computed. In an expression an indicator is written `rsi14`,
`sma(20)`, `sma(20, bar_s=10)`, `macd(12, 26, 9).signal` or, with its defaults, `macd.signal`.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Final

import attrs

BAR_SIZES_S: Final = (
    1, 5, 10, 15, 30, 60, 120, 180, 300, 600, 900, 1200, 1800, 3600, 7200, 10_800, 14_400, 28_800, 86_400,
)  # fmt: skip
"""The bar sizes in seconds, those of TWS's historical bars up to a day."""
LONGEST_PERIOD: Final = 500
"""In bars: what warming up can still ask TWS for at once."""


@attrs.frozen
class Parameter:
    """A number that an indicator is asked with; `whole` ones count bars, or minutes where named so."""

    name: str
    default: float
    low: float = 1
    high: float = LONGEST_PERIOD
    whole: bool = True

    @property
    def expected(self) -> str:
        return f"{'a whole number' if self.whole else 'a number'} from {self.low:g} to {self.high:g}"

    def allows(self, value: float) -> bool:
        return self.low <= value <= self.high and (not self.whole or value == int(value))


@attrs.frozen
class IndicatorKind:
    """`fields` are what it answers; "" among them is the answer that needs no name.

    `default_field` is meant where none is written; None: one has to be. `bar_s` is the size of its bars
    where none is written; None: that of the ATR. A figure of whole sessions takes one of which TWS gives
    whole sessions.
    """

    name: str
    meaning: str
    parameters: tuple[Parameter, ...] = ()
    fields: tuple[str, ...] = ("",)
    default_field: str | None = ""
    bar_s: int | None = None

    @property
    def takes_suffix(self) -> bool:
        """Whether `rsi14` may be written for `rsi(14)`; a name that ends in a digit would be misread."""
        counts = bool(self.parameters) and self.parameters[0].name == "period"
        return counts and not self.name[-1].isdecimal()


@attrs.frozen(order=True)
class IndicatorName:
    """One indicator of one symbol. `bar_s` None: on bars of its kind's size, or that the ATR is set to."""

    kind: str
    parameters: tuple[float, ...] = ()
    bar_s: int | None = None
    field: str = ""

    def __str__(self) -> str:
        kind = KINDS[self.kind]
        tail = f".{self.field}" if self.field and self.field != kind.default_field else ""
        short = kind.takes_suffix and self.bar_s is None
        if short and self.parameters[1:] == tuple(each.default for each in kind.parameters[1:]):
            return f"{self.kind}{self.parameters[0]:g}{tail}"
        inside = [f"{number:g}" for number in self.parameters]
        if self.bar_s is not None:
            inside.append(f"bar_s={self.bar_s}")
        return f"{self.kind}({', '.join(inside)}){tail}" if inside else f"{self.kind}{tail}"

    def parameter(self, name: str) -> float:
        """The value of the parameter that the kind's table calls `name`."""
        names = [each.name for each in KINDS[self.kind].parameters]
        return self.parameters[names.index(name)]


class IndicatorFault(ValueError):
    """No indicator goes by that name, or not with those numbers."""


def indicator_name(
    kind: str, parameters: Sequence[float] = (), bar_s: float | None = None, field: str = ""
) -> IndicatorName:
    """The name with its defaults filled in. Raises `IndicatorFault` that says what would be right."""
    known = KINDS.get(kind)
    if known is None:
        raise IndicatorFault(f'no indicator "{kind}"{_suggestion(kind, tuple(KINDS))}')
    if len(parameters) > len(known.parameters):
        takes = ", ".join(each.name for each in known.parameters) or "nothing"
        raise IndicatorFault(f"{kind} takes {takes}; {len(parameters)} numbers are given")
    values = [each.default for each in known.parameters]
    for index, (parameter, value) in enumerate(zip(known.parameters, parameters, strict=False)):
        if not parameter.allows(value):
            raise IndicatorFault(f"{parameter.name} of {kind} is {parameter.expected}, not {value:g}")
        values[index] = value
    if bar_s is not None and bar_s not in BAR_SIZES_S:
        sizes = ", ".join(str(size) for size in BAR_SIZES_S)
        raise IndicatorFault(f"no bars of {bar_s:g} s; known: {sizes}")
    if not field and known.default_field is None:
        raise IndicatorFault(f"{kind} needs one of {', '.join(f'.{each}' for each in known.fields)}")
    chosen = field or known.default_field or ""
    if chosen not in known.fields:
        named = tuple(each for each in known.fields if each)
        raise IndicatorFault(f'{kind} has no field "{field}"{_suggestion(field, named)}')
    whole = tuple(float(value) for value in values)
    return IndicatorName(kind, whole, None if bar_s is None else int(bar_s), chosen)


def split_suffix(word: str) -> tuple[str, tuple[float, ...]] | None:
    """`rsi14` as ("rsi", (14.0,)), `vwap` as ("vwap", ()); None for what names no indicator."""
    if word in KINDS:
        return word, ()
    kind = word.rstrip("0123456789")
    if kind == word or kind not in KINDS or not KINDS[kind].takes_suffix:
        return None
    digits = word[len(kind) :]
    return (kind, (float(digits),)) if len(digits) <= 6 and digits.isascii() else None


def _suggestion(word: str, known: Sequence[str]) -> str:
    close = difflib.get_close_matches(word, known, n=1, cutoff=0.6)
    if close:
        return f'; did you mean "{close[0]}"?'
    return f"; known: {', '.join(known)}" if known else ""


def _period(default: float, low: float = 1) -> Parameter:
    return Parameter("period", default, low)


def _factor(name: str, default: float, low: float = 0.01, high: float = 20) -> Parameter:
    return Parameter(name, default, low, high, whole=False)


_BANDS: Final = ("upper", "middle", "lower")

_ALL: Final = (
    IndicatorKind("atr", "average true range, in dollars", (_period(14),)),
    IndicatorKind("sma", "simple moving average of closes", (_period(20),)),
    IndicatorKind("ema", "exponential moving average", (_period(20),)),
    IndicatorKind("wma", "linearly weighted moving average", (_period(20),)),
    IndicatorKind("dema", "double exponential moving average", (_period(20),)),
    IndicatorKind("tema", "triple exponential moving average", (_period(20),)),
    IndicatorKind(
        "kama",
        "Kaufman's adaptive moving average",
        (_period(10, 2), Parameter("fast", 2), Parameter("slow", 30, 2)),
    ),
    IndicatorKind("rsi", "relative strength index, 0 to 100", (_period(14, 2),)),
    IndicatorKind(
        "macd",
        "moving average convergence and divergence",
        (Parameter("fast", 12), Parameter("slow", 26, 2), Parameter("signal", 9)),
        ("line", "signal", "histogram"),
        "line",
    ),
    IndicatorKind(
        "bollinger",
        "Bollinger bands; width is their distance as a fraction of the middle",
        (_period(20, 2), _factor("deviations", 2)),
        (*_BANDS, "width"),
        "middle",
    ),
    IndicatorKind("adx", "average directional index, 0 to 100", (_period(14, 2),), ("", "plus", "minus")),
    IndicatorKind("vwap", "volume-weighted average price of the session", bar_s=60),
    IndicatorKind(
        "opening_range",
        "extremes of the session's first minutes, once they are over",
        (Parameter("minutes", 15, 1, 390),),
        ("high", "low"),
        None,
        bar_s=60,
    ),
    IndicatorKind(
        "relative_volume",
        "the session's volume so far, as a multiple of the same stretch's mean over the days before",
        (Parameter("days", 5, 1, 20),),
        bar_s=300,
    ),
    IndicatorKind("stdev", "standard deviation of closes, in dollars", (_period(20, 2),)),
    IndicatorKind("roc", "rate of change, in percent", (_period(10),)),
    IndicatorKind("momentum", "change of the close, in dollars", (_period(10),)),
    IndicatorKind("cci", "commodity channel index", (_period(20, 2),)),
    IndicatorKind("williams_r", "Williams %R, -100 to 0", (_period(14),)),
    IndicatorKind(
        "stochastic",
        "where the close lies between the extremes, 0 to 100; d is the mean of the last k",
        (_period(14), Parameter("smoothing", 3), Parameter("slowing", 1)),
        ("k", "d"),
        "k",
    ),
    IndicatorKind("obv", "on-balance volume since the session began, in shares", bar_s=60),
    IndicatorKind("mfi", "money flow index, 0 to 100", (_period(14),)),
    IndicatorKind("donchian", "highest high and lowest low", (_period(20),), _BANDS, None),
    IndicatorKind(
        "keltner",
        "bands of ATRs around an exponential average",
        (_period(20), Parameter("atr_period", 10), _factor("multiple", 2)),
        _BANDS,
        "middle",
    ),
    IndicatorKind("trix", "change of a triple exponential average, in percent", (_period(15),)),
    IndicatorKind("aroon", "how recent the extremes are, 0 to 100", (_period(25),), ("up", "down"), None),
    IndicatorKind(
        "psar",
        "parabolic stop and reverse, in dollars",
        (_factor("step", 0.02, 0.001, 1), _factor("maximum", 0.2, 0.001, 1)),
    ),
    IndicatorKind("smma", "Wilder's moving average", (_period(14),)),
    IndicatorKind("hma", "Hull's moving average", (_period(20, 4),)),
    IndicatorKind("zlema", "zero-lag exponential moving average", (_period(20, 2),)),
    IndicatorKind("t3", "Tillson's T3 moving average", (_period(5), _factor("factor", 0.7, 0, 1))),
    IndicatorKind(
        "alma",
        "Arnaud Legoux's moving average",
        (_period(9, 2), _factor("offset", 0.85, 0, 1), _factor("sigma", 6, 0.1)),
    ),
    IndicatorKind("natr", "average true range in percent of the close", (_period(14),)),
    IndicatorKind("chop", "choppiness index, 0 to 100", (_period(14, 2),)),
    IndicatorKind("supertrend", "trailing line on ATRs, in dollars", (_period(10), _factor("multiple", 3))),
    IndicatorKind(
        "stoch_rsi",
        "where the RSI lies between its own extremes, 0 to 100",
        (_period(14, 2), Parameter("range", 14, 2), Parameter("smoothing", 3), Parameter("signal", 3)),
        ("k", "d"),
        "k",
    ),
    IndicatorKind("tsi", "true strength index", (Parameter("fast", 13), Parameter("slow", 25))),
    IndicatorKind(
        "ultimate",
        "ultimate oscillator, 0 to 100",
        (Parameter("fast", 7), Parameter("middle", 14), Parameter("slow", 28)),
    ),
    IndicatorKind(
        "awesome", "fast less slow mean of the middle prices", (Parameter("fast", 5), Parameter("slow", 34))
    ),
    IndicatorKind(
        "coppock",
        "Coppock's curve",
        (Parameter("fast", 11), Parameter("slow", 14), _period(10)),
    ),
    IndicatorKind("dpo", "detrended price, in dollars", (_period(20, 2),)),
    IndicatorKind("force_index", "Elder's force index", (_period(13),)),
    IndicatorKind("chaikin", "Chaikin's oscillator", (Parameter("fast", 3), Parameter("slow", 10))),
    IndicatorKind("balance_of_power", "close less open, in heights of the bar"),
)

KINDS: Final[Mapping[str, IndicatorKind]] = MappingProxyType({kind.name: kind for kind in _ALL})
