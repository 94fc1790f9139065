"""The person's hands on the running system: what may be asked of it, and what is done about it.

A deed is looked at first, then journalled with who, why and what comes of it (`OperatorEvent`, stream
`control`), and only then done; so is what was declined. Levels, locks and limits are the risk desk's, the
positions the symbols' own: nothing here trades.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from functools import partial
from typing import Final, Protocol, assert_never

import attrs

from actors.child import ChildState
from actors.overview import Overview, SourcesSeen
from actors.system_views import SYMBOL_PREFIX
from protocol.config_reading import suggest
from protocol.contradictions import DIFFERS
from protocol.control_answers import (
    Answer,
    Declined,
    Done,
    LimitsTold,
    LocksTold,
    OrdersTold,
    RulesTold,
    SourcesTold,
)
from protocol.control_events import LockEvent, OperatorEvent
from protocol.control_requests import (
    WORDS,
    Ask,
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
    LiftLock,
    LockSymbol,
    LowerKillLevel,
    Pause,
    QuarantineSymbol,
    RaiseKillLevel,
    ReleaseSymbol,
    Request,
    RestartActor,
    Resume,
    SetTickers,
    StartSource,
    StopRun,
    StopSource,
    TightenLimit,
)
from protocol.control_rows import MEANINGS, read_level
from protocol.risk.words import KillLevel, LockKind
from protocol.values import Symbol

STREAM: Final = "control"
PAUSED: Final = "paused by hand"
MAX_LOCK_MIN: Final = 60 * 24 * 31
_NOT_ARGUMENTS: Final = frozenset({"tty", "why"})


class RiskHands(Protocol):
    """What is asked of the risk desk; see `actors/risk.py`."""

    def raise_level(self, level: KillLevel, *, who: str, why: str) -> bool: ...
    def lower_level(self, level: KillLevel, *, who: str, why: str) -> None: ...
    def lock(
        self, symbol: str, *, kind: LockKind, reason: str, who: str, until: datetime | None = None
    ) -> str: ...
    def unlock(self, lock: str, *, who: str, why: str) -> None: ...
    def tighten(self, name: str, value: str, *, who: str, why: str) -> None: ...


class TreeHands(Protocol):
    """What is asked of the system around it; see `actors/system.py`."""

    def flatten(self, symbol: str, reason: str) -> None: ...
    def lift_hold(self, symbol: Symbol, who: str, why: str) -> None: ...
    def restart_actor(self, actor: str, why: str) -> object: ...
    def quarantine_symbol(self, symbol: Symbol, why: str) -> object: ...
    def release_symbol(self, symbol: Symbol) -> object: ...


class SourceHands(SourcesSeen, Protocol):
    """What is asked of the registry of sources; see `actors/sources.py`."""

    def names(self) -> tuple[str, ...]: ...
    def start(self, name: str, *, who: str) -> None: ...
    def stop(self, name: str, *, who: str) -> None: ...
    def set_tickers(self, name: str, tickers: tuple[str, ...], *, who: str) -> None: ...


@attrs.frozen
class _Intent:
    """A deed that may be done: what it comes to, in sentences, and how it is done."""

    said: tuple[str, ...]
    perform: Callable[[], object]


def _nothing() -> None:
    """What there is to do when it is so already."""


class Operator:
    """One for each run. `end` asks for the clean stop of the run, with the reason."""

    def __init__(
        self,
        view: Overview,
        *,
        risk: RiskHands,
        tree: TreeHands,
        end: Callable[[str], None],
        sources: SourceHands | None = None,
    ) -> None:
        self._view, self._risk, self._tree, self._end, self._sources = view, risk, tree, end, sources
        self._journal = view.system.journal

    def answer(self, request: Request, user: str) -> Answer:
        """What is to be said to `user`, after it was done."""
        who = f"{user}@{request.tty}" if request.tty else user
        try:
            if isinstance(request, Ask):
                return self._look(request)
            intent = self._intent(request, who)
        except ValueError as problem:
            if not isinstance(request, Ask):
                self._note(request, who, f"declined: {problem}")
            return Declined(problems=(str(problem),))
        self._note(request, who, "; ".join(intent.said))
        try:
            intent.perform()
        except ValueError as problem:
            self._note(request, who, f"declined: {problem}")
            return Declined(problems=(str(problem),))
        return Done(said=intent.said)

    def _note(self, deed: Deed, who: str, outcome: str) -> None:
        fields = (field for field in attrs.fields(type(deed)) if field.name not in _NOT_ARGUMENTS)
        arguments = " ".join(
            f"{field.name}={value}"
            for field in fields
            if (value := getattr(deed, field.name)) != field.default
        )
        event = OperatorEvent(
            at=self._view.now,
            action=WORDS[type(deed)],
            arguments=arguments,
            who=who,
            why=deed.why,
            outcome=outcome,
        )
        self._journal.append(STREAM, [event])

    # --- looking --------------------------------------------------------------------------------------

    def _look(self, ask: Ask) -> Answer:
        view = self._view
        match ask:
            case AskStatus():
                return view.status()
            case AskPositions():
                return view.positions()
            case AskOrders(symbol=symbol):
                return OrdersTold(orders=view.orders(self._symbols(symbol)))
            case AskRules(symbol=symbol):
                return RulesTold(rules=view.rules(self._symbols(symbol)))
            case AskSymbol(symbol=symbol):
                return view.symbol(self._symbol(symbol))
            case AskLocks():
                return LocksTold(kill=view.kill(), locks=view.locks())
            case AskLimits():
                return LimitsTold(limits=view.limits())
            case AskSources():
                return SourcesTold(sources=view.sources_told())
            case _:
                assert_never(ask)

    def _symbols(self, name: str) -> tuple[Symbol, ...]:
        return (self._symbol(name),) if name else tuple(self._view.system.symbols)

    def _symbol(self, name: str) -> Symbol:
        symbol = Symbol(name.upper())
        known = self._view.system.symbols
        if symbol not in known:
            raise ValueError(f"{symbol} is not traded here{suggest(symbol, tuple(known))}")
        return symbol

    def _account_or(self, name: str) -> str:
        """The symbol, or "" for the whole account."""
        return self._symbol(name) if name else ""

    # --- doing ----------------------------------------------------------------------------------------

    def _intent(self, deed: Deed, who: str) -> _Intent:
        """What the deed comes to. ValueError when it cannot be done."""
        match deed:
            case Pause() | Resume() | LockSymbol() | LiftLock():
                return self._of_locks(deed, who)
            case RaiseKillLevel():
                return self._raise(deed, who)
            case LowerKillLevel():
                return self._lower(deed, who)
            case TightenLimit():
                return self._tighten(deed, who)
            case FlattenPositions():
                return self._flatten(deed, who)
            case RestartActor():
                return self._restart(deed, who)
            case QuarantineSymbol():
                return self._quarantine(deed, who)
            case ReleaseSymbol():
                return self._release(deed)
            case StartSource() | StopSource() | SetTickers():
                return self._of_sources(deed, who)
            case StopRun():
                said = "the run stops: working entries are cancelled, positions and their stops stay"
                why = f": {deed.why}" if deed.why else ""
                return _Intent((said,), partial(self._end, f"stopped by {who}{why}"))
            case _:
                assert_never(deed)

    def _of_locks(self, deed: Pause | Resume | LockSymbol | LiftLock, who: str) -> _Intent:
        match deed:
            case Pause():
                return self._pause(deed, who)
            case Resume():
                return self._resume(deed, who)
            case LockSymbol():
                return self._lock(deed, who)
            case LiftLock():
                return self._lift(deed, who)
            case _:
                assert_never(deed)

    def _by_hand(self, symbol: str) -> tuple[LockEvent, ...]:
        """What persons have locked, on exactly this symbol or on the account."""
        locks = self._view.standing.locks(self._view.now)
        return tuple(lock for lock in locks if lock.symbol == symbol and lock.kind == LockKind.PERSON.value)

    def _pause(self, deed: Pause, who: str) -> _Intent:
        symbol = self._account_or(deed.symbol)
        about = f"entries of {symbol or 'all symbols'}"
        held = [lock for lock in self._by_hand(symbol) if lock.until is None]
        if held:
            return _Intent((f"{about} are held already by {held[0].lock}: {held[0].reason}",), _nothing)
        name = self._view.standing.next_lock
        said = f"{about} are held by {name} until they are resumed; positions, stops and targets go on"
        lock = partial(self._risk.lock, symbol, kind=LockKind.PERSON, reason=deed.why or PAUSED, who=who)
        return _Intent((said,), lock)

    def _resume(self, deed: Resume, who: str) -> _Intent:
        symbol = self._account_or(deed.symbol)
        held = self._by_hand(symbol)
        others = [
            lock for lock in self._view.standing.locks(self._view.now)
            if lock not in held and (not symbol or lock.symbol in ("", symbol))
        ]  # fmt: skip
        still = tuple(
            f"still held: {lock.symbol or 'all symbols'} by {lock.lock}, {lock.reason}" for lock in others
        )
        hold = self._view.hold_of(Symbol(symbol)) if symbol else ""
        if hold:
            return self._lift_hold(Symbol(symbol), hold, deed, who, still)
        if not held:
            return _Intent((f"nobody has paused {symbol or 'all symbols'}", *still), _nothing)
        why = deed.why or "resumed by hand"

        def lift() -> None:
            for lock in held:
                self._risk.unlock(lock.lock, who=who, why=why)

        lifted = ", ".join(lock.lock for lock in held)
        return _Intent((f"{lifted} lifted: {symbol or 'all symbols'} may enter again", *still), lift)

    def _lift_hold(
        self, symbol: Symbol, hold: str, deed: Resume, who: str, still: tuple[str, ...]
    ) -> _Intent:
        """What the symbol holds itself for, with whatever a person has locked beside it."""
        why, held = deed.why or "resumed by hand", self._by_hand(symbol)
        if hold.startswith(DIFFERS):
            raise ValueError(f"{symbol}: {hold}; the hold ends when the books agree")

        def lift() -> None:
            for lock in held:
                self._risk.unlock(lock.lock, who=who, why=why)
            self._tree.lift_hold(symbol, who, why)

        return _Intent((f"{symbol} may enter again; it was held: {hold}", *still), lift)

    def _lock(self, deed: LockSymbol, who: str) -> _Intent:
        symbol = self._account_or(deed.symbol)
        until = None
        if deed.minutes is not None:
            if not 0 < deed.minutes <= MAX_LOCK_MIN:
                raise ValueError(f"--minutes: more than 0 and at most {MAX_LOCK_MIN}, not {deed.minutes:g}")
            until = self._view.now + timedelta(minutes=deed.minutes)
        how_long = "until it is lifted" if until is None else f"for {deed.minutes:g} minutes of market time"
        said = f"{self._view.standing.next_lock}: no entries of {symbol or 'any symbol'} {how_long}"
        lock = partial(self._risk.lock, symbol, kind=LockKind.PERSON, reason=deed.why, who=who, until=until)
        return _Intent((said,), lock)

    def _lift(self, deed: LiftLock, who: str) -> _Intent:
        name = deed.lock.upper()
        lock = self._view.standing.get(name)
        if lock is None:
            known = tuple(each.lock for each in self._view.standing.locks(self._view.now))
            raise ValueError(f"no lock is called {name}{suggest(name, known)}")
        said = f"{name} lifted ({lock.symbol or 'all symbols'}, {lock.kind}: {lock.reason})"
        return _Intent((said,), partial(self._risk.unlock, name, who=who, why=deed.why))

    def _raise(self, deed: RaiseKillLevel, who: str) -> _Intent:
        wanted, holds = read_level(deed.level), self._view.standing.level
        if wanted is KillLevel.OPEN:
            raise ValueError("the level is lowered by `kill reset`")
        if wanted >= KillLevel.FLATTEN and not deed.confirmed:
            raise ValueError(f"K{wanted.value} closes every position: confirm it with --yes")
        if wanted < holds:
            raise ValueError(f"the kill level is {_level(holds)} and goes down by `kill reset` only")
        if wanted == holds:
            return _Intent((f"the kill level is {_level(holds)} already",), _nothing)
        said = (f"kill level {_level(wanted)}: {MEANINGS[wanted]}", "it holds, also after a restart")
        return _Intent(said, partial(self._risk.raise_level, wanted, who=who, why=deed.why))

    def _lower(self, deed: LowerKillLevel, who: str) -> _Intent:
        wanted, holds = read_level(deed.level), self._view.standing.level
        if wanted >= holds:
            raise ValueError(
                f"the kill level is {_level(holds)}: there is nothing to lower to {_level(wanted)}"
            )
        said = f"kill level {_level(wanted)}: {MEANINGS[wanted]}; locks stay as they are"
        return _Intent((said,), partial(self._risk.lower_level, wanted, who=who, why=deed.why))

    def _tighten(self, deed: TightenLimit, who: str) -> _Intent:
        standing = self._view.standing
        after = standing.limits_with(deed.name, deed.value)
        before, now = getattr(standing.limits, deed.name), getattr(after, deed.name)
        said = (
            f"{deed.name} = {now} (was {before}) until the run ends; its configuration says what holds then"
        )
        return _Intent((said,), partial(self._risk.tighten, deed.name, deed.value, who=who, why=deed.why))

    def _flatten(self, deed: FlattenPositions, who: str) -> _Intent:
        symbol = self._account_or(deed.symbol)
        if not symbol and not deed.confirmed:
            raise ValueError("this closes every position: confirm it with --yes")
        held = [
            f"{name} ({quantity:+d})"
            for name in self._view.system.symbols
            if (quantity := self._view.state(name).position.quantity) and symbol in ("", name)
        ]
        about = f"closing {', '.join(held)}" if held else f"{symbol or 'every symbol'} is flat"
        said = f"{about}; working entries are cancelled"
        return _Intent((said,), partial(self._tree.flatten, symbol, f"flattened by {who}: {deed.why}"))

    # --- actors and sources ---------------------------------------------------------------------------

    def _restart(self, deed: RestartActor, who: str) -> _Intent:
        shared = self._view.shared_actors()
        name = deed.actor.lower()
        symbol = None if name in shared else self._symbol(deed.actor)
        state = shared[name].state if symbol is None else self._view.child_of(symbol).state
        if state is ChildState.QUARANTINED:
            raise ValueError(f"{symbol} is in quarantine; `release {symbol}` lets it out")
        about = name if symbol is None else f"the actor of {symbol}"
        if state not in (ChildState.RUNNING, ChildState.STARTING):
            raise ValueError(f"{about} is not running ({state.value}): it is started anew anyway")
        said = f"{about} starts anew, from its journal; all stops stand at the broker meanwhile"
        actor = name if symbol is None else SYMBOL_PREFIX + symbol
        why = f"restarted by {who}: {deed.why}"
        return _Intent((said,), partial(self._tree.restart_actor, actor, why))

    def _quarantine(self, deed: QuarantineSymbol, who: str) -> _Intent:
        symbol = self._symbol(deed.symbol)
        if self._view.child_of(symbol).state is ChildState.QUARANTINED:
            raise ValueError(f"{symbol} is in quarantine already; `release {symbol}` lets it out")
        said = (
            f"the actor of {symbol} ends and stays down; the custodian cancels entries and keeps the stop",
            f"`release {symbol}` lets it out again",
        )
        why = f"shut away by {who}: {deed.why}"
        return _Intent(said, partial(self._tree.quarantine_symbol, symbol, why))

    def _release(self, deed: ReleaseSymbol) -> _Intent:
        symbol = self._symbol(deed.symbol)
        state = self._view.child_of(symbol).state
        if state is not ChildState.QUARANTINED:
            raise ValueError(f"{symbol} is in no quarantine: its actor is {state.value}")
        said = f"{symbol} is let out of quarantine: its actor starts from its journal"
        return _Intent((said,), partial(self._tree.release_symbol, symbol))

    def _of_sources(self, deed: StartSource | StopSource | SetTickers, who: str) -> _Intent:
        sources = self._sources
        if sources is None or not sources.names():
            raise ValueError("this run has no signal sources")
        if deed.source not in sources.names():
            raise ValueError(f"no source is called {deed.source!r}{suggest(deed.source, sources.names())}")
        match deed:
            case StartSource(source=name):
                return _Intent((f"source {name} starts",), partial(sources.start, name, who=who))
            case StopSource(source=name):
                said = f"source {name} stops: nothing it says is heard until it is started again"
                return _Intent((said,), partial(sources.stop, name, who=who))
            case SetTickers(source=name):
                tickers = tuple(dict.fromkeys(ticker.upper() for ticker in deed.tickers))
                said = f"source {name} is asked for {', '.join(tickers)} until the run ends"
                return _Intent((said,), partial(sources.set_tickers, name, tickers, who=who))
            case _:
                assert_never(deed)


def _level(level: KillLevel) -> str:
    return f"{level.name.lower()} (K{level.value})"
