"""What an examination of the connection finds, and what follows from it: exit code, next command.

An examination asks the same things in the same order each time, and says of each that it is well, that
it is worth knowing, that it stands in the way, or that it was not asked. Pure: who asks is `actors/doctor`.
"""

from __future__ import annotations

import enum
from collections.abc import Iterable, Sequence

import attrs

CLEAN_EXIT, OTHER_EXIT, USAGE_EXIT, NO_SESSION_EXIT = 0, 1, 2, 3


class Outcome(enum.Enum):
    OK = "ok"
    WARN = "warn"
    """Trading works, in part or in a way that may surprise."""
    FAIL = "fail"
    """A run would not start, or would not trade."""
    SKIP = "skip"
    """Not asked: not wanted, or what it needs is missing."""


class Check(enum.Enum):
    """What is examined, in this order."""

    CONFIGURATION = "configuration"
    SECRETS = "secrets"
    STATE = "state folder"
    DISK = "disk"
    MACHINE = "machine"
    PORT = "port"
    HANDSHAKE = "handshake"
    CLIENT_ID = "client id"
    ACCOUNT = "account"
    ORDER_IDS = "order ids"
    CLOCK = "clock"
    UPSTREAM = "IBKR"
    API_SETTINGS = "API settings"
    BOOKS = "books"
    MONEY = "money"
    CONTRACT = "contract"
    MARKET_DATA = "market data"
    HISTORY = "history"
    ORDER_PATH = "order path"
    SIGNALS = "signals"
    EXAMINATION = "examination"
    """The examination itself, when it did not come to its end."""


OF_THE_SESSION = (
    Check.CLIENT_ID,
    Check.ACCOUNT,
    Check.ORDER_IDS,
    Check.CLOCK,
    Check.UPSTREAM,
    Check.API_SETTINGS,
    Check.BOOKS,
    Check.MONEY,
    Check.CONTRACT,
    Check.MARKET_DATA,
    Check.HISTORY,
    Check.ORDER_PATH,
)
"""What only TWS can answer."""

_USAGE = frozenset({Check.CONFIGURATION, Check.SECRETS, Check.ACCOUNT})
_SESSION = frozenset({Check.PORT, Check.HANDSHAKE})


@attrs.frozen(kw_only=True)
class Finding:
    """One line of the examination. `subject`: the symbol, source, file or address that it is about."""

    check: Check
    outcome: Outcome
    text: str
    subject: str = ""
    advice: tuple[str, ...] = ()
    """What to do about it, one thing a line."""

    def to_dict(self) -> dict[str, object]:
        return {
            "check": self.check.value,
            "subject": self.subject,
            "outcome": self.outcome.value,
            "text": self.text,
            "advice": list(self.advice),
        }


def ok(check: Check, text: str, subject: str = "") -> Finding:
    return Finding(check=check, outcome=Outcome.OK, text=text, subject=subject)


def warn(check: Check, text: str, *advice: str, subject: str = "") -> Finding:
    return Finding(check=check, outcome=Outcome.WARN, text=text, subject=subject, advice=advice)


def fail(check: Check, text: str, *advice: str, subject: str = "") -> Finding:
    return Finding(check=check, outcome=Outcome.FAIL, text=text, subject=subject, advice=advice)


def skip(check: Check, text: str, subject: str = "") -> Finding:
    return Finding(check=check, outcome=Outcome.SKIP, text=text, subject=subject)


def exit_code(findings: Iterable[Finding]) -> int:
    """What a user has to change first decides: configuration and account, then the session, then the rest."""
    failed = {finding.check for finding in findings if finding.outcome is Outcome.FAIL}
    if failed & _USAGE:
        return USAGE_EXIT
    if failed & _SESSION:
        return NO_SESSION_EXIT
    return OTHER_EXIT if failed else CLEAN_EXIT


def in_order(findings: Iterable[Finding]) -> tuple[Finding, ...]:
    """In the order of the checks; of one check, as they were found."""
    place = {check: number for number, check in enumerate(Check)}
    return tuple(sorted(findings, key=lambda finding: place[finding.check]))


def not_asked(findings: Iterable[Finding], checks: Iterable[Check], why: str) -> tuple[Finding, ...]:
    """A line for each of `checks` that nothing was found about."""
    asked = {finding.check for finding in findings}
    return tuple(skip(check, why) for check in checks if check not in asked)


def summary(findings: Sequence[Finding]) -> str:
    counts = {
        outcome: sum(finding.outcome is outcome for finding in findings)
        for outcome in (Outcome.OK, Outcome.WARN, Outcome.FAIL, Outcome.SKIP)
    }
    return ", ".join(f"{count} {outcome.value}" for outcome, count in counts.items() if count)


@attrs.frozen(kw_only=True)
class Asked:
    """The options that the examination was called with, as they have to be repeated: `--tws` `HOST:PORT` …"""

    options: tuple[str, ...] = ()
    """Those that a run takes, too, quoted as a shell wants them."""
    place_order: bool = False
    paper: bool = True


_DOCTOR = ".venv/bin/python scripts/doctor.py"


def next_command(findings: Sequence[Finding], asked: Asked) -> str:
    """The command that comes next, with what it is for."""
    options = " ".join(asked.options)
    failed = {finding.check for finding in findings if finding.outcome is Outcome.FAIL}
    again = _command(_DOCTOR, options, "--place-order" if asked.place_order else "")
    if failed & {Check.CONFIGURATION, Check.SECRETS}:
        return f"after changing what is wrong: {again}"
    if Check.PORT in failed:
        return f"start TWS or `.venv/bin/python scripts/tws_simulator.py`, then: {again}"
    if failed:
        return f"after putting right what failed: {again}"
    if asked.paper and not asked.place_order:
        return f"try the way of an order, too: {_command(_DOCTOR, options, '--place-order')}"
    return f"trade: {_command('scripts/run --broker tws', options, '' if asked.paper else '--live')}"


def _command(*parts: str) -> str:
    return " ".join(part for part in parts if part)
