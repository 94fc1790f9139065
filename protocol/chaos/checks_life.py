"""INV-17, 18, 20, 21, 25, 26, 32: deaths are recorded and mended, and at the end all comes right."""

from __future__ import annotations

from typing import Final

import attrs

from protocol.chaos.checker import Checker
from protocol.chaos.scene import DATA_KINDS, Scene
from protocol.chaos.timeline import (
    Blow,
    Connected,
    Entry,
    FaultDone,
    Happened,
    Healed,
    Journalled,
    Looked,
    ProcessEnded,
    Raised,
    Struck,
)
from protocol.events import ActorExitedEvent, ActorStartedEvent, ReconciledEvent
from protocol.exchange.happenings import Executed
from protocol.values import OrderRef, Symbol

CONVERGE_S: Final = 60.0
READY_S: Final = 1.0
RECORDED_S: Final = 3.0
"""For an exit to be recorded: a child may take two seconds to end before it counts as stuck."""
NOTICED_S: Final = 36.0
FRESH_S: Final = 15.0
INJECTED: Final = ("JournalFailed", "BrokerRefused", "NoBroker", "Flawed")
"""Ends that faults of an episode bring about by right."""


class NoCrash(Checker):
    """No actor crashes by itself, and no process ends but by what was done to it."""

    invariant = "CRASH"

    def see(self, entry: Entry) -> None:
        match entry:
            case Journalled(event=ActorExitedEvent() as event):
                if event.exit in ("crash", "init_timeout", "stuck", "fatal") and not _injected(event.reason):
                    self.violate(f"{event.actor} ended by itself ({event.exit}): {event.reason}")
            case ProcessEnded(why=why, expected=expected):
                self.hold(expected, f"the process ended by itself: {why}")
            case _:
                pass


def _injected(reason: str) -> bool:
    return any(name in reason for name in INJECTED)


@attrs.define
class _Death:
    loop_s: float
    process: int
    name: str
    recorded: bool = False
    started: bool = False


class Mended(Checker):
    """Whoever is killed, or crashes, is there again within a second, or is shut away."""

    invariant = "INV-20"

    def __init__(self, scene: Scene) -> None:
        super().__init__(scene)
        self._deaths: list[_Death] = []
        self.slowest_s = 0.0

    def pass_time(self) -> None:
        for death in tuple(self._deaths):
            if death.process != self.scene.process or not self.scene.alive:
                self._deaths.remove(death)  # the whole process has gone since
            elif self.scene.loop_s - death.loop_s > RECORDED_S + READY_S:
                self._deaths.remove(death)
                self.hold(death.started, f"{death.name} was killed, and is not there after {READY_S:g} s")

    def see(self, entry: Entry) -> None:
        match entry:
            case Struck(blow=Blow.ACTOR, what=what):
                self._deaths.append(_Death(entry.loop_s, self.scene.process, what))
            case Raised(symbol=symbol):
                self._deaths.append(_Death(entry.loop_s, self.scene.process, f"symbol:{symbol}"))
            case Journalled(event=ActorExitedEvent(actor=actor, decision="quarantine")):
                self._deaths = [death for death in self._deaths if death.name != actor]
            case Journalled(event=ActorStartedEvent(actor=actor)):
                for death in self._deaths:
                    if death.name == actor and entry.loop_s > death.loop_s - 1e-9:
                        death.started = True
                        self.slowest_s = max(self.slowest_s, entry.loop_s - death.loop_s)
            case _:
                pass


class Recorded(Checker):
    """No silent death: each exit that was brought about is in the journal."""

    invariant = "INV-21"

    def __init__(self, scene: Scene) -> None:
        super().__init__(scene)
        self._waiting: list[_Death] = []
        self._exits: list[tuple[float, str]] = []

    def pass_time(self) -> None:
        for death in tuple(self._waiting):
            if death.process != self.scene.process or not self.scene.alive:
                self._waiting.remove(death)
            elif self.scene.loop_s - death.loop_s > RECORDED_S:
                self._waiting.remove(death)
                told = any(name == death.name and at >= death.loop_s - 1e-9 for at, name in self._exits)
                self.hold(told, f"the death of {death.name} is not in the journal")

    def see(self, entry: Entry) -> None:
        match entry:
            case Struck(blow=Blow.ACTOR, what=what):
                self._waiting.append(_Death(entry.loop_s, self.scene.process, what))
            case Raised(symbol=symbol):
                self._waiting.append(_Death(entry.loop_s, self.scene.process, f"symbol:{symbol}"))
            case Journalled(event=ActorExitedEvent(actor=actor)):
                self._exits.append((entry.loop_s, actor))
            case _:
                pass


class OnceOverDeaths(Checker):
    """No order is taken twice over a death of the process; counted by deaths, judged with INV-05."""

    invariant = "INV-18"

    def see(self, entry: Entry) -> None:
        if isinstance(entry, ProcessEnded):
            self.checked += 1

    def finish(self) -> None:
        twice = [ref for ref, perm_ids in self.scene.truth.incarnations.items() if len(perm_ids) > 1]
        if len(twice) > self.scene.fired.get("double_modify", 0):
            self.violate(f"orders that the venue has twice: {', '.join(map(str, twice))}")


class OnceInRecovery(Checker):
    """A death during recovery is a death like any other: counted here, where recovery was cut short."""

    invariant = "INV-17"

    def __init__(self, scene: Scene) -> None:
        super().__init__(scene)
        self._recovering = False

    def see(self, entry: Entry) -> None:
        match entry:
            case Journalled(event=ActorStartedEvent()):
                self._recovering = True
            case Journalled(event=ReconciledEvent()):
                self._recovering = False
            case Struck(blow=Blow.ACTOR | Blow.PROCESS) if self._recovering:
                self.checked += 1
            case _:
                pass


class ComesRight(Checker):
    """A minute after the healing: link up, no order unknown, every symbol trades or says why it does not."""

    invariant = "INV-25"

    def __init__(self, scene: Scene) -> None:
        super().__init__(scene)
        self._healed_at = 0.0
        self._last_wrong = "nobody looked"
        self.took_s: float | None = None

    def see(self, entry: Entry) -> None:
        match entry:
            case Healed(loop_s=loop_s):
                self._healed_at = loop_s
            case Looked() if self.took_s is None:
                wrong = self._wrong(entry)
                if wrong:
                    self._last_wrong = "; ".join(wrong)
                elif entry.loop_s - self._healed_at <= CONVERGE_S:
                    self.took_s = entry.loop_s - self._healed_at
            case _:
                pass

    def _wrong(self, look: Looked) -> list[str]:
        wrong = []
        if not look.link_up:
            wrong.append("the link is not up")
        if look.unknown_orders:
            wrong.append(f"{look.unknown_orders} orders are unknown")
        for one in look.symbols:
            stands = bool(one.held) or one.quarantined
            if not one.ready and not stands:
                wrong.append(f"{one.symbol} is not ready")
            if not stands and (one.quote_age_s is None or one.quote_age_s > FRESH_S):
                wrong.append(f"{one.symbol} has a quote {one.quote_age_s} s old")
            if not stands and one.position != self.scene.truth.position(one.symbol):
                wrong.append(
                    f"{one.symbol} holds {self.scene.truth.position(one.symbol)}, and believes {one.position}"
                )
        return wrong

    def finish(self) -> None:
        self.hold(self.took_s is not None, f"not within {CONVERGE_S:g} s of the healing: {self._last_wrong}")


class LinkStays(Checker):
    """Trouble with market data never closes the order link."""

    invariant = "INV-26"

    def __init__(self, scene: Scene) -> None:
        super().__init__(scene)
        self._data_fault_at = self._other_at = float("-inf")

    def see(self, entry: Entry) -> None:
        match entry:
            case FaultDone(kind=kind) if kind in DATA_KINDS:
                self._data_fault_at = entry.loop_s
                self.checked += 1
            case FaultDone() | Struck():
                self._other_at = entry.loop_s
            case Connected(up=False):
                alone = entry.loop_s - self._other_at > 120
                if alone and entry.loop_s - self._data_fault_at < 60:
                    self.violate("the link ended after a fault of market data alone")
            case _:
                pass


class Noticed(Checker):
    """Somebody else's trade is noticed, and its symbol held."""

    invariant = "INV-32"

    def __init__(self, scene: Scene) -> None:
        super().__init__(scene)
        self._waiting: dict[Symbol, tuple[float, int]] = {}

    def pass_time(self) -> None:
        for symbol, (since, holds) in tuple(self._waiting.items()):
            if self.scene.word.holds.get(symbol, 0) > holds or self.scene.word.held.get(symbol):
                del self._waiting[symbol]
                self.checked += 1
            elif self.scene.able_s - since > NOTICED_S:
                del self._waiting[symbol]
                self.hold(False, f"somebody else traded {symbol}, and it was not held within {NOTICED_S:g} s")

    def see(self, entry: Entry) -> None:
        if not (isinstance(entry, Happened) and isinstance(entry.happening, Executed)):
            return
        execution = entry.happening.execution
        symbol = Symbol(execution.contract.symbol)
        foreign = OrderRef.parse(execution.order_ref) is None
        if foreign and symbol in self.scene.plan.symbols and not self.scene.fired.get("withhold_execution"):
            self._waiting.setdefault(symbol, (self.scene.able_s, self.scene.word.holds.get(symbol, 0)))


CHECKERS: Final = (NoCrash, Mended, Recorded, OnceOverDeaths, OnceInRecovery, ComesRight, LinkStays, Noticed)
