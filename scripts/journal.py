#!/usr/bin/env python3
"""The journal of a run as a program: whether it holds, and what it answers."""

from __future__ import annotations

import sys

from cyclopts import App, CycloptsError

from actors import journal_commands

USAGE_EXIT = 2

HELP = """Reads the journal of a run, while it goes on or after it. Nothing is changed.

Everything that the system decided, sent and heard is in the journal, before it
acted. --state is the folder that the run was given; without it, the one run of
this user that goes on is meant.

Try it:

  .venv/bin/python scripts/journal.py verify --state demo
    Is it sound? SQLite's check, the chain of hashes over all rows, the index,
    the versions: what is there, its head hash, and the first damage if any.

  .venv/bin/python scripts/journal.py trade SLV --state demo
    The last trades of SLV: signal, verdict, orders and when they left, what the
    broker confirmed, each fill and commission, each move of the stop, the close
    and the result, with the time between the steps.

  .venv/bin/python scripts/journal.py trade SLV:000001 --state demo --json
    One trade, for programs.

  .venv/bin/python scripts/journal.py why SIGNAL_ID --state demo
    What a signal led to, or why it led to nothing. `signals` lists them.

  .venv/bin/python scripts/journal.py events --state demo --type FillEvent --follow
    Event by event, as they are written.

Exit codes: 0 answered (verify: sound), 1 verify found damage, 2 wrong question,
or no journal to read."""

app = App(name="journal.py", help=HELP, help_format="plaintext", version_flags=[])
journal_commands.register_alone(app)


def run(arguments: list[str] | None = None) -> int:
    """The program: what was wrong with the way it was called is one line each on stderr, exit code 2."""
    arguments = sys.argv[1:] if arguments is None else arguments
    try:
        code = app(arguments, print_error=False, exit_on_error=False, result_action="return_value")
    except CycloptsError as error:
        for line in str(error).splitlines():
            if line.strip():
                print(f"journal.py: {line}", file=sys.stderr)
        return USAGE_EXIT
    return int(code or 0)


if __name__ == "__main__":
    sys.exit(run())
