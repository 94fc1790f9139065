"""The router actor: everything that concerns a symbol goes to that symbol's mailbox, in order.

It holds no state of its own and never waits for a symbol: reports are always taken, signals are refused
by a full mailbox, ticks are conflated there. While it is parked its work is done in the sender's turn.
"""

from __future__ import annotations

from collections.abc import Callable, Container, Mapping, Sequence
from typing import Protocol, TypeAlias

import trio

from actors.mailbox import Lane, Mailbox, Poison
from protocol.commands import SymbolCommand
from protocol.control_events import FlowThresholdEvent
from protocol.events import PredictionSignalEvent
from protocol.reports import Report, SymbolSnapshot
from protocol.session_words import Delivery
from protocol.symbol import SymbolMessage
from protocol.values import Symbol, Tick

Batch: TypeAlias = tuple[Delivery, ...]
Routed: TypeAlias = Batch | PredictionSignalEvent | FlowThresholdEvent


class Guard(Protocol):
    """Who looks after symbols whose actors are down."""

    def guards_symbol(self, symbol: Symbol) -> bool: ...

    def hear(self, symbol: Symbol, report: Report | Tick) -> None: ...


class Router:
    """`mailboxes` are the symbols'; `on_refused` hears of a signal that none of them took.

    `shut` are the symbols whose actors are in quarantine; `watch` hears of the router's own mailbox:
    of poison in it, and that it is crowded.
    """

    def __init__(
        self,
        mailboxes: Mapping[Symbol, Mailbox[SymbolMessage]],
        *,
        on_refused: Callable[[PredictionSignalEvent | FlowThresholdEvent], None],
        shut: Container[Symbol] = (),
        watch: tuple[Callable[[Poison[Routed]], None], Callable[[Lane], None]] | None = None,
    ) -> None:
        self.mailbox: Mailbox[Routed] = (
            Mailbox() if watch is None else Mailbox(on_poison=watch[0], on_crowded=watch[1])
        )
        self._shut = shut
        self._mailboxes = mailboxes
        self._on_refused = on_refused
        self.on_tick: Callable[[Tick], None] | None = None
        """Hears of every tick after the symbol it is for."""
        self.guard: Guard | None = None

    def deliver(self, batch: Sequence[Delivery]) -> None:
        """What one burst of the broker brought, in its order."""
        self.mailbox.put(Lane.BROKER, tuple(batch))

    def signal(self, signal: PredictionSignalEvent) -> None:
        if not self.mailbox.put(Lane.SIGNALS, signal):
            self._on_refused(signal)

    def flow(self, event: FlowThresholdEvent) -> None:
        """A figure of the options flow has crossed a threshold: a signal that nobody owes a verdict."""
        if not self.mailbox.put(Lane.SIGNALS, event):
            self._on_refused(event)

    def command(self, symbol: Symbol, command: SymbolCommand) -> None:
        """A person, the clock or the end of the run speaks to a symbol: before everything else that waits."""
        self._mailboxes[symbol].put(Lane.CONTROL, command)

    async def run(self, epoch: int, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        del epoch  # a router commands nobody, so nobody has to tell its incarnations apart
        task_status.started()
        await self.mailbox.serve(self._dispatch)

    def _dispatch(self, routed: Routed) -> None:
        if isinstance(routed, PredictionSignalEvent | FlowThresholdEvent):
            mailbox = self._mailboxes.get(routed.symbol)
            shut = routed.symbol in self._shut
            if mailbox is None or shut or not mailbox.put(Lane.SIGNALS, routed):
                self._on_refused(routed)
            return
        for symbol, message in routed:
            if symbol is None:
                for mailbox in self._mailboxes.values():
                    mailbox.put(Lane.BROKER, message)
            elif symbol in self._mailboxes:
                mailbox = self._mailboxes[symbol]
                if type(message) is Tick:
                    mailbox.put_tick(message)
                    if self.on_tick is not None:
                        self.on_tick(message)
                elif self._keeps_guard(symbol, message):
                    mailbox.put(Lane.BROKER, message)

    def _keeps_guard(self, symbol: Symbol, report: Report | Tick) -> bool:
        """Tell the guard of a symbol that is down; whether the symbol's own mail gets the report as well.

        The books that the guard asks for are its own: they would wait, ever older, for an actor that asks
        for new ones when it comes back.
        """
        guard = self.guard
        if guard is None or not guard.guards_symbol(symbol):
            return True
        guard.hear(symbol, report)
        return not isinstance(report, SymbolSnapshot)
