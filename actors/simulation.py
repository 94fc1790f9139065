"""The whole trading system and a simulated TWS in one call, for a story told in Python.

Router, symbols, broker, codec, wire and venue are the real ones. The link is a memory stream and the clock
is trio's mock clock: a second of it is a second of the market, and nobody waits for it. The same seed gives
the same run, event for event. For real time, and for a TWS of somebody else's, there is `actors/trade.py`.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from decimal import Decimal
from typing import Final, TypeVar

import attrs
import outcome
import trio

from actors.deterministic import run_deterministically
from actors.journal import Journal
from actors.market_clock import MarketClock
from actors.simulated_tws import SimulatedTws
from actors.subscriptions import Subscription
from actors.system import TradingSystem
from actors.tws_link import Link, StreamLink
from protocol.config import ConfigFaults, default_settings
from protocol.events import BaseEvent, PredictionSignalEvent, PriceEvent, UserEvent
from protocol.exchange.market import Market
from protocol.exchange.synthetic import SyntheticMarket
from protocol.exchange.venue_settings import AccountSettings, VenueSettings
from protocol.position_book import PositionBook
from protocol.position_record import PositionRecord
from protocol.rule_checks import rule_faults
from protocol.rules.amounts import Shares
from protocol.rules.rule import Rule
from protocol.settings import Settings, SymbolSettings
from protocol.values import Symbol

E = TypeVar("E", bound=BaseEvent)
T = TypeVar("T")

ACCOUNT: Final = "DU1234567"
CASH: Final = Decimal(1_000_000)
GLANCE_LOOP_S: Final = 0.05
SOURCE: Final = "story"


class Simulation:
    """Made by `simulate`. `system` is the real one; `positions` is the book that follows it."""

    def __init__(self, settings: Settings, market: Market, *, seed: int) -> None:
        self.settings, self.market = settings, market
        venue = VenueSettings(accounts=(AccountSettings(ACCOUNT, CASH),))
        self.tws = SimulatedTws(market, venue, seed=seed)
        self.journal, self.clock = Journal.memory(), MarketClock()
        self.positions = PositionBook({entry.symbol: entry.facts for entry in settings.symbols})
        self.journal.follow(self.positions.follow)
        self.system = TradingSystem(
            settings, journal=self.journal, instance="sim", clock=self.clock, connect=self._dial, seed=seed
        )
        self.subscribe(PriceEvent, self.positions.hear, name="position book")
        self._signals = 0

    async def _dial(self) -> Link:
        return await StreamLink.open(self.tws.connect_memory(), self.settings.broker.client_id)

    async def live(self, story: Callable[[Simulation], Awaitable[T]]) -> T:
        """Link up, reconcile, tell the story, end. What the story raises is raised."""
        async with trio.open_nursery() as host:
            await host.start(self.tws.run)
            async with trio.open_nursery() as tree:
                await tree.start(self.system.run)
                await self.until(lambda: all(actor.ready for actor in self.system.symbols.values()))
                await self.until(self._quoted)
                # Unwrapped below: a story that fails, fails with its own words and not in a group.
                told = await outcome.acapture(story, self)
                tree.cancel_scope.cancel()
            host.cancel_scope.cancel()
        self.journal.close()
        return told.unwrap()

    def _quoted(self) -> bool:
        now = self.clock.now()
        return all(actor.view.quote_age_s(now) is not None for actor in self.system.symbols.values())

    # --- events -----------------------------------------------------------------------------------

    def subscribe(
        self,
        kind: type[E],
        handler: Callable[[E], None] | Callable[[E], Awaitable[None]],
        *,
        name: str = "",
        symbol: str = "",
    ) -> Subscription:
        """Tell `handler`, plain or async, of every event of `kind` and its subtypes."""
        return self.system.subscriptions.subscribe(
            kind, handler, name=name, symbol=Symbol(symbol) if symbol else None
        )

    def emit(self, name: str, text: str = "", symbol: str = "") -> None:
        """An event of the story's own: journalled, and told like any other."""
        self.system.subscriptions.emit(UserEvent(at=self.clock.now(), name=name, text=text, symbol=symbol))

    def events(self, kind: type[E]) -> tuple[E, ...]:
        """All events of `kind` and its subtypes so far, in their order."""
        return tuple(event for event in self.journal.read() if isinstance(event, kind))

    def signal(self, symbol: str, word: str, confidence: float = 0.9) -> str:
        """A prediction arrives now: BUY, SELL or SHORT. Returns its id, by which its verdict is found."""
        self._signals += 1
        at, signal_id = self.clock.now(), f"{symbol}-{self._signals}"
        event = PredictionSignalEvent(
            at=at,
            symbol=Symbol(symbol),
            signal_id=signal_id,
            source=SOURCE,
            signal=word,
            confidence=confidence,
            predicted_at=at,
        )
        self.journal.append("signals", [event])
        self.system.take_signal(event)
        return signal_id

    # --- time -------------------------------------------------------------------------------------

    async def wait(self, seconds: float) -> None:
        """Let the market go on."""
        await trio.sleep(seconds)

    async def until(self, condition: Callable[[], bool], within_s: float = 3600.0) -> None:
        """Wait until it holds; `trio.TooSlowError` when it does not within that much market time."""
        with trio.fail_after(within_s):
            while not condition():
                await trio.sleep(GLANCE_LOOP_S)

    # --- what it has come to ------------------------------------------------------------------------

    def price(self, symbol: str) -> float | None:
        """The last trade that the symbol has seen."""
        return self.system.symbols[Symbol(symbol)].view.last

    def position(self, symbol: str) -> PositionRecord | None:
        """The live position of a symbol."""
        return self.positions.live(Symbol(symbol))


def simulate(
    story: Callable[[Simulation], Awaitable[T]],
    *,
    symbols: Sequence[str] = ("SPY",),
    rules: Sequence[Rule] | None = None,
    shares: int = 10,
    seed: int = 1,
    market: Market | None = None,
    settings: Settings | None = None,
) -> T:
    """Run `story` in a simulation, from the link-up on; returns what it returns.

    `rules` None: the default ones; `shares` is the size of an entry. `settings` takes the place of `symbols`
    and `shares`. Raises `ConfigFaults` for rules that cannot be traded.
    """
    names = tuple(Symbol(name) for name in symbols)
    if settings is None:
        sized = tuple(SymbolSettings(name, Shares(shares)) for name in names)
        settings = attrs.evolve(default_settings(names), symbols=sized)
    if rules is not None:
        settings = attrs.evolve(settings, rules=tuple(rules))
    names = tuple(entry.symbol for entry in settings.symbols)
    wrong = rule_faults(settings.rules, names)
    if wrong:
        raise ConfigFaults(wrong)
    chosen = SyntheticMarket(seed, symbols=names) if market is None else market

    async def main() -> T:
        return await Simulation(settings, chosen, seed=seed).live(story)

    return run_deterministically(main, seed=seed)
