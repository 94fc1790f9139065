"""The sub-commands that talk to the running system: they ask, do, print, and say what to try next.

What is asked of a run that is not running is read from its journal where that knows it. Exit codes: 0 done,
2 declined or a wrong question, 3 nobody answers.
"""

from __future__ import annotations

import os
import shlex
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, TypeVar

import attrs
import orjson

from actors import control_tables as tables
from actors import journal_program
from actors.control_client import Address, NobodyAnswers, SeveralRun, find, running_on
from actors.event_log import EventLog, NoJournal
from actors.journal_status import JournalStatus
from actors.journal_tables import Screen
from protocol.config_reading import suggest
from protocol.configuration_note import KEY, read_note
from protocol.control_answers import (
    Answer,
    Declined,
    Done,
    LimitsTold,
    LocksTold,
    OrdersTold,
    PositionsTold,
    RulesTold,
    SourcesTold,
    StatusTold,
    SymbolTold,
)
from protocol.control_messages import BadAnswer, plainly
from protocol.control_requests import (
    AskLimits,
    AskLocks,
    AskOrders,
    AskPositions,
    AskRules,
    AskSources,
    AskStatus,
    AskSymbol,
    Deed,
    FlattenPositions,
    RaiseKillLevel,
)
from protocol.control_rows import read_level
from protocol.journal import UnreadableRow
from protocol.risk.words import KillLevel
from protocol.values import Symbol

DONE_EXIT, CRASH_EXIT, USAGE_EXIT, NOBODY_EXIT = 0, 1, 2, 3
PROGRAM = "supervisor.py"
LIVE_NEXT = ("show SYMBOL", "orders", "pause --why TEXT")
REST_NEXT = ("positions --closed", "events --limit 20")
_T = TypeVar("_T")


class Wrong(ValueError):
    """What was asked for cannot be; the message says why."""


@attrs.frozen
class Caller:
    """How a sub-command was called: which run is meant (None: the only one), and for whom the answer is."""

    state: Path | None = None
    as_json: bool = False

    def next(self, *commands: str) -> None:
        """For people: what to try next."""
        if self.as_json:
            return
        where = "" if self.state is None else f" --state {shlex.quote(str(self.state))}"
        sys.stdout.flush()
        print("next: " + "   or   ".join(f"{PROGRAM} {command}{where}" for command in commands))

    def show(self, rows: Iterable[Any], draw: Callable[[Screen], None]) -> None:
        """One JSON object a line, or a table."""
        if not self.as_json:
            draw(Screen())
            return
        for row in rows:
            told = row if isinstance(row, dict) else plainly(row)
            sys.stdout.write(orjson.dumps(told).decode() + "\n")


# --- what is going on -------------------------------------------------------------------------------


def status(caller: Caller) -> int:
    def tell() -> int:
        address = _place(caller)
        live = isinstance(address, Address)
        if isinstance(address, Address):
            told = _expect(address.ask(AskStatus()), StatusTold)
        else:
            told = _journal(address, lambda walk: walk.status(address))
        caller.show([told], lambda screen: tables.show_status(screen, told))
        caller.next(*LIVE_NEXT if live else REST_NEXT)
        return DONE_EXIT

    return _answer(tell)


def positions(caller: Caller, *, closed: bool) -> int:
    def tell() -> int:
        address = _place(caller)
        if closed or not isinstance(address, Address):
            folder = address.state if isinstance(address, Address) else address
            return journal_program.positions(folder, closed=closed, as_json=caller.as_json)
        records = _expect(address.ask(AskPositions()), PositionsTold).positions
        caller.show(
            (record.to_dict() for record in records), lambda screen: tables.show_positions(screen, records)
        )
        about = records[0].symbol if records else "SYMBOL"
        caller.next("positions --closed", f"show {about}", f"flatten {about} --why TEXT")
        return DONE_EXIT

    return _answer(tell)


def orders(caller: Caller, symbol: str) -> int:
    def tell() -> int:
        address = _place(caller)
        if isinstance(address, Address):
            told = _expect(address.ask(AskOrders(symbol=symbol)), OrdersTold).orders
        else:
            told = _journal(address, lambda walk: walk.orders(_symbols(walk, symbol)))
        caller.show(told, lambda screen: tables.show_orders(screen, told))
        caller.next(f"why {told[0].ref}" if told else "events --type OrderEvent", "positions")
        return DONE_EXIT

    return _answer(tell)


def rules(caller: Caller, symbol: str) -> int:
    def tell() -> int:
        address = _place(caller)
        if isinstance(address, Address):
            told = _expect(address.ask(AskRules(symbol=symbol)), RulesTold).rules
        else:
            told = _journal(address, lambda walk: walk.rules(_symbols(walk, symbol)))
        caller.show(told, lambda screen: tables.show_rules(screen, told))
        caller.next("signals", f"show {told[0].symbol if told else 'SYMBOL'}")
        return DONE_EXIT

    return _answer(tell)


def show(caller: Caller, symbol: str) -> int:
    """The symbol as its journal has it, and what only the running system knows."""

    def tell() -> int:
        address = _place(caller)
        if not isinstance(address, Address):
            return journal_program.show(address, symbol, as_json=caller.as_json)
        live = _expect(address.ask(AskSymbol(symbol=symbol)), SymbolTold)
        return journal_program.show(address.state, symbol, as_json=caller.as_json, live=live)

    return _answer(tell)


def locks(caller: Caller) -> int:
    def tell() -> int:
        address = _place(caller)
        if isinstance(address, Address):
            told = _expect(address.ask(AskLocks()), LocksTold)
        else:
            rest = _journal(address, lambda walk: walk.status(address))
            told = LocksTold(kill=rest.kill, locks=rest.locks)

        def draw(screen: Screen) -> None:
            screen.say(tables.kill_line(told.kill))
            tables.show_locks(screen, told.locks)

        caller.show([told], draw)
        first = f"unlock {told.locks[0].lock} --why TEXT" if told.locks else "lock SYMBOL --why TEXT"
        caller.next(first, "kill reset --why TEXT" if told.kill.level else "status")
        return DONE_EXIT

    return _answer(tell)


def limits(caller: Caller) -> int:
    def tell() -> int:
        told = _expect(find(caller.state).ask(AskLimits()), LimitsTold).limits
        caller.show(told, lambda screen: tables.show_limits(screen, told))
        caller.next("limits tighten NAME VALUE --why TEXT", "status")
        return DONE_EXIT

    return _answer(tell)


def sources(caller: Caller) -> int:
    def tell() -> int:
        told = _expect(find(caller.state).ask(AskSources()), SourcesTold).sources
        caller.show(told, lambda screen: tables.show_sources(screen, told))
        name = told[0].name if told else "NAME"
        caller.next(f"sources stop {name}", f"sources tickers {name} SLV,GLD", "signals")
        return DONE_EXIT

    return _answer(tell)


# --- what is to be done -----------------------------------------------------------------------------


def do(caller: Caller, deed: Deed, *then: str) -> int:
    """Ask for the deed, say what came of it; `then`: what to try next."""

    def tell() -> int:
        address = find(caller.state)
        answer = address.ask(_confirmed(deed))
        if isinstance(answer, Declined) and caller.as_json:
            caller.show([{"answer": "declined", **plainly(answer)}], lambda _: None)
            return USAGE_EXIT
        done = _expect(answer, Done)

        def draw(screen: Screen) -> None:
            for line in done.said:
                screen.say(line)

        caller.show([{"answer": "done", **plainly(done)}], draw)
        caller.next(*then)
        return DONE_EXIT

    return _answer(tell)


def _confirmed(deed: Deed) -> Deed:
    """What cannot be taken back is asked about once more, where somebody sits at a terminal."""
    match deed:
        case FlattenPositions(symbol="", confirmed=False):
            return attrs.evolve(deed, confirmed=_asked_again("this closes every position", "flatten"))
        case RaiseKillLevel(confirmed=False):
            try:
                level = read_level(deed.level)
            except ValueError as problem:
                raise Wrong(str(problem)) from None
            if level < KillLevel.FLATTEN:
                return deed
            word = level.name.lower()
            return attrs.evolve(deed, confirmed=_asked_again("this closes every position", word))
        case _:
            return deed


def _asked_again(consequence: str, word: str) -> bool:
    if not sys.stdin.isatty():
        raise Wrong(f"{consequence}: confirm it with --yes")
    typed = input(f"{consequence}; type {word} to go on: ")
    if typed.strip().lower() != word:
        raise Wrong("not confirmed: nothing was done")
    return True


# --- what they share --------------------------------------------------------------------------------


def folder_of(state: Path | None) -> Path:
    """The state folder that is meant, whether a system runs on it or not.

    Raises `NobodyAnswers` and `SeveralRun` when none was named and it is not clear.
    """
    return find(None).state if state is None else state


def at_folder(state: Path | None, tell: Callable[[Path], int]) -> int:
    """Let `tell` read the journal of the run that is meant."""
    return _answer(lambda: tell(folder_of(state)))


def _place(caller: Caller) -> Address | Path:
    """The running system, or the folder of one that is not running."""
    if caller.state is None:
        return find(None)
    return running_on(caller.state) or caller.state


def _journal(folder: Path, tell: Callable[[JournalStatus], _T]) -> _T:
    with EventLog.open(folder) as log:
        return tell(JournalStatus(log.rows(), read_note(log.meta(KEY))))


def _symbols(walk: JournalStatus, symbol: str) -> tuple[Symbol, ...]:
    if not symbol:
        return walk.symbols
    name = Symbol(symbol.upper())
    if name not in walk.symbols:
        raise Wrong(f"{name}: the journal knows no such symbol{suggest(name, walk.symbols)}")
    return (name,)


def _expect(answer: Answer, kind: type[_T]) -> _T:
    if isinstance(answer, Declined):
        raise Wrong("\n".join(answer.problems))
    if not isinstance(answer, kind):
        raise BadAnswer(f"the running system answers with {type(answer).__name__}")
    return answer


def _answer(tell: Callable[[], int]) -> int:
    """Do it; what was wrong becomes a line on stderr and an exit code."""
    try:
        code = tell()
        sys.stdout.flush()
    except (Wrong, SeveralRun, NoJournal, UnreadableRow) as wrong:
        return _complain(USAGE_EXIT, str(wrong))
    except NobodyAnswers as nobody:
        return _complain(NOBODY_EXIT, str(nobody))
    except BadAnswer as bad:
        return _complain(CRASH_EXIT, str(bad))
    except BrokenPipeError:
        # The reader (`head`, a pager) has seen enough; what is still buffered must go somewhere.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return DONE_EXIT
    except (EOFError, KeyboardInterrupt):
        return _complain(USAGE_EXIT, "nothing was done")
    return code


def _complain(code: int, text: str) -> int:
    for line in text.splitlines():
        print(f"{PROGRAM}: {line}", file=sys.stderr)
    return code
