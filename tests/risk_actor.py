"""The risk actor with a journal in memory, the real gate, and neighbours who note what is asked of them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import trio

from actors.journal import Journal
from actors.market_clock import MarketClock
from actors.risk import RiskDesk
from protocol.events import AlarmEvent, BaseEvent
from protocol.risk.gate import RiskGate
from protocol.risk.settings import RiskLimits
from protocol.risk.words import KillLevel
from protocol.settings import Schedule, SymbolSettings
from protocol.values import Symbol
from tests.journals import GLD, SLV, T0
from tests.risk_stage import Around

if TYPE_CHECKING:
    from collections.abc import AsyncIterator


class RiskActor:
    """One life of the process on a journal; `asked` is what was asked of the others, in order."""

    def __init__(
        self, journal: Journal | None = None, *, limits: RiskLimits | None = None, folder: Path | None = None,
        speed: float = 1.0,
    ) -> None:  # fmt: skip
        self.journal = journal or Journal.memory()
        self.clock = MarketClock(speed, T0)
        self.gate = RiskGate(limits or RiskLimits(), Schedule(), [SymbolSettings(SLV), SymbolSettings(GLD)])
        for row in self.journal.rows():
            self.gate.fold(row.stream, row.event, replay=True)
        self.journal.follow(self.gate.follow)
        self.around, self.asked = Around(), list[str]()
        self.resting = True
        self.believed: dict[Symbol, int] = {}
        self.desk = RiskDesk(
            self.gate, journal=self.journal, clock=self.clock, around=lambda: self.around,
            cancel_entries=lambda why: self.asked.append(f"cancel entries: {why}"),
            flatten=lambda symbol, why: self.asked.append(f"flatten {symbol or 'all'}: {why}"),
            sever=lambda why: self.asked.append(f"sever: {why}"),
            reconnect=lambda: self.asked.append("reconnect"),
            at_rest=lambda: self.resting, folder=folder, believed=lambda: self.believed,
        )  # fmt: skip

    @property
    def level(self) -> KillLevel:
        return self.gate.standing.level

    def events(self, kind: type[BaseEvent]) -> list[BaseEvent]:
        return [event for event in self.journal.read("risk") if isinstance(event, kind)]

    @property
    def alarms(self) -> list[str]:
        return [event.code for event in self.events(AlarmEvent) if isinstance(event, AlarmEvent)]

    def write(self, *events: BaseEvent) -> None:
        """What symbols journal."""
        for event in events:
            self.journal.append(f"symbol:{event.symbol}", [event])  # type: ignore[attr-defined]

    @asynccontextmanager
    async def living(self) -> AsyncIterator[None]:
        """While the actor runs, market time known."""
        self.clock.set(T0)
        async with trio.open_nursery() as nursery:
            await nursery.start(self.desk.run, 1)
            yield
            nursery.cancel_scope.cancel()

    @contextmanager
    def nothing_is_asked(self) -> Iterator[None]:
        before = list(self.asked)
        yield
        assert self.asked == before
