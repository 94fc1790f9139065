"""The examination as a program: progress while it waits, a table or JSON at the end, the exit code."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from itertools import groupby
from typing import TextIO

import orjson
import structlog
import trio
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table
from rich.text import Text

from actors.doctor import DoctorOptions, Examination
from actors.logs import set_up_log
from protocol.doctor import Check, Finding, Outcome, exit_code, next_command, summary
from protocol.doctor_advice import API_SETTINGS

SECOND_INTERRUPT_EXIT = 130
SUBJECT_COLUMNS = 32
PIPED_COLUMNS = 160
"""The width where there is no terminal to ask."""

_ASK_FOR_SETTINGS = frozenset({Check.PORT, Check.HANDSHAKE, Check.API_SETTINGS, Check.ORDER_PATH})
"""What fails when a setting of TWS is not as it should be."""
_STYLE = {Outcome.OK: "green", Outcome.WARN: "yellow", Outcome.FAIL: "bold red", Outcome.SKIP: "dim"}


def diagnose(options: DoctorOptions, *, as_json: bool, log_format: str, verbose: bool) -> int:
    """Examine everything and say what was found. Returns the exit code."""
    set_up_log(log_format, verbose=verbose)
    with waiting_shown(verbose=verbose) as say:
        examination = Examination(options, say)
        trio.run(_until_ended, examination)
    findings = examination.findings
    code = exit_code(findings)
    following = next_command(findings, examination.asked)
    try:
        if as_json:
            sys.stdout.write(as_text(findings, code, following))
        else:
            show(findings, following, sys.stdout)
        sys.stdout.flush()
    except BrokenPipeError:
        # The reader (`head`, a pager) has seen enough; what is still buffered must go somewhere.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return code


async def _until_ended(examination: Examination) -> None:
    """Until it is done or a signal comes: then an order that is out is still taken back."""
    async with trio.open_nursery() as nursery:

        async def end_on_signal() -> None:
            with trio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:
                async for _ in signals:
                    break
                # From here on a second Ctrl-C does not wait for anything.
                signal.signal(signal.SIGINT, lambda *_: os._exit(SECOND_INTERRUPT_EXIT))
                examination.interrupted()
                nursery.cancel_scope.cancel()

        nursery.start_soon(end_on_signal)
        await examination.run()
        nursery.cancel_scope.cancel()


@contextmanager
def waiting_shown(*, verbose: bool) -> Iterator[Callable[[str], None]]:
    """What is being waited for, on a terminal's last line of stderr; as log lines with `-v`."""
    log = structlog.get_logger()
    if verbose or not sys.stderr.isatty():
        yield lambda text: log.info(text) if verbose else None
        return
    with Console(stderr=True).status("…") as status:
        yield lambda text: status.update(Text(text + " …"))


# --- what is said -----------------------------------------------------------------------------------


def as_text(findings: Sequence[Finding], code: int, following: str) -> str:
    """One JSON object: every line, the exit code, what to look at in TWS, the next command."""
    said = {
        "exit": code,
        "summary": {outcome.value: sum(f.outcome is outcome for f in findings) for outcome in Outcome},
        "findings": [finding.to_dict() for finding in findings],
        "settings": [setting.to_dict() for setting in API_SETTINGS],
        "next": following,
    }
    return orjson.dumps(said, option=orjson.OPT_INDENT_2).decode() + "\n"


def show(findings: Sequence[Finding], following: str, out: TextIO) -> None:
    """The table for people, with what to do below each line that needs something done."""
    console = Console(file=out, width=None if out.isatty() else PIPED_COLUMNS, highlight=False)
    console.print(_table(findings))
    if any(finding.outcome is Outcome.FAIL and finding.check in _ASK_FOR_SETTINGS for finding in findings):
        console.print(Text("What no request can ask; look at it in TWS:"))
        for page, settings in groupby(API_SETTINGS, key=lambda setting: setting.page):
            console.print(Text(f"  {page}"))
            for setting in settings:
                console.print(Text(f"    “{setting.name}” {setting.wanted}: {setting.why}"), soft_wrap=True)
        console.print()
    console.print(Text(summary(findings)))
    console.print(Text(f"next: {following}"), soft_wrap=True)


def _table(findings: Sequence[Finding]) -> Table:
    table = Table(box=SIMPLE_HEAD, pad_edge=False, show_edge=False)
    for name, width in (("", None), ("what", None), ("of", SUBJECT_COLUMNS), ("found", None)):
        table.add_column(name, overflow="fold", max_width=width)
    before = ""
    for alike in _rows(findings):
        finding, check = alike[0], alike[0].check.value
        told = Text(_harmless(finding.text))
        if len(alike) > 1:
            check = ""
            told.append(": " + ", ".join(each.check.value for each in alike))
        if finding.outcome in (Outcome.WARN, Outcome.FAIL):
            for advice in finding.advice:
                told.append(f"\n→ {_harmless(advice)}")
        table.add_row(
            Text(finding.outcome.value, style=_STYLE[finding.outcome]),
            "" if check == before else check,
            Text(_harmless(finding.subject)),
            told,
        )
        before = check
    return table


def _rows(findings: Sequence[Finding]) -> Iterator[tuple[Finding, ...]]:
    """The findings, but what was not asked for one reason together."""

    def reason(finding: Finding) -> tuple[object, ...]:
        alike = finding.outcome is Outcome.SKIP and not finding.subject
        return (finding.text,) if alike else (id(finding),)

    for _, alike in groupby(findings, key=reason):
        yield tuple(alike)


def _harmless(text: str) -> str:
    """On one line, without anything that a terminal would obey: much of it comes from outside."""
    return "".join(character if character.isprintable() else " " for character in text)
