"""The trading system as a program: from its options to its exit code, with what a person has to be told."""

from __future__ import annotations

import os
import sys

import trio

from actors.interpreter import prepare_interpreter
from actors.known_secrets import KNOWN, guard_process
from actors.logs import close_log, set_up_log
from actors.run import Run
from actors.run_end import USAGE_EXIT
from actors.run_options import Plan, RunOptions, UsageError, resolve
from protocol.config import ConfigFaults

PROGRAM = "supervisor.py"


def supervise(options: RunOptions, *, check: bool, log_format: str, verbose: bool) -> int:
    """Resolve the options and run the system, or only say what would run. Returns the exit code."""
    guard_process()
    set_up_log(log_format, verbose=verbose)
    try:
        plan = resolve(options)
    except UsageError as error:
        return complain(USAGE_EXIT, *error.lines)
    except ConfigFaults as error:
        return complain(USAGE_EXIT, *error.faults)
    complain(0, *plan.warnings, *plan.signal_faults)
    if check:
        return show(plan)
    try:
        set_up_log(log_format, verbose=verbose, settings=plan.settings.log)
    except OSError as error:
        return complain(USAGE_EXIT, f"log.file: {plan.settings.log.file}: {error.strerror}")
    run = Run(plan)
    prepare_interpreter()
    try:
        code = trio.run(run.run)
    finally:
        # What was logged comes before what is said last, or before the crash.
        close_log()
    complain(code, *run.complaints)
    return code


def show(plan: Plan) -> int:
    try:
        print(*plan.describe(), "next: the same without --check", sep="\n", flush=True)
    except BrokenPipeError:
        # The reader (`head`, a pager) has seen enough; what is still buffered must go somewhere.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return 0


def complain(code: int, *lines: str) -> int:
    for line in lines:
        print(f"{PROGRAM}: {KNOWN.clean(line)}", file=sys.stderr)
    return code
