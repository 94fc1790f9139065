"""Defects in a symbol's handler: when they raise, and what the checkers of fault runs then ask for."""

from __future__ import annotations

from datetime import datetime, timedelta
from decimal import Decimal
from random import Random

import attrs
import pytest
import trio

from actors.chaos_defects import Flaw, Flawed, FlawedMailbox
from actors.mailbox import Lane
from protocol.chaos.checks_broker import (
    IN_VAIN,
    OCA_TRADED,
    AskedAbout,
    CloseInTheGroup,
    CountedWhileCutOff,
    HeartbeatFails,
    NoFight,
    ReducedOnce,
)
from protocol.chaos.checks_life import Mended, Recorded
from protocol.chaos.checks_supervision import BooksFirst, Guarded, NobodyWaits, PoisonEnds
from protocol.chaos.defects import Defect, DefectKind, draw_hush
from protocol.chaos.plan import draw_plan
from protocol.chaos.signals import Prediction, SignalKind
from protocol.chaos.timeline import Blow, Connected, FaultDone, Happened, Raised, Sent
from protocol.commands import Wake
from protocol.events import (
    ActorExitedEvent,
    ActorStartedEvent,
    AlarmEvent,
    LinkEvent,
    PredictionSignalEvent,
    ReconciledEvent,
)
from protocol.exchange.faults import Silence, When
from protocol.exchange.happenings import OrderChanged, OrderModified
from protocol.reports import LinkChanged, LinkState
from protocol.symbol import SymbolMessage
from protocol.tws.messages import ReqAllOpenOrders
from tests.chaos_script import AAA, PLAN, Script, enter

AT = PLAN.start


# --- what is drawn --------------------------------------------------------------------------------


def test_many_episodes_have_every_kind_of_defect_and_about_half_have_none() -> None:
    plans = [draw_plan(seed) for seed in range(200)]
    drawn = [defect for plan in plans for defect in plan.defects]
    assert {defect.kind for defect in drawn} == set(DefectKind)
    assert {defect.late for defect in drawn} == {True, False}
    assert 70 < sum(not plan.defects for plan in plans) < 130
    assert draw_plan(2, faults=False).defects == ()


def test_what_a_person_mends_is_mended_while_faults_are_still_made() -> None:
    for plan in map(draw_plan, range(200)):
        for defect in plan.defects:
            assert 0 < defect.at_s < plan.safety_s
            assert defect.mended_s is None or defect.at_s < defect.mended_s < plan.safety_s


def test_tws_falls_silent_before_a_signal_that_is_poison_when_it_has_had_its_effects() -> None:
    bodies = (b'{"ticker":"BBB"}', b'{"ticker":"AAA"}', b'{"ticker":"AAA"}')
    predictions = tuple(Prediction(100.0 * at, SignalKind.GENUINE, body) for at, body in enumerate(bodies, 1))
    early, late = (defect(DefectKind.POISON_SIGNAL, late=late) for late in (False, True))
    (silence,) = draw_hush(Random(1), (early, late), predictions, AT)
    assert isinstance(silence.when.at, datetime)
    assert 196 < (silence.when.at - AT).total_seconds() < 197
    assert 3.6 < silence.duration_loop_s < 6
    past = attrs.evolve(late, at_s=301.0)
    assert draw_hush(Random(1), (past,), predictions, AT) == ()


# --- the defect itself ----------------------------------------------------------------------------


def defect(kind: DefectKind, *, nth: int = 1, times: int | None = None, late: bool = False) -> Defect:
    return Defect(at_s=0.0, kind=kind, symbol=AAA, nth=nth, times=times, late=late, mended_s=None)


def signal(name: str = "s1") -> PredictionSignalEvent:
    return PredictionSignalEvent(
        at=AT, source="chaos", signal_id=name, symbol=AAA, signal="BUY", confidence=0.9, predicted_at=AT,
    )  # fmt: skip


def link_up(generation: int) -> LinkChanged:
    return LinkChanged(AT, LinkState.UP, generation, "")


def raised_at(flaw: Flaw, *messages: SymbolMessage) -> list[int]:
    """The places of the messages at which it raises."""
    found = []
    for place, message in enumerate(messages):
        if flaw.is_about(message):
            found.append(place)
            with pytest.raises(Flawed):
                flaw.show()
    return found


def test_a_poison_signal_raises_each_time_and_other_messages_never() -> None:
    counts: list[int] = []
    flaw = Flaw(defect(DefectKind.POISON_SIGNAL), lambda _, count: counts.append(count))
    first, second = signal("s1"), signal("s2")
    assert raised_at(flaw, Wake(AT), link_up(1), first, second, first) == [2, 4]
    assert counts == [1, 2]


def test_a_poison_report_is_the_one_that_was_drawn() -> None:
    flaw = Flaw(defect(DefectKind.POISON_BROKER_EVENT, nth=2), lambda _, __: None)
    reports = [link_up(1), link_up(2), link_up(3)]
    assert raised_at(flaw, signal(), *reports, reports[1]) == [2, 4]


def test_a_rule_raises_at_whatever_is_not_the_brokers_as_often_as_was_drawn() -> None:
    flaw = Flaw(defect(DefectKind.RAISING_RULE, nth=0, times=2), lambda _, __: None)
    assert raised_at(flaw, link_up(1), Wake(AT), signal(), Wake(AT)) == [1, 2]
    for_good = Flaw(defect(DefectKind.RAISING_RULE, nth=0), lambda _, __: None)
    assert raised_at(for_good, *([Wake(AT)] * 9)) == list(range(9))
    for_good.mended = True
    assert raised_at(for_good, Wake(AT)) == []
    at_signals = Flaw(defect(DefectKind.RAISING_RULE, nth=1, times=2), lambda _, __: None)
    assert raised_at(at_signals, Wake(AT), signal(), Wake(AT), Wake(AT)) == [1, 2]


@pytest.mark.parametrize("late", [True, False])
async def test_the_mailbox_of_a_flawed_symbol_raises_after_or_instead_of_its_effects(late: bool) -> None:
    mailbox = FlawedMailbox(on_poison=lambda _: None, on_crowded=lambda _: None)
    flaw = Flaw(defect(DefectKind.POISON_SIGNAL, late=late), lambda _, __: None)
    mailbox.flaws, mailbox.symbol = {AAA: flaw}, AAA
    handled: list[SymbolMessage] = []
    poison = signal()
    mailbox.put(Lane.SIGNALS, poison)
    with trio.fail_after(1), pytest.raises(Flawed):
        await mailbox.serve(handled.append)
    assert handled == ([poison] if late else [])
    mailbox.owner_died()
    flaw.mended = True
    with trio.move_on_after(0.01):
        await mailbox.serve(handled.append)
    assert handled[-1] is poison


# --- the checkers ---------------------------------------------------------------------------------


def fall(
    script: Script, decision: str = "restart", *, delay_s: float = 0.0, actor: str = "symbol:AAA"
) -> None:
    script.journal("system", ActorExitedEvent(
        at=script.at, actor=actor, epoch=1, exit="crash", reason="Flawed", decision=decision, delay_s=delay_s
    ))  # fmt: skip


def rise(script: Script, actor: str = "symbol:AAA") -> None:
    script.journal("system", ActorStartedEvent(at=script.at, actor=actor, epoch=2))


def alarm(script: Script, code: str) -> None:
    script.journal("system", AlarmEvent(at=script.at, code=code, text="", symbol=AAA))


def put_raised(script: Script, kind: DefectKind, count: int = 1) -> None:
    script.put(Raised(script.loop_s, kind, AAA, count))


def test_a_restart_that_waits_for_another_ones_backoff_is_seen() -> None:
    script = Script(NobodyWaits)
    put_raised(script, DefectKind.RAISING_RULE)
    fall(script, delay_s=0.8)
    script.later(0.1)
    script.strike(Blow.ACTOR, "kill_symbol", "symbol:BBB")
    script.later(0.7)
    rise(script)
    assert script.broken() == ["symbol:BBB had not ended 0.1 s after it was due"]


def test_a_restart_before_its_backoff_is_over_is_seen_and_one_in_time_is_not() -> None:
    script = Script(NobodyWaits)
    fall(script, delay_s=0.8)
    script.later(0.8)
    rise(script)
    assert script.broken() == []
    assert script.checker.checked > 0
    fall(script, delay_s=0.8)
    rise(script)
    assert "before its time" in script.broken()[0]


def test_a_restart_may_wait_while_the_machine_stands_still() -> None:
    script = Script(NobodyWaits)
    fall(script)
    script.strike(Blow.PAUSE, "machine_paused", "for 20 s")
    script.later(20)
    rise(script)
    assert script.broken() == []


def test_poison_that_is_delivered_a_third_time_is_seen() -> None:
    script = Script(PoisonEnds)
    for count in (1, 2, 3):
        put_raised(script, DefectKind.POISON_SIGNAL, count)
        alarm(script, "DEAD_LETTER")
    assert script.broken() == ["a poison_signal was delivered to AAA for the 3. time"]


def test_a_poison_signal_needs_its_alarm_and_a_poison_report_its_quarantine() -> None:
    silent = Script(PoisonEnds)
    put_raised(silent, DefectKind.POISON_SIGNAL, 2)
    silent.later(1)
    assert silent.broken() == ["a signal killed AAA twice, and no alarm told so"]
    free = Script(PoisonEnds)
    put_raised(free, DefectKind.POISON_BROKER_EVENT, 2)
    fall(free)
    free.later(1)
    assert free.broken() == ["a report killed symbol:AAA twice, and it was not shut away"]
    sound = Script(PoisonEnds)
    put_raised(sound, DefectKind.POISON_BROKER_EVENT, 2)
    fall(sound, "quarantine")
    sound.later(1)
    assert sound.broken() == []


def test_a_symbol_that_is_shut_away_without_a_guard_is_seen() -> None:
    script = Script(Guarded)
    fall(script, "quarantine")
    script.later(2)
    assert script.broken() == []
    script.later(2)
    assert script.broken() == ["AAA was shut away, and nobody guarded it 3 s later"]


def test_an_entry_that_works_on_under_guard_is_seen() -> None:
    script = Script(Guarded)
    script.intend("main")
    order = script.accept("main", 1, action="BUY")
    fall(script, "quarantine")
    alarm(script, "GUARDED")
    script.later(20)
    assert "its entry worked on" in script.broken()[0]
    cancelled = Script(Guarded)
    cancelled.accept("main", 1, action="BUY")
    fall(cancelled, "quarantine")
    alarm(cancelled, "GUARDED")
    cancelled.end(order)
    cancelled.later(60)
    assert cancelled.broken() == []


def test_what_is_asked_for_before_the_books_are_seen_again_is_seen() -> None:
    script = Script(BooksFirst)
    rise(script)
    script.journal("symbol:AAA", ReconciledEvent(at=script.at, symbol=AAA, generation=1, position=0))
    script.intend("main")
    assert script.broken() == []
    assert script.checker.checked == 1
    rise(script)
    script.intend("main", trade=2, order_id=2)
    assert "before AAA had seen the books again" in script.broken()[0]


@pytest.mark.parametrize("kind", [Mended, Recorded])
def test_a_symbol_that_crashed_is_looked_after_like_one_that_was_killed(
    kind: type[Mended] | type[Recorded],
) -> None:
    script = Script(kind)
    put_raised(script, DefectKind.RAISING_RULE)
    script.later(10)
    assert len(script.broken()) == 1
    sound = Script(kind)
    put_raised(sound, DefectKind.RAISING_RULE)
    fall(sound)
    rise(sound)
    sound.later(10)
    assert sound.broken() == []


def test_an_execution_that_waits_for_the_end_of_a_cut_off_is_seen() -> None:
    script = Script(CountedWhileCutOff)
    script.put(Connected(script.loop_s, True))
    script.journal("broker", LinkEvent(at=script.at, state="held", generation=1, reason="2110"))
    order = script.order("main", 1, action="BUY")
    script.execute(order, "e.01", 100)
    script.fill("e.01")
    script.later(5)
    assert script.broken() == []
    script.execute(order, "f.01", 200)
    script.later(5)
    assert script.broken() == ["f.01 was told while TWS was cut off, and not counted within 2 s"]


def silent_script(lasts_s: float, what: str = "for a while") -> Script:
    at = PLAN.start + timedelta(seconds=100)
    plan = attrs.evolve(PLAN, faults=(Silence(when=When(at=at), duration_loop_s=lasts_s),))
    script = Script(HeartbeatFails, plan)
    script.put(FaultDone(script.loop_s, script.at, "silence", what))
    return script


def test_a_link_that_stays_up_in_a_long_silence_is_seen() -> None:
    script = silent_script(40.0)
    script.later(9)
    assert script.broken() == []
    script.later(3)
    assert "was up" in script.broken()[0]


def test_a_silence_that_found_no_connection_is_none() -> None:
    script = silent_script(40.0, IN_VAIN)
    script.later(30)
    assert script.broken() == []


@pytest.mark.parametrize(("lasts_s", "ends"), [(8.0, False), (40.0, True)])
def test_a_short_silence_and_a_link_that_goes_down_are_right(lasts_s: float, ends: bool) -> None:
    script = silent_script(lasts_s)
    script.later(9)
    if ends:
        script.journal("broker", LinkEvent(at=script.at, state="down", generation=1, reason="silence"))
    script.later(30)
    assert script.broken() == []


def test_an_order_without_an_answer_that_nobody_asks_about_is_seen() -> None:
    script = Script(AskedAbout)
    script.put(FaultDone(script.loop_s, script.at, "swallow_request", "place_order of client 1, number 7"))
    script.later(5)
    assert script.broken() == []
    script.later(3)
    assert "nobody asked" in script.broken()[0]


def test_an_order_without_an_answer_that_is_asked_about_is_right() -> None:
    script = Script(AskedAbout)
    script.put(FaultDone(script.loop_s, script.at, "swallow_request", "place_order of client 1, number 7"))
    script.later(5)
    script.put(Sent(script.loop_s, script.at, 1, ReqAllOpenOrders()))
    script.later(30)
    assert script.broken() == []
    assert script.checker.checked == 1


def test_an_order_that_closes_what_somebody_else_holds_is_seen() -> None:
    script = Script(NoFight)
    script.execute(script.order("main", 9, action="BUY"), "f.01", 100, own=False)
    script.later(20)
    script.send("close", action="SELL", order_id=4)
    assert script.broken() == ["c:AAA:000001:close:r0 left to close 100, which others hold"]


def test_an_order_that_closes_what_is_ours_is_right() -> None:
    script = Script(NoFight)
    enter(script)
    script.later(20)
    script.send("close", action="SELL", order_id=4)
    assert script.broken() == []


def test_a_close_in_no_group_beside_the_stop_is_seen_and_one_in_the_group_is_not() -> None:
    for group, seen in (("", True), ("g1", False)):
        script = Script(CloseInTheGroup)
        script.accept("stop", 2, action="SELL", type_="STP", group="g1")
        enter(script)
        script.accept("close", 3, action="SELL", group=group)
        assert bool(script.broken()) is seen
        assert script.checker.checked == 1


def test_a_close_of_what_no_stop_covers_needs_no_group() -> None:
    script = Script(CloseInTheGroup)
    script.accept("stop", 2, action="SELL", type_="STP", quantity=60, group="g1")
    enter(script)
    script.accept("close", 3, action="SELL", quantity=40)
    assert script.broken() == []


@pytest.mark.parametrize(
    ("late_s", "quantity", "seen"), [(0.5, 60, True), (0.1, 60, False), (0.5, 50, False)]
)
def test_what_the_exchange_has_reduced_is_not_to_be_asked_for_again(
    late_s: float, quantity: int, seen: bool
) -> None:
    """The modify left when the reduction was known, or before, or it asks for something else."""
    plan = attrs.evolve(PLAN, tws=attrs.evolve(PLAN.tws, report_latency_s=0.4))
    script = Script(ReducedOnce, plan)
    reduced = script.order("stop", 2, action="SELL", quantity=60, type_="STP")
    script.put(Happened(script.loop_s, OrderChanged(script.at, reduced, OCA_TRADED)))
    script.later(late_s)
    script.send("stop", action="SELL", quantity=quantity, order_id=2)
    asked = attrs.evolve(reduced, order=attrs.evolve(reduced.order, total_quantity=Decimal(quantity)))
    script.put(Happened(script.loop_s, OrderModified(script.at, asked)))
    assert bool(script.broken()) is seen


async def test_others_die_after_the_first_fall_of_a_symbol() -> None:
    flaw = Flaw(defect(DefectKind.RAISING_RULE, nth=0), lambda _, __: None)
    assert not flaw.fell.is_set()
    raised_at(flaw, Wake(AT))
    assert flaw.fell.is_set()
