"""What a person, or a program for one, can ask of the running system: one closed union, `Request`.

The asks change nothing. All others are deeds: each is journalled with who and why before it is done.
`tty` is the asker's terminal, by its own word; who it is, the server knows from the operating system.
"""

from __future__ import annotations

from types import MappingProxyType
from typing import Final, TypeAlias

import attrs


@attrs.frozen(kw_only=True)
class AskStatus:
    """The run, its tree of actors, the link, kill level, locks, sources, health and figures of risk."""

    tty: str = ""


@attrs.frozen(kw_only=True)
class AskPositions:
    tty: str = ""


@attrs.frozen(kw_only=True)
class AskOrders:
    """The orders that have not ended. `symbol` empty: of all."""

    symbol: str = ""
    tty: str = ""


@attrs.frozen(kw_only=True)
class AskRules:
    symbol: str = ""
    tty: str = ""


@attrs.frozen(kw_only=True)
class AskSymbol:
    """What only the running system knows of one symbol; the rest of it is in the journal."""

    symbol: str
    tty: str = ""


@attrs.frozen(kw_only=True)
class AskLocks:
    tty: str = ""


@attrs.frozen(kw_only=True)
class AskLimits:
    tty: str = ""


@attrs.frozen(kw_only=True)
class AskSources:
    tty: str = ""


Ask: TypeAlias = (
    AskStatus | AskPositions | AskOrders | AskRules | AskSymbol | AskLocks | AskLimits | AskSources
)


@attrs.frozen(kw_only=True)
class Pause:
    """No entries of `symbol`, or of any, until a person says `Resume`. Positions and exits go on."""

    symbol: str = ""
    why: str = ""
    tty: str = ""


@attrs.frozen(kw_only=True)
class Resume:
    """Lifts the locks that persons put on the same `symbol` (empty: on the account), and only those."""

    symbol: str = ""
    why: str = ""
    tty: str = ""


@attrs.frozen(kw_only=True)
class FlattenPositions:
    """Cancel entries and close the position of `symbol`, or every position, which has to be confirmed."""

    symbol: str = ""
    why: str = ""
    confirmed: bool = False
    tty: str = ""


@attrs.frozen(kw_only=True)
class RaiseKillLevel:
    """To `level`, a name or number of `protocol.risk.words.KillLevel`; FLATTEN and SEVER need confirming."""

    level: str
    why: str = ""
    confirmed: bool = False
    tty: str = ""


@attrs.frozen(kw_only=True)
class LowerKillLevel:
    level: str = "open"
    why: str = ""
    tty: str = ""


@attrs.frozen(kw_only=True)
class LockSymbol:
    """No entries of `symbol` (empty: of any), for `minutes` of market time or until it is lifted."""

    symbol: str = ""
    minutes: float | None = None
    why: str = ""
    tty: str = ""


@attrs.frozen(kw_only=True)
class LiftLock:
    """`lock` is its name, `L000017`."""

    lock: str
    why: str = ""
    tty: str = ""


@attrs.frozen(kw_only=True)
class TightenLimit:
    name: str
    value: str
    why: str = ""
    tty: str = ""


@attrs.frozen(kw_only=True)
class RestartActor:
    """End an actor; its supervisor starts it anew. `actor`: a symbol, or one that all symbols share."""

    actor: str
    why: str = ""
    tty: str = ""


@attrs.frozen(kw_only=True)
class QuarantineSymbol:
    """End the symbol's actor and keep it down until `ReleaseSymbol`; the custodian guards what it holds."""

    symbol: str
    why: str = ""
    tty: str = ""


@attrs.frozen(kw_only=True)
class ReleaseSymbol:
    """Out of quarantine."""

    symbol: str
    why: str = ""
    tty: str = ""


@attrs.frozen(kw_only=True)
class StartSource:
    source: str
    why: str = ""
    tty: str = ""


@attrs.frozen(kw_only=True)
class StopSource:
    source: str
    why: str = ""
    tty: str = ""


@attrs.frozen(kw_only=True)
class SetTickers:
    """What a source is asked for, until the run ends."""

    source: str
    tickers: tuple[str, ...]
    why: str = ""
    tty: str = ""


@attrs.frozen(kw_only=True)
class StopRun:
    """The clean stop of a Ctrl-C: working entries are cancelled, positions and their stops stay."""

    why: str = ""
    tty: str = ""


Deed: TypeAlias = (
    Pause
    | Resume
    | FlattenPositions
    | RaiseKillLevel
    | LowerKillLevel
    | LockSymbol
    | LiftLock
    | TightenLimit
    | RestartActor
    | QuarantineSymbol
    | ReleaseSymbol
    | StartSource
    | StopSource
    | SetTickers
    | StopRun
)
Request: TypeAlias = Ask | Deed

REQUESTS: Final = MappingProxyType({
    "status": AskStatus,
    "positions": AskPositions,
    "orders": AskOrders,
    "rules": AskRules,
    "show": AskSymbol,
    "locks": AskLocks,
    "limits": AskLimits,
    "sources": AskSources,
    "pause": Pause,
    "resume": Resume,
    "flatten": FlattenPositions,
    "kill": RaiseKillLevel,
    "kill reset": LowerKillLevel,
    "lock": LockSymbol,
    "unlock": LiftLock,
    "limits tighten": TightenLimit,
    "restart": RestartActor,
    "quarantine": QuarantineSymbol,
    "release": ReleaseSymbol,
    "sources start": StartSource,
    "sources stop": StopSource,
    "sources tickers": SetTickers,
    "stop": StopRun,
})  # fmt: skip
"""The word of each request, `do` on the wire and the sub-command that a person types."""
WORDS: Final = MappingProxyType({kind: word for word, kind in REQUESTS.items()})
NEEDS_REASON: Final = (
    FlattenPositions, RaiseKillLevel, LowerKillLevel, LockSymbol, LiftLock, TightenLimit, RestartActor,
    QuarantineSymbol, ReleaseSymbol,
)  # fmt: skip
"""Deeds that nobody does without saying why."""
