"""Settings of the simulated TWS from plain values, as TOML and JSON hold them, into frozen attrs classes.

Nothing is coerced silently: a wrong type, an unknown key, a value that the class refuses is a problem with
its path, and all of them are found before any is reported.
"""

from __future__ import annotations

import enum
import functools
import types
import typing
from collections.abc import Mapping
from datetime import datetime, time, timedelta
from decimal import Decimal, InvalidOperation
from math import isfinite
from typing import Any, TypeVar, cast
from zoneinfo import ZoneInfo

import attrs

from protocol.config_reading import suggest

T = TypeVar("T")

NEW_YORK = ZoneInfo("America/New_York")
_BAD = object()
"""What a value that could not be read becomes; its problem has been noted."""


class WrongSettings(ValueError):
    """Everything that is wrong with the settings, one line each, each with its path."""

    def __init__(self, problems: tuple[str, ...]) -> None:
        super().__init__("\n".join(problems))
        self.problems = problems


def read_table(
    kind: type[T], values: object, path: str, problems: list[str], *, leave_out: frozenset[str] = frozenset()
) -> T | None:
    """An instance of the attrs class `kind`; None when anything is wrong, which is then in `problems`.

    `leave_out`: fields that this table may not set.
    """
    if not isinstance(values, Mapping):
        problems.append(f"{path}: expected a table, got {_shown(values)}")
        return None
    hints = _hints_of(cast("Any", kind))
    given: dict[str, object] = {}
    before = len(problems)
    known = [name for name in hints if name not in leave_out]
    for key, value in values.items():
        if key not in known:
            problems.append(f"{path}.{key}: unknown key{suggest(str(key), known)}")
            continue
        read = _read(hints[key], value, f"{path}.{key}", problems)
        if read is not _BAD:
            given[key] = read
    fields = {field.alias: field for field in attrs.fields(kind)}  # type: ignore[arg-type]
    missing = [
        name
        for name in known
        if name not in values and fields[name].default is attrs.NOTHING and fields[name].init
    ]
    problems += [f"{path}.{name}: is missing" for name in missing]
    if len(problems) > before:
        return None
    try:
        return kind(**given)
    except ValueError as error:
        problems.append(f"{path}: {_reason(error)}")
        return None


@functools.cache
def _hints_of(kind: Any) -> dict[str, Any]:
    hints = typing.get_type_hints(kind)
    return {field.alias: hints[field.name] for field in attrs.fields(kind) if field.init}


def _read(hint: Any, value: object, path: str, problems: list[str]) -> object:
    """`value` as `hint` says, or `_BAD`."""
    origin = typing.get_origin(hint)
    if origin in (typing.Union, types.UnionType):
        return _read_any(typing.get_args(hint), value, path, problems)
    if origin is typing.Literal:
        return _read_choice(list(typing.get_args(hint)), value, path, problems)
    if origin in (tuple, frozenset):
        return _read_several(hint, value, path, problems)
    if isinstance(hint, type) and issubclass(hint, enum.Enum):
        choices = {member.value: member for member in hint}
        name = _read_choice(list(choices), value, path, problems)
        return name if name is _BAD else choices[name]
    if attrs.has(hint):
        read = read_table(hint, value, path, problems)
        return _BAD if read is None else read
    return _read_plain(hint, value, path, problems)


def _read_any(hints: tuple[Any, ...], value: object, path: str, problems: list[str]) -> object:
    """The first of several types that fits; the problem is told of the last."""
    others = [hint for hint in hints if hint is not type(None)]
    for hint in others[:-1]:
        attempt: list[str] = []
        read = _read(hint, value, path, attempt)
        if read is not _BAD:
            return read
    return _read(others[-1], value, path, problems)


def _read_choice(choices: list[Any], value: object, path: str, problems: list[str]) -> Any:
    if value in choices:
        return value
    names = ", ".join(map(str, choices))
    problems.append(f"{path}: expected one of {names}, got {_shown(value)}")
    return _BAD


def _read_several(hint: Any, value: object, path: str, problems: list[str]) -> object:
    """A list. A single word stands for a list of one."""
    parts = typing.get_args(hint)
    values = [value] if isinstance(value, str) else value
    if not isinstance(values, list | tuple):
        problems.append(f"{path}: expected a list, got {_shown(value)}")
        return _BAD
    if typing.get_origin(hint) is tuple and Ellipsis not in parts:
        if len(values) != len(parts):
            problems.append(f"{path}: expected {len(parts)} values, got {len(values)}")
            return _BAD
        wanted = parts
    else:
        wanted = (parts[0],) * len(values)
    read = [
        _read(part, each, f"{path}[{number}]", problems)
        for number, (part, each) in enumerate(zip(wanted, values, strict=True))
    ]
    return _BAD if any(each is _BAD for each in read) else typing.get_origin(hint)(read)


_EXPECTED: dict[Any, str] = {
    bool: "true or false",
    int: "a whole number",
    float: "a number",
    Decimal: "an amount such as 10.5",
    str: "text",
    time: 'a time of day such as "10:30:00"',
    datetime: 'a moment such as "2025-01-23T10:30:00" (New York time unless it says otherwise)',
    timedelta: "seconds",
}


def _read_plain(hint: Any, value: object, path: str, problems: list[str]) -> object:
    read: object = _BAD
    number = isinstance(value, int | float | Decimal) and not isinstance(value, bool) and isfinite(value)
    match hint:
        case _ if hint is bool and isinstance(value, bool):
            read = value
        case _ if hint is int and number and value == int(value):  # type: ignore[call-overload]
            read = int(value)  # type: ignore[call-overload]
        case _ if hint is float and number:
            read = float(value)  # type: ignore[arg-type]
        case _ if hint is timedelta and number:
            read = timedelta(seconds=float(str(value)))
        case _ if hint is Decimal:
            read = _decimal(value)
        case _ if hint is str and isinstance(value, str):
            read = value
        case _ if hint is datetime:
            read = _moment(value)
        case _ if hint is time:
            read = _time_of_day(value)
        case _:
            pass
    if read is _BAD:
        expected = _EXPECTED.get(hint, f"a value of type {hint}")
        problems.append(f"{path}: expected {expected}, got {_shown(value)}")
    return read


def _decimal(value: object) -> object:
    if isinstance(value, bool) or not isinstance(value, int | float | str | Decimal):
        return _BAD
    try:
        read = Decimal(repr(value) if isinstance(value, float) else value)
    except InvalidOperation:
        return _BAD
    return read if read.is_finite() else _BAD


def _moment(value: object) -> object:
    if isinstance(value, str) and "T" in value.replace(" ", "T"):
        try:
            value = datetime.fromisoformat(value)
        except ValueError:
            return _BAD
    if not isinstance(value, datetime):
        return _BAD
    return value if value.tzinfo is not None else value.replace(tzinfo=NEW_YORK)


def _time_of_day(value: object) -> object:
    if isinstance(value, str):
        try:
            value = time.fromisoformat(value)
        except ValueError:
            return _BAD
    return value if isinstance(value, time) and value.tzinfo is None else _BAD


def _shown(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."


def _reason(error: ValueError) -> str:
    """What a class refused; the validators of attrs say it in the first of several arguments."""
    return str(error.args[0] if error.args else error)
