"""The sub-commands of `scripts/supervisor.py`, for its command line: what they are called and take.

Nothing here is imported before it is needed, so that `--help` and a wrong option are answered at once.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import App, Group, Parameter

if TYPE_CHECKING:
    from actors.control_program import Caller

LOOK = Group("Look", sort_key=1)
ACT = Group("Act (of a running system; journalled with who and why)", sort_key=2)

State = Annotated[
    Path | None,
    Parameter(help="Folder of the run, as it was given it; without it, the one run of this user."),
]
Json = Annotated[bool, Parameter(name="--json", negative="", help="One JSON object a line, for programs.")]
Why = Annotated[str, Parameter(help="The reason, kept in the journal.")]
Yes = Annotated[bool, Parameter(negative="", help="Confirm what closes every position.")]
ASKED_SYMBOL = Parameter(help="Only this symbol; all without it.")


def caller(state: Path | None, as_json: bool) -> Caller:
    from actors.control_program import Caller

    return Caller(state, as_json)


# --- look -------------------------------------------------------------------------------------------


def status(*, state: State = None, as_json: Json = False) -> int:
    """How the run is: link, kill level, symbols and why they do not enter, actors, locks, alarms."""
    from actors import control_program as program

    return program.status(caller(state, as_json))


def positions(
    *,
    state: State = None,
    closed: Annotated[bool, Parameter(negative="", help="Those that were closed, too.")] = False,
    as_json: Json = False,
) -> int:
    """What is held, at the market's price; with --closed, what closed positions made."""
    from actors import control_program as program

    return program.positions(caller(state, as_json), closed=closed)


def orders(
    symbol: Annotated[str, ASKED_SYMBOL] = "", /, *, state: State = None, as_json: Json = False
) -> int:
    """The orders that have not ended, by link: what was asked, and what the broker says of it."""
    from actors import control_program as program

    return program.orders(caller(state, as_json), symbol)


def rules(symbol: Annotated[str, ASKED_SYMBOL] = "", /, *, state: State = None, as_json: Json = False) -> int:
    """The rules as each symbol follows them: on or off, cooldowns, how often they acted today."""
    from actors import control_program as program

    return program.rules(caller(state, as_json), symbol)


def show(
    symbol: Annotated[str, Parameter(help="The symbol, such as SLV.")],
    /,
    *,
    state: State = None,
    as_json: Json = False,
) -> int:
    """Everything about one symbol: trade, orders by link type, rules and cooldowns, values, last signals."""
    from actors import control_program as program

    return program.show(caller(state, as_json), symbol)


def locks(*, state: State = None, as_json: Json = False) -> int:
    """The kill level, and what holds entries: each lock with its reason and when it opens."""
    from actors import control_program as program

    return program.locks(caller(state, as_json))


# --- act --------------------------------------------------------------------------------------------


def pause(
    symbol: Annotated[str, ASKED_SYMBOL] = "",
    /,
    *,
    why: Why = "",
    state: State = None,
    as_json: Json = False,
) -> int:
    """No new entries, of one symbol or of any, until `resume`. Positions and their exits go on."""
    from actors import control_program as program
    from protocol.control_requests import Pause

    about = f" {symbol}" if symbol else ""
    return program.do(caller(state, as_json), Pause(symbol=symbol, why=why), f"resume{about}", "locks")


def resume(
    symbol: Annotated[str, ASKED_SYMBOL] = "",
    /,
    *,
    why: Why = "",
    state: State = None,
    as_json: Json = False,
) -> int:
    """Lift what persons locked on that symbol, or on the whole account; other locks stay, and are named."""
    from actors import control_program as program
    from protocol.control_requests import Resume

    return program.do(caller(state, as_json), Resume(symbol=symbol, why=why), "locks", "status")


def flatten(
    symbol: Annotated[str, ASKED_SYMBOL] = "",
    /,
    *,
    why: Why = "",
    yes: Yes = False,
    state: State = None,
    as_json: Json = False,
) -> int:
    """Cancel entries and close the position, of one symbol or of all. Needs --why; for all, --yes.

    Entries go on afterwards: `pause` first where they should not.
    """
    from actors import control_program as program
    from protocol.control_requests import FlattenPositions

    deed = FlattenPositions(symbol=symbol, why=why, confirmed=yes)
    return program.do(caller(state, as_json), deed, "positions", "orders")


def kill(
    level: Annotated[str, Parameter(help="reduce, halt, flatten, sever (or K1 to K4), or reset.")],
    to: Annotated[str, Parameter(help="After reset: the lower level; all is open without it.")] = "open",
    /,
    *,
    why: Why = "",
    yes: Yes = False,
    state: State = None,
    as_json: Json = False,
) -> int:
    """Switch the account off, as far as the level says; `kill reset` switches it on again. Needs --why.

    reduce (K1): only what makes positions smaller. halt (K2): working entries are cancelled, stops stay.
    flatten (K3): every position is closed; needs --yes. sever (K4): then the link is cut; needs --yes.
    The level survives a restart. A file KILL in the state folder does the same when nothing else does.
    """
    from actors import control_program as program
    from protocol.control_requests import LowerKillLevel, RaiseKillLevel

    if level == "reset":
        return program.do(caller(state, as_json), LowerKillLevel(level=to, why=why), "locks", "status")
    raised = RaiseKillLevel(level=level, why=why, confirmed=yes)
    return program.do(caller(state, as_json), raised, "status", "kill reset --why TEXT")


def lock(
    symbol: Annotated[str, ASKED_SYMBOL] = "",
    /,
    *,
    minutes: Annotated[float | None, Parameter(help="Of market time; until it is lifted without it.")] = None,
    why: Why = "",
    state: State = None,
    as_json: Json = False,
) -> int:
    """No entries of one symbol, or of any, for a while. Needs --why."""
    from actors import control_program as program
    from protocol.control_requests import LockSymbol

    deed = LockSymbol(symbol=symbol, minutes=minutes, why=why)
    return program.do(caller(state, as_json), deed, "locks", "unlock LOCK --why TEXT")


def unlock(
    name: Annotated[str, Parameter(help="Of the lock, such as L000003; `locks` lists them.")],
    /,
    *,
    why: Why = "",
    state: State = None,
    as_json: Json = False,
) -> int:
    """Lift one lock, whoever put it there. Needs --why."""
    from actors import control_program as program
    from protocol.control_requests import LiftLock

    return program.do(caller(state, as_json), LiftLock(lock=name, why=why), "locks", "status")


def restart(
    actor: Annotated[str, Parameter(help="A symbol, such as SLV, or broker, router, custodian, …")],
    /,
    *,
    why: Why = "",
    state: State = None,
    as_json: Json = False,
) -> int:
    """End an actor; it starts anew from its journal, all orders stay. Needs --why."""
    from actors import control_program as program
    from protocol.control_requests import RestartActor

    return program.do(caller(state, as_json), RestartActor(actor=actor, why=why), "status")


def quarantine(
    symbol: Annotated[str, Parameter(help="The symbol, such as SLV.")],
    /,
    *,
    why: Why = "",
    state: State = None,
    as_json: Json = False,
) -> int:
    """End the actor of a symbol for good; the custodian keeps its stop. Needs --why."""
    from actors import control_program as program
    from protocol.control_requests import QuarantineSymbol

    deed = QuarantineSymbol(symbol=symbol, why=why)
    return program.do(caller(state, as_json), deed, f"release {symbol} --why TEXT", "status")


def release(
    symbol: Annotated[str, Parameter(help="The symbol, such as SLV.")],
    /,
    *,
    why: Why = "",
    state: State = None,
    as_json: Json = False,
) -> int:
    """Let a symbol out of quarantine. Needs --why."""
    from actors import control_program as program
    from protocol.control_requests import ReleaseSymbol

    deed = ReleaseSymbol(symbol=symbol, why=why)
    return program.do(caller(state, as_json), deed, f"show {symbol}", "status")


def stop(*, why: Why = "", state: State = None, as_json: Json = False) -> int:
    """End the run as Ctrl-C does: working entries are cancelled, positions and their stops stay."""
    from actors import control_program as program
    from protocol.control_requests import StopRun

    return program.do(caller(state, as_json), StopRun(why=why), "status")


limits = App(
    name="limits",
    help="The limits as they hold, and how much of each is used.",
    group=LOOK,
    version_flags=[],
)


@limits.default
def list_limits(*, state: State = None, as_json: Json = False) -> int:
    """The limits as they hold, and how much of each is used."""
    from actors import control_program as program

    return program.limits(caller(state, as_json))


@limits.command(name="tighten")
def tighten(
    name: Annotated[str, Parameter(help="As in [risk]: max_positions, price_collar, …")],
    value: Annotated[str, Parameter(help="As in the configuration; never a looser one.")],
    /,
    *,
    why: Why = "",
    state: State = None,
    as_json: Json = False,
) -> int:
    """Make a limit tighter until the run ends; never looser, that needs a restart. Needs --why."""
    from actors import control_program as program
    from protocol.control_requests import TightenLimit

    deed = TightenLimit(name=name, value=value, why=why)
    return program.do(caller(state, as_json), deed, "limits", "status")


sources = App(
    name="sources", help="The signal sources, and what each has brought.", group=LOOK, version_flags=[]
)


@sources.default
def list_sources(*, state: State = None, as_json: Json = False) -> int:
    """The signal sources, and what each has brought."""
    from actors import control_program as program

    return program.sources(caller(state, as_json))


SourceName = Annotated[str, Parameter(help="As in [signals.NAME].")]


@sources.command(name="start")
def start_source(name: SourceName, /, *, why: Why = "", state: State = None, as_json: Json = False) -> int:
    """Start a source that was stopped, or that was left alone after too many crashes."""
    from actors import control_program as program
    from protocol.control_requests import StartSource

    return program.do(caller(state, as_json), StartSource(source=name, why=why), "sources", "signals")


@sources.command(name="stop")
def stop_source(name: SourceName, /, *, why: Why = "", state: State = None, as_json: Json = False) -> int:
    """Hear nothing of a source any more until it is started; trades that it caused go on."""
    from actors import control_program as program
    from protocol.control_requests import StopSource

    deed = StopSource(source=name, why=why)
    return program.do(caller(state, as_json), deed, f"sources start {name}", "sources")


@sources.command(name="tickers")
def set_tickers(
    name: SourceName,
    tickers: Annotated[str, Parameter(help="Separated by commas: SLV,GLD")],
    /,
    *,
    why: Why = "",
    state: State = None,
    as_json: Json = False,
) -> int:
    """What a source is asked for until the run ends."""
    from actors import control_program as program
    from protocol.control_requests import SetTickers

    wanted = tuple(name.strip() for name in tickers.split(",") if name.strip())
    deed = SetTickers(source=name, tickers=wanted, why=why)
    return program.do(caller(state, as_json), deed, "sources", "signals")


def register(app: App) -> None:
    """Give the sub-commands to the program."""
    for looking in (status, positions, orders, rules, show, locks):
        app.command(looking, group=LOOK)
    for branching in (limits, sources):
        app.command(branching)
    for acting in (pause, resume, flatten, kill, lock, unlock, restart, quarantine, release, stop):
        app.command(acting, group=ACT)
