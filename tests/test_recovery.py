"""How a symbol comes back: from a saved state and the rest of its stream, without holding up the others."""

from __future__ import annotations

import random
from collections.abc import Iterable, Iterator, Sequence
from datetime import timedelta
from pathlib import Path

import attrs
import pytest
import trio
from hypothesis import given, settings
from hypothesis import strategies as st
from structlog.testing import capture_logs
from trio.testing import MockClock

from actors.journal import Journal
from actors.recovery import MAX_AT_ONCE, Recovery
from actors.saved_states import SavedStates, code_hash
from protocol.events import BaseEvent, SignalVerdictEvent, ValueSetEvent, Verdict
from protocol.saved_state import LINE_ENTRIES, SavedHead, StateReader, UnusableState, saved_lines
from protocol.symbol_state import SymbolState, evolve
from protocol.values import Symbol
from tests.journals import GLD, SLV, T0
from tests.world import World, play, settings_for

HEAD = SavedHead(stream="symbol:SLV", seq=7, chain="c", made_by="m")
STREAM = "symbol:SLV"


def folded(events: Sequence[BaseEvent], state: SymbolState | None = None) -> SymbolState:
    state = state or SymbolState.begin(SLV)
    for event in events:
        state = evolve(state, event)
    return state


def through_lines(state: SymbolState) -> SymbolState:
    return read(saved_lines(HEAD, state))


def read(lines: Iterable[bytes]) -> SymbolState:
    reader = StateReader()
    for line in lines:
        reader.take(line)
    state = reader.state
    assert reader.head == HEAD
    return state


def verdict(number: int) -> SignalVerdictEvent:
    return SignalVerdictEvent(
        at=T0 + timedelta(seconds=number), signal_id=f"s{number}", symbol="SLV", verdict=Verdict.IGNORED,
        code="same_side", reason="",
    )  # fmt: skip


async def a_day_of_trades(world: World) -> list[tuple[str, BaseEvent]]:
    """Trades of SLV: an entry in parts, its reversal, a target; commissions, moved exits, a live trade."""
    world.stage.show(SLV, size=100)
    await world.quoted()
    for word, price in (("BUY", 100.5), ("SELL", 99.0), ("BUY", 101.0), ("BUY", 110.0), ("SELL", 109.0)):
        world.signal(SLV, word)
        await trio.sleep(200.0)
        await world.show(SLV, price)
    return world.rows()


@pytest.fixture(scope="module")
def day() -> list[BaseEvent]:
    """The stream of a symbol that has really traded, and what rules and others write into one."""
    rows = play(a_day_of_trades, settings=settings_for(SLV, shares=250))
    events = [event for stream, event in rows if stream == STREAM]
    kinds = {event.event_type for event in events}
    assert kinds >= {
        "PositionOpenEvent", "NewOrderEvent", "FillEvent", "ModifyOrderEvent", "CommissionEvent",
        "PositionUpdateEvent", "PositionCloseEvent", "OrderStatusEvent", "SignalVerdictEvent",
    }  # fmt: skip
    ruled = [
        ValueSetEvent(at=T0, symbol=SLV, name=name, value=value)
        for name, value in (("pi", 3.5), ("two", 2.0), ("word", "x"), ("yes", True))
    ]
    return [*ruled, *events]


# --- INV-15 ---------------------------------------------------------------------------------------


def test_inv_15_at_every_row_of_a_day_a_saved_state_and_the_rest_make_the_whole(day: list[BaseEvent]) -> None:
    whole = folded(day)
    assert whole.trade is not None
    assert len(whole.position.executions) > 8
    for cut in range(0, len(day) + 1, 3):
        saved = through_lines(folded(day[:cut]))
        assert saved == folded(day[:cut]), cut
        assert repr(saved) == repr(folded(day[:cut])), cut  # 2.0 is not 2, and a fill not a dict
        assert folded(day[cut:], saved) == whole, cut


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 2**32), cuts=st.lists(st.integers(0, 200), max_size=4))
def test_inv_15_saving_again_and_again_in_any_order_of_events_changes_nothing(
    day: list[BaseEvent], seed: int, cuts: list[int]
) -> None:
    """Also in orders in which no broker would tell them: `evolve` takes every event in every state."""
    events = list(day)
    random.Random(seed).shuffle(events)
    events = events[:200]
    state, begun = SymbolState.begin(SLV), 0
    for cut in sorted(cuts):
        state, begun = through_lines(folded(events[begun:cut], state)), max(cut, begun)
    assert folded(events[begun:], state) == folded(events)


def test_a_state_is_written_in_lines_short_enough_to_pause_between_them() -> None:
    state = folded([verdict(number) for number in range(10 * LINE_ENTRIES + 1)])
    lines = list(saved_lines(HEAD, state))
    assert len(lines) == 2 + 11 + 1
    assert max(map(len, lines)) < 50 * LINE_ENTRIES
    assert through_lines(state) == state


@pytest.mark.parametrize("damage", ["flip", "cut", "twice", "swap", "more"])
def test_lines_that_are_not_those_that_were_written_make_no_state(day: list[BaseEvent], damage: str) -> None:
    whole = b"".join(saved_lines(HEAD, folded(day)))
    for place in range(0, len(whole), 37):
        spoiled = bytearray(whole)
        if damage == "flip":
            spoiled[place] ^= 1 << (place % 7)
        elif damage == "cut":
            del spoiled[place:]
        lines = bytes(spoiled).splitlines(keepends=True)
        if damage == "twice":
            lines.insert(1, lines[0])
        elif damage == "swap":
            lines[-1], lines[-2] = lines[-2], lines[-1]
        elif damage == "more":
            lines.append(lines[-1])
        with pytest.raises(UnusableState):
            read(lines)
        if damage in ("twice", "swap", "more"):
            return


@pytest.mark.parametrize("foreign", [b"[1]", b"5", b"null", b'"x"', b"{}", b'{"a":1}', b'{"judged":5}', b"{"])
def test_any_line_that_somebody_else_wrote_makes_it_no_state(day: list[BaseEvent], foreign: bytes) -> None:
    lines = list(saved_lines(HEAD, folded(day)))
    for place in range(len(lines)):
        with pytest.raises(UnusableState):
            read([*lines[:place], foreign + b"\n", *lines[place + 1 :]])


# --- the files ------------------------------------------------------------------------------------


class Bench:
    """A journal on disk, and states saved of it every 50 rows of a stream."""

    def __init__(self, folder: Path) -> None:
        self.journal = Journal.open(folder, synchronous=True)
        self.states = folder / "states"

    def write(self, events: Sequence[BaseEvent], stream: str = STREAM) -> None:
        for event in events:
            self.journal.append(stream, [event])
            self.journal.append("broker", [verdict(0)])  # others write in between

    def saved(self) -> SavedStates:
        """As a process that has just started has them."""
        return SavedStates(self.journal, self.states, every_rows=50)

    async def save(self) -> None:
        await self.saved().bring_up([(STREAM, SLV), ("symbol:GLD", GLD)])

    async def recovered(self) -> SymbolState:
        return await Recovery(self.journal, self.saved()).state(STREAM, SLV)

    async def began_at(self) -> int:
        return (await self.saved().recover(STREAM, SLV)).seq

    def files(self) -> list[Path]:
        return sorted(self.states.glob("*"))


@pytest.fixture
def bench(tmp_path: Path, autojump_clock: MockClock) -> Iterator[Bench]:
    made = Bench(tmp_path)
    yield made
    made.journal.close()


async def test_p_9_a_state_is_saved_when_a_stream_has_grown_and_the_last_two_are_kept(
    bench: Bench, day: list[BaseEvent]
) -> None:
    keeper, whole = bench.saved(), SymbolState.begin(SLV)
    for number, begin in enumerate(range(0, 200, 49)):
        part = [verdict(n) for n in range(begin, begin + 49)] if number else day[:49]
        whole = folded(part, whole)
        bench.write(part)
        await keeper.bring_up([(STREAM, SLV)])
        assert len(bench.files()) == min((0, 1, 1, 2, 2)[number], 2)
        assert await bench.recovered() == whole
    assert await bench.began_at() == bench.files()[-1].suffix[1:].isdecimal() * 391
    assert {path.stat().st_mode & 0o777 for path in bench.files()} == {0o600}


async def test_a_recovery_begins_at_the_saved_state_and_makes_what_the_whole_replay_makes(
    bench: Bench, day: list[BaseEvent]
) -> None:
    bench.write(day)
    await bench.save()
    begun = await bench.began_at()
    assert begun == 2 * len(day) - 1
    bench.write([verdict(n) for n in range(20)])
    assert await bench.recovered() == folded([*day, *(verdict(n) for n in range(20))])


async def test_the_end_of_a_run_saves_also_what_has_grown_by_less(bench: Bench, day: list[BaseEvent]) -> None:
    bench.write(day[:30])
    await bench.save()
    assert bench.files() == []
    await bench.saved().bring_up([(STREAM, SLV)], least_rows=10)
    assert await bench.began_at() == 59


async def test_symbols_whose_names_begin_alike_have_states_of_their_own(bench: Bench) -> None:
    one, other = Symbol("BRK"), Symbol("BRK.B")
    bench.write([verdict(n) for n in range(60)], "symbol:BRK.B")
    await bench.saved().bring_up([("symbol:BRK.B", other), ("symbol:BRK", one)])
    assert (await bench.saved().recover("symbol:BRK", one)).seq == 0
    assert (await bench.saved().recover("symbol:BRK.B", other)).seq == 119


async def with_two_saved(bench: Bench, day: list[BaseEvent]) -> SymbolState:
    """Two states, and rows behind them; what the whole replay makes of all."""
    more = [verdict(n) for n in range(150)]
    bench.write(day)
    await bench.save()
    bench.write(more[:100])
    await bench.save()
    bench.write(more[100:])
    assert len(bench.files()) == 2
    return folded([*day, *more])


async def test_a_state_that_cannot_be_believed_gives_way_to_the_older_one_and_then_to_the_whole_replay(
    bench: Bench, day: list[BaseEvent]
) -> None:
    whole = await with_two_saved(bench, day)
    older, newest = bench.files()
    begins = [int(path.suffix[1:]) for path in (newest, older)] + [0]
    assert await bench.began_at() == begins[0]
    for path, next_best in ((newest, begins[1]), (older, begins[2])):
        content = path.read_bytes()
        path.write_bytes(content[: len(content) // 2])
        assert await bench.began_at() == next_best
        assert await bench.recovered() == whole


@pytest.mark.parametrize("wrong", ["version", "chain", "newer", "stream", "garbage", "folder"])
async def test_a_state_of_another_version_journal_or_stream_is_ignored(
    bench: Bench, day: list[BaseEvent], wrong: str
) -> None:
    whole = await with_two_saved(bench, day)
    older, newest = bench.files()
    begun = await bench.began_at()
    right = SavedHead(stream=STREAM, seq=begun, chain=bench.journal.hash_at(begun) or "", made_by=code_hash())
    assert newest.read_bytes().startswith(next(iter(saved_lines(right, SymbolState.begin(SLV)))))
    other = {
        "version": attrs.evolve(right, made_by="0" * 64),
        "chain": attrs.evolve(right, chain="0" * 64),
        "newer": attrs.evolve(right, seq=bench.journal.head + 1),
        "stream": attrs.evolve(right, stream="symbol:GLD"),
    }.get(wrong)
    if wrong == "folder":
        newest.unlink()
        newest.mkdir()
    elif other is None:
        newest.write_bytes(b"\x00garbage\n")
    else:
        newest.write_bytes(b"".join(saved_lines(other, SymbolState.begin(SLV))))
    assert await bench.began_at() == int(older.suffix[1:])
    assert await bench.recovered() == whole


async def test_what_is_wrong_with_a_state_is_said_once(bench: Bench, day: list[BaseEvent]) -> None:
    await with_two_saved(bench, day)
    bench.files()[-1].write_bytes(b"")
    saved = bench.saved()
    with capture_logs() as said:
        for _ in range(3):
            await saved.recover(STREAM, SLV)
            await saved.bring_up([(STREAM, SLV)], least_rows=10_000)
    assert [(line["log_level"], line["why"]) for line in said] == [("warning", "its end is missing")]


async def test_a_disk_that_refuses_a_state_is_no_reason_to_end(bench: Bench, day: list[BaseEvent]) -> None:
    bench.write(day)
    bench.states.write_bytes(b"a file where the folder is to be")
    await bench.save()
    bench.states.unlink()
    assert await bench.recovered() == folded(day)
    await bench.save()
    assert await bench.began_at() > 0


async def test_saving_is_cut_short_like_any_other_write_and_nothing_is_lost(
    bench: Bench, day: list[BaseEvent]
) -> None:
    """A part of a file, from a process that was killed while it wrote, is looked at by nobody."""
    bench.write(day)
    bench.states.mkdir()
    (bench.states / f"symbol%3ASLV.{1:012d}.part").write_bytes(b'{"stream"')
    assert await bench.recovered() == folded(day)
    await bench.save()
    assert await bench.began_at() > 0


# --- SUP-18, SUP-19 -------------------------------------------------------------------------------


class Long:
    """A journal in which the reading of each event takes `event_loop_s` of the machine's time."""

    def __init__(self, clock: MockClock, events: int, event_loop_s: float) -> None:
        self._clock, self._events, self._event_loop_s = clock, events, event_loop_s

    def read(self, stream: str | None = None) -> Iterator[BaseEvent]:
        assert stream == STREAM
        for number in range(self._events):
            if self._event_loop_s:
                self._clock.jump(self._event_loop_s)
            yield verdict(number)


@pytest.mark.parametrize(("event_loop_s", "at_least"), [(0.0, 10), (0.0001, 45), (0.0005, 200), (0.01, 950)])
async def test_sup_18_a_replay_lets_others_run_after_100_events_or_2_ms(
    mock_clock: MockClock, event_loop_s: float, at_least: int
) -> None:
    """Of a thousand events, however long each of them takes."""
    turns, done = 0, False

    async def others() -> None:
        nonlocal turns
        while not done:
            turns += 1
            await trio.lowlevel.checkpoint()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(others)
        await trio.lowlevel.checkpoint()
        state = await Recovery(Long(mock_clock, 1000, event_loop_s)).state(STREAM, SLV)
        done = True
    assert len(state.judged) == 1000
    assert turns >= at_least


async def test_sup_18_a_saved_state_is_read_and_written_with_pauses_too(bench: Bench) -> None:
    bench.write([verdict(n) for n in range(120 * LINE_ENTRIES // 10)])
    turns, done = 0, False

    async def others() -> None:
        nonlocal turns
        while not done:
            turns += 1
            await trio.lowlevel.checkpoint()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(others)
        await bench.save()
        done = True
    assert turns >= 12


async def test_sup_19_no_more_than_four_symbols_recover_at_a_time(autojump_clock: MockClock) -> None:
    recovery = Recovery(Long(autojump_clock, 250, 0.0))
    most, ready = 0, 0

    async def recover() -> None:
        nonlocal ready
        await recovery.state(STREAM, SLV)
        ready += 1

    async with trio.open_nursery() as nursery:
        for _ in range(20):
            nursery.start_soon(recover)
        while ready < 20:
            most = max(most, recovery.at_once)
            await trio.lowlevel.checkpoint()
    assert most == MAX_AT_ONCE == 4
    assert recovery.at_once == 0


async def test_sup_19_a_recovery_that_is_killed_makes_room_for_the_next(autojump_clock: MockClock) -> None:
    recovery = Recovery(Long(autojump_clock, 1000, 0.0))
    async with trio.open_nursery() as nursery:
        for _ in range(6):
            nursery.start_soon(recovery.state, STREAM, SLV)
        for _ in range(3):
            await trio.lowlevel.checkpoint()
        assert recovery.at_once == MAX_AT_ONCE
        nursery.cancel_scope.cancel()
    assert recovery.at_once == 0
    assert len((await recovery.state(STREAM, SLV)).judged) == 1000
