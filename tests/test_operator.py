"""A person's hands on the running system: what is done, what is declined, and what the journal says of it."""

from __future__ import annotations

from typing import Any, get_args

import attrs
import pytest
import trio

from actors.system_views import SYMBOL_PREFIX
from protocol.control_answers import (
    LimitsTold,
    LocksTold,
    OrdersTold,
    PositionsTold,
    SourcesTold,
    StatusTold,
    SymbolTold,
)
from protocol.control_events import KillLevelEvent, LimitTightenedEvent, LockEvent, OperatorEvent, UnlockEvent
from protocol.control_requests import (
    REQUESTS,
    Ask,
    AskLimits,
    AskLocks,
    AskOrders,
    AskPositions,
    AskSources,
    AskStatus,
    AskSymbol,
    FlattenPositions,
    LiftLock,
    LockSymbol,
    LowerKillLevel,
    Pause,
    QuarantineSymbol,
    RaiseKillLevel,
    ReleaseSymbol,
    Request,
    RestartActor,
    Resume,
    SetTickers,
    StartSource,
    StopRun,
    StopSource,
    TightenLimit,
)
from protocol.risk.words import KillLevel
from protocol.values import STOP, TARGET
from tests.operator_desk import Person, act_out
from tests.world import GLD, SLV, World

# --- locks ------------------------------------------------------------------------------------------


def test_a_pause_holds_the_entries_of_one_symbol_until_it_is_resumed() -> None:
    async def story(world: World) -> None:
        person = Person(world)
        await world.quoted()
        assert "entries of SLV are held by L000001" in person.do(Pause(symbol="slv", why="news"))
        world.signal(SLV, "BUY")
        await world.enter(GLD)
        assert world.position(SLV) == 0
        assert "L000001 lifted: SLV may enter again" in person.do(Resume(symbol="SLV"))
        await world.enter(SLV)
        assert [lock.reason for lock in world.events(LockEvent)] == ["news"]
        assert [lift.who for lift in world.events(UnlockEvent)] == ["ann@pts/1"]

    act_out(story)


def test_what_a_person_does_is_in_the_journal_before_it_is_done() -> None:
    async def story(world: World) -> None:
        person = Person(world)
        person.do(Pause(why="news"))
        person.do(RaiseKillLevel(level="reduce", why="strange fills"))
        kinds = [
            (type(event).__name__, event)
            for _, event in world.rows()
            if isinstance(event, OperatorEvent | LockEvent | KillLevelEvent)
        ]
        assert [kind for kind, _ in kinds] == [
            "OperatorEvent",
            "LockEvent",
            "OperatorEvent",
            "KillLevelEvent",
        ]
        asked = world.events(OperatorEvent)[1]
        assert (asked.action, asked.arguments, asked.who, asked.why) == (
            "kill", "level=reduce", "ann@pts/1", "strange fills"
        )  # fmt: skip
        assert asked.outcome.startswith("kill level reduce (K1)")
        streams = {stream for stream, event in world.rows() if isinstance(event, OperatorEvent)}
        assert streams == {"control"}

    act_out(story)


def test_a_pause_twice_is_one_lock_and_a_resume_of_nothing_says_so() -> None:
    async def story(world: World) -> None:
        person = Person(world)
        assert "nobody has paused all symbols" in person.do(Resume())
        person.do(Pause())
        assert "already by L000001: paused by hand" in person.do(Pause())
        assert len(world.events(LockEvent)) == 1

    act_out(story)


def test_a_resume_lifts_only_its_own_and_names_what_still_holds() -> None:
    async def story(world: World) -> None:
        person = Person(world)
        person.do(Pause())
        person.do(Pause(symbol="SLV"))
        said = person.do(Resume(symbol="SLV"))
        assert "L000002 lifted" in said
        assert "still held: all symbols by L000001, paused by hand" in said
        person.do(Pause(symbol="GLD"))
        assert "still held: GLD by L000003" in person.do(Resume())

    act_out(story)


def test_a_lock_opens_by_itself_when_its_time_has_come() -> None:
    async def story(world: World) -> None:
        person = Person(world)
        assert "for 0.2 minutes" in person.do(LockSymbol(symbol="SLV", minutes=0.2, why="auction"))
        told = person.ask(AskLocks())
        assert isinstance(told, LocksTold)
        (lock,) = told.locks
        assert lock.until is not None
        assert (lock.until - lock.at).total_seconds() == 12
        await trio.sleep(14)
        assert person.ask(AskLocks()) == attrs.evolve(told, locks=())
        assert "more than 0" in person.declined(LockSymbol(minutes=-1, why="x"))

    act_out(story)


def test_a_lock_is_lifted_by_its_name() -> None:
    async def story(world: World) -> None:
        person = Person(world)
        person.do(LockSymbol(symbol="SLV", why="auction"))
        assert 'did you mean "L000001"?' in person.declined(LiftLock(lock="L00001", why="x"))
        assert "L000001 lifted (SLV, person: auction)" in person.do(LiftLock(lock="l000001", why="over"))
        assert [(lift.lock, lift.why) for lift in world.events(UnlockEvent)] == [("L000001", "over")]

    act_out(story)


# --- positions --------------------------------------------------------------------------------------


def test_a_symbol_is_flattened_and_the_others_are_left_alone() -> None:
    async def story(world: World) -> None:
        person = Person(world)
        await world.enter(SLV)
        await world.enter(GLD, "SELL")
        assert "closing SLV (+100); working" in person.do(FlattenPositions(symbol="SLV", why="news"))
        await world.until(lambda: world.position(SLV) == 0)
        assert world.position(GLD) == -100
        await world.check()

    act_out(story)


def test_closing_everything_has_to_be_confirmed() -> None:
    async def story(world: World) -> None:
        person = Person(world)
        await world.enter(SLV)
        await world.enter(GLD, "SELL")
        assert "--yes" in person.declined(FlattenPositions(why="news"))
        await trio.sleep(2)
        assert (world.position(SLV), world.position(GLD)) == (100, -100)
        said = person.do(FlattenPositions(why="news", confirmed=True))
        assert "closing SLV (+100), GLD (-100)" in said
        await world.until(lambda: world.position(SLV) == world.position(GLD) == 0)
        assert "every symbol is flat" in person.do(FlattenPositions(why="again", confirmed=True))
        assert next(outcome for _, _, outcome in person.noted).startswith("declined: this closes every")

    act_out(story)


# --- levels and limits ------------------------------------------------------------------------------


def test_a_halt_leaves_stop_and_target_and_lets_nothing_in_until_it_is_reset() -> None:
    async def story(world: World) -> None:
        person = Person(world)
        await world.enter(SLV)
        assert "it holds, also after a restart" in person.do(RaiseKillLevel(level="K2", why="strange"))
        world.signal(GLD, "BUY")
        await trio.sleep(3)
        assert world.position(GLD) == 0
        assert set(world.exits(SLV)) == {STOP, TARGET}
        assert "to lower to halt" in person.declined(LowerKillLevel(level="halt", why="x"))
        person.do(LowerKillLevel(why="found it"))
        await world.enter(GLD)
        assert [event.level for event in world.events(KillLevelEvent)] == [2, 0]

    act_out(story)


@pytest.mark.parametrize("level", ["flatten", "K4", "3"])
def test_levels_that_close_positions_have_to_be_confirmed(level: str) -> None:
    async def story(world: World) -> None:
        person = Person(world)
        await world.enter(SLV)
        assert "confirm it with --yes" in person.declined(RaiseKillLevel(level=level, why="x"))
        assert world.events(KillLevelEvent) == []
        person.do(RaiseKillLevel(level=level, why="x", confirmed=True))
        await world.until(lambda: world.position(SLV) == 0)

    act_out(story)


def test_the_level_goes_up_only_and_the_same_one_again_changes_nothing() -> None:
    async def story(world: World) -> None:
        person = Person(world)
        person.do(RaiseKillLevel(level="halt", why="x"))
        assert "goes down by `kill reset` only" in person.declined(RaiseKillLevel(level="reduce", why="x"))
        assert "is halt (K2) already" in person.do(RaiseKillLevel(level="2", why="x"))
        assert "by `kill reset`" in person.declined(RaiseKillLevel(level="open", why="x"))
        assert "known: open (K0)" in person.declined(RaiseKillLevel(level="stop", why="x"))
        assert world.system.gate.standing.level is KillLevel.HALT
        assert len(world.events(KillLevelEvent)) == 1

    act_out(story)


def test_what_the_risk_desk_declines_is_declined_and_the_journal_says_that_too() -> None:
    class Strict:
        def __getattr__(self, name: str) -> Any:
            def refuse(*_: object, **__: object) -> None:
                raise ValueError("the day's loss does not allow it")

            return refuse

    async def story(world: World) -> None:
        person = Person(world, risk=Strict())
        assert person.declined(Pause(symbol="SLV")) == "the day's loss does not allow it"
        assert [outcome.partition(":")[0] for _, _, outcome in person.noted][-1] == "declined"
        assert world.events(LockEvent) == []

    act_out(story)


def test_limits_are_made_tighter_and_never_looser() -> None:
    async def story(world: World) -> None:
        person = Person(world)
        await world.quoted()
        assert "max_positions = 1 (was 30)" in person.do(
            TightenLimit(name="max_positions", value="1", why="x")
        )
        assert "looser than 1" in person.declined(TightenLimit(name="max_positions", value="2", why="x"))
        assert "no limit is called" in person.declined(TightenLimit(name="max_position", value="2", why="x"))
        told = person.ask(AskLimits())
        assert isinstance(told, LimitsTold)
        (changed,) = [limit for limit in told.limits if limit.tightened]
        assert (changed.name, changed.limit, changed.part) == ("max_positions", "1", 0.0)
        await world.enter(SLV)
        world.signal(GLD, "BUY")
        await trio.sleep(3)
        assert world.position(GLD) == 0
        status = person.ask(AskStatus())
        assert isinstance(status, StatusTold)
        assert [(limit.name, limit.part) for limit in status.near] == [("max_positions", 1.0)]
        assert [event.value for event in world.events(LimitTightenedEvent)] == ["1"]

    act_out(story)


# --- actors -----------------------------------------------------------------------------------------


def test_sup_22_a_symbol_restarts_on_a_persons_word_and_keeps_its_position() -> None:
    async def story(world: World) -> None:
        person = Person(world)
        await world.enter(SLV)
        assert "starts anew" in person.do(RestartActor(actor="SLV", why="looks odd"))
        await world.until(lambda: "symbol:SLV" in world.restarts() and world.system.symbols[SLV].ready)
        told = person.ask(AskSymbol(symbol="SLV"))
        assert isinstance(told, SymbolTold)
        assert (told.actor.epoch, told.actor.restarts, told.line.position) == (2, 1, 100)
        assert told.actor.last_exit == "killed: restarted by ann@pts/1: looks odd"
        await world.check(restarts={"symbol:SLV": 1})

    act_out(story)


@pytest.mark.slow
@pytest.mark.parametrize("actor", ["broker", "risk", "custodian", "router", "timers", "portfolio"])
def test_sup_22_an_actor_that_all_share_restarts_on_a_persons_word(actor: str) -> None:
    async def story(world: World) -> None:
        person = Person(world)
        await world.enter(SLV)
        assert f"{actor} starts anew" in person.do(RestartActor(actor=actor, why="looks odd"))
        await trio.sleep(5)
        status = person.ask(AskStatus())
        assert isinstance(status, StatusTold)
        (told,) = [told for told in status.tree if told.id == actor]
        assert (told.epoch, told.last_exit) == (2, "killed: restarted by ann@pts/1: looks odd")
        assert 'did you mean "SLV"' in person.declined(RestartActor(actor="slw", why="x"))
        await world.check(restarts={actor: 1}, alarms=None)

    act_out(story)


def test_sup_22_a_symbols_actor_is_stopped_by_a_person_and_started_by_a_person_only() -> None:
    async def story(world: World) -> None:
        person = Person(world)
        await world.enter(SLV)
        exits = world.exits()
        said = person.do(QuarantineSymbol(symbol="slv", why="its rule is wrong"))
        assert "ends and stays down" in said
        await trio.sleep(120)
        assert world.exits() == exits
        assert "in quarantine already" in person.declined(QuarantineSymbol(symbol="SLV", why="x"))
        told = person.ask(AskSymbol(symbol="SLV"))
        assert isinstance(told, SymbolTold)
        assert told.actor.last_exit == "killed: shut away by ann@pts/1: its rule is wrong"
        assert "let out of quarantine" in person.do(ReleaseSymbol(symbol="SLV", why="mended"))
        await world.until(lambda: world.system.symbols[SLV].ready)
        assert (world.position(), world.exits()) == (100, exits)
        await world.check(restarts={"symbol:SLV": 1}, alarms=None)

    act_out(story)


def test_sup_22_no_deed_deletes_what_the_gate_knows_of_risk() -> None:
    """Locks are lifted one by one, levels lowered with a reason, limits loosened never."""
    words = {word for word in REQUESTS if not issubclass(REQUESTS[word], get_args(Ask))}
    assert words == {
        "pause", "resume", "flatten", "kill", "kill reset", "lock", "unlock", "limits tighten", "restart",
        "quarantine", "release", "sources start", "sources stop", "sources tickers", "stop",
    }  # fmt: skip


def test_sup_22_a_symbol_in_quarantine_is_let_out_and_not_restarted() -> None:
    async def story(world: World) -> None:
        person = Person(world)
        await world.quoted()
        assert "is in no quarantine" in person.declined(ReleaseSymbol(symbol="SLV", why="x"))
        world.system.symbol_tree.quarantine(SYMBOL_PREFIX + SLV, "poison")
        await trio.sleep(1)
        status = person.ask(AskStatus())
        assert isinstance(status, StatusTold)
        assert [(line.actor, line.held) for line in status.symbols if line.symbol == SLV] == [
            ("quarantined", "in quarantine; the custodian guards it")
        ]
        assert "`release SLV` lets it out" in person.declined(RestartActor(actor="SLV", why="x"))
        assert "let out of quarantine" in person.do(ReleaseSymbol(symbol="SLV", why="fixed"))
        await world.until(lambda: world.system.symbols[SLV].ready)
        await world.enter(SLV)

    act_out(story)


def test_a_position_in_quarantine_is_told_and_closed_by_whoever_guards_it() -> None:
    async def story(world: World) -> None:
        person = Person(world)
        await world.enter(SLV)
        world.system.symbol_tree.quarantine(SYMBOL_PREFIX + SLV, "poison")
        await trio.sleep(4)
        status = person.ask(AskStatus())
        assert isinstance(status, StatusTold)
        (line,) = [line for line in status.symbols if line.symbol == SLV]
        assert (line.position, line.held) == (100, "in quarantine; the custodian guards it")
        orders = person.ask(AskOrders(symbol="SLV"))
        assert isinstance(orders, OrdersTold)
        assert STOP in {order.role for order in orders.orders}
        assert "closing SLV (+100)" in person.do(FlattenPositions(symbol="SLV", why="bad"))
        await world.until(lambda: world.position(SLV) == 0)
        await trio.sleep(3)
        assert person.ask(AskPositions()) == PositionsTold(positions=(), market_now=world.clock.now())
        assert "SLV is flat" in person.do(FlattenPositions(symbol="SLV", why="bad"))

    act_out(story)


def test_a_stop_ends_the_run_with_who_and_why() -> None:
    async def story(world: World) -> None:
        person = Person(world)
        assert "positions and their stops stay" in person.do(StopRun(why="weekend"))
        assert person.ended == ["stopped by ann@pts/1: weekend"]

    act_out(story)


def test_sources_are_started_stopped_and_given_tickers() -> None:
    async def story(world: World) -> None:
        person = Person(world)
        assert "flow runs already" in person.declined(StartSource(source="flow"))
        assert 'did you mean "flow"?' in person.declined(StopSource(source="flo"))
        person.do(StopSource(source="flow"))
        person.do(SetTickers(source="flow", tickers=("slv", "GLD", "slv")))
        assert person.sources.asked == [
            ("start", "flow", "ann@pts/1"), ("stop", "flow", "ann@pts/1"),
            ("tickers", "flow", ("SLV", "GLD"), "ann@pts/1")
        ]  # fmt: skip
        told = person.ask(AskSources())
        assert isinstance(told, SourcesTold)
        assert told.sources[0].counts == "3 accepted, 1 refused, 2 looks in vain"
        assert "no signal sources" in Person(world, sources=False).declined(StopSource(source="flow"))

    act_out(story)


@pytest.mark.parametrize("deed", [
    Pause(symbol="SVL"), FlattenPositions(symbol="SVL", why="x"), RestartActor(actor="SVL", why="x"),
    LockSymbol(symbol="SVL", why="x"),
])  # fmt: skip
def test_a_symbol_that_is_not_traded_is_declined_and_noted(deed: Request) -> None:
    async def story(world: World) -> None:
        person = Person(world)
        assert 'SVL is not traded here; did you mean "SLV"?' in person.declined(deed)
        assert [outcome.partition(":")[0] for _, _, outcome in person.noted] == ["declined"]

    act_out(story)
