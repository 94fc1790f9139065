"""What comes bar by bar is what a formula over all bars gives; nothing else ever comes out."""

from __future__ import annotations

import math
from collections.abc import Sequence
from datetime import timedelta

import attrs
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from protocol.indicators import bars_needed, build
from protocol.indicators.table import BUILDS
from protocol.rules.indicator_names import KINDS, IndicatorName
from protocol.values import Bar
from tests import bars_batch as batch
from tests.bars_batch import OPENING, market, markets, named

EVERY_NAME = tuple(
    IndicatorName(kind.name, tuple(float(one.default) for one in kind.parameters), None, field)
    for kind in KINDS.values()
    for field in kind.fields
)
EVERY_KIND = tuple({name.kind: name for name in EVERY_NAME}.values())


def streamed(name: IndicatorName, bars: Sequence[Bar], bar_s: int = 60) -> batch.Figures:
    indicator, found = build(name, bar_s), []
    for bar in bars:
        indicator.add(bar)
        found.append(indicator.figure(name.field))
    return found


def test_every_kind_that_can_be_named_can_be_built() -> None:
    assert set(BUILDS) == set(KINDS)


FEW = settings(max_examples=40)
"""The formulas take a while, and a market has many bars."""

# --- against the formulas -------------------------------------------------------------------------


def agree(found: batch.Figures, expected: batch.Figures) -> None:
    assert [value is None for value in found] == [value is None for value in expected]
    known = [value for value in expected if value is not None]
    assert [value for value in found if value is not None] == pytest.approx(known, rel=1e-9, abs=1e-7)


@FEW
@given(markets())
def test_averages_are_those_of_the_formula(bars: list[Bar]) -> None:
    closes = batch.closes(bars)
    agree(streamed(named("sma5"), bars), batch.windowed(closes, 5, batch.average))
    agree(streamed(named("ema5"), bars), batch.exponential(closes, 5))
    weighted = batch.windowed(closes, 3, lambda some: (some[0] + 2 * some[1] + 3 * some[2]) / 6)
    agree(streamed(named("wma3"), bars), weighted)


@FEW
@given(markets())
def test_bands_are_those_of_the_formula(bars: list[Bar]) -> None:
    middle = batch.windowed(batch.closes(bars), 5, batch.average)
    deviation = batch.deviations(batch.closes(bars), 5)
    agree(streamed(named("stdev5"), bars), deviation)
    agree(streamed(named("bollinger5"), bars), middle)
    pairs = tuple(zip(middle, deviation, strict=True))
    upper = [None if m is None or d is None else m + 2 * d for m, d in pairs]
    agree(streamed(named("bollinger5.upper"), bars), upper)
    width = [None if m is None or d is None else 4 * d / m for m, d in pairs]
    agree(streamed(named("bollinger5.width"), bars), width)


@FEW
@given(markets())
def test_the_rsi_is_that_of_the_formula(bars: list[Bar]) -> None:
    agree(streamed(named("rsi4"), bars), batch.rsi(bars, 4))


@FEW
@given(markets())
def test_the_macd_is_that_of_the_formula(bars: list[Bar]) -> None:
    for field, expected in batch.macd(bars, 3, 6, 4).items():
        agree(streamed(named(f"macd.{field}", 3, 6, 4), bars), expected)


@FEW
@given(markets())
def test_range_and_direction_are_those_of_the_formula(bars: list[Bar]) -> None:
    heights = [bars[0].high - bars[0].low, *batch.true_ranges(bars)]
    agree(streamed(named("atr4"), bars), batch.wilder(heights, 4))
    for field, expected in batch.adx(bars, 4).items():
        agree(streamed(named(f"adx4.{field}"), bars), expected)


@FEW
@given(markets())
def test_the_stochastic_is_that_of_the_formula(bars: list[Bar]) -> None:
    places = batch.stochastic(bars, 5)
    if None not in places[4:]:
        agree(streamed(named("stochastic5"), bars), places)
        means = batch.windowed([place or 0.0 for place in places[4:]], 3, batch.average)
        agree(streamed(named("stochastic5.d"), bars)[4:], means)
    below = streamed(named("williams_r5"), bars)
    agree(below, [None if place is None else place - 100 for place in places])


@FEW
@given(markets())
def test_the_average_price_of_the_session_is_that_of_the_formula(bars: list[Bar]) -> None:
    agree(streamed(named("vwap"), bars), batch.vwap(bars))


TA_LIB = {
    "sma20": 94.47721478148867,
    "ema20": 94.78622251416131,
    "wma20": 94.54273573358637,
    "rsi14": 43.8333133359784,
    "bollinger20.upper": 95.30546377802,
    "bollinger20": 94.47721478148867,
    "bollinger20.lower": 93.64896578495734,
    "stdev20": 0.4141244982656633,
    "adx14": 21.589103259772404,
    "adx14.plus": 15.16082083595853,
    "adx14.minus": 26.671400904201892,
    "atr14": 0.5489509356570983,
    "natr14": 0.5807688389888004,
    "stochastic14": 52.02818676964738,
    "stochastic14.d": 47.295308725735026,
    "williams_r14": -47.97181323035263,
    "cci20": -3.7143349759791255,
    "roc10": -0.15381082317211803,
    "momentum10": -0.14560813050673005,
    "mfi14": 46.56012598848608,
    "dema20": 94.32213390090794,
    "tema20": 94.36772320954367,
    "kama10": 94.46800265144603,
    "trix15": -0.06181695174828361,
    "aroon25.up": 8.0,
    "aroon25.down": 44.0,
    "psar": 95.33184586624411,
    "t35": 94.64654591450994,
    "chaikin": -95.82863404079399,
    "ultimate": 45.297494252926676,
    "balance_of_power": 0.5974521499399869,
    "macd": -0.3178962788401094,
    "macd.signal": -0.3739697277830835,
    "macd.histogram": 0.05607344894297411,
}
"""The newest figure of each on `market()`, by TA-Lib 0.8.2."""


@pytest.mark.parametrize("text", TA_LIB)
def test_another_library_gives_the_same(text: str) -> None:
    name = named("t3.", 5.0) if text == "t35" else named(text)
    assert streamed(name, market(), 30)[-1] == pytest.approx(TA_LIB[text], rel=1e-9)


# --- what never happens ---------------------------------------------------------------------------


@settings(max_examples=25)
@given(markets(most=90), st.lists(st.sampled_from(EVERY_KIND), min_size=1, max_size=12, unique=True))
def test_only_finite_numbers_come_out_of_any_market(bars: list[Bar], names: list[IndicatorName]) -> None:
    flat = [attrs.evolve(bars[-1], start=bar.start + timedelta(hours=2), volume=0.0) for bar in bars]
    flat = [attrs.evolve(bar, open=9.0, high=9.0, low=9.0, close=9.0) for bar in flat]
    for kind in names:
        for name in (name for name in EVERY_NAME if name.kind == kind.kind):
            found = streamed(name, [*bars, *flat])
            assert all(value is None or math.isfinite(value) for value in found)


@pytest.mark.parametrize("name", EVERY_NAME, ids=str)
def test_a_market_that_stands_still_has_no_figure_or_a_finite_one(name: IndicatorName) -> None:
    still = [Bar(OPENING + n * timedelta(minutes=1), 9.0, 9.0, 9.0, 9.0, 0.0) for n in range(150)]
    assert all(value is None or math.isfinite(value) for value in streamed(name, still))


@pytest.mark.parametrize("text", ["rsi14", "stochastic14", "williams_r14", "cci20", "mfi14", "vwap"])
def test_a_share_of_nothing_is_not_known(text: str) -> None:
    still = [Bar(OPENING + n * timedelta(minutes=1), 9.0, 9.0, 9.0, 9.0, 0.0) for n in range(60)]
    assert set(streamed(named(text), still)) == {None}


WINDOWS_OF_SESSIONS = {"vwap", "obv", "opening_range", "relative_volume"}


@pytest.mark.parametrize("name", EVERY_NAME, ids=str)
@pytest.mark.slow
def test_the_bars_that_are_asked_for_make_it_as_good_as_all_of_them(name: IndicatorName) -> None:
    bars = market(900)
    if name.kind in WINDOWS_OF_SESSIONS:
        return
    late = streamed(name, bars[-bars_needed(name, 60) :])[-1]
    always = streamed(name, bars)[-1]
    assert late is not None
    # Exponential averages never quite forget; the sharpest figures are near nothing.
    assert late == pytest.approx(always, rel=2e-3, abs=2e-3)


def test_a_library_indicator_keeps_no_more_than_it_looks_back_on() -> None:
    name = named("dema20")
    indicator = build(name, 60)
    for bar in market(3000):
        indicator.add(bar)
    assert len(indicator._indicator) < 400  # type: ignore[attr-defined]
    assert indicator.figure("") == pytest.approx(streamed(name, market(3000)[-900:])[-1], rel=1e-9)


def test_parameters_that_make_no_sense_are_refused() -> None:
    for name, complaint in (
        (IndicatorName("sma", (2.5,)), "a whole number from 1 on, got 2.5"),
        (IndicatorName("macd", (26.0, 12.0, 9.0)), "fewer bars than the slow one"),
        (IndicatorName("opening_range", (0.0,), None, "high"), "lasts some minutes"),
        (IndicatorName("hma", (0.0,)), "a whole number from 1 on, got 0"),
    ):
        with pytest.raises(ValueError, match=complaint):
            build(name, 60)
