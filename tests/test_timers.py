"""The timer actor on the mock clock."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import trio
import trio.testing

from actors.market_clock import MarketClock
from actors.timers import Timers
from protocol.values import Symbol

TEN = datetime(2025, 1, 23, 15, 0, tzinfo=UTC)
SLV, GLD = Symbol("SLV"), Symbol("GLD")


async def test_symbols_are_woken_at_the_market_times_that_they_asked_for_last(autojump_clock: object) -> None:
    clock, woken = MarketClock(60.0), list[tuple[Symbol, float]]()
    timers = Timers(clock, lambda symbol, _: woken.append((symbol, trio.current_time() - begin)))
    async with trio.open_nursery() as nursery:
        await nursery.start(timers.run, 1)
        clock.set(TEN)
        begin = trio.current_time()
        timers.set(SLV, TEN + timedelta(minutes=5))
        timers.set(GLD, TEN + timedelta(minutes=2))
        timers.set(SLV, TEN + timedelta(minutes=3))
        await trio.sleep(10)
        assert [(symbol, round(at, 6)) for symbol, at in woken] == [(GLD, 2.0), (SLV, 3.0)]
        nursery.cancel_scope.cancel()


async def test_a_replay_that_skips_the_night_wakes_what_was_asked_for_in_it(autojump_clock: object) -> None:
    clock, woken = MarketClock(), list[tuple[Symbol, datetime]]()
    timers = Timers(clock, lambda symbol, at: woken.append((symbol, at)))
    async with trio.open_nursery() as nursery:
        await nursery.start(timers.run, 1)
        clock.set(TEN)
        timers.set(SLV, TEN + timedelta(hours=8))
        await trio.sleep(1)
        assert woken == []
        clock.advance_to(TEN + timedelta(hours=20))
        await trio.testing.wait_all_tasks_blocked()
        assert woken == [(SLV, TEN + timedelta(hours=20))]
        nursery.cancel_scope.cancel()


async def test_what_was_taken_back_wakes_nobody(autojump_clock: object) -> None:
    clock, woken = MarketClock(), list[Symbol]()
    timers = Timers(clock, lambda symbol, _: woken.append(symbol))
    async with trio.open_nursery() as nursery:
        await nursery.start(timers.run, 1)
        clock.set(TEN)
        timers.set(SLV, TEN + timedelta(seconds=5))
        timers.set(SLV, None)
        await trio.sleep(60)
        assert woken == []
        nursery.cancel_scope.cancel()
