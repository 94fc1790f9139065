"""The event system as its users see it: handlers that are told of events by type, with inheritance.

A handler of `OrderEvent` hears of every `FillEvent`. Nothing that trades waits for a handler: what it is to
hear is noted in the journal writer's turn, and told by an actor of the handler's own. A slow handler falls
behind by itself, up to a limit, and then loses the oldest, which is counted. One that raises is restarted
with the next event by its supervisor, like any actor; one that always raises ends in quarantine.

Switched off, nothing is told to anyone; the system itself does not hear by this way, so fills, statuses and
the upkeep of stops go on.
"""

from __future__ import annotations

import inspect
from collections import Counter, deque
from collections.abc import Awaitable, Callable, Iterator, Sequence
from typing import Final, TypeVar, cast

import trio

from actors.child import ChildSpec
from actors.supervisor import Supervisor
from protocol.events import BaseEvent, IndicatorEvent, MarketEvent, PriceEvent, UserEvent, VolumeEvent
from protocol.rules.indicator_names import IndicatorName
from protocol.series import SymbolBars
from protocol.supervision_plan import OnExhausted, RestartPolicy
from protocol.values import Symbol, Tick, TickKind

E = TypeVar("E", bound=BaseEvent)
Handler = Callable[[E], None] | Callable[[E], Awaitable[None]]

MAX_WAITING: Final = 10_000
"""Events that wait for one handler: minutes of a busy market, a few megabytes."""
USER_STREAM: Final = "user"
HANDLER_INTENSITY: Final = 5
"""Crashes of one handler within a minute after which it is left alone."""


class Subscription:
    """One handler and what waits for it. `told` counts what it was told, `lost` what it was too slow for."""

    def __init__(self, kind: type[BaseEvent], handler: Handler[BaseEvent], name: str, symbol: Symbol | None):
        self.kind, self.name, self.symbol = kind, name, symbol
        self.told = self.lost = 0
        self._handler = handler
        self._waiting: deque[BaseEvent] = deque()
        self._news = trio.Event()
        self._ended = False

    def wants(self, event: BaseEvent) -> bool:
        if not isinstance(event, self.kind):
            return False
        return self.symbol is None or getattr(event, "symbol", None) == self.symbol

    def note(self, event: BaseEvent) -> None:
        if len(self._waiting) >= MAX_WAITING:
            self._waiting.popleft()
            self.lost += 1
        self._waiting.append(event)
        self._news.set()

    def end(self) -> None:
        """It is told nothing more, not even what waits."""
        self._ended = True
        self._waiting.clear()
        self._news.set()

    @property
    def waiting(self) -> int:
        return len(self._waiting)

    async def run(self, epoch: int, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Tell what waits, one after the other, until the subscription ends."""
        del epoch  # it commands nobody
        task_status.started()
        while not self._ended:
            while self._waiting:
                # Taken out first: one that it dies on is not told again.
                event = self._waiting.popleft()
                self.told += 1
                answer = self._handler(event)
                if inspect.isawaitable(answer):
                    await answer
                else:
                    await trio.lowlevel.checkpoint()
            self._news = trio.Event()
            if not self._ended:
                await self._news.wait()


class Subscriptions:
    """Who hears of what. `follow` is given to the journal; `supervisor` keeps the handlers alive."""

    def __init__(self, append: Callable[[str, Sequence[BaseEvent]], None], supervisor: Supervisor) -> None:
        """`append` writes to the journal; `supervisor` is one_for_one, for handlers alone."""
        self._append, self._supervisor = append, supervisor
        self._subscriptions: dict[str, Subscription] = {}
        self._names = 0
        self._market_listeners = 0
        self.enabled = True
        self.bars_of: Callable[[Symbol], SymbolBars] | None = None
        """Where the figures of a symbol are; without it, indicators are not told."""
        self._bars_told: dict[Symbol, int] = {}
        self._figures_told: dict[tuple[Symbol, IndicatorName], float] = {}

    def subscribe(
        self,
        kind: type[E],
        handler: Callable[[E], None] | Callable[[E], Awaitable[None]],
        *,
        name: str = "",
        symbol: Symbol | None = None,
    ) -> Subscription:
        """Tell `handler`, a function or a coroutine function, of every event of `kind` and its subtypes.

        Events of the past are in the journal; only new ones are told. A name that is taken: ValueError.
        """
        self._names += 1
        name = name or f"{getattr(handler, '__name__', 'handler')}-{self._names}"
        if name in self._subscriptions:
            raise ValueError(f"a subscription is called {name!r} already")
        # The handler is only ever given events of `kind`: `wants` sees to it.
        subscription = Subscription(kind, cast("Handler[BaseEvent]", handler), name, symbol)
        self._subscriptions[name] = subscription
        self._market_listeners += _hears_market(kind)
        self._supervisor.add_child(
            ChildSpec(
                id=f"handler:{name}",
                start=subscription.run,
                restart=RestartPolicy.TRANSIENT,
                intensity=HANDLER_INTENSITY,
                on_exhausted=OnExhausted.QUARANTINE,
            )
        )
        return subscription

    def unsubscribe(self, subscription: Subscription) -> bool:
        """False when it was not subscribed any more."""
        if self._subscriptions.get(subscription.name) is not subscription:
            return False
        del self._subscriptions[subscription.name]
        self._market_listeners -= _hears_market(subscription.kind)
        subscription.end()
        return True

    def enable(self) -> None:
        self.enabled = True

    def disable(self) -> None:
        """Nothing is told until `enable`; what happens meanwhile is in the journal, and is not told later."""
        self.enabled = False

    def counts(self) -> dict[str, int]:
        """Subscriptions by the name of the event type that they asked for."""
        return dict(Counter(each.kind.__name__ for each in self._subscriptions.values()))

    def __iter__(self) -> Iterator[Subscription]:
        return iter(tuple(self._subscriptions.values()))

    def follow(self, _stream: str, events: Sequence[BaseEvent]) -> None:
        """What has just been written to the journal."""
        if not self.enabled or not self._subscriptions:
            return
        for event in events:
            self.publish(event)

    def publish(self, event: BaseEvent) -> None:
        """Tell of an event that no journal keeps, such as a price."""
        if self.enabled:
            for each in self._subscriptions.values():
                if each.wants(event):
                    each.note(event)

    def take_tick(self, tick: Tick) -> None:
        """A tick on its way to its symbol: an event of the market, if anybody wants to hear of those."""
        if not self._market_listeners or not self.enabled:
            return
        match tick.kind:
            case TickKind.LAST:
                self.publish(PriceEvent(at=tick.at, symbol=tick.symbol, price=tick.price))
            case TickKind.VOLUME:
                self.publish(VolumeEvent(at=tick.at, symbol=tick.symbol, volume=tick.size))
            case _:
                pass
        if self.bars_of is not None:
            self._tell_figures(tick, self.bars_of(tick.symbol))

    def _tell_figures(self, tick: Tick, bars: SymbolBars) -> None:
        """Indicators that the bars completed so far have moved; the symbol reckons them, not we."""
        if self._bars_told.get(tick.symbol) == bars.completed:
            return
        self._bars_told[tick.symbol] = bars.completed
        for name, value in bars.figures.items():
            key = (tick.symbol, name)
            if value is not None and self._figures_told.get(key) != value:
                self._figures_told[key] = value
                self.publish(IndicatorEvent(at=tick.at, symbol=tick.symbol, name=str(name), value=value))

    def emit(self, event: UserEvent) -> None:
        """A handler's own event: journalled, and told like any other."""
        self._append(USER_STREAM, [event])


def _hears_market(kind: type[BaseEvent]) -> bool:
    return issubclass(kind, MarketEvent) or kind is BaseEvent
