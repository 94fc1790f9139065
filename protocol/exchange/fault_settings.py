"""Faults as a person writes them: `[[fault]]` tables of TOML, or the same as JSON over the control socket.

A table holds `kind`, the fields of that fault, and those of `When`, all beside each other.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import attrs

from protocol.config_reading import suggest
from protocol.exchange.fault_base import Family, When
from protocol.exchange.fault_words import HAPPENINGS, MESSAGES, REQUESTS, WORDS
from protocol.exchange.faults import KINDS, Fault, kind_of
from protocol.exchange.settings_reading import WrongSettings, read_table

WHEN_KEYS = tuple(field.name for field in attrs.fields(When))
NEEDS_A_MESSAGE = 'say which messages with `on`, such as on = "exec_details"'
_OFFERED = {
    Family.REQUEST: (REQUESTS, "a request"),
    Family.MESSAGE: (MESSAGES, "a message of TWS"),
    Family.ORDER: (HAPPENINGS, "something that happens to an order"),
}
NEEDS_A_SYMBOL = frozenset({"manual_trade", "liquidation", "halt", "bad_tick", "shredded_fills"})


def read_faults(tables: object, path: str = "fault") -> tuple[Fault, ...]:
    """Every fault of a file; each must say when. Raises `WrongSettings` with all that is wrong."""
    problems: list[str] = []
    faults: list[Fault] = []
    if not isinstance(tables, Sequence) or isinstance(tables, str):
        raise WrongSettings((f"{path}: expected tables headed [[{path}]]",))
    for number, table in enumerate(tables, 1):
        fault = read_fault(table, f"{path}[{number}]", problems)
        if fault is not None and not fault.when.on and not fault.usual and fault.when.at is None:
            problems.append(f"{path}[{number}]: needs `at` or `on`: when does it happen?")
        elif fault is not None:
            faults.append(fault)
    if problems:
        raise WrongSettings(tuple(problems))
    return tuple(faults)


def read_fault(table: object, path: str, problems: list[str]) -> Fault | None:
    """One fault; None when anything is wrong with it, which is then in `problems`."""
    if not isinstance(table, Mapping):
        problems.append(f"{path}: expected a table, got {table!r}")
        return None
    name = table.get("kind")
    kind = KINDS.get(name) if isinstance(name, str) else None
    if kind is None:
        said = "is missing" if name is None else f"{name!r} is no fault"
        problems.append(f"{path}.kind: {said}{suggest(str(name), tuple(KINDS))}")
        return None
    before = len(problems)
    own = {key: value for key, value in table.items() if key not in WHEN_KEYS and key != "kind"}
    known = {field.name for field in attrs.fields(kind)} - {"when"}
    for key in [key for key in own if key not in known]:
        del own[key]
        problems.append(f"{path}.{key}: unknown key{suggest(str(key), (*sorted(known), *WHEN_KEYS))}")
    when = read_table(When, {key: table[key] for key in WHEN_KEYS if key in table}, path, problems)
    fault = read_table(kind, own, path, problems, leave_out=frozenset({"when"}))
    if fault is None or when is None:
        return None
    fault = attrs.evolve(fault, when=when)
    problems += [f"{path}{problem}" for problem in _wrong_words(fault)]
    return fault if len(problems) == before else None


def _wrong_words(fault: Fault) -> list[str]:
    offered, what = _OFFERED.get(fault.family, (WORDS, "a message or a happening"))
    wrong = [
        f".on: {word!r} is not {what}{suggest(word, sorted(offered))}"
        for word in fault.when.on
        if word not in offered
    ]
    if fault.family is Family.MESSAGE and not fault.when.on and not fault.usual:
        wrong.append(f": {NEEDS_A_MESSAGE}")
    if fault.when.symbol == "" and kind_of(fault) in NEEDS_A_SYMBOL and not fault.when.on:
        wrong.append(".symbol: is missing")
    return wrong
