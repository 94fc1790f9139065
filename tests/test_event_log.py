"""The sub-commands that read a journal: what they tell, to whom, and what they say to a wrong question."""

from __future__ import annotations

import os
import signal as signals
import sys
from collections.abc import Callable, Iterator
from datetime import date, datetime
from pathlib import Path
from typing import Any

import attrs
import orjson
import pytest
import trio

from actors import journal_tables
from actors.event_log import EventLog, NoJournal
from actors.journal import Journal
from actors.journal_check import DATABASE
from protocol import configuration_note
from protocol.causes import depth, why
from protocol.chores import Chores
from protocol.configuration_note import ConfigurationNote, note_of, read_note
from protocol.event_text import BadQuestion, kinds_named, read_moment, what
from protocol.events import (
    BaseEvent,
    HoldEvent,
    OrderEvent,
    OrderStatusEvent,
    PositionCloseEvent,
    PositionOpenEvent,
    RuleSwitchedEvent,
    UserEvent,
    ValueSetEvent,
)
from protocol.journal import JournalRow
from protocol.judging import timing_refusal
from protocol.settings import Settings, StockFacts
from protocol.values import OrderStatus
from scripts import supervisor
from tests.directed_market import DAY, DirectedMarket
from tests.programs import SUPERVISOR, started
from tests.symbol_desk import PLAN, TEN, Desk, ref
from tests.world import GLD, SLV, World, play, settings_for

Ask = Callable[..., tuple[int, str, str]]


def settings() -> Settings:
    plain = settings_for(SLV, GLD)
    first = attrs.evolve(plain.symbols[0], facts=StockFacts("metals", 0.4))
    return attrs.evolve(plain, symbols=(first, *plain.symbols[1:]))


async def story(world: World) -> tuple[list[tuple[str, BaseEvent]], str]:
    """SLV wins a trade and is refused another; GLD holds one."""
    await world.enter(SLV)
    world.signal(SLV, "BUY")
    await trio.sleep(1.0)
    await world.show(SLV, 110.0)
    world.signal(SLV, "BUY")
    await trio.sleep(1.0)
    await world.enter(GLD, "SELL")
    await world.settle()
    note = world.journal.get_meta(configuration_note.KEY)
    assert note is not None
    return world.rows(), note


@pytest.fixture(scope="module")
def told() -> tuple[list[tuple[str, BaseEvent]], str]:
    return play(story, DirectedMarket({SLV: 100.0, GLD: 200.0}), settings())


@pytest.fixture(scope="module")
def state(told: tuple[list[tuple[str, BaseEvent]], str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("state")
    journal = Journal.open(folder)
    for stream, event in told[0]:
        journal.append(stream, [event])
    journal.set_meta(configuration_note.KEY, told[1])
    journal.close()
    return folder


@pytest.fixture
def ask(capsys: pytest.CaptureFixture[str]) -> Iterator[Ask]:
    """A sub-command within this process: its exit code and what it said."""
    before = signals.getsignal(signals.SIGTERM)

    def call(*arguments: object) -> tuple[int, str, str]:
        code = supervisor.run([str(argument) for argument in arguments])
        said = capsys.readouterr()
        return code, said.out, said.err

    yield call
    signals.signal(signals.SIGTERM, before)


def objects(text: str) -> list[dict[str, Any]]:
    return [orjson.loads(line) for line in text.splitlines()]


# --- events ---------------------------------------------------------------------------------------


def test_events_are_listed_with_their_number_time_type_and_symbol(ask: Ask, state: Path) -> None:
    code, out, err = ask("events", "--state", state, "--type", "FillEvent")
    assert (code, err) == (0, "")
    lines = [line for line in out.splitlines() if "FillEvent" in line]
    assert len(lines) == 3
    assert "SLV" in lines[0]
    assert "main fills, BUY 100 at" in lines[0]
    assert "2025-01-23" in lines[0]
    assert out.splitlines()[-1].startswith("next: supervisor.py events --state")


def test_an_event_type_means_those_that_derive_from_it_too(ask: Ask, state: Path) -> None:
    _, out, _ = ask("events", "--state", state, "--type", "OrderEvent", "--symbol", "slv", "--json")
    told = objects(out)
    assert {"NewOrderEvent", "FillEvent", "OrderStatusEvent"} <= {each["event_type"] for each in told}
    assert all(each["ref"].split(":")[1] == "SLV" for each in told)
    assert [each["event_id"] for each in told] == sorted(each["event_id"] for each in told)


def test_events_as_json_are_whole_and_in_order(ask: Ask, state: Path, told: Any) -> None:
    _, out, _ = ask("events", "--state", state, "--json")
    lines = objects(out)
    assert [each["event_id"] for each in lines] == list(range(1, len(told[0]) + 1))
    assert [each["stream"] for each in lines] == [stream for stream, _ in told[0]]
    assert all(each["at"].endswith("+00:00") and each["source"] for each in lines)


def test_a_limit_takes_the_last_and_a_moment_those_from_then_on(ask: Ask, state: Path) -> None:
    _, out, _ = ask("events", "--state", state, "--json", "--limit", "2")
    whole = objects(ask("events", "--state", state, "--json")[1])
    assert objects(out) == whole[-2:]
    moment = datetime.fromisoformat(whole[-2]["at"])
    _, out, _ = ask("events", "--state", state, "--json", "--since", moment.isoformat())
    assert objects(out)[-2:] == whole[-2:]
    assert len(objects(out)) < len(whole)
    assert ask("events", "--state", state, "--json", "--since", "15:59")[1] == ""
    assert ask("events", "--state", state, "--json", "--limit", "0")[1] == ""


async def test_a_follower_hears_what_is_written_while_it_reads(tmp_path: Path) -> None:
    journal = Journal.open(tmp_path)
    journal.append("user", [UserEvent(at=TEN, name="first")])
    heard: list[JournalRow] = []
    with EventLog.open(tmp_path) as log, trio.move_on_after(5.0):
        async with trio.open_nursery() as nursery:

            async def listen() -> None:
                async for row in log.follow(after=log.head, kinds=("UserEvent",), glance_loop_s=0.01):
                    heard.append(row)
                    if len(heard) == 3:
                        nursery.cancel_scope.cancel()

            nursery.start_soon(listen)
            await trio.sleep(0.05)
            journal.append(
                "user", [UserEvent(at=TEN, name="second"), HoldEvent(at=TEN, symbol=SLV, reason="")]
            )
            journal.checkpoint()
            await trio.sleep(0.05)
            journal.append("user", [UserEvent(at=TEN, name="third"), UserEvent(at=TEN, name="fourth")])
            await trio.sleep_forever()
    journal.close()
    assert [getattr(row.event, "name", "") for row in heard] == ["second", "third", "fourth"]


@pytest.mark.slow
def test_following_in_a_process_of_its_own_ends_with_an_interrupt(tmp_path: Path) -> None:
    state = tmp_path / "state"
    journal = Journal.open(state)
    journal.append("user", [UserEvent(at=TEN, name="before")])
    with started(SUPERVISOR, tmp_path, "events", "--state", state, "--follow", "--json") as follower:
        follower.until_said('"name":"before"')
        journal.append("user", [UserEvent(at=TEN, name="meanwhile")])
        follower.until_said('"name":"meanwhile"')
        follower.stop()
    assert follower.complained() == []
    journal.close()


def test_reading_takes_no_lock_and_changes_nothing(ask: Ask, tmp_path: Path) -> None:
    journal = Journal.open(tmp_path)
    journal.append("user", [UserEvent(at=TEN, name="one")])
    before = journal.head_hash
    assert ask("events", "--state", tmp_path)[0] == 0
    journal.append("user", [UserEvent(at=TEN, name="two")])
    assert len(objects(ask("events", "--state", tmp_path, "--json")[1])) == 2
    journal.close()
    again = Journal.open(tmp_path)
    assert again.head == 2
    assert again.head_hash != before
    again.close()


# --- one symbol -----------------------------------------------------------------------------------


def test_show_tells_the_whole_state_of_a_symbol(ask: Ask, state: Path) -> None:
    code, out, _ = ask("show", "gld", "--state", state)
    assert code == 0
    missing = [
        said for said in ("GLD: open", "position -100 at", "main", "stop", "target") if said not in out
    ]
    assert missing == []
    (told,) = objects(ask("show", "GLD", "--state", state, "--json")[1])
    assert told["status"] == "open"
    assert set(told["trade"]["orders"]) == {"main", "stop", "target"}
    assert told["trade"]["orders"]["stop"][0]["as_asked"]
    assert told["record"]["position_id"] == "GLD:000001"
    assert {rule["name"]: rule["on"] for rule in told["rules"]} == {"long": True, "short": True}
    assert 0 < told["rules"][0]["cooldown_left_s"] <= 180


def test_show_tells_why_the_last_signals_did_not_trade(ask: Ask, state: Path) -> None:
    (told,) = objects(ask("show", "SLV", "--state", state, "--json")[1])
    assert told["status"] == "flat"
    assert [(each["verdict"], each["code"]) for each in told["signals"]] == [
        ("accepted", "entry"), ("ignored", "same_side"), ("refused", "cooldown")
    ]  # fmt: skip
    assert told["summary"]["trades"] == 1


def test_show_tells_of_values_holds_and_switched_rules(ask: Ask, tmp_path: Path) -> None:
    journal = Journal.open(tmp_path)
    journal.set_meta(configuration_note.KEY, note_of(settings()))
    journal.append("symbol:SLV", [
        ValueSetEvent(at=TEN, symbol=SLV, name="stops", value=2.0),
        HoldEvent(at=TEN, symbol=SLV, reason="others trade it"),
        RuleSwitchedEvent(at=TEN, symbol=SLV, rule="long", on=False),
    ])  # fmt: skip
    journal.close()
    out = ask("show", "SLV", "--state", tmp_path)[1]
    assert "held: others trade it" in out
    assert "value.stops = 2.0" in out
    (told,) = objects(ask("show", "SLV", "--state", tmp_path, "--json")[1])
    assert {rule["name"]: rule["on"] for rule in told["rules"]} == {"long": False, "short": True}


def test_a_cooldown_is_told_as_the_symbol_itself_reckons_it() -> None:
    desk = Desk.ready().entered()
    desk.wait(30.0)
    note = read_note(note_of(attrs.evolve(settings_for(SLV), rules=PLAN.rules)))
    refusal = timing_refusal(Chores(desk.state, desk.view, desk.plan, desk.at), desk.plan.rules[0])
    assert refusal is not None
    left_s = note.rules[0].cooldown_left_s(desk.state, desk.at)
    assert refusal.reason == f"{left_s:.0f} s of the cooldown are left"
    desk.wait(200.0)
    assert timing_refusal(Chores(desk.state, desk.view, desk.plan, desk.at), desk.plan.rules[0]) is None
    assert note.rules[0].cooldown_left_s(desk.state, desk.at) == 0


# --- positions and signals ----------------------------------------------------------------------------


def test_positions_tell_what_is_held_and_what_was_made(ask: Ask, state: Path) -> None:
    _, out, _ = ask("positions", "--state", state)
    assert "GLD:000001" in out
    assert "SLV:000001" not in out
    assert "total" in out
    _, out, _ = ask("positions", "--closed", "--state", state, "--json")
    slv, gld = objects(out)
    assert (slv["position_id"], slv["status"], slv["reason"]) == ("SLV:000001", "closed", "target")
    assert slv["facts"] == {"sector": "metals", "beta": 0.4, "average_volume": None, "market_cap": None}
    assert (gld["quantity"], gld["side"]) == (-100, "SELL")


def test_signals_tell_each_verdict_and_its_reason(ask: Ask, state: Path) -> None:
    _, out, _ = ask("signals", "--state", state, "--json")
    assert [each["verdict"] for each in objects(out)] == ["accepted", "ignored", "refused", "accepted"]
    _, out, _ = ask("signals", "--state", state, "--refused", "--symbol", "SLV")
    assert "cooldown" in out
    assert "same_side" not in out
    assert ask("signals", "--state", state, "--refused", "--symbol", "GLD", "--json")[1] == ""


# --- why --------------------------------------------------------------------------------------------


def test_why_follows_a_signal_to_the_end_of_its_trade(ask: Ask, state: Path) -> None:
    first = objects(ask("signals", "--state", state, "--json")[1])[0]
    _, out, _ = ask("why", first["signal_id"], "--state", state, "--json")
    kinds = [each["event_type"] for each in objects(out)]
    assert kinds[:3] == ["PredictionSignalEvent", "SignalVerdictEvent", "PositionOpenEvent"]
    assert kinds.count("FillEvent") == kinds.count("CommissionEvent") == 2
    assert "PositionCloseEvent" in kinds
    assert ask("why", "SLV:000001", "--state", state, "--json")[1] == out
    people = ask("why", "SLV:000001", "--state", state)[1]
    assert "enters long 100 by rule long" in people


def test_why_of_a_refused_signal_is_its_verdict(ask: Ask, state: Path) -> None:
    refused = next(
        e for e in objects(ask("signals", "--state", state, "--json")[1]) if e["code"] == "cooldown"
    )
    told = objects(ask("why", refused["signal_id"], "--state", state, "--json")[1])
    assert [each["event_type"] for each in told] == ["PredictionSignalEvent", "SignalVerdictEvent"]


def test_why_of_a_signal_that_turns_a_trade_around_begins_with_that_signal() -> None:
    desk = Desk.ready().entered()
    desk.wait(300.0)
    desk.signal("SELL", "s2")
    rows = [JournalRow(n, "symbol:SLV", e.event_type, e.at, e) for n, e in enumerate(desk.events, 1)]
    kinds = [row.kind for row in why(lambda: rows, "s2")]
    assert kinds[:2] == ["SignalVerdictEvent", "PositionUpdateEvent"]
    assert "PositionOpenEvent" not in kinds
    assert "PositionOpenEvent" in [row.kind for row in why(lambda: rows, "s1")]


def test_why_of_one_order_leaves_out_the_others(ask: Ask, state: Path) -> None:
    told = objects(ask("why", "w:SLV:000001:stop:r0", "--state", state, "--json")[1])
    refs = {each["ref"] for each in told if "ref" in each}
    assert refs == {"w:SLV:000001:stop:r0"}
    assert told[0]["event_type"] == "PredictionSignalEvent"
    assert told[-1]["event_type"] == "PositionCloseEvent"


def test_causes_stand_above_what_they_lead_to(told: Any) -> None:
    rows = [JournalRow(n, s, type(e).__name__, e.at, e) for n, (s, e) in enumerate(told[0], 1)]
    depths = [depth(row.event) for row in why(lambda: rows, "GLD:000001")]
    assert depths[:4] == [0, 1, 2, 3]
    assert max(depths) == 4
    assert why(lambda: rows, "nobody") == ()


# --- wrong questions --------------------------------------------------------------------------------

WRONG = {
    "events --state {none}": "there is no such folder",
    "events --state {empty}": "holds no journal",
    "events --state {file}": "is not a folder",
    "events --state {state} --type Fill": 'did you mean "FillEvent"?',
    "events --state {state} --type zzz": "known: BaseEvent",
    "events --state {state} --since teatime": "neither HH:MM",
    "events --state {state} --limit -1": "--limit: must not be negative",
    "show ZZZ --state {state}": "known: GLD, SLV",
    "why nobody --state {state}": "knows no signal",
    "events --state {state} --typo": "--typo",
}


@pytest.mark.parametrize("call", WRONG)
def test_a_wrong_question_is_one_clear_line_and_exit_2(
    ask: Ask, call: str, state: Path, tmp_path: Path
) -> None:
    words = call.format(none=tmp_path / "none", empty=tmp_path, file=state / DATABASE, state=state).split()
    code, out, err = ask(*words)
    assert (code, out) == (2, "")
    assert len(err.splitlines()) == 1, err
    assert WRONG[call] in err


def test_a_journal_that_is_none_is_told_in_one_line(tmp_path: Path) -> None:
    (tmp_path / DATABASE).write_bytes(b"not a database" * 100)
    with pytest.raises(NoJournal, match="cannot be read"):
        EventLog.open(tmp_path)


def test_a_reader_who_has_gone_ends_it_quietly(state: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Gone:
        def write(self, _: str) -> int:
            raise BrokenPipeError

        def flush(self) -> None:
            raise BrokenPipeError

        def isatty(self) -> bool:
            return False

        def fileno(self) -> int:
            with (state / "gone").open("wb") as file:
                return os.dup(file.fileno())

    monkeypatch.setattr(sys, "stdout", Gone())
    assert supervisor.run(["events", "--state", str(state), "--json"]) == 0


# --- words ------------------------------------------------------------------------------------------


def test_event_types_come_with_those_that_derive_from_them() -> None:
    assert kinds_named("PositionEvent") >= {PositionOpenEvent.__name__, PositionCloseEvent.__name__}
    assert kinds_named("FillEvent") == {"FillEvent"}
    assert OrderEvent.__name__ in kinds_named("BaseEvent")
    for wrong in ("fill", "fillevent", "Fillevent"):
        with pytest.raises(BadQuestion, match='did you mean "FillEvent"'):
            kinds_named(wrong)


def test_moments_are_new_yorks_unless_they_say_otherwise() -> None:
    assert read_moment("10:30", DAY).isoformat() == "2025-01-23T10:30:00-05:00"
    assert read_moment("2025-01-22", date(2025, 1, 23)).isoformat() == "2025-01-22T00:00:00-05:00"
    assert read_moment("2025-01-22T10:00:00+00:00", DAY).utcoffset() == TEN.utcoffset()


def test_an_event_without_words_is_told_field_by_field() -> None:
    event = OrderStatusEvent(
        at=TEN, ref=ref("stop"), status=OrderStatus.SUBMITTED, perm_id=7, quantity=100, filled=0
    )
    assert what(event) == "stop.r0: status=submitted perm_id=7 quantity=100 filled=0"


def test_what_comes_from_outside_cannot_move_the_cursor(capsys: pytest.CaptureFixture[str]) -> None:
    screen = journal_tables.Screen()
    rude = UserEvent(at=TEN, name="x", text="\x1b[2J[bold]boo")
    screen.table(
        journal_tables.EVENT_HEAD, journal_tables.event_rows([JournalRow(1, "user", "UserEvent", TEN, rude)])
    )
    out = capsys.readouterr().out
    assert "\x1b" not in out
    assert "[bold]boo" in out


def test_a_note_that_another_version_wrote_is_as_good_as_none() -> None:
    assert read_note(None) == read_note("{}") == read_note("[1]") == ConfigurationNote()
    assert read_note('{"rules": [{"what": 1}]}') == ConfigurationNote()
    assert read_note(note_of(settings())).facts == {SLV: StockFacts("metals", 0.4)}
