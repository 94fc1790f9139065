"""The sub-commands that read a journal: events, show, positions, signals, why, trade. They change nothing."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterable
from datetime import datetime
from pathlib import Path
from typing import Any

import attrs
import orjson
import trio

from actors.control_tables import show_symbol
from actors.event_log import EventLog, NoJournal
from actors.journal_tables import (
    EVENT_HEAD,
    POSITION_HEAD,
    SIGNAL_HEAD,
    SUMMARY_HEAD,
    Screen,
    chain_rows,
    event_rows,
    position_row,
    show_snapshot,
    show_trade,
    signal_row,
    summary_row,
)
from protocol.causes import why
from protocol.configuration_note import KEY, ConfigurationNote, read_note
from protocol.control_answers import SymbolTold
from protocol.control_messages import plainly
from protocol.event_text import (
    NEW_YORK,
    SYMBOL_STREAM,
    BadQuestion,
    EventFilter,
    clock,
    kinds_named,
    last,
    read_moment,
    symbol_of,
    to_json,
    what,
)
from protocol.journal import JournalRow, UnreadableRow
from protocol.position_book import PositionBook
from protocol.symbol_snapshot import SymbolWatch, signal_stories
from protocol.trade_story import trade_stories
from protocol.values import Symbol

USAGE_EXIT = 2
PROGRAMS = ("supervisor.py", "journal.py")
"""Both have these sub-commands; whoever was called names itself in what comes next."""
SHOWN_TRADES = 3
SHOWN_EVENTS = 100
"""The last events that a person is shown where no --limit says otherwise."""


@attrs.frozen(kw_only=True)
class EventsAsked:
    follow: bool = False
    type: str = ""
    symbol: str = ""
    since: str = ""
    limit: int | None = None
    as_json: bool = False


def events(state: Path, asked: EventsAsked) -> int:
    def tell(log: EventLog) -> None:
        if asked.limit is not None and asked.limit < 0:
            raise BadQuestion(f"--limit: must not be negative, not {asked.limit}")
        wanted = EventFilter(
            kinds=kinds_named(asked.type) if asked.type else frozenset(),
            symbol=asked.symbol.upper(),
            since=_moment(log, asked.since),
        )
        limit = asked.limit
        if limit is None and not asked.as_json:
            limit = 0 if asked.follow else SHOWN_EVENTS
        # First, so that what is written while the rows are read is not told twice.
        head = log.head
        rows = (row for row in log.rows(kinds=wanted.kinds) if row.seq <= head and wanted.wants(row))
        if asked.as_json:
            _write_json(to_json(row) for row in (rows if limit is None else last(rows, limit)))
        else:
            found = last(rows, limit)
            if found or not asked.follow:
                Screen().table(EVENT_HEAD, event_rows(found), right="id")
        if asked.follow:
            trio.run(_follow, log, wanted, head, asked.as_json)
        elif not asked.as_json:
            next_is(f"events --state {state} --follow", f"why SIGNAL_ID --state {state}")

    return _answer(state, tell)


def show(state: Path, symbol: str, *, as_json: bool, live: SymbolTold | None = None) -> int:
    """`live`: what a running system says of the symbol beside its journal."""
    name = Symbol(symbol.upper())

    def tell(log: EventLog) -> None:
        watch = SymbolWatch(name, _note(log))
        seen = set[str]()
        for row in log.rows():
            watch.add(row)
            seen.add(symbol_of(row.event))
        if not watch.known and live is None:
            known = ", ".join(sorted(seen - {"", "*"})) or "none yet"
            raise BadQuestion(f"{name}: the journal knows no such symbol; known: {known}")
        told = watch.snapshot()
        if live is not None:
            told |= {"actor": live.line.actor, "live": plainly(live)}
        if as_json:
            _write_json([told])
        else:
            show_snapshot(Screen(), told)
            if live is not None:
                show_symbol(Screen(), live)
            next_is(f"events --state {state} --symbol {name}", f"signals --state {state} --symbol {name}")

    return _answer(state, tell)


def positions(state: Path, *, closed: bool, as_json: bool) -> int:
    def tell(log: EventLog) -> None:
        book = PositionBook.of(((row.stream, row.event) for row in log.rows()), _note(log).facts)
        records = (*(book.closed() if closed else ()), *book.active())
        if as_json:
            _write_json(record.to_dict() for record in records)
            return
        screen = Screen()
        screen.table(
            POSITION_HEAD,
            (position_row(record) for record in records),
            right="shares average stop target realized commission",
        )
        traded = [symbol for symbol in book.symbols if book.summary(symbol).trades]
        if traded:
            rows = [*((symbol, book.summary(symbol)) for symbol in traded), ("total", book.summary())]
            screen.table(SUMMARY_HEAD, (summary_row(*row) for row in rows), right=" ".join(SUMMARY_HEAD[1:]))
        if book.outside:
            screen.say(f"realized by trades that are not ours: ${book.outside}")
        last_one = records[-1].position_id if records else "SYMBOL:000001"
        more = "" if closed else " --closed"
        next_is(f"positions --state {state}{more}", f"why {last_one} --state {state}")

    return _answer(state, tell)


def signals(state: Path, *, symbol: str, refused: bool, as_json: bool) -> int:
    def tell(log: EventLog) -> None:
        stories = [
            story
            for story in signal_stories(log.rows(kinds=("PredictionSignalEvent", "SignalVerdictEvent")))
            if (not symbol or story.symbol == symbol.upper())
            and (not refused or (story.verdict is not None and story.verdict.verdict.value == "refused"))
        ]
        if as_json:
            _write_json(story.to_dict() for story in stories)
            return
        Screen().table(SIGNAL_HEAD, (signal_row(story) for story in stories), right="confidence")
        next_is(f"why {stories[-1].signal_id if stories else 'SIGNAL_ID'} --state {state}")

    return _answer(state, tell)


def why_so(state: Path, name: str, *, as_json: bool) -> int:
    def tell(log: EventLog) -> None:
        chain = why(log.rows, name)
        if not chain:
            raise BadQuestion(
                f'"{name}": the journal knows no signal, no position (SLV:000001) and no order of that name; '
                f"`signals` and `positions --closed` list them"
            )
        if as_json:
            _write_json(to_json(row) for row in chain)
            return
        Screen().table(("id", "New York time", "event", "what"), chain_rows(chain), right="id")
        next_is(f"show {symbol_of(chain[-1].event)} --state {state}")

    return _answer(state, tell)


def trade(state: Path, name: str, *, limit: int | None, as_json: bool) -> int:
    """`name`: a symbol, for its last trades, or a position (SLV:000001)."""
    symbol, number = _trade_named(name)

    def tell(log: EventLog) -> None:
        if limit is not None and limit < 1:
            raise BadQuestion(f"--limit: must be at least 1, not {limit}")
        stories = trade_stories(
            log.rows(streams=("signals", "broker", SYMBOL_STREAM + symbol)), symbol, number
        )
        if not stories:
            raise BadQuestion(f'"{name}": the journal knows no such trade; `positions --closed` lists them')
        shown = stories if as_json and limit is None else stories[-(limit or SHOWN_TRADES) :]
        if as_json:
            _write_json(story.to_dict() for story in shown)
            return
        screen = Screen()
        for story in shown:
            show_trade(screen, story)
            screen.say("")
        if len(shown) < len(stories):
            screen.say(f"the last {len(shown)} of {len(stories)} trades; --limit {len(stories)} shows all")
        next_is(
            f"why {shown[-1].signal_id or shown[-1].id} --state {state}", f"show {symbol} --state {state}"
        )

    return _answer(state, tell)


def _trade_named(name: str) -> tuple[Symbol, int | None]:
    symbol, colon, number = name.rpartition(":")
    if colon and number.isdecimal():
        return Symbol(symbol.upper()), int(number)
    return Symbol(name.upper()), None


# --- what they share --------------------------------------------------------------------------------


def _answer(state: Path, tell: Callable[[EventLog], None]) -> int:
    """Open the journal, tell, and turn what was wrong with the question into one line and exit code 2."""
    try:
        with EventLog.open(state) as log:
            tell(log)
        sys.stdout.flush()
    except (NoJournal, BadQuestion, UnreadableRow) as wrong:
        print(f"{program()}: {wrong}", file=sys.stderr)
        return USAGE_EXIT
    except BrokenPipeError:
        # The reader (`head`, a pager) has seen enough; what is still buffered must go somewhere.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except KeyboardInterrupt:
        pass  # how a person ends --follow
    return 0


async def _follow(log: EventLog, wanted: EventFilter, after: int, as_json: bool) -> None:
    async for row in log.follow(after=after, kinds=wanted.kinds):
        if wanted.wants(row):
            print(orjson.dumps(to_json(row)).decode() if as_json else _line(row), flush=True)


def _line(row: JournalRow) -> str:
    return f"{row.seq:>6}  {clock(row.at)}  {row.kind:<22} {symbol_of(row.event):<6} {what(row.event)}"


def _moment(log: EventLog, text: str) -> datetime | None:
    """A time of day is meant on the day of the last event."""
    if not text:
        return None
    newest = next(iter(log.rows(after=log.head - 1)), None)
    if newest is None:
        return None
    return read_moment(text, newest.at.astimezone(NEW_YORK).date())


def _note(log: EventLog) -> ConfigurationNote:
    return read_note(log.meta(KEY))


def _write_json(told: Iterable[dict[str, Any]]) -> None:
    for each in told:
        sys.stdout.write(orjson.dumps(each).decode() + "\n")


def next_is(*commands: str) -> None:
    """Every command ends by naming the ones that lead on."""
    sys.stdout.flush()
    print("next: " + "   or   ".join(f"{program()} {command}" for command in commands))


def program() -> str:
    """What a person typed to get here."""
    called = Path(sys.argv[0]).name
    return called if called in PROGRAMS else PROGRAMS[0]
