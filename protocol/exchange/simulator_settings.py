"""A configuration file of the simulated TWS: `[venue]`, `[session]`, `[[account]]` and `[[fault]]` tables."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TypeVar

import attrs

from protocol.config_reading import suggest
from protocol.exchange.fault_settings import read_faults
from protocol.exchange.faults import Fault
from protocol.exchange.settings_reading import WrongSettings, read_table
from protocol.exchange.tws_settings import TwsSettings
from protocol.exchange.venue_settings import AccountSettings, VenueSettings

_S = TypeVar("_S", VenueSettings, TwsSettings)

TABLES = ("venue", "session", "account", "fault")
_NOT_IN_A_FILE = frozenset({"accounts"})
"""Fields of the venue's settings that have tables of their own."""


@attrs.frozen(kw_only=True)
class SimulatorSettings:
    """What is decided before a simulated TWS starts. `accounts` empty: those of the venue's settings."""

    venue: VenueSettings = attrs.field(factory=VenueSettings)
    session: TwsSettings = attrs.field(factory=TwsSettings)
    accounts: tuple[AccountSettings, ...] = ()
    faults: tuple[Fault, ...] = ()

    def and_then(self, later: SimulatorSettings) -> SimulatorSettings:
        """Both, what `later` sets winning; faults and accounts add up."""
        return SimulatorSettings(
            venue=_over(self.venue, later.venue),
            session=_over(self.session, later.session),
            accounts=self.accounts + later.accounts,
            faults=self.faults + later.faults,
        )


def read_settings(content: Mapping[str, object]) -> SimulatorSettings:
    """The settings that a file says. Raises `WrongSettings` with everything that is wrong in it."""
    problems = [f"{name}: unknown table{suggest(name, TABLES)}" for name in content if name not in TABLES]
    venue = read_table(VenueSettings, content.get("venue", {}), "venue", problems, leave_out=_NOT_IN_A_FILE)
    session = read_table(TwsSettings, content.get("session", {}), "session", problems)
    accounts = _accounts(content.get("account", ()), problems)
    faults: tuple[Fault, ...] = ()
    try:
        faults = read_faults(content.get("fault", ()))
    except WrongSettings as wrong:
        problems += wrong.problems
    if problems or venue is None or session is None:
        raise WrongSettings(tuple(problems))
    return SimulatorSettings(venue=venue, session=session, accounts=accounts, faults=faults)


def _accounts(tables: object, problems: list[str]) -> tuple[AccountSettings, ...]:
    if not isinstance(tables, Sequence) or isinstance(tables, str):
        problems.append("account: expected tables headed [[account]]")
        return ()
    read = [
        read_table(AccountSettings, table, f"account[{number}]", problems)
        for number, table in enumerate(tables, 1)
    ]
    return tuple(account for account in read if account is not None)


def _over(earlier: _S, later: _S) -> _S:
    """`later`, with what it leaves at its default taken from `earlier`."""
    plain = type(later)()
    changed = {
        field.name: getattr(later, field.name)
        for field in attrs.fields(type(later))
        if getattr(later, field.name) != getattr(plain, field.name)
    }
    return attrs.evolve(earlier, **changed)
