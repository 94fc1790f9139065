"""Kill levels K0 to K4: up by anybody's word, kept, performed until it is done, down by a person."""

from __future__ import annotations

import os
from datetime import timedelta
from pathlib import Path

import pytest
import trio

from actors.risk import AGAIN_LOOP_S, SEVER_WAITS_LOOP_S
from protocol.control_events import KillLevelEvent
from protocol.risk.levels import KillNote, level_of, read_kill_note
from protocol.risk.words import KillLevel, LockKind
from tests.journals import SLV, T0, at
from tests.risk_actor import RiskActor
from tests.risk_stage import RiskStage

HALT, FLATTEN, SEVER = KillLevel.HALT, KillLevel.FLATTEN, KillLevel.SEVER


# --- words ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("word", "level"), [
    ("HALT", HALT), ("halt", HALT), (" K3 ", FLATTEN), ("4", SEVER), ("0", KillLevel.OPEN),
    ("5", None), ("", None), ("stop", None), ("K", None), ("-1", None), ("²", None),
])  # fmt: skip
def test_a_level_has_a_name_and_a_number(word: str, level: KillLevel | None) -> None:
    assert level_of(word) is level


@pytest.mark.parametrize(("text", "note"), [
    ("", KillNote(HALT, "a file KILL lies in the state folder")),
    ("FLATTEN\n", KillNote(FLATTEN, "a file KILL lies in the state folder")),
    ("K3: prices are wrong\nmore", KillNote(FLATTEN, "prices are wrong")),
    ("1 only out", KillNote(KillLevel.REDUCE, "only out")),
    ("\n\n  stop it now \n", KillNote(HALT, "stop it now")),
    ("OPEN please", KillNote(HALT, "OPEN please")),
    ("halt \x1b[31mred", KillNote(HALT, "[31mred")),
])  # fmt: skip
def test_a_file_kill_says_a_level_or_a_reason_or_both(text: str, note: KillNote) -> None:
    assert read_kill_note(text) == note


# --- up ---------------------------------------------------------------------------------------------


async def test_a_level_is_journalled_and_entries_are_dropped_before_the_call_returns() -> None:
    actor = RiskActor()
    assert actor.desk.raise_level(HALT, who="ann", why="prices look wrong")
    (event,) = actor.events(KillLevelEvent)
    assert event == KillLevelEvent(at=T0, cause="ann", level=2, before=0, who="ann", why="prices look wrong")
    assert actor.level is HALT
    assert actor.asked == ["cancel entries: prices look wrong"]
    assert actor.alarms == ["KILL_LEVEL"]


async def test_reduce_asks_nothing_of_anybody_since_the_gate_refuses() -> None:
    actor = RiskActor()
    assert actor.desk.raise_level(KillLevel.REDUCE, who="ann", why="careful")
    assert actor.asked == []


async def test_a_level_goes_up_only_and_the_same_one_twice_is_nothing() -> None:
    actor = RiskActor()
    actor.desk.raise_level(FLATTEN, who="ann", why="out")
    with actor.nothing_is_asked():
        assert not actor.desk.raise_level(FLATTEN, who="bob", why="out")
        assert not actor.desk.raise_level(HALT, who="bob", why="no more")
    assert [event.who for event in actor.events(KillLevelEvent)] == ["ann"]  # type: ignore[attr-defined]


async def test_flatten_cancels_entries_and_closes_everything_until_all_is_at_rest(
    autojump_clock: trio.testing.MockClock,
) -> None:
    actor = RiskActor()
    actor.resting = False
    async with actor.living():
        actor.desk.raise_level(FLATTEN, who="ann", why="out")
        first = ["cancel entries: out", "flatten all: out"]
        assert actor.asked == first
        await trio.sleep(AGAIN_LOOP_S + 1.1)
        assert actor.asked == [*first, "flatten all: out"], "somebody may have missed it"
        actor.resting = True
        with actor.nothing_is_asked():
            await trio.sleep(10 * AGAIN_LOOP_S)


async def test_halt_cancels_an_entry_that_still_works_once_more(
    autojump_clock: trio.testing.MockClock,
) -> None:
    actor, stage = RiskActor(), RiskStage()
    stage.open()
    opened, order, _ = [event for _, event in stage.journal]
    async with actor.living():
        actor.write(opened, order)
        actor.desk.raise_level(HALT, who="ann", why="news")
        await trio.sleep(AGAIN_LOOP_S + 1.1)
        assert actor.asked == ["cancel entries: news"] * 2


# --- severed ----------------------------------------------------------------------------------------


async def test_sever_closes_everything_first_and_the_link_once_it_is_flat(
    autojump_clock: trio.testing.MockClock,
) -> None:
    actor = RiskActor()
    actor.resting = False
    async with actor.living():
        actor.desk.raise_level(SEVER, who="ann", why="intruder")
        await trio.sleep(2.0)
        assert actor.asked == ["cancel entries: intruder", "flatten all: intruder"]
        actor.resting = True
        await trio.sleep(2.0)
        assert actor.asked[2:] == ["sever: intruder"]
        with actor.nothing_is_asked():
            await trio.sleep(60.0)


async def test_a_link_that_is_still_needed_for_long_is_an_alarm(
    autojump_clock: trio.testing.MockClock,
) -> None:
    actor = RiskActor()
    actor.resting = False
    async with actor.living():
        actor.desk.raise_level(SEVER, who="ann", why="intruder")
        await trio.sleep(SEVER_WAITS_LOOP_S + 2)
    assert actor.alarms == ["KILL_LEVEL", "SEVER_WAITS"]
    assert not any(asked.startswith("sever") for asked in actor.asked)


async def test_a_position_in_the_book_keeps_the_link_though_no_symbol_has_recovered_yet(
    autojump_clock: trio.testing.MockClock,
) -> None:
    stage, before = RiskStage(), RiskActor()
    stage.open()
    before.write(*(event for _, event in stage.journal))
    before.desk.raise_level(SEVER, who="ann", why="intruder")
    actor = RiskActor(before.journal)
    actor.resting = True
    async with actor.living():
        await trio.sleep(1.5)
        assert actor.asked == ["flatten all: intruder"]


# --- kept ---------------------------------------------------------------------------------------------


async def test_after_a_restart_the_level_holds_and_is_performed_again(
    autojump_clock: trio.testing.MockClock,
) -> None:
    before = RiskActor()
    before.desk.raise_level(FLATTEN, who="ann", why="out")
    actor = RiskActor(before.journal)
    actor.resting = False
    assert actor.level is FLATTEN
    async with actor.living():
        await trio.sleep(0.1)
        assert actor.asked == ["flatten all: out"]


async def test_the_actor_performs_the_level_again_after_its_own_death(
    autojump_clock: trio.testing.MockClock,
) -> None:
    actor = RiskActor()
    actor.resting = False
    async with actor.living():
        actor.desk.raise_level(SEVER, who="ann", why="out")
        await trio.sleep(0.5)
    actor.asked.clear()
    async with actor.living():
        await trio.sleep(0.5)
        assert actor.asked == ["flatten all: out"]
        actor.resting = True
        await trio.sleep(1.5)
        assert actor.asked[1:] == ["sever: out"]


# --- down ---------------------------------------------------------------------------------------------


async def test_a_person_lowers_a_level_with_a_reason_only() -> None:
    actor = RiskActor()
    actor.desk.raise_level(HALT, who="ann", why="news")
    with pytest.raises(ValueError, match="with a reason only"):
        actor.desk.lower_level(KillLevel.OPEN, who="ann", why=" ")
    with pytest.raises(ValueError, match="the kill level is HALT; HALT is not lower"):
        actor.desk.lower_level(HALT, who="ann", why="it is over")
    assert actor.level is HALT
    actor.desk.lower_level(KillLevel.OPEN, who="ann", why="it is over")
    assert RiskActor(actor.journal).level is KillLevel.OPEN


async def test_no_person_lowers_a_level_that_a_limit_demands() -> None:
    """Limits are loosened by a restart on another configuration, not by a switch (R21)."""
    actor = RiskActor()
    actor.clock.set(T0)
    actor.desk.look()
    actor.around.is_worth("98000")
    actor.desk.look()
    assert actor.level is FLATTEN
    with pytest.raises(ValueError, match=r"lost 2\.00% .* the level stays at FLATTEN at least"):
        actor.desk.lower_level(KillLevel.OPEN, who="ann", why="I feel lucky")
    actor.around.is_worth("98400")
    actor.desk.lower_level(KillLevel.REDUCE, who="ann", why="a late word")
    assert RiskActor(actor.journal).level is KillLevel.REDUCE
    actor.clock.set(T0 + timedelta(days=1))
    actor.desk.lower_level(KillLevel.OPEN, who="ann", why="a new day")
    assert RiskActor(actor.journal).level is KillLevel.OPEN


async def test_lowering_from_sever_opens_the_link_again(autojump_clock: trio.testing.MockClock) -> None:
    actor = RiskActor()
    async with actor.living():
        actor.desk.raise_level(SEVER, who="ann", why="drill")
        await trio.sleep(1.5)
        actor.desk.lower_level(KillLevel.OPEN, who="ann", why="drill is over")
        assert actor.asked[-2:] == ["sever: drill", "reconnect"]
        actor.desk.raise_level(SEVER, who="ann", why="again")
        await trio.sleep(1.5)
        assert actor.asked[-1] == "sever: again"


# --- the file -------------------------------------------------------------------------------------------


async def test_a_file_kill_is_obeyed_within_a_second_journalled_and_put_away(
    autojump_clock: trio.testing.MockClock, tmp_path: Path
) -> None:
    actor = RiskActor(folder=tmp_path)
    async with actor.living():
        await trio.sleep(5.0)
        (tmp_path / "KILL").write_text("FLATTEN prices are wrong\n")
        await trio.sleep(1.1)
        assert actor.level is FLATTEN
    (event,) = actor.events(KillLevelEvent)
    assert isinstance(event, KillLevelEvent)
    assert (event.who, event.why) == ("file KILL", "prices are wrong")
    assert [path.name[:19] for path in tmp_path.iterdir()] == [f"KILL.taken-{T0:%Y%m%d}"]


async def test_a_file_kill_that_lies_there_at_the_start_counts_before_the_broker_has_said_the_time(
    autojump_clock: trio.testing.MockClock, tmp_path: Path
) -> None:
    (tmp_path / "KILL").touch()
    actor = RiskActor(folder=tmp_path)
    async with trio.open_nursery() as nursery:
        await nursery.start(actor.desk.run, 1)
        await trio.sleep(0.1)
        assert actor.level is HALT
        nursery.cancel_scope.cancel()


@pytest.mark.parametrize("kind", ["folder", "link", "pipe", "binary"])
async def test_whatever_is_called_kill_halts(
    kind: str, autojump_clock: trio.testing.MockClock, tmp_path: Path
) -> None:
    path = tmp_path / "KILL"
    match kind:
        case "folder":
            path.mkdir()
        case "link":
            path.symlink_to(tmp_path / "nowhere")
        case "pipe":
            os.mkfifo(path)
        case _:
            path.write_bytes(b"\xff\xfe\x00" * 5000)
    actor = RiskActor(folder=tmp_path)
    async with actor.living():
        await trio.sleep(0.1)
    assert actor.level is HALT
    assert not os.path.lexists(path)


async def test_two_files_one_after_the_other_are_both_kept(
    autojump_clock: trio.testing.MockClock, tmp_path: Path
) -> None:
    actor = RiskActor(folder=tmp_path, speed=1e-6)
    async with actor.living():
        for _ in range(2):
            (tmp_path / "KILL").write_text("HALT")
            actor.desk._look_for_file(tmp_path)
    assert len(list(tmp_path.iterdir())) == 2
    assert actor.alarms == ["KILL_LEVEL", "KILL_FILE"], "the second asks for nothing new, and is told of"


async def test_a_file_that_cannot_be_put_away_is_told_of_once(
    autojump_clock: trio.testing.MockClock, tmp_path: Path
) -> None:
    """In a folder so deep that no longer name has a place in it."""
    folder, longest = tmp_path, 4095 - len("/KILL") - 3
    while (room := longest - len(str(folder)) - 1) > 1:
        folder = folder / ("d" * min(room, 200))
    folder.mkdir(parents=True)
    (folder / "KILL").write_text("HALT")
    actor = RiskActor(folder=folder)
    async with actor.living():
        await trio.sleep(10.0)
    assert actor.alarms == ["KILL_LEVEL", "KILL_FILE"]
    assert actor.level is HALT


# --- a single symbol ----------------------------------------------------------------------------------


async def test_k0_is_a_lock_of_one_symbol_and_no_level() -> None:
    actor = RiskActor()
    name = actor.desk.lock(SLV, kind=LockKind.PERSON, reason="lunch", who="ann")
    assert (name, actor.level, actor.asked) == ("L000001", KillLevel.OPEN, [])
    held = actor.gate.standing.lock_on(SLV, at(1))
    assert held is not None
    assert held.reason == "lunch"
