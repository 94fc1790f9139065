"""The life of symbols whose code has defects, and of those beside them: SUP-6, 17, 18, 20.

Bounds are of the loop's clock: whether there is a link is no excuse for a supervisor.
"""

from __future__ import annotations

from typing import Final

from protocol.chaos.checker import Bounds, Checker, Stretch
from protocol.chaos.defects import DefectKind
from protocol.chaos.plan import Victim
from protocol.chaos.scene import Scene, is_entry, symbol_of, works
from protocol.chaos.timeline import (
    Blow,
    Entry,
    Happened,
    Journalled,
    ProcessBegan,
    Raised,
    Struck,
)
from protocol.custody import GUARD
from protocol.events import (
    ActorExitedEvent,
    ActorStartedEvent,
    AlarmEvent,
    ModifyOrderEvent,
    NewOrderEvent,
    ReconciledEvent,
)
from protocol.values import Symbol

SYMBOLS: Final = "symbol:"
"""How the names of symbols' actors begin in the tree."""
PROMPT_S: Final = 0.1
"""For a supervisor to do what is due: its own work takes no time on the mock clock."""
LOOK_S: Final = 0.5
"""The custodian looks who is down so often."""
GUARDED_S: Final = 3.0
"""From a symbol's fall to its guard: two seconds of patience, and a glance."""
DELIVERIES: Final = 2
CALM_S: Final = 5.0
DISTURBED_S: Final = 15.0
ABOVE: Final = frozenset({"symbols", "trading", "handlers", "root"})
"""Supervisors: when one of them ends, so does whoever was to be started."""
GUARDS: Final = frozenset({Victim.CUSTODIAN.value, Victim.SUPERVISOR.value, Victim.JOURNAL.value})


class NobodyWaits(Bounds):
    """Each restart comes when its own delay is over: no other one's holds it up, and none comes earlier."""

    invariant = "SUP-6"

    def __init__(self, scene: Scene) -> None:
        super().__init__(scene)
        self._not_before: dict[str, float] = {}

    def see(self, entry: Entry) -> None:
        super().see(entry)
        match entry:
            case Struck(blow=Blow.ACTOR, what=actor) if actor.startswith(SYMBOLS):
                self.due.setdefault(f"{actor} ended", entry.loop_s + PROMPT_S)
            case Struck(blow=Blow.ACTOR):
                self.due.clear()
            case Raised(symbol=symbol):
                self.due.setdefault(f"{SYMBOLS}{symbol} ended", entry.loop_s + PROMPT_S)
            case Journalled(event=ActorExitedEvent() as exit_) if exit_.actor.startswith(SYMBOLS):
                self._ended(exit_, entry.loop_s)
            case Journalled(event=ActorExitedEvent(actor=actor)) if actor in ABOVE:
                self.due.clear()
            case Journalled(event=ActorStartedEvent(actor=actor)) if actor.startswith(SYMBOLS):
                self.met(f"{actor} restarted")
                early_s = self._not_before.pop(actor, entry.loop_s) - entry.loop_s
                if early_s > 1e-6:
                    self.violate(f"{actor} was restarted {early_s:.3f} s before its time")
            case ProcessBegan():
                self._not_before.clear()
            case _:
                pass

    def _ended(self, exit_: ActorExitedEvent, loop_s: float) -> None:
        self.met(f"{exit_.actor} ended")
        if exit_.decision != "restart":
            self.due.pop(f"{exit_.actor} restarted", None)
            self._not_before.pop(exit_.actor, None)
            return
        self.due[f"{exit_.actor} restarted"] = loop_s + exit_.delay_s + PROMPT_S
        self._not_before[exit_.actor] = loop_s + exit_.delay_s

    def describe(self, name: str) -> str:
        actor, what = name.split()
        return f"{actor} had not {what} {PROMPT_S:g} s after it was due"


class PoisonEnds(Bounds):
    """A poison message is delivered twice: then a signal is put away with an alarm, and a symbol whose
    poison is a word of the broker is shut away."""

    invariant = "SUP-17"

    def __init__(self, scene: Scene) -> None:
        super().__init__(scene)
        self._shut: set[str] = set()
        self._let_out: dict[str, int] = {}
        """How often a person has let a symbol out: with the poison still there, that tries it again."""

    def see(self, entry: Entry) -> None:
        super().see(entry)
        match entry:
            case Raised(kind=DefectKind.POISON_SIGNAL | DefectKind.POISON_BROKER_EVENT, count=count):
                self.hold(
                    count <= DELIVERIES * (1 + self._let_out.get(f"{SYMBOLS}{entry.symbol}", 0)),
                    f"a {entry.kind.value} was delivered to {entry.symbol} for the {count}. time",
                )
                if count == DELIVERIES and entry.kind is DefectKind.POISON_BROKER_EVENT:
                    self.due[f"{SYMBOLS}{entry.symbol}"] = entry.loop_s + PROMPT_S
                elif count == DELIVERIES:
                    self.due[entry.symbol] = entry.loop_s + PROMPT_S
            case Journalled(event=ActorExitedEvent(actor=actor, decision="quarantine")):
                self.met(actor)
                self._shut.add(actor)
            case Journalled(event=ActorStartedEvent(actor=actor)) if actor in self._shut:
                self._shut.discard(actor)
                self._let_out[actor] = self._let_out.get(actor, 0) + 1
            case Journalled(event=AlarmEvent(symbol=symbol)):
                self.met(symbol)
            case Struck(blow=Blow.ACTOR):
                self.due.clear()
            case _:
                pass

    def describe(self, name: str) -> str:
        if name.startswith(SYMBOLS):
            return f"a report killed {name} twice, and it was not shut away"
        return f"a signal killed {name} twice, and no alarm told so"


class Guarded(Bounds):
    """The custodian takes over a symbol that is shut away: no entry of it works on."""

    invariant = "SUP-20"

    def __init__(self, scene: Scene) -> None:
        super().__init__(scene)
        self._entering = {symbol: Stretch(scene) for symbol in scene.plan.symbols}
        self._guarded: dict[str, float] = {}
        """Symbols in custody, and when their actors last came back from it."""

    def pass_time(self) -> None:
        super().pass_time()
        for symbol, stretch in self._entering.items():
            if stretch.lasts and stretch.too_long(CALM_S, DISTURBED_S):
                self.violate(f"{symbol} is shut away, and its entry worked on for {stretch.lasted_s:.1f} s")

    def see(self, entry: Entry) -> None:
        super().see(entry)
        match entry:
            case Journalled(event=ActorExitedEvent(actor=actor, decision="quarantine")) if actor.startswith(
                SYMBOLS
            ):
                symbol = actor.removeprefix(SYMBOLS)
                # Back for less than a look of the custodian, it has never been out of its hands.
                if entry.loop_s - self._guarded.get(symbol, -GUARDED_S) > LOOK_S:
                    self.due[symbol] = entry.loop_s + GUARDED_S
            case Journalled(event=AlarmEvent(code="GUARDED", symbol=symbol)):
                self.met(symbol)
                self._guarded[symbol] = entry.loop_s
            case Journalled(event=ActorStartedEvent(actor=actor)):
                symbol = actor.removeprefix(SYMBOLS)
                self.due.pop(symbol, None)
                if symbol in self._guarded:
                    self._guarded[symbol] = entry.loop_s
            case Struck(blow=Blow.ACTOR, kind=kind) if kind in GUARDS:
                # Its next incarnation begins anew, with patience and all.
                self.due = {name: until + GUARDED_S for name, until in self.due.items()}
            case _:
                pass
        if isinstance(entry, Happened | Journalled):
            for symbol, stretch in self._entering.items():
                stretch.set(symbol in self.scene.word.quarantined and self._enters(symbol))

    def _enters(self, symbol: Symbol) -> bool:
        return any(is_entry(order) and works(order) for order in self.scene.truth.live_of(symbol))

    def describe(self, name: str) -> str:
        return f"{name} was shut away, and nobody guarded it {GUARDED_S:g} s later"


class BooksFirst(Checker):
    """A symbol that has started asks for nothing new before it has seen the books in this life."""

    invariant = "SUP-18"

    def __init__(self, scene: Scene) -> None:
        super().__init__(scene)
        self._blind: set[Symbol] = set()

    def see(self, entry: Entry) -> None:
        match entry:
            case Journalled(event=ActorStartedEvent(actor=actor)):
                self._blind.add(symbol_of(actor))
            case Journalled(event=ReconciledEvent(symbol=symbol)):
                self.checked += symbol in self._blind
                self._blind.discard(symbol)
            case Journalled(
                event=NewOrderEvent(ref=ref, cause=cause) | ModifyOrderEvent(ref=ref, cause=cause)
            ):
                # The custodian has books of its own.
                if ref.symbol in self._blind and cause != GUARD:
                    self.violate(f"{ref} was asked for before {ref.symbol} had seen the books again")
            case _:
                pass


CHECKERS: Final = (NobodyWaits, PoisonEnds, Guarded, BooksFirst)
