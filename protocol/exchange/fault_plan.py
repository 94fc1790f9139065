"""The faults of a simulated TWS at work, between its wires and its face.

Theory of operation. Whoever owns the wires gives the plan what clients ask, instead of giving it to the
`TwsServer`, and takes from the plan what is to be said, what has happened, and what is to be done to the
wires. On the way each message, request and happening is an opportunity for the faults that wait for its
name; what a fault does by itself is done by `FaultDeeds`. What is due later stands in an agenda, in market
time. An idle plan is not asked at all, so a simulated TWS without faults pays nothing for them.

What a fault brings about gives no opportunities to faults that wait for happenings: none of them can feed
itself. The same seed and the same calls give the same faults.
"""

from __future__ import annotations

import heapq
import itertools
from collections.abc import Callable, Iterable, Sequence
from datetime import datetime, timedelta
from random import Random

from protocol.exchange.contract_key import contract_key
from protocol.exchange.fault_armed import ArmedFault, FaultState, Occasion, is_leg, order_occasion
from protocol.exchange.fault_base import Family
from protocol.exchange.fault_deeds import FaultDeeds
from protocol.exchange.fault_effects import FaultDone, WireEffect
from protocol.exchange.fault_requests import RequestFaults
from protocol.exchange.fault_said import Conditions, SaidFaults
from protocol.exchange.fault_words import HAPPENING_WORDS, ORDER_ACCEPTED
from protocol.exchange.faults import (
    Fault,
    ManualCancel,
    ManualModify,
    OcaRace,
    RejectOrder,
    SuspendOrder,
    kind_of,
)
from protocol.exchange.happenings import (
    CommissionCharged,
    Executed,
    ExecutionCorrected,
    Happening,
    PositionChanged,
)
from protocol.exchange.tws_clients import ClientKey, Said
from protocol.exchange.tws_order_desk import Noted
from protocol.exchange.tws_server import TwsServer
from protocol.tws import messages as m

_OrderFault = RejectOrder | ManualCancel | ManualModify | SuspendOrder | OcaRace
MAX_FAULTS = 10_000
"""More than any test arms; a control client in a loop must not fill the memory."""


class FaultPlan:
    """Mutable and deterministic. Every call carries market time, which must not run backwards."""

    def __init__(self, server: TwsServer, random: Random) -> None:
        self._server, self._random = server, random
        self._armed: list[ArmedFault] = []
        self._by_word: dict[str, list[ArmedFault]] = {}
        self._agenda: list[tuple[datetime, int, Callable[[datetime], None], bool]] = []
        self._turns = itertools.count()
        self._notes: list[tuple[Noted, bool]] = []
        self._done: list[FaultDone] = []
        self._said = SaidFaults(server, self)
        self._deeds = FaultDeeds(server, self)
        self._requests = RequestFaults(server, self)

    # --- for those who command faults -----------------------------------------------------------

    def inject(self, fault: Fault, at: datetime) -> int:
        """The fault waits for its opportunities from now on; returns its number, from 1.

        Raises ValueError when there are `MAX_FAULTS` already.
        """
        if len(self._armed) >= MAX_FAULTS:
            raise ValueError(f"there are {MAX_FAULTS} faults already")
        armed = ArmedFault(len(self._armed) + 1, fault, at, Random(self._random.getrandbits(64)))
        self._armed.append(armed)
        words = armed.words
        if words:
            self.await_words(armed, words)
        else:
            self.later(armed.not_before or at, lambda due: self._fire_timed(armed, due))
        return armed.number

    def disarm(self) -> None:
        """What still waits for its opportunity never happens; what has begun runs its course."""
        for armed in self._armed:
            armed.disarm()
        self._by_word.clear()

    def states(self) -> tuple[FaultState, ...]:
        return tuple(armed.state() for armed in self._armed)

    def resume(self, states: Iterable[FaultState]) -> None:
        """Go on counting where a plan of the same faults stood; what does not match begins anew."""
        for armed, state in zip(self._armed, states, strict=False):
            if kind_of(armed.fault) == state.kind:
                armed.resume(state.seen, state.fired)
                self._forget_if_over(armed)

    # --- for those who own the wires --------------------------------------------------------------

    @property
    def idle(self) -> bool:
        """Nothing waits, nothing is held: messages need not pass through here."""
        return not (
            self._by_word or self._agenda or self._notes or self._done or self._said.busy or self._deeds.busy
        )

    @property
    def armed(self) -> bool:
        """Some fault has been injected."""
        return bool(self._armed)

    @property
    def next_at(self) -> datetime | None:
        """When something is due."""
        return self._agenda[0][0] if self._agenda else None

    def advance(self, at: datetime) -> None:
        """Do what is due by `at`, each at its time."""
        while self._agenda and self._agenda[0][0] <= at:
            due, _, deed, _ = heapq.heappop(self._agenda)
            deed(due)

    def receive(self, key: ClientKey, request: m.ClientRequest, at: datetime) -> None:
        """One request of a connection, in place of `TwsServer.receive`."""
        self._said.learn(key, request)
        if self.idle:
            self._server.receive(key, request, at)
        else:
            self._said.gather(at)
            self._requests.take(key, request, at)

    def disconnected(self, key: ClientKey) -> None:
        self._said.forget(key)

    def take(self, at: datetime) -> tuple[tuple[ClientKey, Said], ...]:
        """What is to be sent now, in order."""
        self._said.gather(at)
        return self._said.take()

    def take_noted(self, at: datetime) -> tuple[Noted, ...]:
        """What has happened at the venue; what happens gives opportunities, too."""
        self._gather_notes(gives=True)
        considered = 0
        while considered < len(self._notes):
            note, gives = self._notes[considered]
            considered += 1
            if gives and self._by_word:
                self._consider(note.happening, at)
        notes, self._notes = self._notes, []
        return tuple(note for note, _ in notes)

    def take_effects(self) -> tuple[WireEffect, ...]:
        return self._deeds.take_effects()

    def take_done(self) -> tuple[FaultDone, ...]:
        """The faults that have happened since the last call, for the record."""
        done, self._done = self._done, []
        return tuple(done)

    def release(self) -> None:
        """Market time will not go on: what is held back is said now, and nothing else happens any more."""
        waiting, self._agenda = sorted(self._agenda, key=lambda entry: entry[:2]), []
        for due, _, deed, holds in waiting:
            if holds:
                deed(due)

    # --- for the parts of the plan ----------------------------------------------------------------

    def waiting(self, words: Iterable[str], family: Family | None = None) -> Sequence[ArmedFault]:
        """The faults that wait for any of these words."""
        if not self._by_word:
            return ()
        found: dict[ArmedFault, None] = {}
        for word in words:
            for armed in self._by_word.get(word, ()):
                if family is None or armed.fault.family is family:
                    found[armed] = None
        return tuple(found)

    def waits_for(self, word: str) -> bool:
        return word in self._by_word

    def happens(self, armed: ArmedFault, occasion: Occasion, at: datetime) -> bool:
        """Whether the fault takes this opportunity; one that has happened often enough is forgotten."""
        if not (armed.fits(occasion) and armed.chance(at)):
            return False
        self._forget_if_over(armed)
        return True

    def later(self, at: datetime, deed: Callable[[datetime], None], *, holds: bool = False) -> None:
        """Do it at `at`. `holds`: something is held back until then that must not be lost."""
        heapq.heappush(self._agenda, (at, next(self._turns), deed, holds))

    def note_done(self, fault: Fault, what: str) -> None:
        self._done.append(FaultDone(kind_of(fault), what))

    def fire(self, armed: ArmedFault, occasion: Occasion, at: datetime) -> None:
        """A fault of a moment or an order happens, after its delay."""
        delay_s = armed.fault.when.delay_s
        if delay_s:
            self.later(at + timedelta(seconds=delay_s), lambda due: self._do(armed, occasion, due))
        else:
            self._do(armed, occasion, at)

    def settle(self, at: datetime) -> None:
        """What the venue did is told by its face and noted, as no opportunity."""
        self._server.orders.hear()
        self._gather_notes(gives=False)
        self._said.gather(at)

    def before_deed(self, at: datetime) -> None:
        """What happened until now gives its opportunities before anything is done."""
        self._gather_notes(gives=True)
        self._said.gather(at)

    def answered(self, at: datetime, *, asked: bool) -> None:
        """A request has been carried out; `asked`: its answer repeats what has been said before."""
        self._said.gather(at, asked=asked)

    def mute_order(self, client_id: int, order_id: int, until: datetime | None) -> None:
        """The client hears nothing of this order, unless it asks."""
        self._said.conditions.muted_orders[client_id, order_id] = until

    @property
    def conditions(self) -> Conditions:
        return self._said.conditions

    def lines_of(self, key: ClientKey, symbol: str) -> tuple[tuple[int, str], ...]:
        """The market data lines of a connection on a symbol, or on all: request ids and symbols."""
        return self._said.lines_of(key, symbol)

    def say(self, said: Iterable[tuple[ClientKey, m.ServerMessage]], at: datetime) -> None:
        """What a deed has put in order itself."""
        self._said.push(said, at)

    def hide_order(self, perm_id: int, at: datetime) -> None:
        """What the venue has just done to this order is not told; later things are."""
        hidden = self._said.conditions.hidden_orders
        hidden[perm_id] = None
        self.settle(at)
        del hidden[perm_id]

    def await_words(self, armed: ArmedFault, words: Iterable[str]) -> None:
        for word in words:
            waiting = self._by_word.setdefault(word, [])
            if armed not in waiting:
                waiting.append(armed)

    # --- happenings and times -----------------------------------------------------------------------

    def _gather_notes(self, *, gives: bool) -> None:
        self._notes += [(note, gives) for note in self._server.take_noted()]

    def _consider(self, happening: Happening, at: datetime) -> None:
        word = HAPPENING_WORDS[type(happening)]
        for armed in self.waiting((word,)):
            occasion = self._occasion(happening)
            fault = armed.fault
            if isinstance(fault, _OrderFault) and (
                occasion.order is None or not is_leg(occasion.order, fault.leg)
            ):
                continue
            if self.happens(armed, occasion, at):
                self.fire(armed, occasion, at)

    def _occasion(self, happening: Happening) -> Occasion:
        match happening:
            case PositionChanged(contract=contract):
                return Occasion(symbol=contract_key(contract))
            case CommissionCharged(exec_id=exec_id):
                executed = next(e for e in self._server.venue.executions() if e.exec_id == exec_id)
                return order_occasion(self._server.venue.by_perm_id(executed.perm_id), exec_id)
            case (
                Executed(order=order, execution=execution)
                | ExecutionCorrected(order=order, execution=execution)
            ):
                return order_occasion(order, execution.exec_id)
            case _:
                return Occasion() if happening.order is None else order_occasion(happening.order)

    def _fire_timed(self, armed: ArmedFault, at: datetime) -> None:
        """Its time has come; it comes again if it is to happen more often."""
        when = armed.fault.when
        # Without a period all its times are one moment, and "without limit" is once.
        for _ in range(1 if when.every_s else when.times or 1):
            if armed.chance(at):
                self.fire(armed, Occasion(), at)
        if when.every_s and not armed.over and not self._awaited(armed):
            self.later(at + timedelta(seconds=when.every_s), lambda due: self._fire_timed(armed, due))

    def _do(self, armed: ArmedFault, occasion: Occasion, at: datetime) -> None:
        self.before_deed(at)
        what = self._deeds.do(armed.fault, occasion, at)
        self.settle(at)
        if what is None and armed.fault.family is Family.ORDER and occasion.order is None:
            # It came at its time and found no order: the next one that fits is the one it waits for.
            armed.fired -= 1
            self.await_words(armed, (ORDER_ACCEPTED,))
        else:
            self.note_done(armed.fault, what or "there was nothing to do it to")

    def _awaited(self, armed: ArmedFault) -> bool:
        """It waits for an order by now, not for its next time."""
        return any(armed in waiting for waiting in self._by_word.values())

    def _forget_if_over(self, armed: ArmedFault) -> None:
        if not armed.over:
            return
        for word in [word for word, waiting in self._by_word.items() if armed in waiting]:
            self._by_word[word].remove(armed)
            if not self._by_word[word]:
                del self._by_word[word]
