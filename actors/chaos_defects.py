"""Defects of an episode at work: a mailbox whose owner's handler raises where the plan says so."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final, TypeAlias

import trio

from actors.mailbox import Lane, Mailbox, Poison
from protocol.chaos.defects import Defect, DefectKind
from protocol.commands import Wake
from protocol.events import PredictionSignalEvent
from protocol.reports import (
    CommissionCharged,
    ExecutionReport,
    LinkChanged,
    OrderReport,
    RequestRefused,
    SymbolSnapshot,
)
from protocol.symbol import SymbolMessage
from protocol.values import Symbol, Tick

REPORTS: Final = (
    OrderReport, ExecutionReport, CommissionCharged, RequestRefused, SymbolSnapshot, LinkChanged,
)  # fmt: skip
"""What the broker tells of orders, books and the link: one such message may be poison."""
SIGNALS: Final = (PredictionSignalEvent,)
ASKS_RULES: Final = (Tick, PredictionSignalEvent, Wake)
"""Messages for which rules are what matters."""


class Flawed(Exception):
    """What the handler of a symbol raises where an episode has put a defect."""


class Flaw:
    """A defect that is there now. `on_raise` hears of it before it raises, with how often it has."""

    def __init__(self, defect: Defect, on_raise: Callable[[Defect, int], None]) -> None:
        self.defect = defect
        self.mended = False
        self.fell = trio.Event()
        """It has raised once."""
        self._on_raise = on_raise
        self._left, self._raised = defect.nth, 0
        self._poison: SymbolMessage | None = None

    def is_about(self, message: SymbolMessage) -> bool:
        """Whether the handler raises at this message."""
        if self.mended:
            return False
        if self.defect.kind is DefectKind.RAISING_RULE:
            self._left -= isinstance(message, PredictionSignalEvent)
            times = self.defect.times
            asked = self._left <= 0 and isinstance(message, ASKS_RULES)
            return asked and (times is None or self._raised < times)
        of_signal = self.defect.kind is DefectKind.POISON_SIGNAL
        if self._poison is None and isinstance(message, SIGNALS if of_signal else REPORTS):
            self._left -= 1
            self._poison = message if self._left == 0 else None
        return message is self._poison

    def show(self) -> None:
        """Raise."""
        self._raised += 1
        self.fell.set()
        self._on_raise(self.defect, self._raised)
        raise Flawed(f"{self.defect.kind.value} of {self.defect.symbol}, the {self._raised}. time")


Flaws: TypeAlias = Mapping[Symbol, Flaw]
"""Those that are there, by symbol; they outlive each process of the episode, as code does."""


class FlawedMailbox(Mailbox[SymbolMessage]):
    """A symbol's mailbox in a fault run. `flaws` and `symbol` are told after it has been made."""

    def __init__(
        self, *, on_poison: Callable[[Poison[SymbolMessage]], None], on_crowded: Callable[[Lane], None]
    ) -> None:
        super().__init__(on_poison=on_poison, on_crowded=on_crowded)
        self.flaws: Flaws = {}
        self.symbol = Symbol("")

    async def serve(self, handle: Callable[[SymbolMessage], None]) -> None:
        def handle_flawed(message: SymbolMessage) -> None:
            flaw = self.flaws.get(self.symbol)
            if flaw is None or not flaw.is_about(message):
                handle(message)
                return
            if flaw.defect.late:
                handle(message)
            flaw.show()

        await super().serve(handle_flawed)
