"""Reading one table of the configuration: typed values out, faults collected, nothing silently ignored.

A reader never stops at the first fault. It notes what is wrong, with the path of the key, goes on with
the default, and the caller refuses the whole configuration once everything has been looked at.
"""

from __future__ import annotations

import difflib
import enum
import re
from collections.abc import Mapping, Sequence
from datetime import time
from decimal import Decimal, InvalidOperation
from typing import TypeVar

import attrs

_E = TypeVar("_E", bound=enum.Enum)

_SECRET_KEY = re.compile(r"key|token|secret|password|url", re.IGNORECASE)
_SHOWN_CHARACTERS = 60


@attrs.frozen
class EnvironmentText:
    """A value from the environment: text, to be read as whatever its key expects.

    Faults name `variable`, because that is what the user has to change.
    """

    variable: str
    text: str


@attrs.frozen
class Range:
    """The numbers that a key accepts. Bounds are included unless `open_*` says otherwise."""

    low: Decimal | None = None
    high: Decimal | None = None
    open_low: bool = False
    open_high: bool = False

    def contains(self, number: Decimal) -> bool:
        if self.low is not None and (number < self.low or (self.open_low and number == self.low)):
            return False
        return not (
            self.high is not None and (number > self.high or (self.open_high and number == self.high))
        )

    def __str__(self) -> str:
        words = []
        if self.low is not None:
            words.append(f"{'more than' if self.open_low else 'at least'} {self.low}")
        if self.high is not None:
            words.append(f"{'less than' if self.open_high else 'at most'} {self.high}")
        return " and ".join(words)


ANY = Range()
POSITIVE = Range(low=Decimal(0), open_low=True)
NOT_NEGATIVE = Range(low=Decimal(0))
FRACTION = Range(low=Decimal(0), high=Decimal(1), open_low=True, open_high=True)
PROBABILITY = Range(low=Decimal(0), high=Decimal(1))
COUNT = Range(low=Decimal(1))


def suggest(word: str, known: Sequence[str]) -> str:
    """`; did you mean "broker"?`, or what is known when nothing comes close."""
    close = difflib.get_close_matches(word, known, n=1, cutoff=0.6)
    if not close:
        close = [name for name in known if name.lower() == word.lower()]
    if close:
        return f'; did you mean "{close[0]}"?'
    return f"; known: {', '.join(known)}" if known else ""


class Table:
    """One table that is being read. Every key that nobody asks for is a fault when it is closed."""

    def __init__(self, path: str, values: Mapping[str, object], faults: list[str]) -> None:
        self.path = path
        self._values = values
        self._faults = faults
        self._known: list[str] = []

    # --- faults -----------------------------------------------------------------------------------

    def at(self, key: str) -> str:
        value = self._values.get(key)
        if isinstance(value, EnvironmentText):
            return value.variable
        if not self.path or key.startswith("["):
            return f"{self.path}{key}"
        return f"{self.path}.{key}"

    def fault(self, key: str, what: str) -> None:
        self._faults.append(f"{self.at(key)}: {what}")

    def expected(self, key: str, what: str) -> None:
        """The value of `key` is not `what`; a value that may be a secret is not repeated."""
        if _SECRET_KEY.search(self.at(key)):
            self.fault(key, f"expected {what}")
        else:
            self.fault(key, f"expected {what}, got {_shown(self._values.get(key))}")

    @property
    def fault_count(self) -> int:
        return len(self._faults)

    def refuse(self, key: str, what: str) -> None:
        """`key` has a meaning, but not here: when it is present, say `what`."""
        if self.has(key):
            self.fault(key, what)

    def close(self) -> None:
        """Everything that was wanted has been asked for: what is left was never understood."""
        for key in self._values:
            if key not in self._known:
                self.fault(key, f"unknown key{suggest(key, self._known)}")

    # --- values -----------------------------------------------------------------------------------

    def has(self, key: str) -> bool:
        if key not in self._known:
            self._known.append(key)
        return key in self._values

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(self._values)

    def value(self, key: str) -> object:
        """The value as it was written (text for one from the environment), or None."""
        if not self.has(key):
            return None
        value = self._values[key]
        return value.text if isinstance(value, EnvironmentText) else value

    def text(self, key: str, default: str) -> str:
        value = self.value(key)
        if value is None:
            return default
        if isinstance(value, str):
            return value.strip()
        self.expected(key, "text in quotes")
        return default

    def required_text(self, key: str) -> str:
        if not self.has(key):
            self.fault(key, "is missing: expected text in quotes")
            return ""
        text = self.text(key, "?")
        if not text:
            self.expected(key, "text that is not empty")
        return text

    def decimal(self, key: str, default: Decimal, allowed: Range = ANY) -> Decimal:
        """A number as it was written, without the detour through binary."""
        value = self.value(key)
        if value is None:
            return default
        number = _number(value, from_text=self._from_environment(key))
        if number is None:
            self.expected(key, f"a number {allowed}".rstrip())
            return default
        if not allowed.contains(number):
            hint = " (0.03 is 3 %)" if allowed is FRACTION and number >= 1 else ""
            self.expected(key, f"a number {allowed}{hint}")
            return default
        return number

    def number(self, key: str, default: float, allowed: Range = ANY) -> float:
        return float(self.decimal(key, Decimal(repr(float(default))), allowed))

    def integer(self, key: str, default: int, allowed: Range = ANY) -> int:
        value = self.value(key)
        if value is None:
            return default
        number = _number(value, from_text=self._from_environment(key))
        if number is None or number != number.to_integral_value() or not allowed.contains(number):
            self.expected(key, f"a whole number {allowed}".rstrip())
            return default
        return int(number)

    def choice(self, key: str, default: _E, kind: type[_E]) -> _E:
        """One of the values of an enumeration, by the word that it has in the file."""
        words = [str(member.value) for member in kind]
        text = self.value(key)
        if text is None:
            return default
        if isinstance(text, str) and text in words:
            return kind(text)
        close = suggest(text, words) if isinstance(text, str) else ""
        self.expected(key, " or ".join(f'"{word}"' for word in words))
        if "did you mean" in close:
            self._faults[-1] += close
        return default

    def time_of_day(self, key: str, default: time) -> time:
        """`"15:59"`, `"15:59:30"` or TOML's own local time."""
        value = self.value(key)
        if value is None:
            return default
        if isinstance(value, time) and value.tzinfo is None:
            return value
        if isinstance(value, str) and re.fullmatch(r"([01]\d|2[0-3]):[0-5]\d(:[0-5]\d)?", value):
            return time.fromisoformat(value)
        self.expected(key, 'a time of day like "15:59"')
        return default

    # --- what is inside ---------------------------------------------------------------------------

    def table(self, key: str) -> Table | None:
        """The table under `key`; None when there is none (or something else, which is a fault)."""
        if not self.has(key):
            return None
        value = self._values[key]
        if not is_table(value):
            self.expected(key, "a table")
            return None
        return Table(self.at(key), as_table(value), self._faults)

    def section(self, key: str) -> Table:
        """The table under `key`, or an empty one, of which everything is at its default."""
        found = self.table(key)
        return (
            Table(key if not self.path else f"{self.path}.{key}", {}, self._faults)
            if found is None
            else found
        )

    def tables(self, key: str) -> tuple[Table, ...] | None:
        """The list of tables under `key`; None when the key is absent."""
        if not self.has(key):
            return None
        value = self._values[key]
        if not isinstance(value, list):
            self.expected(key, "a list of tables")
            return ()
        found = []
        for index, item in enumerate(value):
            if is_table(item):
                found.append(Table(f"{self.at(key)}[{index}]", as_table(item), self._faults))
            else:
                self._faults.append(f"{self.at(key)}[{index}]: expected a table, got {_shown(item)}")
        return tuple(found)

    def listed(self, key: str) -> Table | None:
        """The list under `key`, as a table of its items: `[0]`, `[1]`, …; None when the key is absent."""
        if not self.has(key):
            return None
        value = self._values[key]
        if not isinstance(value, list):
            self.expected(key, "a list")
            return None
        items = {f"[{index}]": item for index, item in enumerate(value)}
        return Table(self.at(key), items, self._faults)

    def truth(self, key: str, default: bool) -> bool:
        value = self.value(key)
        if value is None:
            return default
        if self._from_environment(key) and value in ("true", "false"):
            return value == "true"
        if isinstance(value, bool):
            return value
        self.expected(key, "true or false")
        return default

    def texts(self, key: str, default: tuple[str, ...]) -> tuple[str, ...]:
        """A list of texts; a single text counts as a list of one."""
        value = self.value(key)
        if value is None:
            return default
        if isinstance(value, str):
            return (value.strip(),)
        if isinstance(value, list) and all(isinstance(item, str) for item in value):
            return tuple(str(item) for item in value)
        self.expected(key, "a list of texts")
        return default

    def _from_environment(self, key: str) -> bool:
        return isinstance(self._values.get(key), EnvironmentText)


def is_table(value: object) -> bool:
    return isinstance(value, Mapping)


def as_table(value: object) -> Mapping[str, object]:
    assert isinstance(value, Mapping)
    return {str(key): inner for key, inner in value.items()}


def _number(value: object, *, from_text: bool) -> Decimal | None:
    if isinstance(value, bool):
        return None
    if isinstance(value, int):
        return Decimal(value)
    if isinstance(value, float):
        value = Decimal(repr(value))
    elif from_text and isinstance(value, str):
        try:
            value = Decimal(value.strip())
        except InvalidOperation:
            return None
    return value if isinstance(value, Decimal) and value.is_finite() else None


def _shown(value: object) -> str:
    """A value as its writer knows it, cut to a length that a line can hold."""
    match value:
        case EnvironmentText(text=text):
            shown = f'"{text}"'
        case bool():
            shown = "true" if value else "false"
        case str():
            shown = f'"{value}"'
        case Mapping():
            shown = "a table"
        case list():
            shown = "a list"
        case _:
            shown = str(value)
    return shown if len(shown) <= _SHOWN_CHARACTERS else shown[: _SHOWN_CHARACTERS - 1] + "…"
