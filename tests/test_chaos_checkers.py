"""Each checker of fault runs sees what it is there for: a timeline in which its law is broken, and one in
which it is not."""

from __future__ import annotations

from datetime import datetime, timedelta
from decimal import Decimal

import attrs
import pytest

from protocol.chaos.checker import Checker
from protocol.chaos.checks_books import AnsweredOnce, EqualBooks, NothingLost, SameByReplay
from protocol.chaos.checks_life import ComesRight, LinkStays, Mended, NoCrash, Noticed, Recorded
from protocol.chaos.checks_orders import (
    DeadIsDead,
    FlatBefore,
    GateOpen,
    IdsRise,
    JournalFirst,
    NoReplacement,
    NotStale,
    OneEntry,
    OneOrder,
    OnTheGrid,
    OurAccount,
    Pace,
    SwitchedOff,
    WithinThePlan,
)
from protocol.chaos.checks_protection import Covered, NoOrphans, NotBeyond, OutlivesTheDay, StopsStay
from protocol.chaos.plan import draw_plan
from protocol.chaos.scene import Scene
from protocol.chaos.timeline import (
    Blow,
    Compared,
    Connected,
    Entry,
    FaultDone,
    Happened,
    Healed,
    Journalled,
    Looked,
    ProcessBegan,
    ProcessEnded,
    Sent,
    Struck,
    SymbolStanding,
)
from protocol.chaos.verdict import CHECKERS
from protocol.control_events import KillLevelEvent
from protocol.events import (
    ActorExitedEvent,
    ActorStartedEvent,
    BaseEvent,
    FillEvent,
    HoldEvent,
    LinkEvent,
    NewOrderEvent,
    OrderSentEvent,
    OrderStatusEvent,
    PositionOpenEvent,
    PredictionSignalEvent,
    ReconciledEvent,
)
from protocol.exchange.happenings import (
    Executed,
    OrderAccepted,
    OrderCancelled,
    PositionChanged,
    Status,
    VenueExecution,
    VenueOrder,
)
from protocol.tws.messages import CancelOrder, Contract, Order, PlaceOrder
from protocol.values import OrderRef, OrderSpec, OrderStatus, OrderType, Side, Symbol, TimeInForce

PLAN = draw_plan(1, faults=False)
AAA, ACCOUNT = Symbol("AAA"), "DU1234567"
STOCK = Contract(symbol="AAA", sec_type="STK", exchange="SMART", currency="USD")
SHARES = PLAN.caps[AAA]


def ref(role: str, trade: int = 1) -> OrderRef:
    return OrderRef("c", AAA, trade, role)


class Script:
    """A timeline written by hand, before the eyes of one checker."""

    def __init__(self, kind: type[Checker]) -> None:
        self.scene = Scene(PLAN)
        self.checker = kind(self.scene)
        self.loop_s, self.seq = 0.0, 0
        self.put(ProcessBegan(0.0, 1))
        self.journal("broker", LinkEvent(at=self.at, state="up", generation=1, reason="", account=ACCOUNT))
        self.journal("symbol:AAA", ReconciledEvent(at=self.at, symbol=AAA, generation=1, position=0))
        # What has just begun is disturbed: let it settle.
        self.loop_s = 100.0

    @property
    def at(self) -> datetime:
        return PLAN.start + timedelta(seconds=self.loop_s)

    def put(self, entry: Entry) -> None:
        if entry.loop_s > self.scene.loop_s:
            self.scene.pass_time(entry.loop_s)
            self.checker.pass_time()
        self.scene.take(entry)
        self.checker.see(entry)

    def journal(self, stream: str, *events: BaseEvent) -> None:
        for event in events:
            self.seq += 1
            self.put(Journalled(self.loop_s, 1, self.seq, stream, event))

    def intend(
        self, role: str, *, side: Side = Side.BUY, quantity: int = 100, order_id: int = 1, trade: int = 1
    ) -> None:
        spec = OrderSpec(ref(role, trade), side, quantity, OrderType.MARKET, TimeInForce.DAY)
        self.journal("symbol:AAA", NewOrderEvent(at=self.at, ref=ref(role, trade), order=spec))
        self.journal(
            "broker", OrderSentEvent(at=self.at, ref=ref(role, trade), order_id=order_id, client_id=1)
        )

    def send(
        self,
        role: str,
        *,
        action: str = "BUY",
        quantity: int = 100,
        order_id: int = 1,
        age_s: float | None = 0.5,
        trade: int = 1,
        **more: object,
    ) -> None:
        order = Order(
            order_ref=str(ref(role, trade)), action=action, total_quantity=Decimal(quantity),
            order_type="MKT", **{"account": ACCOUNT, **more},  # type: ignore[arg-type]
        )  # fmt: skip
        self.put(Sent(self.loop_s, self.at, 1, PlaceOrder(order_id, STOCK, order), age_s))

    def cancel(self, order_id: int) -> None:
        self.put(Sent(self.loop_s, self.at, 1, CancelOrder(order_id)))

    def order(
        self,
        role: str,
        perm_id: int,
        *,
        action: str,
        quantity: int = 100,
        type_: str = "MKT",
        group: str = "",
        tif: str = "GTC",
        trade: int = 1,
    ) -> VenueOrder:
        return VenueOrder(
            account=ACCOUNT, client_id=1, order_id=perm_id, perm_id=perm_id, parent_perm_id=0,
            contract=STOCK,
            order=Order(
                order_ref=str(ref(role, trade)), action=action, total_quantity=Decimal(quantity),
                order_type=type_, oca_group=group, tif=tif,
            ),
            status=Status.SUBMITTED,
        )  # fmt: skip

    def accept(self, role: str, perm_id: int, **about: object) -> VenueOrder:
        order = self.order(role, perm_id, **about)  # type: ignore[arg-type]
        self.put(Happened(self.loop_s, OrderAccepted(self.at, order)))
        return order

    def end(self, order: VenueOrder) -> None:
        ended = attrs.evolve(order, status=Status.CANCELLED)
        self.put(Happened(self.loop_s, OrderCancelled(self.at, ended, "", by_client=True)))

    def execute(self, order: VenueOrder, exec_id: str, position: int, *, own: bool = True) -> VenueExecution:
        side = "BOT" if order.order.action == "BUY" else "SLD"
        filled = attrs.evolve(order, status=Status.FILLED, filled=int(order.order.total_quantity))
        execution = VenueExecution(
            exec_id=exec_id, account=ACCOUNT, perm_id=order.perm_id, client_id=1, order_id=order.order_id,
            order_ref=order.order.order_ref if own else "", contract=STOCK, exchange="IEX", side=side,
            quantity=int(order.order.total_quantity), price=Decimal(10), cum_quantity=100,
            avg_price=10.0, at=self.at,
        )  # fmt: skip
        self.put(Happened(self.loop_s, Executed(self.at, filled, execution)))
        self.hold_position(position)
        return execution

    def hold_position(self, position: int) -> None:
        zero = Decimal(0)
        self.put(Happened(self.loop_s, PositionChanged(self.at, ACCOUNT, STOCK, position, zero, zero, zero)))

    def fill(self, exec_id: str, quantity: int = 100, side: Side = Side.BUY) -> None:
        self.journal("symbol:AAA", FillEvent(
            at=self.at, ref=ref("main"), exec_id=exec_id, side=side, quantity=quantity, price=Decimal(10)
        ))  # fmt: skip

    def later(self, seconds: float) -> None:
        """Time passes, and something that concerns nobody tells so."""
        self.loop_s += seconds
        self.put(Compared(self.loop_s, self.at, Symbol("ZZZ"), same=True))

    def strike(self, blow: Blow, kind: str, what: str = "") -> None:
        self.put(Struck(self.loop_s, self.at, blow, kind, what))

    def broken(self) -> list[str]:
        self.checker.finish()
        return [each.what for each in self.checker.violations]


def enter(script: Script) -> VenueOrder:
    """A long position of 100 of our own."""
    script.intend("main")
    order = script.accept("main", 1, action="BUY")
    script.execute(order, "e.01", 100)
    return order


# --- protection -----------------------------------------------------------------------------------


def test_a_position_without_its_stop_is_seen_after_two_seconds() -> None:
    script = Script(Covered)
    enter(script)
    script.later(1.9)
    assert script.broken() == []
    script.later(0.2)
    assert "a position of 100, ours 100, had stops of 0" in script.broken()[0]


def test_a_position_with_its_stop_is_covered_and_counts_as_a_test() -> None:
    script = Script(Covered)
    script.accept("stop", 2, action="SELL", type_="STP")
    enter(script)
    script.later(60)
    assert script.broken() == []
    assert script.checker.checked > 0


def test_a_stop_that_is_smaller_than_the_position_does_not_cover_it() -> None:
    script = Script(Covered)
    script.accept("stop", 2, action="SELL", type_="STP", quantity=99)
    enter(script)
    script.later(3)
    assert len(script.broken()) == 1


def test_what_somebody_else_added_is_not_ours_to_cover() -> None:
    script = Script(Covered)
    script.execute(script.order("main", 9, action="BUY"), "f.01", 100, own=False)
    script.later(60)
    assert script.broken() == []


def test_time_without_a_link_is_nobodys_fault() -> None:
    script = Script(Covered)
    enter(script)
    script.journal("broker", LinkEvent(at=script.at, state="down", generation=1, reason="lost"))
    script.later(600)
    assert script.broken() == []


def test_a_disturbed_system_has_fifteen_seconds() -> None:
    script = Script(Covered)
    enter(script)
    script.put(FaultDone(script.loop_s, script.at, "reject_order", ""))
    script.later(14)
    assert script.broken() == []
    script.later(2)
    assert len(script.broken()) == 1


def test_exits_that_could_turn_the_position_around_are_seen() -> None:
    script = Script(NotBeyond)
    enter(script)
    script.accept("stop", 2, action="SELL", type_="STP", group="g")
    script.accept("target", 3, action="SELL", type_="LMT", group="g")
    script.later(10)
    assert script.broken() == []
    script.accept("close", 4, action="SELL")
    script.later(10)
    assert "exits could close 200 of a position of 100" in script.broken()[0]


def test_an_exit_without_a_position_is_an_orphan() -> None:
    script = Script(NoOrphans)
    entry = script.accept("main", 1, action="BUY")
    script.accept("stop", 2, action="SELL", type_="STP")
    script.later(60)
    assert script.broken() == []
    script.end(entry)
    script.later(3)
    assert "AAA is flat" in script.broken()[0]


def test_exits_of_a_position_that_somebody_else_closed_have_until_the_next_poll() -> None:
    script = Script(NoOrphans)
    enter(script)
    script.accept("stop", 2, action="SELL", type_="STP")
    script.execute(script.order("main", 9, action="SELL"), "f.01", 0, own=False)
    script.later(35)
    assert script.broken() == []
    script.later(2)
    assert len(script.broken()) == 1


def test_the_last_stop_of_a_position_is_not_cancelled_for_nothing() -> None:
    script = Script(StopsStay)
    enter(script)
    script.intend("stop", order_id=2)
    script.accept("stop", 2, action="SELL", type_="STP")
    script.cancel(2)
    assert len(script.broken()) == 1


def test_the_last_stop_may_go_when_the_position_is_being_closed() -> None:
    script = Script(StopsStay)
    enter(script)
    script.intend("stop", order_id=2)
    script.accept("stop", 2, action="SELL", type_="STP")
    script.accept("close", 3, action="SELL")
    script.cancel(2)
    assert script.broken() == []


@pytest.mark.parametrize(("tif", "faults"), [("GTC", 0), ("DAY", 1), ("", 1)])
def test_a_stop_that_ends_with_the_day_is_seen(tif: str, faults: int) -> None:
    script = Script(OutlivesTheDay)
    script.accept("stop", 2, action="SELL", type_="STP", tif=tif)
    assert len(script.broken()) == faults


# --- orders ---------------------------------------------------------------------------------------


def test_two_live_entries_are_seen() -> None:
    script = Script(OneEntry)
    script.accept("main", 1, action="BUY")
    assert script.broken() == []
    script.accept("main", 2, action="BUY", trade=2)
    assert "several live entries" in script.broken()[0]


def test_an_order_that_the_venue_took_twice_is_seen_unless_a_fault_doubled_it() -> None:
    for faults, broken in ((0, 1), (1, 0)):
        script = Script(OneOrder)
        first = script.accept("main", 1, action="BUY")
        script.end(first)
        script.accept("main", 2, action="BUY")
        for _ in range(faults):
            script.put(FaultDone(script.loop_s, script.at, "double_modify", ""))
        assert len(script.broken()) == broken


def test_a_twin_that_lives_on_is_seen() -> None:
    script = Script(OneOrder)
    script.put(FaultDone(script.loop_s, script.at, "double_modify", ""))
    script.accept("stop", 1, action="SELL")
    script.accept("stop", 2, action="SELL")
    script.later(60)
    assert "lived twice" in script.broken()[0]


def test_an_entry_passes_an_open_gate() -> None:
    script = Script(GateOpen)
    script.send("main")
    assert script.broken() == []
    assert script.checker.checked == 5


@pytest.mark.parametrize("age_s", [None, 11.0])
def test_an_entry_on_an_old_quote_is_seen(age_s: float | None) -> None:
    script = Script(GateOpen)
    script.send("main", age_s=age_s)
    assert "on a quote" in script.broken()[0]


def test_an_entry_of_a_held_symbol_is_seen() -> None:
    script = Script(GateOpen)
    script.journal("symbol:AAA", HoldEvent(at=script.at, symbol=AAA, reason="somebody else"))
    script.send("main")
    assert "was held" in script.broken()[0]


def test_an_entry_before_the_books_agree_is_seen() -> None:
    script = Script(GateOpen)
    script.journal("broker", LinkEvent(at=script.at, state="up", generation=2, reason=""))
    script.send("main")
    assert "last reconciled on 1" in script.broken()[0]


def test_an_entry_after_the_switch_is_seen() -> None:
    script = Script(SwitchedOff)
    script.journal("risk", KillLevelEvent(at=script.at, level=2, before=0, who="me", why="enough"))
    script.loop_s += 0.05
    script.send("main")
    assert script.broken() == []
    script.loop_s += 0.06
    script.send("main", order_id=2, trade=2)
    assert "while the kill level was 2" in script.broken()[0]
    script.journal("risk", KillLevelEvent(at=script.at, level=0, before=2, who="me", why="again"))
    script.send("main", order_id=3, trade=3)
    assert len(script.broken()) == 1


def test_an_entry_against_a_position_that_is_still_there_is_seen() -> None:
    script = Script(FlatBefore)
    enter(script)
    script.send("main", action="SELL", order_id=7, trade=2)
    assert "left while our orders held 100" in script.broken()[0]


def test_an_entry_beside_exits_of_the_old_trade_is_seen() -> None:
    script = Script(FlatBefore)
    script.accept("stop", 2, action="SELL", type_="STP")
    script.send("main", order_id=7, trade=2)
    assert "still worked" in script.broken()[0]


def test_an_entry_in_place_of_one_that_lives_is_seen() -> None:
    script = Script(NoReplacement)
    script.accept("main", 1, action="BUY")
    script.send("main", order_id=7, trade=2)
    assert "was alive" in script.broken()[0]


def test_ids_that_fall_back_are_seen() -> None:
    script = Script(IdsRise)
    script.send("main", order_id=5)
    script.send("main", order_id=6, trade=2)
    assert script.broken() == []
    script.send("main", order_id=4, trade=3)
    script.send("main", order_id=5, trade=4)
    assert len(script.broken()) == 2


def test_an_order_that_is_not_in_the_journal_is_seen() -> None:
    script = Script(JournalFirst)
    script.send("main")
    assert "without an intent" in script.broken()[0]


def test_an_order_that_is_not_as_the_journal_has_it_is_seen() -> None:
    script = Script(JournalFirst)
    script.intend("main")
    script.send("main", quantity=101)
    assert "left for BUY 101, the journal has BUY 100" in script.broken()[0]


def test_an_order_that_left_oftener_than_it_was_asked_for_is_seen() -> None:
    script = Script(JournalFirst)
    script.intend("main")
    script.send("main")
    assert script.broken() == []
    script.send("main")
    assert "left 2 times" in script.broken()[0]


def test_a_cancel_that_nobody_asked_for_is_seen() -> None:
    script = Script(JournalFirst)
    script.intend("main")
    script.cancel(1)
    assert "the journal has 0" in script.broken()[0]


def test_the_order_of_a_dead_incarnation_is_seen() -> None:
    script = Script(NotStale)
    script.intend("main")
    script.journal("system", ActorStartedEvent(at=script.at, actor="symbol:AAA", epoch=2))
    script.send("main")
    assert "was asked for in (1, 0) and left in (1, 2)" in script.broken()[0]


def test_an_order_that_we_believe_dead_and_that_lives_is_seen() -> None:
    script = Script(DeadIsDead)
    script.accept("stop", 2, action="SELL", type_="STP")
    script.journal("symbol:AAA", OrderStatusEvent(
        at=script.at, ref=ref("stop"), status=OrderStatus.CANCELLED, perm_id=2, quantity=100, filled=0
    ))  # fmt: skip
    script.later(30)
    assert script.broken() == []
    script.later(10)
    assert "has lived on" in script.broken()[0]


def test_a_client_that_chatters_is_seen() -> None:
    script = Script(Pace)
    for number in range(46):
        script.loop_s += 0.01
        script.cancel(number)
    assert script.broken() == ["46 messages left within a second"]


def test_an_order_for_another_account_is_seen() -> None:
    script = Script(OurAccount)
    script.send("main")
    assert script.broken() == []
    script.send("main", account="U7654321")
    assert "U7654321" in script.broken()[0]


@pytest.mark.parametrize(("price", "faults"), [(10.01, 0), (10.011, 1), (-1.0, 1)])
def test_a_price_off_the_grid_is_seen(price: float, faults: int) -> None:
    script = Script(OnTheGrid)
    script.send("main", lmt_price=price)
    assert len(script.broken()) == faults


def test_more_than_the_plan_allows_is_seen() -> None:
    script = Script(WithinThePlan)
    script.accept("main", 1, action="BUY", quantity=SHARES)
    assert script.broken() == []
    script.accept("scale", 2, action="BUY", quantity=1)
    assert f"could come to hold {SHARES + 1}" in script.broken()[0]


# --- books ----------------------------------------------------------------------------------------


def test_books_that_differ_are_seen() -> None:
    script = Script(EqualBooks)
    enter(script)
    script.later(1)
    script.fill("e.01")
    script.later(10)
    assert script.broken() == []
    script.hold_position(90)
    script.later(3)
    assert "our books had 100, the venue 90" in script.broken()[0]


def test_an_execution_that_never_came_is_seen() -> None:
    script = Script(NothingLost)
    enter(script)
    assert "e.01" in script.broken()[0]


def test_an_execution_in_an_old_revision_is_seen() -> None:
    script = Script(NothingLost)
    enter(script)
    script.fill("e.01")
    order = script.order("main", 1, action="BUY")
    script.execute(order, "e.02", 100)
    assert "e.02" in script.broken()[0]


def test_an_execution_that_never_was_is_seen() -> None:
    script = Script(NothingLost)
    script.fill("x.01")
    assert "never were" in script.broken()[0]


def signal(script: Script, *, age_s: float = 1.0) -> None:
    script.journal("signals", PredictionSignalEvent(
        at=script.at, symbol=AAA, signal_id="s", source="chaos", signal="BUY", confidence=0.9,
        predicted_at=script.at - timedelta(seconds=age_s),
    ))  # fmt: skip


def act(script: Script) -> None:
    script.journal("symbol:AAA", PositionOpenEvent(
        at=script.at, symbol=AAA, trade=1, side=Side.BUY, quantity=1, stop_distance=Decimal(1),
        target_distance=None, signal_id="s", rule="r",
    ))  # fmt: skip


@pytest.mark.parametrize(
    ("age_s", "times", "word"), [(1.0, 2, "acted on 2 times"), (90.0, 1, "90 s old"), (-60.0, 1, "-60 s old")]
)
def test_a_signal_that_is_acted_on_twice_or_at_the_wrong_time_is_seen(
    age_s: float, times: int, word: str
) -> None:
    script = Script(AnsweredOnce)
    signal(script, age_s=age_s)
    for _ in range(times):
        act(script)
    assert any(word in what for what in script.broken())


def test_a_replay_that_gives_another_state_is_seen() -> None:
    script = Script(SameByReplay)
    script.put(Compared(script.loop_s, script.at, AAA, same=True))
    assert script.broken() == []
    script.put(Compared(script.loop_s, script.at, AAA, same=False))
    assert len(script.broken()) == 1


# --- life -----------------------------------------------------------------------------------------


def exited(script: Script, exit_: str, reason: str = "") -> ActorExitedEvent:
    return ActorExitedEvent(
        at=script.at, actor="symbol:AAA", epoch=1, exit=exit_, reason=reason, decision="restart", delay_s=0.0
    )


@pytest.mark.parametrize(
    ("exit_", "reason", "faults"),
    [("killed", "", 0), ("crash", "JournalFailed: full", 0), ("crash", "KeyError: 'x'", 1), ("stuck", "", 1)],
)
def test_a_crash_that_nobody_injected_is_seen(exit_: str, reason: str, faults: int) -> None:
    script = Script(NoCrash)
    script.journal("system", exited(script, exit_, reason))
    assert len(script.broken()) == faults


def test_a_process_that_ends_by_itself_is_seen() -> None:
    script = Script(NoCrash)
    script.put(ProcessEnded(script.loop_s, 1, "crash_at_once", expected=True))
    assert script.broken() == []
    script.put(ProcessEnded(script.loop_s, 1, "TreeGaveUp", expected=False))
    assert len(script.broken()) == 1


def test_a_death_that_is_not_recorded_and_not_mended_is_seen() -> None:
    for kind in (Recorded, Mended):
        script = Script(kind)
        script.strike(Blow.ACTOR, "kill_symbol", "symbol:AAA")
        script.later(5)
        assert len(script.broken()) == 1, kind


def test_a_death_that_is_recorded_and_mended_is_none() -> None:
    for kind in (Recorded, Mended):
        script = Script(kind)
        script.strike(Blow.ACTOR, "kill_symbol", "symbol:AAA")
        script.journal("system", exited(script, "killed"))
        script.journal("system", ActorStartedEvent(at=script.at, actor="symbol:AAA", epoch=2))
        script.later(5)
        assert script.broken() == [], kind
        assert script.checker.checked == 1


def look(script: Script, **changes: object) -> Looked:
    standing = SymbolStanding(AAA, ready=True, quarantined=False, held="", position=0, quote_age_s=1.0)
    return Looked(
        script.loop_s,
        script.at,
        link_up=True,
        unknown_orders=0,
        symbols=(attrs.evolve(standing, **changes),),  # type: ignore[arg-type]
    )


@pytest.mark.parametrize(
    ("changes", "word"),
    [({"ready": False}, "not ready"), ({"quote_age_s": 99.0}, "99.0 s old"), ({"position": 5}, "believes 5")],
)
def test_what_has_not_come_right_a_minute_after_the_healing_is_seen(
    changes: dict[str, object], word: str
) -> None:
    script = Script(ComesRight)
    script.put(Healed(script.loop_s, script.at))
    script.loop_s += 55
    script.put(look(script, **changes))
    assert word in script.broken()[0]


def test_what_comes_right_in_time_is_right() -> None:
    script = Script(ComesRight)
    script.put(Healed(script.loop_s, script.at))
    script.loop_s += 55
    script.put(look(script))
    assert script.broken() == []


def test_a_symbol_on_hold_has_said_why_it_does_not_trade() -> None:
    script = Script(ComesRight)
    script.put(Healed(script.loop_s, script.at))
    script.put(look(script, held="somebody else traded it", position=7))
    assert script.broken() == []


def test_a_link_that_ends_for_want_of_data_is_seen() -> None:
    script = Script(LinkStays)
    script.put(FaultDone(script.loop_s, script.at, "silent_feed", ""))
    script.later(5)
    script.put(Connected(script.loop_s, up=False))
    assert len(script.broken()) == 1


def test_somebody_elses_trade_that_nobody_notices_is_seen() -> None:
    script = Script(Noticed)
    script.execute(script.order("main", 9, action="BUY"), "f.01", 100, own=False)
    script.later(40)
    assert "was not held" in script.broken()[0]


def test_somebody_elses_trade_that_puts_the_symbol_on_hold_is_noticed() -> None:
    script = Script(Noticed)
    script.execute(script.order("main", 9, action="BUY"), "f.01", 100, own=False)
    script.journal("symbol:AAA", HoldEvent(at=script.at, symbol=AAA, reason="somebody else"))
    script.later(40)
    assert script.broken() == []


def test_every_checker_names_an_invariant_and_says_what_it_is() -> None:
    assert all(kind.invariant and kind.__doc__ for kind in CHECKERS)
    assert len(set(CHECKERS)) == len(CHECKERS)
