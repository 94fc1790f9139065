"""What the journal of a run that is not running says of it: in the words in which a running one answers."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path

from protocol.configuration_note import ConfigurationNote
from protocol.control_answers import (
    ActorTold,
    AlarmTold,
    FiguresTold,
    LinkTold,
    OrderTold,
    RuleTold,
    RunTold,
    StatusTold,
    SymbolLine,
)
from protocol.control_events import KillLevelEvent
from protocol.control_rows import kill_told, lock_told, orders_of, position_of, rules_for
from protocol.events import ActorExitedEvent, ActorStartedEvent, AlarmEvent, RunEvent
from protocol.journal import JournalRow
from protocol.position_book import PositionBook
from protocol.position_status import status_of
from protocol.risk.settings import RiskLimits
from protocol.risk.standing import Standing
from protocol.risk.words import KillLevel
from protocol.settings import StockFacts
from protocol.values import Symbol

SHOWN_ALARMS = 5


class JournalStatus:
    """A walk over a whole journal, in order."""

    def __init__(self, rows: Iterable[JournalRow], note: ConfigurationNote) -> None:
        self._note = note
        self._book = PositionBook(note.facts)
        self._standing = Standing(RiskLimits())
        self._level: KillLevelEvent | None = None
        self._ended = "it never started"
        self._began: datetime | None = None
        self._at: datetime | None = None
        self._actors: dict[str, ActorTold] = {}
        self._alarms: deque[AlarmEvent] = deque(maxlen=SHOWN_ALARMS)
        for row in rows:
            self._add(row)

    def _add(self, row: JournalRow) -> None:
        self._at = row.at if self._at is None else max(self._at, row.at)
        self._book.add(row.stream, row.event)
        self._standing.fold(row.event, replay=True)
        match row.event:
            case RunEvent(what="started", at=at):
                self._began, self._ended = at, "it ended without a word (killed, or the machine went down)"
                self._actors.clear()
            case RunEvent(what="stopped", detail=detail):
                self._ended = detail
            case KillLevelEvent() as event:
                self._level = event
            case AlarmEvent() as event:
                self._alarms.append(event)
            case ActorStartedEvent() | ActorExitedEvent() as event:
                self._note_actor(event)
            case _:
                pass

    def _note_actor(self, event: ActorStartedEvent | ActorExitedEvent) -> None:
        known = self._actors.get(event.actor)
        restarts = 0 if known is None else known.restarts + (known.epoch != event.epoch)
        last = "" if known is None else known.last_exit
        if isinstance(event, ActorExitedEvent):
            last = f"{event.exit}: {event.reason}".removesuffix(": ")
        # Whatever it was doing: the run that it belonged to is over.
        state = "ended" if isinstance(event, ActorStartedEvent) else event.decision
        self._actors[event.actor] = ActorTold(
            id=event.actor, depth=0, state=state, epoch=event.epoch, restarts=restarts, last_exit=last
        )

    @property
    def _now(self) -> datetime:
        return self._at or datetime.fromtimestamp(0, UTC)

    @property
    def symbols(self) -> tuple[Symbol, ...]:
        return self._book.symbols

    def status(self, state: Path) -> StatusTold:
        run = RunTold(
            running=False,
            ended=self._ended,
            pid=0,
            mode="",
            state=str(state),
            temporary=False,
            version="",
            configuration="",
            started_at=self._began,
            market_now=self._at,
            speed=0.0,
        )
        return StatusTold(
            run=run,
            link=LinkTold(state="down", account="", link=0),
            kill=kill_told(self._standing.level, self._level),
            symbols=tuple(self._line(symbol) for symbol in self.symbols),
            tree=tuple(self._actors.values()),
            locks=tuple(lock_told(lock) for lock in self._standing.locks(self._now)),
            sources=(),
            health=(),
            alarms=tuple(
                AlarmTold(at=alarm.at, code=alarm.code, symbol=alarm.symbol, text=alarm.text)
                for alarm in self._alarms
            ),
            figures=FiguresTold(),
            near=(),
        )

    def _line(self, symbol: Symbol) -> SymbolLine:
        state, lock = self._book.state(symbol), self._standing.lock_on(symbol, self._now)
        record = position_of(state, self._note.facts.get(symbol, StockFacts()), None)
        status, level = status_of(state), self._standing.level
        held = "it is not running"
        if level is not KillLevel.OPEN:
            held = f"kill level {level.name.lower()}"
        elif lock is not None:
            held = f"lock {lock.lock}: {lock.reason}"
        return SymbolLine(
            symbol=symbol,
            actor="",
            status="flat" if status is None else status.value,
            position=state.position.quantity,
            average=state.position.average_price if state.position.quantity else None,
            last=None,
            unrealized_pnl=None,
            stop=None if record is None else record.stop_price,
            held=held,
        )

    def orders(self, symbols: Iterable[Symbol]) -> tuple[OrderTold, ...]:
        """Those that had not ended when the journal did; what has become of them, the broker knows."""
        return tuple(order for symbol in symbols for order in orders_of(self._book.state(symbol)))

    def rules(self, symbols: Iterable[Symbol]) -> tuple[RuleTold, ...]:
        return tuple(
            rule
            for symbol in symbols
            for rule in rules_for(self._note, symbol, self._book.state(symbol), self._now)
        )
