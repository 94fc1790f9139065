"""The clock of deterministic runs: it stands while anything can run, and jumps as trio's mock clock does."""

from __future__ import annotations

import math

import pytest
import trio
import trio.testing

from actors.deterministic import JumpingClock, run_deterministically


async def scene() -> list[tuple[str, float]]:
    """Sleepers of awkward lengths, a time-out, and one who works without waiting for time."""
    seen: list[tuple[str, float]] = []

    async def sleeper(name: str, seconds: float, times: int) -> None:
        for _ in range(times):
            await trio.sleep(seconds)
            seen.append((name, trio.current_time()))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(sleeper, "a", 0.1, 40)
        nursery.start_soon(sleeper, "b", 1 / 3, 12)
        nursery.start_soon(sleeper, "c", 0.7, 5)
        with trio.move_on_after(2.05):
            await trio.sleep_forever()
        seen.append(("time-out", trio.current_time()))
        for _ in range(50):
            await trio.lowlevel.checkpoint()
        seen.append(("worked", trio.current_time()))
    return seen


def test_it_is_at_the_same_times_as_the_mock_clock() -> None:
    def timeline(clock: trio.abc.Clock) -> list[tuple[str, float]]:
        return sorted(trio.run(scene, clock=clock))

    assert timeline(JumpingClock()) == timeline(trio.testing.MockClock(autojump_threshold=0))


def test_no_time_passes_while_somebody_works() -> None:
    seen = run_deterministically(scene, seed=1)
    times = dict(seen)
    assert times["worked"] == times["time-out"] == 2.05


def test_it_can_be_made_to_jump_and_never_goes_back() -> None:
    clock = JumpingClock()
    clock.jump(1.5)
    assert clock.current_time() == 1.5
    with pytest.raises(ValueError, match="backwards"):
        clock.jump(-0.1)


def test_without_a_deadline_it_stays_where_it_is() -> None:
    clock = JumpingClock()
    assert clock.deadline_to_sleep_time(math.inf) == math.inf
    assert clock.current_time() == 0.0
