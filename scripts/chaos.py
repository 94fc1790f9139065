#!/usr/bin/env python3
"""Deterministic fault runs from seeds."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Annotated, Literal

from cyclopts import App, CycloptsError, Parameter

USAGE_EXIT = 2
SECOND_INTERRUPT_EXIT = 130

HELP = """Fault runs: the whole trading system against a simulated TWS, everything from a seed.

Each seed is an episode of half an hour of market time. It draws a market of a
few stocks, a strategy, predictions, and what is to go wrong: lost and silent
links, refused, swallowed and doubled orders, busted and late fills, a person
who trades on the account, bad market data, a full disk, actors that are killed,
the whole process killed in the middle of a write, machines that stand still.
Then everything is healed, and within a minute all must be right again. The
invariants are checked all the time against the venue's own books.

The same seed gives the same episode, event for event, on any machine.

Try it:

  python scripts/chaos.py --seeds 20
    The seeds 1 to 20, on all processors.

  python scripts/chaos.py --seeds 1000 --json chaos.json
    A long run: exit 1 for any violation, and when a kind of fault never fired.

  python scripts/chaos.py --seed 17 --trace
    One episode again, with everything that happened in it, line by line.

Exit codes: 0 nothing was violated, 1 something was, 2 wrong option, 130 Ctrl-C."""

app = App(name="chaos.py", help=HELP, help_format="plaintext", version_flags=[])


@app.default
def main(
    *,
    seeds: Annotated[int, Parameter(help="How many episodes.")] = 20,
    first: Annotated[int, Parameter(help="The seed of the first one.")] = 1,
    jobs: Annotated[int, Parameter(help="Processes at a time; 0: one for each processor.")] = 0,
    minutes: Annotated[float, Parameter(help="Market minutes of an episode, at least 5.")] = 30.0,
    json: Annotated[Path | None, Parameter(help="File for everything that was found, as JSON.")] = None,
    seed: Annotated[int | None, Parameter(help="Only this one.")] = None,
    trace: Annotated[bool, Parameter(help="With --seed: every entry of the timeline.", negative="")] = False,
    calm: Annotated[bool, Parameter(help="The same markets, and nothing goes wrong.", negative="")] = False,
    verbose: Annotated[
        bool, Parameter(name=["--verbose", "-v"], help="What actors log, too.", negative="")
    ] = False,
    log_format: Annotated[Literal["text", "json"], Parameter(help="Of what is logged.")] = "text",
) -> int:
    # Here, so that a wrong option and the help are answered at once.
    from rich.console import Console

    from actors.chaos import Job, run_one, run_seeds
    from actors.logs import set_up_log

    if seeds < 1 or minutes < 5 or jobs < 0 or (trace and seed is None):
        return wrong("--seeds from 1, --minutes from 5, --jobs from 0, and --trace with --seed")
    if verbose:
        set_up_log(log_format, verbose=True)
    console = Console(stderr=True)
    if seed is not None:
        return run_one(Job(seed, minutes, calm), trace=trace, report=json, console=console, quiet=not verbose)
    wanted = tuple(Job(first + number, minutes, calm) for number in range(seeds))
    return run_seeds(wanted, processes=jobs or os.cpu_count() or 1, report=json, console=console)


def wrong(what: str) -> int:
    print(f"chaos.py: {what}", file=sys.stderr)
    return USAGE_EXIT


def run(arguments: list[str] | None = None) -> int:
    """The program: what was wrong with the way it was called is one line on stderr, exit code 2."""
    arguments = sys.argv[1:] if arguments is None else arguments
    try:
        return int(app(arguments, exit_on_error=False, print_error=False, result_action="return_value") or 0)
    except CycloptsError as problem:
        return wrong(str(problem))
    except KeyboardInterrupt:
        return SECOND_INTERRUPT_EXIT


if __name__ == "__main__":
    sys.exit(run())
