"""How a run ends: why, with which exit code, and whether the two sides' books agree."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime

import attrs
import structlog
import trio

from actors.broker import BrokerRefused, NoBroker
from actors.run_facts import broker_books, gather_facts
from actors.simulated_tws import SimulatedTws
from actors.system import TradingSystem
from protocol.books import JournalBooks
from protocol.journal_checks import JournalChecks
from protocol.report import RunFacts, disagreements
from protocol.risk.words import KillLevel

CLEAN_EXIT, CRASH_EXIT, USAGE_EXIT, NO_BROKER_EXIT, HALTED_EXIT, GAVE_UP_EXIT = 0, 1, 2, 3, 4, 70
SECOND_INTERRUPT_EXIT = 130
STOP_LIMIT_LOOP_S = 15.0
"""How long an orderly stop may take from the signal to the end of the process, report and alerts included."""

log = structlog.get_logger("run")


@attrs.define
class Ending:
    """Why the run ends. The first cause counts."""

    reason: str = ""
    code: int = CLEAN_EXIT
    asked: trio.Event = attrs.field(factory=trio.Event)

    def ask(self, reason: str, code: int = CLEAN_EXIT) -> None:
        if not self.reason:
            self.reason, self.code = reason, code
        self.asked.set()

    def fail(self, reason: str) -> None:
        """The run cannot go on, nor end as it was asked to."""
        self.reason, self.code = reason, CRASH_EXIT
        self.asked.set()


async def bound_stop(signalled: trio.Event, leave: Callable[[int], None]) -> None:
    """Once a signal has asked for the end, it comes: in order, or after `STOP_LIMIT_LOOP_S` by `leave`.

    Whoever stops a machine waits no longer. The stops stand at the broker, and the journal holds everything
    that was acknowledged.
    """
    await signalled.wait()
    await trio.sleep(STOP_LIMIT_LOOP_S)
    log.critical("the stop takes too long: the process ends now", limit_s=STOP_LIMIT_LOOP_S)
    leave(GAVE_UP_EXIT)


def reason_of(gave_up: BaseException) -> tuple[str, int]:
    """What ended the tree: a broker that is not there or not the right one, or actors that cannot live."""
    cause: BaseException | None = gave_up
    while cause is not None:
        if isinstance(cause, NoBroker):
            return str(cause), NO_BROKER_EXIT
        if isinstance(cause, BrokerRefused):
            return str(cause), USAGE_EXIT
        cause = cause.__cause__
    return f"the supervision tree gave up: {gave_up}", GAVE_UP_EXIT


@attrs.frozen
class Concluded:
    """What is known of a run at its end. `complaints` is what a person has to know, one line each."""

    books: JournalBooks
    facts: RunFacts
    faults: tuple[str, ...]
    complaints: tuple[str, ...]


def conclude(
    system: TradingSystem,
    books: JournalBooks,
    checks: JournalChecks,
    sim: SimulatedTws | None,
    ending: Ending,
    *,
    until_end: bool,
    compared: bool,
    began: datetime | None,
    ended: datetime,
) -> Concluded:
    """Hold the journal's books against the broker's, and put the exit code into `ending`.

    `compared`: the broker's books were looked at after the last order. Books that disagree make a clean
    end a crash; a run that ends halted by risk has a code of its own.
    """
    known = sim is not None or compared
    if not known and ending.code == CLEAN_EXIT:
        ending.reason += "; the books were not compared with the broker's, who did not tell them in time"
    facts = gather_facts(
        system,
        sim,
        exit_reason=ending.reason,
        began=began if sim is None else sim.market_start,
        ended=ended,
        broker=broker_books(system, sim) if known else None,
        checks=checks.result(ended=until_end),
    )
    faults = [] if facts.broker is None else list(disagreements(books, facts.broker))
    faults += [f"{found.invariant}: {found.what}" for found in facts.invariants.violations]
    if until_end and ending.code == CLEAN_EXIT and not system.at_rest:
        open_ones = [s for s, actor in system.symbols.items() if not actor.at_rest]
        faults.append(f"the replay has ended and {', '.join(open_ones)} did not come to rest")
    complaints = [] if ending.code == CLEAN_EXIT else [ending.reason]
    if faults and ending.code == CLEAN_EXIT:
        ending.code = CRASH_EXIT
    complaints += _halted(system, ending)
    never = [f"--kill {kill.symbol}: its moment never came" for kill in system.kills.pending()]
    return Concluded(books, facts, tuple(faults), (*complaints, *faults, *never))


def _halted(system: TradingSystem, ending: Ending) -> list[str]:
    """A run that ends at a kill level says so, since it traded less than it could have."""
    standing = system.gate.standing
    if standing.level < KillLevel.HALT:
        return []
    if ending.code == CLEAN_EXIT:
        ending.code = HALTED_EXIT
    return [f"halted by risk: kill level {standing.level.name}: {standing.why}"]
