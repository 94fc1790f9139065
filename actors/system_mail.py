"""What becomes of mail that cannot be taken, or that kills whoever takes it: none of it is lost in silence.

A signal that nobody will judge gets its verdict here, at once. A message on which an actor has crashed twice
is a dead letter and an alarm; a word of the broker is never put aside, and the symbol that cannot hear it
goes into quarantine. A command that kills the broker actor is put aside with the symbol that gave it, so that
one symbol does not take the link from all the others.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any, Final

from actors.mailbox import Lane, Mailbox, Poison
from actors.symbol import stream_of
from protocol.commands import BrokerCommand
from protocol.control_events import FlowThresholdEvent
from protocol.events import AlarmEvent, PredictionSignalEvent, SignalVerdictEvent, Verdict
from protocol.message_names import message_name
from protocol.symbol import SymbolMessage
from protocol.values import Symbol

if TYPE_CHECKING:
    from actors.system import TradingSystem

CROWDED: Final = {
    Lane.BROKER: "is far behind: so many words of the broker have never waited for one that keeps up",
    Lane.SIGNALS: "has no room for more signals: they are refused",
}


class Mail:
    """One for each system."""

    def __init__(self, system: TradingSystem) -> None:
        self._system = system
        self.shut: set[Symbol] = set()
        """Symbols whose actors are in quarantine: nobody judges their signals."""

    # --- the mailboxes ----------------------------------------------------------------------------

    def of_symbols(
        self, symbols: Iterable[Symbol], make: Callable[..., Mailbox[SymbolMessage]]
    ) -> dict[Symbol, Mailbox[SymbolMessage]]:
        return {symbol: self._of_symbol(symbol, make) for symbol in symbols}

    def _of_symbol(
        self, symbol: Symbol, make: Callable[..., Mailbox[SymbolMessage]]
    ) -> Mailbox[SymbolMessage]:
        name = stream_of(symbol)

        def poisoned(poison: Poison[SymbolMessage]) -> None:
            said = message_name(poison.message)
            if poison.kept:
                self._system.quarantine_symbol(symbol, f"it crashed twice on {said}")
                return
            self._tell_dead_letter(name, said, symbol)
            if isinstance(poison.message, PredictionSignalEvent):
                self._answer(poison.message, "dead_letter", "its symbol crashed twice on it")

        return make(on_poison=poisoned, on_crowded=self._crowd_at(name, symbol))

    def of_broker(self) -> Mailbox[BrokerCommand]:
        def poisoned(poison: Poison[BrokerCommand]) -> None:
            symbol, said = poison.message.symbol, message_name(poison.message)
            self._tell_dead_letter("broker", said, symbol)
            self._system.quarantine_symbol(symbol, f"the broker actor crashed twice on its {said}")

        return Mailbox(on_poison=poisoned, on_crowded=self._crowd_at("broker"), keeps_poison=False)

    def watch(self, name: str) -> tuple[Callable[[Poison[Any]], None], Callable[[Lane], None]]:
        """What is told of the mailbox of an actor that all symbols share."""
        return lambda poison: self._tell_dead_letter(name, message_name(poison.message)), self._crowd_at(name)

    def _tell_dead_letter(self, actor: str, said: str, symbol: str = "") -> None:
        self._alarm("DEAD_LETTER", f"{actor} crashed twice on {said}", symbol)

    def _crowd_at(self, actor: str, symbol: str = "") -> Callable[[Lane], None]:
        return lambda lane: self._alarm("MAILBOX_CROWDED", f"{actor} {CROWDED[lane]}", symbol)

    # --- signals that nobody judges -----------------------------------------------------------------

    def shut_away(self, symbol: Symbol) -> None:
        """Its actor is in quarantine: what waits for it, and what still comes, is answered here."""
        self.shut.add(symbol)
        for signal in self._system.mailboxes[symbol].withdraw_signals():
            assert isinstance(signal, PredictionSignalEvent | FlowThresholdEvent)
            self.refuse(signal)

    def refuse(self, signal: PredictionSignalEvent | FlowThresholdEvent) -> None:
        """A signal that its symbol does not get, or does not look at."""
        if isinstance(signal, FlowThresholdEvent):
            text = f"threshold {signal.threshold} was not heard: {self._why(signal.symbol)[1]}"
            self._alarm("FLOW_LOST", text, signal.symbol, cause=signal.event_id)
            return
        self._answer(signal, *self._why(signal.symbol))

    def _why(self, symbol: Symbol) -> tuple[str, str]:
        if symbol in self.shut:
            return "quarantined", "the symbol's actor is in quarantine"
        return "mailbox_full", "too many signals were waiting for this symbol"

    def _answer(self, signal: PredictionSignalEvent, code: str, reason: str) -> None:
        actor = self._system.symbols.get(signal.symbol)
        if actor is not None and signal.signal_id in actor.state.judged:
            return
        verdict = SignalVerdictEvent(
            at=self._system.clock.now(),
            cause=signal.signal_id,
            signal_id=signal.signal_id,
            symbol=signal.symbol,
            verdict=Verdict.REFUSED,
            code=code,
            reason=reason,
        )
        self._system.journal.append(stream_of(signal.symbol), [verdict])

    def _alarm(self, code: str, text: str, symbol: str = "", *, cause: str = "") -> None:
        alarm = AlarmEvent(at=self._system.clock.now(), cause=cause, code=code, text=text, symbol=symbol)
        self._system.journal.append("system", [alarm])
