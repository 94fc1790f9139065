"""The terminal: what a person is told, and that trading never waits for the telling."""

from __future__ import annotations

import io
import os
import threading
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from zoneinfo import ZoneInfo

import attrs
import pytest
import trio
import trio.testing
from rich.console import Console

from actors.terminal import MAX_WAITING_LINES, RunStatus, SymbolStatus, Terminal
from actors.terminal_view import View, draw
from protocol.books import JournalFold
from protocol.events import (
    ActorExitedEvent,
    AlarmEvent,
    BaseEvent,
    FillEvent,
    LinkEvent,
    ModifyOrderEvent,
    NewOrderEvent,
    OrderStatusEvent,
    PositionCloseEvent,
    PositionOpenEvent,
    PositionUpdateEvent,
    RejectEvent,
    RunEvent,
    SignalVerdictEvent,
    Verdict,
)
from protocol.reports import LinkState
from protocol.summary import summarise, tell
from protocol.values import (
    MAIN,
    STOP,
    TARGET,
    OrderRef,
    OrderSpec,
    OrderStatus,
    OrderType,
    Purpose,
    Side,
    Symbol,
    TimeInForce,
)

SLV = Symbol("SLV")
NEW_YORK = ZoneInfo("America/New_York")
T0 = datetime(2019, 2, 11, 15, 0, tzinfo=UTC)


def ref(role: str) -> OrderRef:
    return OrderRef("rf", SLV, 1, role)


def stop_order(price: str) -> OrderSpec:
    return OrderSpec(
        ref(STOP), Side.SELL, 60, OrderType.STOP, TimeInForce.GTC, stop_price=Decimal(price), oca_type=2
    )


OPENED = PositionOpenEvent(
    at=T0,
    symbol=SLV,
    trade=1,
    side=Side.BUY,
    quantity=100,
    stop_distance=Decimal("0.44"),
    target_distance=Decimal("1.17"),
    signal_id="s1",
    rule="long",
)
STOPPED = NewOrderEvent(at=T0, ref=ref(STOP), order=stop_order("14.16"))
FILLED = FillEvent(at=T0, ref=ref(MAIN), exec_id="1.01", side=Side.BUY, quantity=60, price=Decimal("14.60"))
MOVED = ModifyOrderEvent(at=T0, ref=ref(STOP), order=stop_order("14.20"), why="average fill")
CLOSED = PositionCloseEvent(at=T0, symbol=SLV, trade=1, reason="target", realized_pnl=Decimal("24.00"))
ALARM = AlarmEvent(at=T0, code="uncovered", text="no stop\x1b[2J\nworks", symbol="SLV")


def status() -> RunStatus:
    return RunStatus(
        symbols=(SymbolStatus(SLV, last=15.0),),
        market_now=T0 + timedelta(minutes=15),
        speed=60.0,
        link=LinkState.UP,
        market_from=T0,
        market_to=T0 + timedelta(hours=1),
    )


# --- one line for each event worth telling --------------------------------------------------------


@pytest.mark.parametrize(
    ("event", "line"),
    [
        (OPENED, "SLV: enters long 100 by rule long (stop 0.44 away, target 1.17 away)"),
        (FILLED, "SLV: main fills, BUY 60 at 14.60"),
        (MOVED, "SLV: stop moves to 60 at 14.20 (average fill)"),
        (
            PositionUpdateEvent(at=T0, symbol=SLV, trade=1, reason="opposite signal", reverse_to=Side.SELL),
            "SLV: closes, opposite signal, then turns short",
        ),
        (CLOSED, "SLV: closed, target, +$24.00"),
        (ALARM, "ALARM SLV: no stop [2J works (uncovered)"),
        (
            RejectEvent(at=T0, ref=ref(TARGET), request="modify", code=201, reason="margin", terminal=False),
            "SLV: modify of target refused (201): margin",
        ),
        (LinkEvent(at=T0, state="down", generation=2, reason="reset"), "link down, reset"),
        (
            ActorExitedEvent(
                at=T0, actor="SLV", epoch=3, exit="killed", reason="chaos", decision="restart", delay_s=0.0
            ),
            "SLV ended (killed, chaos): restart",
        ),
        (RunEvent(at=T0, what="stopped", detail=""), "run stopped"),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, BaseEvent) else "",
)
def test_a_notable_event_is_one_line_in_the_time_of_the_exchange(event: BaseEvent, line: str) -> None:
    assert tell(event, NEW_YORK) == f"10:00:00  {line}"


@pytest.mark.parametrize(
    "event",
    [
        NewOrderEvent(at=T0, ref=ref(STOP), order=stop_order("14.16")),
        ModifyOrderEvent(
            at=T0, ref=ref(TARGET), order=attrs.evolve(stop_order("1"), purpose=Purpose.TARGET), why="x"
        ),
        OrderStatusEvent(at=T0, ref=ref(STOP), status=OrderStatus.SUBMITTED, perm_id=1, quantity=1, filled=0),
        SignalVerdictEvent(
            at=T0, signal_id="s", symbol="SLV", verdict=Verdict.IGNORED, code="no_trade", reason=""
        ),
    ],
    ids=lambda event: type(event).__name__,
)
def test_the_daily_work_is_not_told(event: BaseEvent) -> None:
    assert tell(event, NEW_YORK) is None


# --- lines ----------------------------------------------------------------------------------------


async def test_lines_are_written_as_things_happen_and_the_summary_comes_last() -> None:
    out = io.StringIO()
    terminal = Terminal([SLV], status, out=out)
    assert not terminal.live
    async with trio.open_nursery() as nursery:
        await nursery.start(terminal.run, 1)
        terminal.follow("symbol:SLV", [OPENED, FILLED])
        with trio.fail_after(5):
            while "main fills" not in out.getvalue():
                await trio.sleep(0.01)
        nursery.cancel_scope.cancel()
    terminal.follow("symbol:SLV", [MOVED])
    await terminal.finish(exit_reason="stopped", faults=("SLV: x.",), next_command="scripts/run --help")
    assert out.getvalue().splitlines() == [
        "10:00:00  SLV: enters long 100 by rule long (stop 0.44 away, target 1.17 away)",
        "10:00:00  SLV: main fills, BUY 60 at 14.60",
        "10:00:00  SLV: stop moves to 60 at 14.20 (average fill)",
        "symbol  state    signals  accepted  orders  trades  position    P&L  commission",
        "SLV     running        0         0       0       1       +60  $0.00       $0.00",
        "total                  0         0       0       1            $0.00       $0.00",
        "exit: stopped",
        "books disagree: SLV: x.",
        "next: scripts/run --help",
    ]


async def test_what_an_earlier_run_wrote_is_counted_but_not_told_again() -> None:
    out = io.StringIO()
    terminal = Terminal([SLV], status, out=out)
    terminal.recall("symbol:SLV", [OPENED, FILLED])
    await terminal.finish(exit_reason="stopped")
    assert "main fills" not in out.getvalue()
    assert terminal.books().symbols[0].books.position == 60


class Standstill(io.StringIO):
    """A reader that reads nothing until it is released."""

    def __init__(self) -> None:
        super().__init__()
        self.released = threading.Event()
        self.reached = threading.Event()

    def write(self, text: str) -> int:
        self.reached.set()
        self.released.wait(10)
        return super().write(text)


async def test_a_reader_that_stands_still_holds_nothing_up_and_loses_lines_which_is_said() -> None:
    out = Standstill()
    terminal = Terminal([SLV], status, out=out)
    async with trio.open_nursery() as nursery:
        await nursery.start(terminal.run, 1)
        terminal.follow("symbol:SLV", [OPENED])
        with trio.fail_after(5):
            await trio.to_thread.run_sync(out.reached.wait)
        before = trio.current_time()
        terminal.follow("symbol:SLV", [MOVED] * (MAX_WAITING_LINES + 5))
        assert trio.current_time() - before < 2
        out.released.set()
        with trio.fail_after(5):
            while "not shown" not in out.getvalue():
                await trio.sleep(0.01)
        nursery.cancel_scope.cancel()
    lines = out.getvalue().splitlines()
    assert lines[1] == "… 5 lines were not shown"
    assert len(lines) == 2 + MAX_WAITING_LINES


async def test_a_stop_does_not_wait_for_a_reader_that_stands_still(
    autojump_clock: trio.testing.MockClock,
) -> None:
    out = Standstill()
    terminal = Terminal([SLV], status, out=out)
    async with trio.open_nursery() as nursery:
        await nursery.start(terminal.run, 1)
        terminal.follow("symbol:SLV", [OPENED])
        await trio.testing.wait_all_tasks_blocked()
        nursery.cancel_scope.cancel()
    await terminal.finish(exit_reason="stopped")
    out.released.set()


async def test_a_reader_that_has_gone_is_no_reason_to_stop() -> None:
    reading, writing = os.pipe()
    os.close(reading)
    with os.fdopen(writing, "w", encoding="utf-8") as out:
        terminal = Terminal([SLV], status, out=out)
        async with trio.open_nursery() as nursery:
            await nursery.start(terminal.run, 1)
            for _ in range(3):
                terminal.follow("symbol:SLV", [OPENED])
                await trio.sleep(0.02)
            nursery.cancel_scope.cancel()
        await terminal.finish(exit_reason="stopped")
        out.flush()


# --- the table ------------------------------------------------------------------------------------


def drawn(view: View, width: int = 120) -> str:
    console = Console(file=io.StringIO(), width=width, force_terminal=False)
    console.print(draw(view))
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def test_the_table_shows_each_symbol_with_its_profit_at_the_last_price() -> None:
    folding = JournalFold([SLV])
    accepted = SignalVerdictEvent(
        at=T0, signal_id="s", symbol="SLV", verdict=Verdict.REFUSED, code="[bold]", reason=""
    )
    for event in (OPENED, STOPPED, FILLED, MOVED, accepted):
        folding.add("symbol:SLV", event)
    rows = ((folding.summary_of(SLV), SymbolStatus(SLV, last=15.0)),)
    shown = drawn(View(status(), rows, ("10:00:00  ALARM x",), NEW_YORK))
    assert "2019-02-11 10:15:00 EST   speed 60   link up" in shown
    (line,) = [line for line in shown.splitlines() if "SLV" in line]
    cells = [cell.strip() for cell in line.strip("│").split("│")]
    assert cells == ["SLV", "running", "+60", "14.60", "15.00", "$24.00", "14.20", "refused: [bold]"]
    assert "10:00:00  ALARM x" in shown


def test_progress_is_the_market_time_between_the_ends_of_a_replay() -> None:
    assert status().progress == 0.25
    assert RunStatus().progress is None


async def test_on_a_terminal_the_table_is_drawn_again_and_the_cursor_comes_back() -> None:
    out = io.StringIO()
    terminal = Terminal([SLV], status, out=out, live=True)
    async with trio.open_nursery() as nursery:
        await nursery.start(terminal.run, 1)
        terminal.follow("symbol:SLV", [OPENED])
        with trio.fail_after(10):
            while "enters long" not in out.getvalue():
                await trio.sleep(0.02)
        nursery.cancel_scope.cancel()
    await terminal.finish(exit_reason="stopped")
    text = out.getvalue()
    assert text.index("\x1b[?25l") < text.index("\x1b[?25h") < text.index("exit: stopped")


# --- the end --------------------------------------------------------------------------------------


def test_the_summary_of_a_quiet_run_is_short() -> None:
    assert summarise(JournalFold([]).books(), exit_reason="duration over") == (
        "symbol  state  signals  accepted  orders  trades  position    P&L  commission",
        "total                0         0       0       0            $0.00       $0.00",
        "exit: duration over",
    )
