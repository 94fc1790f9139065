"""Ticks written once for many lines are byte for byte what each line's own messages would be."""

from __future__ import annotations

from decimal import Decimal

from hypothesis import given
from hypothesis import strategies as st

from protocol.tws import messages as m
from protocol.tws.codec import encode_server
from protocol.tws.framing import frame
from protocol.tws.tick_bursts import LineTicks, TickBurst
from protocol.tws.ticks import AnyTick

SIZES = st.decimals(0, 10**9, places=1).map(lambda size: size.normalize() + Decimal(0))
PRICES = st.floats(-1, 1e6)
KINDS = st.integers(0, 99)
TICKS: st.SearchStrategy[AnyTick] = st.one_of(
    st.builds(m.TickPrice, st.just(0), KINDS, PRICES, SIZES, st.integers(0, 7)),
    st.builds(m.TickSize, st.just(0), KINDS, SIZES),
    st.builds(m.TickGeneric, st.just(0), KINDS, PRICES),
    st.builds(m.TickString, st.just(0), KINDS, st.text(max_size=9)),
)


@given(
    st.lists(TICKS, min_size=1, max_size=9),
    st.lists(st.tuples(st.sampled_from([157, 162, 163, 178]), st.integers(-1, 2**31 - 1)), min_size=1),
)
def test_a_bursts_frames_are_those_of_its_messages(
    ticks: list[AnyTick], lines: list[tuple[int, int]]
) -> None:
    burst = TickBurst(tuple(ticks))
    for version, req_id in lines:
        messages = LineTicks(req_id, burst).messages()
        alone = b"".join(frame(encode_server(version, message)) for message in messages)
        assert burst.frames(version, req_id) == alone
