"""What the sources that are spoken to have in common: how a prediction that was pushed gets to the desk."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Protocol

import attrs

from actors.market_clock import MarketClock
from actors.signal_desk import SourceStatistics
from protocol.control_events import FlowThresholdEvent
from protocol.events import PredictionSignalEvent
from protocol.predictions import PredictionFault, hash_body, read_prediction
from protocol.signal_gate import MALFORMED, UNKNOWN_SYMBOL, Judgement
from protocol.source_settings import SourceRules

MACHINE_ALLOWANCE_LOOP_S = 0.25
"""What our own machine may add to a signal's age; at `--speed` X it counts X times in market time."""
SHOWN_TICKERS = 20
"""In a refusal that names what a source is to bring."""
CLOCK_GLANCE_LOOP_S = 0.02
"""Until the broker has said the time nothing can be judged; afterwards every signal already ages."""


class Desk(Protocol):
    """What a source needs of the `SignalDesk`."""

    async def recover(self) -> None: ...

    def take(
        self, body: object, rules: SourceRules, *, max_age_s: float, allowance_s: float = 0.0
    ) -> Judgement: ...

    def refuse(
        self, name: str, symbol: str, code: str, reason: str, *, body_hash: str, source: str = ""
    ) -> Judgement: ...

    def take_flow(self, event: FlowThresholdEvent) -> bool: ...

    def alarm(self, code: str, text: str) -> None: ...


class Marks(Protocol):
    """Where a source keeps how far it has come: the journal. Losing the last mark repeats, never skips."""

    def get_meta(self, key: str) -> str | None: ...

    def set_meta(self, key: str, value: str) -> None: ...


class Intake:
    """One source's way to the desk: narrowed to its tickers, counted, its alarms told once."""

    def __init__(
        self,
        rules: SourceRules,
        *,
        desk: Desk,
        clock: MarketClock,
        tickers: Iterable[str],
        max_age_s: float,
    ) -> None:
        """`tickers`: what is taken from this source; empty: whatever it brings.

        `max_age_s`: of the source's kind, unless its rules name one.
        """
        self.rules, self._desk, self._clock = rules, desk, clock
        self.tickers = tuple(dict.fromkeys(tickers))
        self._max_age_s = rules.max_age_s if rules.max_age_s is not None else max_age_s
        self._told: set[str] = set()
        self.statistics = SourceStatistics()

    def copy_statistics(self) -> SourceStatistics:
        return attrs.evolve(self.statistics)

    def set_tickers(self, tickers: Iterable[str]) -> None:
        self.tickers = tuple(dict.fromkeys(tickers))

    def take(self, body: object, place: str = "") -> Judgement:
        """Have one decoded prediction judged; the answer is already carried out.

        `place`: where it stood, for a refusal of what is no prediction.
        """
        self.statistics.received += 1
        if self.tickers or place:
            read = read_prediction(body, at=self._clock.now(), source=self.rules.name)
            if place and isinstance(read, PredictionFault):
                return self._refuse(read, MALFORMED, f"{place}: {read.reason}")
            if self.tickers and isinstance(read, PredictionSignalEvent) and read.symbol not in self.tickers:
                only = ", ".join(self.tickers[:SHOWN_TICKERS])
                return self._refuse(read, UNKNOWN_SYMBOL, f"{self.rules.name} is to bring {only} only")
        judgement = self._desk.take(
            body,
            self.rules,
            max_age_s=self._max_age_s,
            allowance_s=MACHINE_ALLOWANCE_LOOP_S * self._clock.speed,
        )
        if not judgement.events:
            self.statistics.received -= 1
            self.statistics.repeated += 1
        return judgement

    def refuse_unreadable(self, reason: str, content: bytes, place: str = "") -> None:
        """A verdict for what could not even be read: it is named by its content, which is not quoted."""
        body_hash = hash_body(content.decode("utf-8", "replace"))
        fault = PredictionFault(f"{self.rules.name}:{body_hash}", "", body_hash, reason)
        self.statistics.received += 1
        self._refuse(fault, MALFORMED, f"{place}: {reason}" if place else reason)

    def _refuse(self, read: PredictionSignalEvent | PredictionFault, code: str, reason: str) -> Judgement:
        return self._desk.refuse(
            read.signal_id, read.symbol, code, reason, body_hash=read.body_hash, source=self.rules.name
        )

    def alarm(self, code: str, text: str) -> None:
        self._desk.alarm(code, f"{self.rules.name}: {text}")

    def alarm_once(self, code: str, text: str) -> None:
        """The first time in the life of the source; it is counted ever after."""
        if code not in self._told:
            self._told.add(code)
            self.alarm(code, text)

    async def ready(self) -> None:
        """Until the desk remembers what there was."""
        await self._desk.recover()
