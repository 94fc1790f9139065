"""The sub-commands that read a journal, for the command line: while its run goes on, and after it.

Signals and causes are read there also of a running system: they are many, and looking for them in its own
loop would hold up what trades.
"""

from __future__ import annotations

from typing import Annotated

from cyclopts import App, Group, Parameter

from actors.control_commands import Json, State

READ = Group("Read the journal", sort_key=3)


def events(
    *,
    state: State = None,
    follow: Annotated[
        bool, Parameter(negative="", help="Go on with what is being written; Ctrl-C ends it.")
    ] = False,
    type: Annotated[  # noqa: A002 - the option's name
        str, Parameter(help="Only of this type and those that derive from it: OrderEvent has all fills.")
    ] = "",
    symbol: Annotated[str, Parameter(help="Only about this symbol.")] = "",
    since: Annotated[
        str, Parameter(help="HH:MM[:SS] of the last day, a date, or a date and time; New York time.")
    ] = "",
    limit: Annotated[
        int | None, Parameter(help="The last N only: 100 for people, all with --json, none with --follow.")
    ] = None,
    as_json: Json = False,
) -> int:
    """What happened, event by event, from the journal of a run, also while it goes on."""
    from actors import journal_program as program
    from actors.control_program import at_folder

    asked = program.EventsAsked(
        follow=follow, type=type, symbol=symbol, since=since, limit=limit, as_json=as_json
    )
    return at_folder(state, lambda folder: program.events(folder, asked))


def signals(
    *,
    state: State = None,
    symbol: Annotated[str, Parameter(help="Only of this symbol.")] = "",
    refused: Annotated[bool, Parameter(negative="", help="Only those that were refused.")] = False,
    as_json: Json = False,
) -> int:
    """Why did it not trade: every prediction with its verdict, the code and the reason."""
    from actors import journal_program as program
    from actors.control_program import at_folder

    return at_folder(
        state, lambda folder: program.signals(folder, symbol=symbol, refused=refused, as_json=as_json)
    )


def why(
    name: Annotated[str, Parameter(help="A signal id, a position (SLV:000001) or an order reference.")],
    /,
    *,
    state: State = None,
    as_json: Json = False,
) -> int:
    """The chain of causes: from the signal to its verdict, the orders, the fills and the end of the trade."""
    from actors import journal_program as program
    from actors.control_program import at_folder

    return at_folder(state, lambda folder: program.why_so(folder, name, as_json=as_json))


def trade(
    name: Annotated[str, Parameter(help="A position (SLV:000001), or a symbol for its last trades.")],
    /,
    *,
    state: State = None,
    limit: Annotated[
        int | None, Parameter(help="Of a symbol: its last N trades; 3 for people, all with --json.")
    ] = None,
    as_json: Json = False,
) -> int:
    """A trade from its signal to its last fill, step by step, with the market time between the steps."""
    from actors import journal_program as program
    from actors.control_program import at_folder

    return at_folder(state, lambda folder: program.trade(folder, name, limit=limit, as_json=as_json))


def verify(*, state: State = None, as_json: Json = False) -> int:
    """Whether the journal can be relied on: 0 sound, 1 damaged (and from which row on), 2 there is none."""
    from actors import journal_verify
    from actors.control_program import at_folder

    return at_folder(state, lambda folder: journal_verify.verify(folder, as_json=as_json))


def show(
    symbol: Annotated[str, Parameter(help="The symbol, such as SLV.")],
    /,
    *,
    state: State = None,
    as_json: Json = False,
) -> int:
    """The state of one symbol as the journal alone tells it: trade, orders, rules, values, last signals."""
    from actors import journal_program as program
    from actors.control_program import at_folder

    return at_folder(state, lambda folder: program.show(folder, symbol, as_json=as_json))


def positions(
    *,
    state: State = None,
    closed: Annotated[bool, Parameter(negative="", help="Those that were closed, too.")] = False,
    as_json: Json = False,
) -> int:
    """What is held and, with --closed, what closed positions made, as the journal alone tells it."""
    from actors import journal_program as program
    from actors.control_program import at_folder

    return at_folder(state, lambda folder: program.positions(folder, closed=closed, as_json=as_json))


def register_alone(app: App) -> None:
    """All of them, for a program that knows no running system."""
    for reading in (verify, trade, events, show, positions, signals, why):
        app.command(reading)


def register(app: App) -> None:
    """Give the sub-commands to the program."""
    for reading in (events, signals, why, trade, verify):
        app.command(reading, group=READ)
