"""A one-minute bar becomes twelve instants."""

from hypothesis import given
from hypothesis import strategies as st

from protocol.exchange.path import (
    FIRST_EXTREME,
    INSTANTS,
    LAST,
    SECOND_EXTREME,
    Path,
    corners,
    path_of,
    prints_of,
    quote_around,
    shown_size,
    sizes_of,
    spread_at,
)

Ohlcv = tuple[float, float, float, float, int]

# Recorded prices have up to four decimals.
prices = st.integers(1, 50_000_000).map(lambda number: number / 10_000)
volumes = st.integers(0, 30) | st.integers(0, 50_000_000)


@st.composite
def bars(draw: st.DrawFn) -> Ohlcv:
    centre = draw(prices)
    low, opened, close, high = sorted(
        max(0.0001, round(centre * (1 + draw(st.floats(-0.02, 0.02))), draw(st.integers(2, 4))))
        for _ in range(4)
    )
    if draw(st.booleans()):
        opened, close = close, opened
    return opened, high, low, close, draw(volumes)


def lasts_of(path: Path) -> list[float]:
    return [last for last in path.lasts if last is not None]


@given(bars())
def test_the_path_goes_from_the_open_over_the_nearer_extreme_and_the_other_one_to_the_close(
    bar: Ohlcv,
) -> None:
    opened, high, low, close, _ = bar
    path = path_of(*bar)
    start, first, second, end = corners(opened, high, low, close)
    assert (start, end) == (opened, close)
    assert {first, second} == {low, high}
    assert abs(first - opened) <= abs(second - opened) + 1e-6
    prints = lasts_of(path)
    assert prints[0] == opened
    assert prints[-1] == close
    assert prints.index(first) <= prints.index(second) or first == second


@given(bars())
def test_folding_the_path_gives_the_bar_again(bar: Ohlcv) -> None:
    opened, high, low, close, volume = bar
    path = path_of(*bar)
    prints = lasts_of(path)
    assert (prints[0], max(prints), min(prints), prints[-1], sum(path.sizes)) == (
        opened,
        high,
        low,
        close,
        volume,
    )


@given(bars())
def test_a_bar_with_enough_volume_trades_at_every_instant_and_at_the_corners_exactly(bar: Ohlcv) -> None:
    opened, high, low, close, volume = bar
    path = path_of(opened, high, low, close, volume + INSTANTS)
    assert None not in path.lasts
    corner_prices = tuple(path.lasts[index] for index in (0, FIRST_EXTREME, SECOND_EXTREME, LAST))
    assert corner_prices == corners(opened, high, low, close)


@given(bars())
def test_the_quote_lies_around_the_price_on_the_cent_and_never_crosses(bar: Ohlcv) -> None:
    path = path_of(*bar)
    assert len(path.bids) == len(path.asks) == len(path.lasts) == len(path.sizes) == INSTANTS
    for bid, ask, last in zip(path.bids, path.asks, path.lasts, strict=True):
        assert bid < ask
        assert bid == round(bid, 2)
        assert ask == round(ask, 2)
        if last is not None and last >= 0.01:
            assert 0 < bid <= last + 1e-6
            assert last <= ask + 1e-6


@given(bars())
def test_one_path_belongs_to_one_bar(bar: Ohlcv) -> None:
    assert path_of(*bar) == path_of(*bar)


@given(volumes)
def test_twelve_sizes_sum_to_the_volume_and_differ_by_one_share_at_most(volume: int) -> None:
    sizes = sizes_of(volume)
    assert sum(sizes) == volume
    assert max(sizes) - min(sizes) <= 1


@given(st.integers(0, 10**9))
def test_a_quote_shows_round_lots_and_at_least_one(volume: int) -> None:
    shown = shown_size(volume)
    assert shown >= 100
    assert shown % 100 == 0
    assert shown <= max(100, volume / INSTANTS)


def test_a_rising_bar_dips_first_and_prints_cents_between_its_corners() -> None:
    path = path_of(10.00, 10.10, 9.97, 10.07, 1_203)
    assert path == Path(
        bids=[10.0, 9.99, 9.98, 9.97, 9.99, 10.01, 10.04, 10.06, 10.09, 10.09, 10.08, 10.07],
        asks=[10.01, 10.0, 9.99, 9.98, 10.0, 10.02, 10.05, 10.07, 10.1, 10.1, 10.09, 10.08],
        lasts=[10.0, 9.99, 9.98, 9.97, 10.0, 10.02, 10.05, 10.07, 10.1, 10.09, 10.08, 10.07],
        sizes=[101, 100, 100, 101, 100, 100, 100, 100, 100, 100, 100, 101],
        shown=100,
    )


def test_of_two_extremes_equally_near_a_bar_that_falls_goes_to_its_high_first() -> None:
    assert corners(171.1, 171.2, 171.0, 171.05) == (171.1, 171.2, 171.0, 171.05)
    assert corners(171.1, 171.2, 171.0, 171.15) == (171.1, 171.0, 171.2, 171.15)


def test_a_bar_without_volume_states_its_prices_once_without_shares() -> None:
    path = path_of(10.0, 10.02, 10.0, 10.02, 0)
    assert lasts_of(path) == [10.0, 10.02]
    assert path.sizes == [0] * INSTANTS


def test_the_spread_is_a_cent_at_least_and_a_ten_thousandth_of_the_price() -> None:
    assert [spread_at(price) for price in (0.5, 14.7, 171.0, 1600.0)] == [1, 1, 2, 16]


def test_below_a_cent_nobody_bids() -> None:
    assert quote_around(0.005, 1, rising=True) == (0.0, 0.01)


def test_a_print_keeps_its_place_in_the_minute() -> None:
    prints = prints_of(path_of(10.0, 10.0, 10.0, 10.0, 5), 60_000_000)
    assert [(one.at_us, one.volume) for one in prints] == [
        (60_000_000, 1),
        (65_000_000, 1),
        (75_000_000, 1),
        (100_000_000, 1),
        (115_000_000, 1),
    ]
