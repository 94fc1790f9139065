"""Defects of an episode at work: a mailbox whose owner's handler raises where the plan says so."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final, TypeAlias

from actors.mailbox import Lane, Mailbox, Poison
from protocol.chaos.defects import Defect, DefectKind
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
from protocol.values import Symbol

MEANT: Final[dict[DefectKind, tuple[type, ...]]] = {
    DefectKind.POISON_SIGNAL: (PredictionSignalEvent,),
    DefectKind.POISON_BROKER_EVENT: (
        OrderReport, ExecutionReport, CommissionCharged, RequestRefused, SymbolSnapshot, LinkChanged,
    ),
}  # fmt: skip
"""The messages of which one can be poison."""


class Flawed(Exception):
    """What the handler of a symbol raises where an episode has put a defect."""


class Flaw:
    """A defect that is there now. `on_raise` hears of it before it raises, with how often it has."""

    def __init__(self, defect: Defect, on_raise: Callable[[Defect, int], None]) -> None:
        self.defect = defect
        self.mended = False
        self._on_raise = on_raise
        self._left, self._raised = defect.nth, 0
        self._poison: SymbolMessage | None = None

    def is_about(self, message: SymbolMessage) -> bool:
        """Whether the handler raises at this message."""
        if self.mended:
            return False
        if self.defect.kind is DefectKind.RAISING_RULE:
            times = self.defect.times
            return times is None or self._raised < times
        if self._poison is None and isinstance(message, MEANT[self.defect.kind]):
            self._left -= 1
            self._poison = message if self._left == 0 else None
        return message is self._poison

    def show(self) -> None:
        """Raise."""
        self._raised += 1
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
