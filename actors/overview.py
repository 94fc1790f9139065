"""The running system as it is now, for whoever asks: the run, its tree, what it trades, what bounds it.

Looks at the actors' state in one turn of the loop and changes nothing. What only the journal holds (signals
and their verdicts, closed positions) is read from there, by another process, at its own cost.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from typing import Final, Protocol

import attrs

from actors.child import ChildState, ChildStatus
from actors.sources import SourceStatus
from actors.system import TradingSystem
from actors.system_views import SYMBOL_PREFIX
from protocol.configuration_note import ConfigurationNote, note_of, read_note
from protocol.control_answers import (
    ActorTold,
    AlarmTold,
    HealthTold,
    KillTold,
    LimitTold,
    LinkTold,
    LockTold,
    OrderTold,
    PositionsTold,
    RuleTold,
    RunTold,
    SourceTold,
    StatusTold,
    SymbolLine,
    SymbolTold,
)
from protocol.control_events import HealthEvent, KillLevelEvent
from protocol.control_rows import (
    figures_told,
    kill_told,
    limits_told,
    lock_told,
    orders_of,
    position_of,
    rules_for,
)
from protocol.events import AlarmEvent, BaseEvent
from protocol.position_record import PositionRecord
from protocol.position_status import status_of
from protocol.reports import LinkState
from protocol.risk.figures import RiskFigures
from protocol.risk.standing import Standing
from protocol.risk.words import KillLevel
from protocol.settings import StockFacts
from protocol.symbol_state import SymbolState
from protocol.values import Side, Symbol, exact

SHOWN_ALARMS: Final = 5
SHOWN_LIMITS: Final = 5
"""Of the limits that are used up most, so many are in the status."""
NEAR: Final = 0.5
"""The part of a limit from which on it is worth a line there."""


@attrs.frozen(kw_only=True)
class RunIdentity:
    """What a run knows of itself from its start on. `temporary`: its state folder goes with it."""

    state: Path
    temporary: bool
    mode: str
    version: str
    configuration: str
    began: Callable[[], datetime | None]
    now: Callable[[], datetime]
    """Market time, or the best guess at it before the broker has said it."""


class SourcesSeen(Protocol):
    """What is asked of the registry of signal sources."""

    def status(self) -> tuple[SourceStatus, ...]: ...


class Overview:
    """One for each run. Give `follow` to the journal: it keeps the last alarms and words of health."""

    def __init__(
        self,
        system: TradingSystem,
        run: RunIdentity,
        *,
        standing: Standing,
        figures: Callable[[], RiskFigures],
        sources: SourcesSeen | None = None,
    ) -> None:
        self.system, self.run, self.standing, self.sources = system, run, standing, sources
        self._figures = figures
        self._alarms: deque[AlarmEvent] = deque(maxlen=SHOWN_ALARMS)
        self._health: dict[str, HealthEvent] = {}
        self._level: KillLevelEvent | None = None
        self._rules = system.settings.rules
        self._note = read_note(note_of(system.settings))

    def recall(self, events: Iterable[BaseEvent]) -> None:
        """Events of earlier runs, of which only the kill level still counts."""
        for event in events:
            if isinstance(event, KillLevelEvent):
                self._level = event

    def follow(self, _stream: str, events: Sequence[BaseEvent]) -> None:
        """What has just been written to the journal."""
        for event in events:
            match event:
                case AlarmEvent():
                    self._alarms.append(event)
                case HealthEvent(subject=subject):
                    self._health[subject] = event
                case KillLevelEvent():
                    self._level = event
                case _:
                    pass

    @property
    def now(self) -> datetime:
        return self.run.now()

    # --- the run --------------------------------------------------------------------------------------

    def status(self) -> StatusTold:
        figures = self._figures()
        limits = sorted(self._limits(figures), key=lambda limit: -(limit.part or 0.0))
        return StatusTold(
            run=self._run(),
            link=self._link(),
            kill=self.kill(),
            symbols=tuple(self._line(symbol, child) for symbol, child in self._children().items()),
            tree=tuple(self._tree()),
            locks=self.locks(),
            sources=self.sources_told(),
            health=self.health(),
            alarms=tuple(
                AlarmTold(at=alarm.at, code=alarm.code, symbol=alarm.symbol, text=alarm.text)
                for alarm in self._alarms
            ),
            figures=figures_told(figures),
            near=tuple(limit for limit in limits[:SHOWN_LIMITS] if (limit.part or 0.0) >= NEAR),
        )

    def _run(self) -> RunTold:
        clock, run = self.system.clock, self.run
        return RunTold(
            pid=os.getpid(),
            mode=run.mode,
            state=str(run.state),
            temporary=run.temporary,
            version=run.version,
            configuration=run.configuration,
            started_at=run.began(),
            market_now=clock.now() if clock.known else None,
            speed=clock.speed,
        )

    def _link(self) -> LinkTold:
        broker = self.system.broker
        return LinkTold(state=broker.state.value, account=broker.account, link=broker.session.generation)

    def _tree(self) -> Iterator[ActorTold]:
        root = self.system.root
        return iter(()) if root is None else self._below(root.which_children(), 0)

    def _below(self, children: Sequence[ChildStatus], depth: int) -> Iterator[ActorTold]:
        for child in children:
            yield self._actor(child, depth)
            yield from self._below(child.below, depth + 1)

    def _actor(self, child: ChildStatus, depth: int) -> ActorTold:
        last = child.last_exit
        return ActorTold(
            id=child.id,
            depth=depth,
            state=child.state.value,
            epoch=child.epoch,
            restarts=child.restarts,
            recent=child.recent,
            waiting=child.waiting,
            last_exit="" if last is None else f"{last.kind.value}: {last.reason}".removesuffix(": "),
        )

    def child_of(self, symbol: Symbol) -> ChildStatus:
        """The symbol's actor, as its supervisor has it."""
        return self._children()[symbol]

    def shared_actors(self) -> dict[str, ChildStatus]:
        """Those that all symbols share, by name."""
        children = self.system.trading.which_children()
        return {child.id: child for child in children if not child.below}

    def _children(self) -> dict[Symbol, ChildStatus]:
        children = self.system.symbol_tree.which_children()
        return {Symbol(child.id.removeprefix(SYMBOL_PREFIX)): child for child in children}

    # --- the symbols ----------------------------------------------------------------------------------

    def state(self, symbol: Symbol) -> SymbolState:
        """The symbol's state; while its actor is down, with the position that the custodian knows."""
        state, guard = self.system.symbols[symbol].state, self.system.custodian.guards.get(symbol)
        if guard is None:
            return state
        trade = state.trade if guard.position.quantity else None
        return attrs.evolve(state, position=guard.position, trade=trade)

    def _line(self, symbol: Symbol, child: ChildStatus) -> SymbolLine:
        actor, state = self.system.symbols[symbol], self.state(symbol)
        status = status_of(state)
        recovering = child.state is ChildState.RUNNING and not actor.ready
        record = self.position(symbol)
        return SymbolLine(
            symbol=symbol,
            actor="reconciling" if recovering else child.state.value,
            status="flat" if status is None else status.value,
            position=state.position.quantity,
            average=state.position.average_price if state.position.quantity else None,
            last=actor.view.last,
            unrealized_pnl=None if record is None else record.unrealized_pnl,
            stop=None if record is None else record.stop_price,
            held=self._held(symbol, child),
        )

    def _held(self, symbol: Symbol, child: ChildStatus) -> str:
        """The first reason why the symbol may not enter."""
        system, lock = self.system, self.standing.lock_on(symbol, self.now)
        actor = system.symbols[symbol]
        if self.standing.level is not KillLevel.OPEN:
            return f"kill level {self.standing.level.name.lower()}"
        if lock is not None:
            return f"lock {lock.lock}: {lock.reason}"
        if child.state is ChildState.QUARANTINED:
            guarded = symbol in system.custodian.guards
            return "in quarantine" + ("; the custodian guards it" if guarded else "")
        if system.broker.state is not LinkState.UP:
            return "no link to the broker"
        if not actor.view.reconciled:
            return actor.view.why_not
        unwell = self._health.get(SYMBOL_PREFIX + symbol)
        return actor.state.held or ("" if unwell is None else unwell.sentence)

    def hold_of(self, symbol: Symbol) -> str:
        """What the symbol holds itself for; empty when it does not."""
        return self.system.symbols[symbol].state.held

    def position(self, symbol: Symbol) -> PositionRecord | None:
        """The trade that lives, at the price at which it could be closed."""
        state = self.state(symbol)
        side = Side.SELL if state.position.quantity < 0 else Side.BUY
        mark = self.system.symbols[symbol].view.mark(side)
        price: Decimal | None = exact(mark) if mark is not None else None
        return position_of(state, self._facts(symbol), price)

    def _facts(self, symbol: Symbol) -> StockFacts:
        found = (entry.facts for entry in self.system.settings.symbols if entry.symbol == symbol)
        return next(found, StockFacts())

    def positions(self) -> PositionsTold:
        records = (self.position(symbol) for symbol in sorted(self.system.symbols))
        return PositionsTold(
            positions=tuple(record for record in records if record is not None), market_now=self.now
        )

    def orders(self, symbols: Sequence[Symbol]) -> tuple[OrderTold, ...]:
        """What guards a symbol has orders of its own: only the broker session knows those."""
        sent, guards = self.system.broker.session.orders, self.system.custodian.guards
        return tuple(
            order
            for symbol in symbols
            for order in orders_of(
                attrs.evolve(self.state(symbol), trade=None) if symbol in guards else self.state(symbol),
                sent.live(symbol),
            )
        )

    def rules(self, symbols: Sequence[Symbol]) -> tuple[RuleTold, ...]:
        note, at = self._rules_note(), self.now
        return tuple(
            rule
            for symbol in symbols
            for rule in rules_for(note, symbol, self.system.symbols[symbol].state, at)
        )

    def _rules_note(self) -> ConfigurationNote:
        """Made anew when the rules have been replaced."""
        settings = self.system.settings
        if settings.rules is not self._rules:
            self._rules, self._note = settings.rules, read_note(note_of(settings))
        return self._note

    def symbol(self, symbol: Symbol) -> SymbolTold:
        view, child = self.system.symbols[symbol].view, self.child_of(symbol)
        subjects = ("link", SYMBOL_PREFIX + symbol)
        return SymbolTold(
            line=self._line(symbol, child),
            actor=self._actor(child, 0),
            bid=view.bid,
            ask=view.ask,
            quote_age_s=view.quote_age_s(self.now),
            locks=tuple(lock for lock in self.locks() if lock.symbol in ("", symbol)),
            rules=self.rules((symbol,)),
            health=tuple(told for told in self.health() if told.subject in subjects),
        )

    # --- what bounds it -------------------------------------------------------------------------------

    def kill(self) -> KillTold:
        return kill_told(self.standing.level, self._level)

    def locks(self) -> tuple[LockTold, ...]:
        return tuple(lock_told(lock) for lock in self.standing.locks(self.now))

    def limits(self) -> tuple[LimitTold, ...]:
        return self._limits(self._figures())

    def _limits(self, figures: RiskFigures) -> tuple[LimitTold, ...]:
        return tuple(limits_told(self.standing.limits, self.system.settings.risk, figures.limits))

    def sources_told(self) -> tuple[SourceTold, ...]:
        return () if self.sources is None else tuple(map(_source_told, self.sources.status()))

    def health(self) -> tuple[HealthTold, ...]:
        """What is not well."""
        return tuple(
            HealthTold(subject=event.subject, state=event.state, sentence=event.sentence)
            for event in self._health.values()
            if event.sentence
        )


def _source_told(source: SourceStatus) -> SourceTold:
    counts, polls = source.counts, source.statistics
    words = {
        "accepted": counts.accepted,
        "ignored": counts.ignored,
        "refused": counts.refused,
        "thresholds": counts.flows,
        "looks in vain": polls.troubles,
    }
    return SourceTold(
        name=source.name,
        kind=source.kind,
        running=source.running,
        state=source.state,
        sentence=source.sentence,
        tickers=source.tickers,
        counts=", ".join(f"{number} {word}" for word, number in words.items() if number),
    )
