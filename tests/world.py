"""The whole trading system and a simulated TWS in one run on the mock clock, and a market that does as told.

Router, symbols, broker, codec, wire bytes and venue are the real ones; the link is a memory stream, signals
come from a source in the process. A second of the clock is a second of the market. After a story, `World`
holds the journal against the venue's books and its truth, and asks whether anything was lost on the way.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from datetime import datetime, time, timedelta
from decimal import Decimal
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final, TypeVar

import attrs
import orjson
import outcome
import pytest
import trio

from actors.deterministic import run_deterministically
from actors.journal import Journal
from actors.market_clock import MarketClock
from actors.run_facts import MAX_UNCOVERED_S, broker_books
from actors.simulated_tws import SimulatedTws
from actors.symbol import SymbolActor, stream_of
from actors.system import Edge, TradingSystem
from actors.system_views import SYMBOL_PREFIX
from actors.tws_link import Link, LinkDown, StreamLink
from protocol.config import default_settings
from protocol.events import (
    ActorExitedEvent,
    AlarmEvent,
    BaseEvent,
    PredictionSignalEvent,
    SignalVerdictEvent,
)
from protocol.exchange.calendar import new_york
from protocol.exchange.happenings import VenueOrder
from protocol.exchange.history import micros
from protocol.exchange.market import Market
from protocol.exchange.tws_settings import TwsSettings
from protocol.exchange.venue_settings import AccountSettings, ChildActivation, VenueSettings
from protocol.kills import KillOrder
from protocol.prediction_shelf import StoredPrediction
from protocol.report import disagreements
from protocol.risk.settings import RiskLimits
from protocol.rules.amounts import Shares
from protocol.settings import Settings, SymbolSettings
from protocol.signal_gate import GateLimits, judge
from protocol.signal_memory import SeenSignals
from protocol.symbol_state import SymbolState
from protocol.values import OrderRef, Symbol
from tests.directed_market import DAY, DirectedMarket
from tests.journals import check_journal, fold

T = TypeVar("T")

SLV, GLD = Symbol("SLV"), Symbol("GLD")
GLANCE_LOOP_S: Final = 0.05
SOURCE: Final = "test"


# --- the signals ----------------------------------------------------------------------------------


def prediction(
    symbol: str, signal: str, at: datetime, *, confidence: float = 0.9, number: int = 0
) -> dict[str, object]:
    """The body of a prediction stamped `at`."""
    stamp = micros(at) // 1000
    return {
        "id": f"{symbol}-{stamp}-{number}", "ticker": symbol, "signal": signal, "confidence": confidence,
        "timestamp": stamp,
    }  # fmt: skip


class PromptSource:
    """A signal source without a service: each prediction passes the real gate at its own market time."""

    def __init__(
        self,
        predictions: Sequence[StoredPrediction],
        symbols: Collection[str],
        *,
        journal: Journal,
        clock: MarketClock,
        deliver: Callable[[PredictionSignalEvent], None],
    ) -> None:
        self._predictions = sorted(predictions, key=lambda each: each.timestamp_ms)
        self._limits = GateLimits(frozenset(symbols))
        self._journal, self._clock, self._deliver = journal, clock, deliver
        self._seen = SeenSignals()
        self.exhausted = not predictions

    async def run(self, epoch: int, task_status: trio.TaskStatus[None]) -> None:
        del epoch
        self._seen = SeenSignals()
        for event in self._journal.read("signals"):
            self._seen.evolve(event)
        task_status.started()
        while not self._clock.known:
            await trio.sleep(GLANCE_LOOP_S)
        for stored in self._predictions:
            # In whole milliseconds, as stamps are: a float of seconds would round differently elsewhere.
            stamp = EPOCH + timedelta(milliseconds=stored.timestamp_ms)
            while self._clock.now() < stamp:
                await trio.sleep_until(self._clock.loop_time_of(stamp) + 1e-6)
            self.take(orjson.loads(stored.body))
        self.exhausted = True
        await trio.sleep_forever()

    def take(self, body: object) -> None:
        """One prediction arrives now."""
        judgement = judge(self._seen, body, self._limits, at=self._clock.now(), source=SOURCE)
        if judgement.events:
            self._journal.append("signals", judgement.events)
        for event in judgement.events:
            self._seen.evolve(event)
        if judgement.passed is not None:
            self._deliver(judgement.passed)


EPOCH: Final = datetime.fromisoformat("1970-01-01T00:00:00+00:00")


# --- the world ------------------------------------------------------------------------------------


ROOMY: Final = RiskLimits(
    max_fill_deviation=1.0, max_daily_loss_of_symbol=Decimal(1_000_000), max_round_trips=1000,
    max_stop_outs_in_a_row=1000, max_messages_per_execution=1000, max_rejects=1000, max_rejects_in_all=1000,
)  # fmt: skip
"""What watches over a day's course is not in the way of stories in which prices jump by tenths."""


def settings_for(*symbols: Symbol, shares: int = 100, **changes: object) -> Settings:
    """The default configuration, with whole shares instead of dollars and room for wild prices."""
    settings = attrs.evolve(default_settings(symbols), risk=ROOMY)
    sized = tuple(SymbolSettings(symbol, Shares(shares)) for symbol in symbols)
    return attrs.evolve(settings, symbols=sized, **changes)  # type: ignore[arg-type]


class World:
    """Made and run by `play`. `market` is what the story may direct; everything else, it may look at."""

    def __init__(
        self,
        market: Market,
        settings: Settings,
        *,
        truth: Path,
        activation: ChildActivation,
        predictions: Sequence[StoredPrediction],
        kills: Sequence[KillOrder],
        seed: int,
        start: datetime | None,
        tws: TwsSettings | None,
    ) -> None:
        self.market, self.settings = market, settings
        self.truth_path = truth
        venue = VenueSettings(
            accounts=(AccountSettings("DU1234567", Decimal(1_000_000)),), child_activation=activation
        )
        self.tws = SimulatedTws(market, venue, seed=seed, truth=truth, start=start, settings=tws)
        self.journal, self.clock = Journal.memory(), MarketClock()
        self.system = TradingSystem(
            settings, journal=self.journal, instance="w", clock=self.clock, connect=self._dial, seed=seed,
            kills=kills,
        )  # fmt: skip
        self.source = PromptSource(
            predictions, self.system.symbols, journal=self.journal, clock=self.clock,
            deliver=self.system.take_signal,
        )  # fmt: skip
        self.system.edges.append(Edge(id="signals", start=self.source.run))
        self.wire: Callable[[StreamLink], Link] = lambda link: link
        """A story may put something of its own around the next link."""
        self.unreachable = False
        """While it is set, nobody answers a new connection."""
        self.links = 0
        self._numbers = 0

    async def _dial(self) -> Link:
        if self.unreachable:
            raise LinkDown("nobody answers")
        self.links += 1
        return self.wire(await StreamLink.open(self.tws.connect_memory(), self.settings.broker.client_id))

    async def live(self, story: Callable[[World], Awaitable[T]]) -> T:
        async with trio.open_nursery() as host:
            await host.start(self.tws.run)
            async with trio.open_nursery() as tree:
                await tree.start(self.system.run)
                await self.until(lambda: all(actor.ready for actor in self.system.symbols.values()))
                # Unwrapped below: a story that fails, fails with its own words and not in a group.
                told = await outcome.acapture(story, self)
                tree.cancel_scope.cancel()
            host.cancel_scope.cancel()
        self.journal.close()
        return told.unwrap()

    # --- to direct it -----------------------------------------------------------------------------

    @property
    def stage(self) -> DirectedMarket:
        assert isinstance(self.market, DirectedMarket)
        return self.market

    async def until(self, condition: Callable[[], bool], within_s: float = 30.0) -> None:
        with trio.fail_after(within_s):
            while not condition():
                await trio.sleep(GLANCE_LOOP_S)

    async def quoted(self) -> None:
        """Every symbol has a quote with two sides."""
        await self.until(
            lambda: all(actor.view.quote_age_s(self.clock.now()) is not None for actor in self.actors)
        )

    async def show(self, symbol: Symbol, price: float | None = None, *, size: int | None = None) -> None:
        """Show a price and wait until the symbol has seen it."""
        self.stage.show(symbol, price, size=size)
        await trio.sleep(3.0)

    def signal(self, symbol: Symbol, word: str) -> None:
        self._numbers += 1
        self.source.take(prediction(symbol, word, self.clock.now(), number=self._numbers))

    async def enter(self, symbol: Symbol = SLV, word: str = "BUY") -> None:
        """A signal and the whole fill of its entry."""
        await self.quoted()
        self.signal(symbol, word)
        sized = next(entry.sizing for entry in self.settings.symbols if entry.symbol == symbol)
        assert isinstance(sized, Shares)
        await self.until(lambda: abs(self.position(symbol)) == sized.quantity)
        await trio.sleep(1.0)

    async def sleep_until(self, clock: str) -> None:
        """Until this time of day in New York."""
        at = new_york(DAY, time.fromisoformat(clock))
        await trio.sleep((at - self.tws.market_now()).total_seconds())

    def kill(self, actor: str) -> None:
        """`broker`, `router`, `timers` or a symbol; it must be alive."""
        assert self.kill_if_alive(actor)

    def kill_if_alive(self, actor: str) -> bool:
        for supervisor in (self.system.trading, self.system.symbol_tree):
            known = {child.id for child in supervisor.which_children()}
            for name in (actor, SYMBOL_PREFIX + actor):
                if name in known:
                    return supervisor.kill(name, "killed by the story")
        raise KeyError(actor)

    def at_write(self, stream: str, number: int, do: Callable[[], None]) -> None:
        """Do something right after the `number`th commit to a stream of the journal from now on.

        It runs in the writer's turn: what it kills dies after that turn, what it raises dies in it.
        """
        left = number

        def count(of: str, _: Sequence[BaseEvent]) -> None:
            nonlocal left
            if of == stream:
                left -= 1
                if left == 0:
                    do()

        self.journal.follow(count)

    # --- to look at it ----------------------------------------------------------------------------

    @property
    def actors(self) -> tuple[SymbolActor, ...]:
        return tuple(self.system.symbols.values())

    def state(self, symbol: Symbol = SLV) -> SymbolState:
        return self.system.symbols[symbol].state

    def position(self, symbol: Symbol = SLV) -> int:
        """The venue's."""
        held = self.tws.venue.positions("DU1234567")
        return sum(each.quantity for each in held if each.contract.symbol == symbol)

    def working(self, symbol: Symbol = SLV) -> dict[str, VenueOrder]:
        """The venue's open orders by role."""
        found = {}
        for order in self.tws.venue.open_orders():
            ref = OrderRef.parse(order.order.order_ref)
            if order.contract.symbol == symbol and ref is not None:
                assert ref.role not in found, f"two {ref.role} orders work"
                found[ref.role] = order
        return found

    def exits(self, symbol: Symbol = SLV) -> dict[str, tuple[str, int, float | None]]:
        """Side, open shares and price of each working exit, as the venue has them."""

        def price(order: VenueOrder) -> float | None:
            asked = order.order
            return asked.aux_price if asked.order_type in ("STP", "TRAIL") else asked.lmt_price

        return {
            role: (order.order.action, order.remaining, price(order))
            for role, order in self.working(symbol).items()
        }

    def events(self, kind: type[T], symbol: Symbol | None = None) -> list[T]:
        stream = None if symbol is None else stream_of(symbol)
        return [event for event in self.journal.read(stream) if isinstance(event, kind)]

    def verdicts(self) -> list[tuple[str, str]]:
        return [(event.symbol, event.code) for event in self.events(SignalVerdictEvent)]

    def prices(self, symbol: Symbol = SLV) -> list[tuple[str, int, Decimal]]:
        """Side, shares and price of each execution at the venue."""
        return [
            (each.side, each.quantity, each.price)
            for each in self.tws.venue.executions()
            if each.contract.symbol == symbol
        ]

    def restarts(self) -> dict[str, int]:
        return dict(Counter(event.actor for event in self.events(ActorExitedEvent)))

    def alarms(self) -> set[str]:
        return {event.code for event in self.events(AlarmEvent)}

    def truth(self) -> list[dict[str, object]]:
        return [orjson.loads(line) for line in self.truth_path.read_bytes().splitlines()]

    # --- what must hold after every story -----------------------------------------------------------

    async def settle(self, within_s: float = 20.0) -> None:
        """Wait until both sides' books are the same."""
        await self.until(lambda: not self.disagreements(), within_s)

    def disagreements(self) -> tuple[str, ...]:
        books = fold(tuple(self.system.symbols), self.rows())
        return disagreements(books, broker_books(self.system, self.tws))

    def rows(self) -> list[tuple[str, BaseEvent]]:
        return [(row.stream, row.event) for row in self.journal.rows()]

    def uncovered_s(self) -> dict[str, float]:
        return {symbol: books.max_uncovered_s for symbol, books in self.tws.books().items()}

    async def check(
        self, *, restarts: Mapping[str, int] | None = None, alarms: Collection[str] | None = ()
    ) -> None:
        """Books equal, journal sound, no order twice, no message lost, nobody restarted but those named.

        `alarms` None: whatever a person was told, it is not what this story is about.
        """
        await trio.sleep(2.0)
        assert self.disagreements() == ()
        assert check_journal(self.rows(), ended=True).violations == ()
        assert self.sent_twice() == []
        assert self.lost() == {}
        assert {s: spent for s, spent in self.uncovered_s().items() if spent > MAX_UNCOVERED_S} == {}
        assert self.restarts() == dict(restarts or {})
        assert alarms is None or self.alarms() == set(alarms)

    def sent_twice(self) -> list[str]:
        """Orders that the venue took more than once."""
        taken = Counter(str(line["order_ref"]) for line in self.truth() if line["kind"] == "order_accepted")
        return [ref for ref, times in taken.items() if times > 1]

    def lost(self) -> dict[str, int]:
        """Messages that a mailbox has dropped, or not accounted for."""
        counts = {str(symbol): box.counts for symbol, box in self.system.mailboxes.items()}
        counts["router"] = self.system.router.mailbox.counts
        counts["broker"] = self.system.broker_mailbox.counts
        return {
            name: count.in_ - count.handled - count.conflated - count.depth
            for name, count in counts.items()
            if count.in_ != count.handled + count.conflated + count.depth
        }


Story = Callable[[World], Awaitable[T]]


def play(
    story: Story[T],
    market: Market | None = None,
    settings: Settings | None = None,
    *,
    activation: ChildActivation = ChildActivation.SCALED,
    predictions: Sequence[StoredPrediction] = (),
    kills: Sequence[KillOrder] = (),
    seed: int = 1,
    start: datetime | None = None,
    tws: TwsSettings | None = None,
) -> T:
    """Run a story from the link-up on, the same way every time."""
    with TemporaryDirectory() as folder:

        async def main() -> T:
            world = World(
                market if market is not None else DirectedMarket({SLV: 100.0}),
                settings if settings is not None else settings_for(SLV),
                truth=Path(folder) / "truth.jsonl", activation=activation, predictions=predictions,
                kills=kills, seed=seed, start=start, tws=tws,
            )  # fmt: skip
            return await world.live(story)

        return run_deterministically(main, seed=seed)


under_both = pytest.mark.parametrize("activation", list(ChildActivation), ids=lambda each: each.value)
"""What IB does with the children of a partly filled parent is not proven: protection holds either way."""
