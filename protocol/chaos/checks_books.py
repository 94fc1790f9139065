"""INV-06, 07, 08, 35 and the laws of the journal: what was executed is counted, once, and soon."""

from __future__ import annotations

from typing import ClassVar, Final

from protocol.chaos.checker import Checker, Stretch
from protocol.chaos.scene import Scene
from protocol.chaos.timeline import Compared, Entry, Happened, Journalled
from protocol.contradictions import BOOKS
from protocol.events import (
    CommissionEvent,
    FillEvent,
    NewOrderEvent,
    OrderSentEvent,
    PositionOpenEvent,
    PredictionSignalEvent,
    SignalVerdictEvent,
)
from protocol.exchange.happenings import Executed, PositionChanged
from protocol.journal_checks import JournalChecks, Violation
from protocol.session_executions import STAND_IN
from protocol.values import Symbol

CALM_S: Final = 2.0
POLL_S: Final = 36.0
"""A poll of the books every half minute, and its answer."""
SIGNAL_MAX_AGE_S: Final = 62.0


class EqualBooks(Checker):
    """The position that the journal makes is the venue's."""

    invariant = "INV-06"

    def __init__(self, scene: Scene) -> None:
        super().__init__(scene)
        self._stretches = {symbol: Stretch(scene) for symbol in scene.plan.symbols}

    def pass_time(self) -> None:
        if self.scene.fired.get("withhold_execution"):
            return  # nobody can know at once what nobody is told: the last checker asks for equal books
        for symbol, stretch in self._stretches.items():
            if stretch.lasts and stretch.too_long(CALM_S, POLL_S):
                ours, theirs = self.scene.word.position(symbol), self.scene.truth.position(symbol)
                self.violate(
                    f"{symbol}: our books had {ours}, the venue {theirs}, for {stretch.lasted_s:.1f} s"
                )

    def see(self, entry: Entry) -> None:
        match entry:
            case Happened(happening=PositionChanged()) | Journalled():
                changed = isinstance(entry, Happened)
                self.checked += changed
                for symbol, stretch in self._stretches.items():
                    if changed or stretch.lasts:
                        stretch.set(self.scene.word.position(symbol) != self.scene.truth.position(symbol))
            case _:
                pass


class NothingLost(Checker):
    """At the end every execution of the venue is in the journal, in its last revision."""

    invariant = "INV-08"

    def finish(self) -> None:
        word, truth = self.scene.word, self.scene.truth
        withheld = self.scene.fired.get("withhold_execution", 0)
        missing = []
        for root, execution in truth.executions.items():
            if execution.contract.symbol not in self.scene.plan.symbols:
                continue
            self.checked += 1
            known = word.fills.get(root)
            if known is None or known[0] != execution.exec_id:
                missing.append(f"{execution.exec_id} ({execution.order_ref or 'foreign'})")
        if len(missing) > withheld:
            self.violate(f"never reached the journal: {', '.join(missing)}, and {withheld} were withheld")
        extra = [exec_id for root, (exec_id, _, _) in word.fills.items() if root not in truth.executions]
        standing = [exec_id for exec_id in extra if exec_id.startswith((STAND_IN, BOOKS))]
        if len(extra) > len(standing) or len(standing) > withheld:
            self.violate(f"the journal has executions that never were: {', '.join(extra)}")


class PromptFills(Checker):
    """A fill counts when it is told, whenever its commission comes."""

    invariant = "INV-35"

    def __init__(self, scene: Scene) -> None:
        super().__init__(scene)
        self._executed: dict[str, float] = {}
        self._filled: set[str] = set()

    def see(self, entry: Entry) -> None:
        delay_s = self.scene.plan.tws.commission_delay_s
        match entry:
            case Happened(happening=Executed(execution=execution)):
                self._executed[execution.exec_id] = self.scene.able_s
            case Journalled(event=FillEvent(exec_id=exec_id)):
                since = self._executed.get(exec_id)
                if delay_s > CALM_S and since is not None and not self.scene.disturbed:
                    took_s = self.scene.able_s - since
                    self.hold(took_s < CALM_S, f"{exec_id} was counted {took_s:.1f} s after it happened")
                self._filled.add(exec_id)
            case Journalled(event=CommissionEvent(exec_id=exec_id)):
                self.checked += exec_id not in self._filled  # its fill was still to come, and must not wait
            case _:
                pass


class _OfTheJournal(Checker):
    """One of the laws that the journal alone shows."""

    asks: ClassVar[tuple[type, ...]]

    def __init__(self, scene: Scene) -> None:
        super().__init__(scene)
        self._checks = JournalChecks()

    def see(self, entry: Entry) -> None:
        if isinstance(entry, Journalled) and isinstance(entry.event, self.asks):
            self.checked += 1
        if isinstance(entry, Journalled):
            self._checks.add(entry.stream, entry.event)

    def finish(self) -> None:
        self.violations += [
            Violation(self.invariant, each.at, each.what)
            for each in self._checks.result(ended=True).violations
            if each.invariant == self.invariant
        ]


class AppliedOnce(_OfTheJournal):
    """Each execution moves the books once."""

    invariant = "INV-07"
    asks = (FillEvent,)


class SentOnce(_OfTheJournal):
    """One intent, one order id."""

    invariant = "INV-05"
    asks = (OrderSentEvent,)


class DecidedOnce(_OfTheJournal):
    """No second entry is decided while the first may still work."""

    invariant = "INV-04"
    asks = (NewOrderEvent,)


class AnsweredOnce(_OfTheJournal):
    """Each signal has one verdict, acts at most once, and only while it is fresh."""

    invariant = "INV-27"
    asks = (SignalVerdictEvent,)

    def __init__(self, scene: Scene) -> None:
        super().__init__(scene)
        self._received: dict[str, PredictionSignalEvent] = {}
        self._acted: dict[str, int] = {}

    def see(self, entry: Entry) -> None:
        super().see(entry)
        match entry:
            case Journalled(event=PredictionSignalEvent() as received):
                self._received.setdefault(received.signal_id, received)
            case Journalled(event=PositionOpenEvent(signal_id=signal_id, symbol=symbol)) if signal_id:
                self._act(signal_id, symbol)
            case _:
                pass

    def _act(self, signal_id: str, symbol: Symbol) -> None:
        self._acted[signal_id] = self._acted.get(signal_id, 0) + 1
        self.hold(
            self._acted[signal_id] == 1, f"signal {signal_id} was acted on {self._acted[signal_id]} times"
        )
        received = self._received.get(signal_id)
        if received is None:
            self.violate(f"{symbol} acted on the signal {signal_id}, which nobody received")
            return
        age_s = (received.at - received.predicted_at).total_seconds()
        self.hold(
            -5 < age_s <= SIGNAL_MAX_AGE_S,
            f"signal {signal_id} was {age_s:.0f} s old when it came, and was acted on",
        )


class SameByReplay(Checker):
    """The journal makes the state that the symbol has."""

    invariant = "INV-15"

    def see(self, entry: Entry) -> None:
        if isinstance(entry, Compared):
            self.hold(entry.same, f"{entry.symbol}: a replay of its journal gives another state")


CHECKERS: Final = (
    EqualBooks,
    NothingLost,
    PromptFills,
    AppliedOnce,
    SentOnce,
    DecidedOnce,
    AnsweredOnce,
    SameByReplay,
)
