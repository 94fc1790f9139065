"""Turns a layout into the code that writes and reads it at one version.

A record is compiled to two lists of steps. A step of the writer takes the object and the fields written
so far; a step of the reader takes all fields, the index to read at and the values read so far (one
dictionary for each object to be built), and returns the next index. Consecutive plain fields are one
step: their attributes are fetched by a single `attrgetter`.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterable
from typing import Any, Generic, TypeAlias, TypeVar, get_type_hints

import attrs

from protocol.tws.kinds import Kind
from protocol.tws.layout import (
    Constant,
    Field,
    Given,
    Item,
    OneOf,
    Pairs,
    Positive,
    Presence,
    Repeat,
    Repeated,
    Test,
    Variants,
    When,
    Words,
)

Values: TypeAlias = list[dict[str, Any]]
Writer: TypeAlias = Callable[[Any, list[str]], None]
Reader: TypeAlias = Callable[[list[str], int, Values], int]

MAX_REPEATS = 100_000
"""Of one list in a message: more is a shifted layout, not a long list. A day has 23,400 bars of a second."""


class BadMessage(ValueError):
    """A payload that does not fit its layout: the other side's fault."""


T = TypeVar("T")


@attrs.frozen
class Record(Generic[T]):
    """Both directions of one class: `write(object, fields)`, `read(fields, at) -> (object, next index)`."""

    write: Callable[[T, list[str]], None]
    read: Callable[[list[str], int], tuple[T, int]]


class _Shape:
    """The objects that one record is made of: the outer one and those that its paths lead through."""

    def __init__(self, of: type) -> None:
        self.classes: list[type] = [of]
        self.places: list[tuple[int, str]] = []
        """For each object but the outer one: the object that holds it, and as which attribute."""
        self._by_path: dict[str, int] = {"": 0}

    def slot(self, path: str) -> tuple[int, str]:
        """The object that `path` ends in, and the attribute there."""
        holder, _, name = path.rpartition(".")
        node = self._node(holder)
        for field in attrs.fields(self.classes[node]):
            if field.name == name:
                # The attribute's own string: keyword arguments are matched by identity first, and with
                # an equal but different string the 130 attributes of an order take ten times as long.
                return node, field.name
        raise TypeError(f"{self.classes[node].__name__} has no attribute {name!r} ({path})")

    def _node(self, path: str) -> int:
        if path not in self._by_path:
            holder, name = self.slot(path)
            self.classes.append(get_type_hints(self.classes[holder])[name])
            self.places.append((holder, name))
            self._by_path[path] = len(self.classes) - 1
        return self._by_path[path]


def compile_record(of: type[T], items: Iterable[Item], version: int) -> Record[T]:
    """The code for `items`, which together describe an `of`, at `version`."""
    shape = _Shape(of)
    writers, readers = _compile(tuple(items), version, shape)
    classes = shape.classes
    # Deepest first: an object is complete before its holder is built.
    inner = tuple((node, classes[node], *shape.places[node - 1]) for node in range(len(classes) - 1, 0, -1))
    count = len(classes)

    def write(value: T, out: list[str]) -> None:
        for step in writers:
            step(value, out)

    def read(fields: list[str], at: int) -> tuple[T, int]:
        values: Values = [{} for _ in range(count)]
        for step in readers:
            at = step(fields, at, values)
        for node, cls, holder, name in inner:
            values[holder][name] = cls(**values[node])
        return of(**values[0]), at

    return Record(write, read)


def _compile(items: tuple[Item, ...], version: int, shape: _Shape) -> tuple[list[Writer], list[Reader]]:
    writers: list[Writer] = []
    readers: list[Reader] = []
    run: list[Field] = []

    def close_run() -> None:
        if run:
            write, read = _run(tuple(run), shape)
            writers.append(write)
            readers.append(read)
            run.clear()

    for item in items:
        if version < item.since or (item.until is not None and version >= item.until):
            continue
        if isinstance(item, Field):
            run.append(item)
            continue
        close_run()
        write, read = _step(item, version, shape)
        writers.append(write)
        readers.append(read)
    close_run()
    return writers, readers


def _step(item: Item, version: int, shape: _Shape) -> tuple[Writer, Reader]:
    match item:
        case Constant(text):
            return _constant(text)
        case When(test, items):
            return _when(test, _compile(items, version, shape), shape)
        case Repeat(path, of, items):
            return _repeat(path, compile_record(of, items, version), shape)
        case Repeated(path, kind):
            return _repeated(path, kind, shape)
        case Pairs(path, first, second):
            return _pairs(path, first, second, shape)
        case Presence(path, of, items):
            return _presence(path, compile_record(of, items, version), shape)
        case Variants(path, cases):
            records: dict[int, tuple[type, Record[Any]]] = {}
            for code, (of, items) in cases.items():
                records[code] = (of, compile_record(of, items, version))
            return _variants(path, records, shape)
        case Words(path, second):
            return _words(path, second, shape)
        case Field():
            return _run((item,), shape)


def _run(run: tuple[Field, ...], shape: _Shape) -> tuple[Writer, Reader]:
    slots = tuple((*shape.slot(field.path), field.kind.read) for field in run)
    formats = tuple(field.kind.write for field in run)
    length = len(run)
    fetch_one = operator.attrgetter(run[0].path)
    fetch = operator.attrgetter(*(field.path for field in run))

    def write(message: Any, out: list[str]) -> None:
        out += [form(value) for form, value in zip(formats, fetch(message), strict=True)]

    def write_one(message: Any, out: list[str]) -> None:
        out.append(formats[0](fetch_one(message)))

    def read(fields: list[str], at: int, values: Values) -> int:
        text = name = ""
        end = at + length
        if end > len(fields):
            raise BadMessage(f"{len(fields)} fields are too few: {run[len(fields) - at].path} is missing")
        try:
            for (node, name, parse), text in zip(slots, fields[at:end], strict=True):
                values[node][name] = text if parse is None else parse(text)
        except ValueError as error:
            raise BadMessage(f"{name}: {error}") from None
        return end

    return (write_one if length == 1 else write), read


def _constant(text: str) -> tuple[Writer, Reader]:
    def write(_: Any, out: list[str]) -> None:
        out.append(text)

    def read(fields: list[str], at: int, _: Values) -> int:
        if at >= len(fields):
            raise BadMessage(f"{len(fields)} fields are too few")
        return at + 1

    return write, read


def _when(test: Test, block: tuple[list[Writer], list[Reader]], shape: _Shape) -> tuple[Writer, Reader]:
    writers, readers = block
    fetch = operator.attrgetter(test.path)
    node, name = shape.slot(test.path)
    holds = _predicate(test)

    def write(message: Any, out: list[str]) -> None:
        if holds(fetch(message)):
            for step in writers:
                step(message, out)

    def read(fields: list[str], at: int, values: Values) -> int:
        if holds(values[node].get(name)):
            for step in readers:
                at = step(fields, at, values)
        return at

    return write, read


def _predicate(test: Test) -> Callable[[Any], bool]:
    match test:
        case Given():
            return bool
        case OneOf(_, values):
            return lambda value: value in values
        case Positive():
            return lambda value: value is not None and value > 0


def _repeat(path: str, record: Record[Any], shape: _Shape) -> tuple[Writer, Reader]:
    fetch = operator.attrgetter(path)
    node, name = shape.slot(path)

    def write(message: Any, out: list[str]) -> None:
        elements = fetch(message)
        out.append(str(len(elements)))
        for element in elements:
            record.write(element, out)

    def read(fields: list[str], at: int, values: Values) -> int:
        count, at = _count(fields, at, path)
        elements = []
        for _ in range(count):
            element, at = record.read(fields, at)
            elements.append(element)
        values[node][name] = tuple(elements)
        return at

    return write, read


def _repeated(path: str, kind: Kind, shape: _Shape) -> tuple[Writer, Reader]:
    fetch = operator.attrgetter(path)
    node, name = shape.slot(path)
    read_one = kind.read or str

    def write(message: Any, out: list[str]) -> None:
        elements = fetch(message)
        out.append(str(len(elements)))
        out += [kind.write(element) for element in elements]

    def read(fields: list[str], at: int, values: Values) -> int:
        count, at = _count(fields, at, path)
        end = at + count
        if end > len(fields):
            raise BadMessage(f"{path}: {count} were announced, {len(fields) - at} fields follow")
        try:
            values[node][name] = tuple(read_one(text) for text in fields[at:end])
        except ValueError as error:
            raise BadMessage(f"{path}: {error}") from None
        return end

    return write, read


def _pairs(path: str, first: Kind, second: Kind, shape: _Shape) -> tuple[Writer, Reader]:
    fetch = operator.attrgetter(path)
    node, name = shape.slot(path)
    read_first, read_second = first.read or str, second.read or str

    def write(message: Any, out: list[str]) -> None:
        pairs = fetch(message)
        out.append(str(len(pairs)))
        for one, other in pairs:
            out += (first.write(one), second.write(other))

    def read(fields: list[str], at: int, values: Values) -> int:
        count, at = _count(fields, at, path)
        end = at + 2 * count
        if end > len(fields):
            raise BadMessage(f"{path}: {count} pairs were announced, {len(fields) - at} fields follow")
        try:
            values[node][name] = tuple(
                (read_first(one), read_second(other))
                for one, other in zip(fields[at:end:2], fields[at + 1 : end : 2], strict=True)
            )
        except ValueError as error:
            raise BadMessage(f"{path}: {error}") from None
        return end

    return write, read


def _presence(path: str, record: Record[Any], shape: _Shape) -> tuple[Writer, Reader]:
    fetch = operator.attrgetter(path)
    node, name = shape.slot(path)

    def write(message: Any, out: list[str]) -> None:
        value = fetch(message)
        out.append("0" if value is None else "1")
        if value is not None:
            record.write(value, out)

    def read(fields: list[str], at: int, values: Values) -> int:
        count, at = _count(fields, at, path)
        values[node][name] = None
        if count:
            values[node][name], at = record.read(fields, at)
        return at

    return write, read


def _variants(path: str, cases: dict[int, tuple[type, Record[Any]]], shape: _Shape) -> tuple[Writer, Reader]:
    fetch = operator.attrgetter(path)
    node, name = shape.slot(path)
    by_class = {of: (str(code), record) for code, (of, record) in cases.items()}
    by_code = {str(code): record for code, (_, record) in cases.items()}

    def write(message: Any, out: list[str]) -> None:
        elements = fetch(message)
        out.append(str(len(elements)))
        for element in elements:
            code, record = by_class[type(element)]
            out.append(code)
            record.write(element, out)

    def read(fields: list[str], at: int, values: Values) -> int:
        count, at = _count(fields, at, path)
        elements = []
        for _ in range(count):
            code = fields[at] if at < len(fields) else "nothing"
            if code not in by_code:
                raise BadMessage(f"{path}: there is no kind {code!r}")
            element, at = by_code[code].read(fields, at + 1)
            elements.append(element)
        values[node][name] = tuple(elements)
        return at

    return write, read


def _words(path: str, second: str, shape: _Shape) -> tuple[Writer, Reader]:
    fetch = operator.attrgetter(path, second)
    node, name = shape.slot(path)
    second_node, second_name = shape.slot(second)

    def write(message: Any, out: list[str]) -> None:
        one, other = fetch(message)
        out.append(f"{one} {other}" if other else one)

    def read(fields: list[str], at: int, values: Values) -> int:
        if at >= len(fields):
            raise BadMessage(f"{len(fields)} fields are too few: {path} is missing")
        values[node][name], _, values[second_node][second_name] = fields[at].partition(" ")
        return at + 1

    return write, read


def _count(fields: list[str], at: int, path: str) -> tuple[int, int]:
    if at >= len(fields):
        raise BadMessage(f"{len(fields)} fields are too few: the number of {path} is missing")
    try:
        count = int(fields[at] or 0)
    except ValueError:
        raise BadMessage(f"{path}: {fields[at]!r} is not a number of things") from None
    if not 0 <= count <= MAX_REPEATS:
        raise BadMessage(f"{path}: {count} is not a number of things that a message holds")
    return count, at + 1
