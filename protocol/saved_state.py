"""The state of a symbol at one row of the journal, as lines of text: what a replay may begin with.

A saved state saves time and nothing else. It is believed only when it was made by the same code (`made_by`),
its lines are whole (SHA-256 over all of them), and the journal's chain has at `seq` the hash that it had
then (`chain`); otherwise the replay begins earlier. What grows for ever in a state is cut into lines of a
few hundred entries, so that writing and reading can pause after each.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping
from decimal import Decimal
from itertools import chain, islice
from types import MappingProxyType
from typing import Any, Final, TypeVar, get_args

import attrs
import orjson
from cattrs import Converter

from protocol.growth import Growth
from protocol.journal import UNREADABLE, converter
from protocol.position import Execution
from protocol.symbol_state import SymbolState

SAVE_EVERY_ROWS: Final = 1000
"""Rows of a stream from one saved state to the next."""
LINE_ENTRIES: Final = 100
"""Some one and a half milliseconds of work, after which others may run."""
_T = TypeVar("_T")


class UnusableState(ValueError):
    """A saved state that must not be believed; the message says why. A replay does without it."""


@attrs.frozen(kw_only=True)
class SavedHead:
    """Where in the journal it was made, and by which code."""

    stream: str
    seq: int
    chain: str
    made_by: str


def saved_lines(head: SavedHead, state: SymbolState) -> Iterator[bytes]:
    """The lines of the file, each with its end."""
    position = state.position
    bare = attrs.evolve(
        state,
        judged=Growth(),
        position=attrs.evolve(position, executions=Growth(), commissions=Growth()),
    )
    seal = hashlib.sha256()
    for content in chain(
        (attrs.asdict(head), _CONVERTER.unstructure(bare)),
        _cut("executions", position.executions.items()),
        _cut("commissions", position.commissions.items()),
        _cut("judged", state.judged),
    ):
        line = orjson.dumps(content) + b"\n"
        seal.update(line)
        yield line
    yield orjson.dumps({"seal": seal.hexdigest()}) + b"\n"


def _cut(name: str, entries: Iterable[_T]) -> Iterator[dict[str, list[Any]]]:
    rest = iter(entries)
    while part := list(islice(rest, LINE_ENTRIES)):
        yield {name: [_CONVERTER.unstructure(entry) for entry in part]}


class StateReader:
    """Takes the lines one after the other. Raises `UnusableState` for those that do not make a state."""

    def __init__(self) -> None:
        self.head: SavedHead | None = None
        self.lines = 0
        self._bare: SymbolState | None = None
        self._executions: Growth[str, Execution] = Growth()
        self._commissions: Growth[str, Decimal] = Growth()
        self._judged: Growth[str, None] = Growth()
        self._seal = hashlib.sha256()
        self._sealed = False

    def take(self, line: bytes) -> None:
        try:
            self._take(orjson.loads(line))
        except (*UNREADABLE, AttributeError) as error:
            raise UnusableState(f"a line of it cannot be read: {error!r}") from error
        self._seal.update(line)
        self.lines += 1

    def _take(self, told: dict[str, Any]) -> None:
        if self._sealed:
            raise UnusableState("there are lines behind its seal")
        if self.head is None:
            self.head = _CONVERTER.structure(told, SavedHead)
        elif self._bare is None:
            self._bare = _CONVERTER.structure(told, SymbolState)
        else:
            ((name, entries),) = told.items()
            self._take_part(name, entries)

    def _take_part(self, name: str, entries: Any) -> None:
        match name:
            case "executions":
                for root, told in entries:
                    self._executions = self._executions.adding(root, _CONVERTER.structure(told, Execution))
            case "commissions":
                for root, told in entries:
                    self._commissions = self._commissions.adding(root, Decimal(told))
            case "judged":
                for signal_id in entries:
                    self._judged = self._judged.adding(signal_id, None)
            case "seal":
                if entries != self._seal.hexdigest():
                    raise UnusableState("it is not what was written (its seal differs)")
                self._sealed = True
            case _:
                raise UnusableState(f"nothing in a state is called {name!r}")

    @property
    def state(self) -> SymbolState:
        """The state, once all lines were taken."""
        if self._bare is None or not self._sealed:
            raise UnusableState("its end is missing")
        position = attrs.evolve(
            self._bare.position,
            executions=self._executions,
            commissions=self._commissions,
        )
        return attrs.evolve(self._bare, position=position, judged=self._judged)


def _saved_converter() -> Converter:
    """That of the journal, which knows all that events hold, and what only states hold."""
    made = converter()
    made.register_structure_hook_func(
        lambda kind: getattr(kind, "__origin__", None) is Mapping,
        lambda told, kind: MappingProxyType(
            {key: made.structure(value, get_args(kind)[1]) for key, value in told.items()}
        ),
    )
    # What rules keep is JSON's own, as in events.
    made.register_structure_hook(float | str | bool, lambda value, _: value)
    made.register_structure_hook_func(
        lambda kind: getattr(kind, "__origin__", kind) is Growth, lambda _told, _kind: Growth()
    )
    made.register_unstructure_hook_func(
        lambda kind: getattr(kind, "__origin__", kind) is Growth, lambda _: None
    )
    return made


_CONVERTER: Final = _saved_converter()
