"""INV-17: a recovery that is itself interrupted, at each of its writes and sends, and then made once more.

The real system against the simulated TWS on the mock clock. Its process dies in the middle of an entry that
goes on filling while nobody is there; the next one begins to put things right and dies as well, before or
after its n-th write or send; the third ends what both began.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from decimal import Decimal
from typing import Final

import attrs
import pytest
import trio

from actors.chaos_life import Countdown, Life, ShakyJournal, WatchedLink
from actors.deterministic import run_deterministically
from actors.journal import Journal
from actors.market_clock import MarketClock
from actors.simulated_tws import SimulatedTws
from actors.symbol import stream_of
from actors.system import TradingSystem
from actors.tws_link import Link, LinkDown, StreamLink
from protocol.chaos.plan import CrashPoint
from protocol.events import BaseEvent, PredictionSignalEvent
from protocol.exchange.venue_settings import AccountSettings, VenueSettings
from protocol.order import Order
from protocol.reports import LinkState
from protocol.symbol_state import SymbolState, evolve
from protocol.tws import messages as tws
from protocol.tws.messages import ClientRequest
from tests.directed_market import DirectedMarket
from tests.journals import check_journal
from tests.world import SLV, settings_for

DOWN_S: Final = 4.0
SETTLE_S: Final = 12.0
LEAST_CRASHES: Final = {
    CrashPoint.AFTER_APPEND: 20, CrashPoint.BEFORE_SEND: 1, CrashPoint.AFTER_SEND: 1,
}  # fmt: skip
"""A recovery that has fewer moments of a kind would prove little."""


@attrs.frozen
class Ended:
    """What the third process and the venue believe at the end; no times and no ids of TWS in it."""

    position: int
    executions: tuple[int, Decimal]
    """How many, and what they cost."""
    orders: tuple[tuple[str, str, int, int, Decimal | None], ...]
    theirs: int
    working: tuple[tuple[str, int, float | None], ...]


class Machine:
    """One disk, one venue, and one process after the other."""

    def __init__(self) -> None:
        self.market = DirectedMarket({SLV: 100.0})
        venue = VenueSettings(accounts=(AccountSettings("DU1234567", Decimal(1_000_000)),))
        self.tws = SimulatedTws(self.market, venue, seed=1)
        self.disk = Journal.memory()
        self.settings = settings_for(SLV, shares=250)
        self.left: Counter[tuple[str, Decimal | None, float | None, float | None]] = Counter()
        """What left about orders, by reference, quantity and prices: a repetition would be counted here."""
        self.ids: dict[str, set[int]] = {}
        self.lives = 0

    def life(self) -> Life:
        self.lives += 1
        return Life(self.lives, lambda _: None)

    async def live(self, life: Life, task_status: trio.TaskStatus[TradingSystem]) -> None:
        """A process until it dies, with everything that it held in memory."""

        async def dial() -> Link:
            if not life.alive:
                raise LinkDown("the process is dead")
            stream = await StreamLink.open(self.tws.connect_memory(), self.settings.broker.client_id)
            return WatchedLink(stream, life, self._sent, {})

        def recorder(_head: int, _stream: str, _events: Sequence[BaseEvent]) -> None:
            return

        journal = ShakyJournal.opened(self.disk, life, recorder)
        system = TradingSystem(
            self.settings, journal=journal, instance="w", clock=MarketClock(), connect=dial, seed=life.number
        )
        async with trio.open_nursery() as nursery:
            nursery.start_soon(life.wait_for_death)
            task_status.started(system)
            with life.scope:
                await system.run()
            nursery.cancel_scope.cancel()

    def _sent(self, request: ClientRequest, _age_s: float | None) -> None:
        if isinstance(request, tws.PlaceOrder):
            order = request.order
            self.left[order.order_ref, order.total_quantity, order.lmt_price, order.aux_price] += 1
            self.ids.setdefault(order.order_ref, set()).add(request.order_id)

    def rows(self) -> list[tuple[str, BaseEvent]]:
        """What is on the disk, whoever wrote it."""
        journal = Journal(self.disk._connection, path=None, lock=None, synchronous=True)
        journal._check()
        return [(row.stream, row.event) for row in journal.rows()]


async def ready(system: TradingSystem) -> None:
    with trio.fail_after(60):
        while not (system.broker.state is LinkState.UP and system.symbols[SLV].ready):
            await trio.sleep(0.05)


def replayed(machine: Machine) -> SymbolState:
    state = SymbolState.begin(SLV)
    for stream, event in machine.rows():
        if stream == stream_of(SLV):
            state = evolve(state, event)
    return state


def order_of(order: Order) -> tuple[str, str, int, int, Decimal | None]:
    spec = order.spec
    return str(order.ref), order.status.value, spec.quantity, order.filled, spec.stop_price


async def story(point: CrashPoint | None, nth: int) -> tuple[Ended, Machine, bool]:
    """What there is at the end, and whether the second process died of its crash."""
    machine = Machine()
    async with trio.open_nursery() as host:
        await host.start(machine.tws.run)
        await enter_and_die(machine, host)
        crashed = False
        if point is not None:
            life = machine.life()
            life.arm_crash(Countdown(point, nth, DOWN_S))
            await host.start(machine.live, life)
            with trio.move_on_after(SETTLE_S):
                while life.alive:
                    await trio.sleep(0.01)
            crashed = not life.alive
            life.die(CrashPoint.AT_ONCE, 0.0)
            await trio.sleep(DOWN_S)
        last = machine.life()
        system: TradingSystem = await host.start(machine.live, last)
        await ready(system)
        await trio.sleep(SETTLE_S)
        ended = ended_as(machine, system)
        assert replayed(machine) == system.symbols[SLV].state
        last.die(CrashPoint.AT_ONCE, 0.0)
        await trio.sleep(1.0)
        host.cancel_scope.cancel()
    return ended, machine, crashed


async def enter_and_die(machine: Machine, host: trio.Nursery) -> None:
    """The entry has filled in part when the process dies; the rest fills afterwards, at another price."""
    life = machine.life()
    system: TradingSystem = await host.start(machine.live, life)
    await ready(system)
    machine.market.show(SLV, 100.0, size=100)
    await trio.sleep(5.0)
    now = system.clock.now()
    system.take_signal(PredictionSignalEvent(
        at=now, symbol=SLV, signal_id="s1", source="test", signal="BUY", confidence=0.9, predicted_at=now
    ))  # fmt: skip
    with trio.fail_after(20):
        while not 0 < position_of(machine) < 250:
            await trio.sleep(0.01)
    life.die(CrashPoint.AT_ONCE, 0.0)
    machine.market.show(SLV, 100.4, size=100)
    await trio.sleep(DOWN_S)
    assert position_of(machine) == 250


def position_of(machine: Machine) -> int:
    return sum(each.quantity for each in machine.tws.venue.positions("DU1234567"))


def ended_as(machine: Machine, system: TradingSystem) -> Ended:
    state = system.symbols[SLV].state
    trade = state.trade
    return Ended(
        position=state.position.quantity,
        executions=(len(state.position.executions), state.position.average_price),
        orders=() if trade is None else tuple(map(order_of, trade.orders)),
        theirs=position_of(machine),
        working=tuple(
            (order.order.order_ref, order.remaining, order.order.aux_price)
            for order in machine.tws.venue.open_orders()
        ),
    )


def told(point: CrashPoint | None = None, nth: int = 0) -> tuple[Ended, Machine, bool]:
    return run_deterministically(lambda: story(point, nth), seed=1)


def check(machine: Machine) -> None:
    """No order twice, no request twice, and the laws that the journal alone shows."""
    assert {ref: ids for ref, ids in machine.ids.items() if len(ids) > 1} == {}
    assert {what: times for what, times in machine.left.items() if times > 1} == {}
    assert check_journal(machine.rows(), ended=False).violations == ()


@pytest.fixture(scope="module")
def undisturbed() -> Ended:
    ended, machine, _ = told()
    check(machine)
    return ended


def test_the_recovery_itself_has_something_to_put_right(undisturbed: Ended) -> None:
    assert (undisturbed.position, undisturbed.theirs) == (250, 250)
    assert undisturbed.executions[0] == 3
    stop, target = (order for order in undisturbed.orders if ":main:" not in order[0])
    assert stop[2] == target[2] == 250
    assert sorted(size for _, size, _ in undisturbed.working) == [250, 250]


@pytest.mark.slow
@pytest.mark.parametrize(
    "point",
    [CrashPoint.AFTER_APPEND, CrashPoint.BEFORE_SEND, CrashPoint.AFTER_SEND],
    ids=lambda point: point.value,
)
def test_inv_17_a_recovery_may_die_at_every_step_and_the_next_one_ends_it(
    undisturbed: Ended, point: CrashPoint
) -> None:
    crashes = 0
    while True:
        ended, machine, crashed = told(point, crashes + 1)
        check(machine)
        assert ended == undisturbed, f"{point.value} {crashes + 1}"
        if not crashed:
            break
        crashes += 1
    assert crashes >= LEAST_CRASHES[point]
