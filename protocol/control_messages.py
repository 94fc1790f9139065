"""Requests and answers of the control connection as lines of JSON, both ways.

`{"do": "flatten", "symbol": "SLV", "why": "news", "confirmed": true}` is a request, `{"answer": "done", …}`
an answer. Reading is strict: unknown words and keys, wrong types, texts too long are refused, all at once.
What strangers wrote (reasons, terminal names) comes out on one line, without control characters.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from decimal import Decimal, InvalidOperation
from typing import Any, Final, TypeVar, cast, get_args

import attrs
import orjson
from cattrs import BaseValidationError, Converter, transform_error

from protocol.config_reading import suggest
from protocol.control_answers import ANSWERS, Answer
from protocol.control_requests import NEEDS_REASON, REQUESTS, WORDS, Request

_T = TypeVar("_T")

MAX_LINE_BYTES: Final = 65_536
"""Of one request with its line end."""
MAX_TEXT: Final = 500
"""Characters of one text in a request."""
MAX_TICKERS: Final = 1000


class BadRequest(ValueError):
    """What is wrong with a request: one sentence each."""

    def __init__(self, *problems: str) -> None:
        super().__init__("; ".join(problems))
        self.problems = problems


class BadAnswer(ValueError):
    """No answer that this version understands."""


def read_request(line: bytes) -> Request:
    """The request that a line spells. Raises `BadRequest`."""
    try:
        told = orjson.loads(line)
    except orjson.JSONDecodeError as error:
        raise BadRequest(f"no JSON: {error}") from None
    if not isinstance(told, dict):
        raise BadRequest("expected an object with `do`")
    word = told.pop("do", None)
    kind = REQUESTS.get(word) if isinstance(word, str) else None
    if kind is None:
        shown = one_line(str(word))[:60]
        raise BadRequest(f"do: {shown!r} is no request{suggest(shown, tuple(REQUESTS))}")
    try:
        request = cast("Request", _CONVERTER.structure(told, kind))
    except BaseValidationError as error:
        raise BadRequest(*_problems(error)) from None
    wrong = _faults(request)
    if wrong:
        raise BadRequest(*wrong)
    return request


def write_request(request: Request) -> bytes:
    """The line, with its end."""
    return orjson.dumps({"do": WORDS[type(request)], **_CONVERTER.unstructure(request)}) + b"\n"


def read_answer(line: bytes) -> Answer:
    """The answer that a line spells. Raises `BadAnswer`."""
    try:
        told = orjson.loads(line)
        kind = ANSWERS[told.pop("answer")]
        return cast("Answer", _CONVERTER.structure(told, kind))
    except (orjson.JSONDecodeError, AttributeError, KeyError, TypeError, BaseValidationError) as error:
        raise BadAnswer("the running system answers in words of another version") from error


def write_answer(answer: Answer) -> bytes:
    """The line, with its end."""
    word = next(word for word, kind in ANSWERS.items() if kind is type(answer))
    return orjson.dumps({"answer": word, **_CONVERTER.unstructure(answer)}) + b"\n"


def plainly(value: Any) -> Any:
    """Any part of an answer as plain data for JSON: money and prices as text, times in ISO 8601."""
    return _CONVERTER.unstructure(value)


def one_line(text: str) -> str:
    """On one line, without anything that a terminal would obey."""
    return "".join(character if character.isprintable() else " " for character in text).strip()


# --- reading ----------------------------------------------------------------------------------------


def _faults(request: Request) -> list[str]:
    wrong = [
        f"{field.name}: at most {MAX_TEXT} characters"
        for field in attrs.fields(type(request))
        for text in _texts(getattr(request, field.name))
        if len(text) > MAX_TEXT
    ]
    if isinstance(request, NEEDS_REASON) and not request.why:
        wrong.append(f"{WORDS[type(request)]} needs a reason: --why TEXT")
    return wrong


def _texts(value: object) -> tuple[str, ...]:
    if isinstance(value, tuple):
        return (*value, "x" * (MAX_TEXT + 1)) if len(value) > MAX_TICKERS else value
    return (value,) if isinstance(value, str) else ()


def _problems(error: BaseValidationError) -> list[str]:
    return [one_line(problem).replace(" @ $.", ": ", 1)[:200] for problem in transform_error(error)]


def _exactly(kind: type[_T]) -> Callable[[Any, Any], _T]:
    def read(value: Any, _: Any) -> _T:
        if type(value) is not kind:
            raise TypeError(f"must be {kind.__name__}, not {value!r}"[:100])
        return value

    return read


def _text(value: Any, _: Any) -> str:
    if type(value) is not str:
        raise TypeError(f"must be a text, not {value!r}"[:100])
    return one_line(value)


def _number(value: Any, _: Any) -> float:
    if type(value) not in (int, float):
        raise TypeError(f"must be a number, not {value!r}"[:100])
    return float(value)


def _decimal(value: Any, _: Any) -> Decimal:
    try:
        return Decimal(value if type(value) is str else "")
    except InvalidOperation:
        raise ValueError(f"must be a number as text, not {value!r}"[:100]) from None


def _instant(value: Any, _: Any) -> datetime:
    if type(value) is not str:
        raise TypeError(f"must be a time in ISO 8601, not {value!r}"[:100])
    return datetime.fromisoformat(value)


def _is_row(kind: Any) -> bool:
    return getattr(kind, "__origin__", None) is tuple


def _rows(kind: Any) -> Callable[[Any, Any], tuple[Any, ...]]:
    """A list, and not a text, which has its characters one by one to offer."""
    (each, _) = get_args(kind)

    def read(value: Any, _: Any) -> tuple[Any, ...]:
        if type(value) is not list:
            raise TypeError(f"must be a list, not {value!r}"[:100])
        return tuple(_CONVERTER.structure(part, each) for part in value)

    return read


def _converter() -> Converter:
    converter = Converter(forbid_extra_keys=True)
    converter.register_structure_hook(str, _text)
    converter.register_structure_hook(bool, _exactly(bool))
    converter.register_structure_hook(int, _exactly(int))
    converter.register_structure_hook(float, _number)
    converter.register_structure_hook(Decimal, _decimal)
    converter.register_structure_hook(datetime, _instant)
    converter.register_structure_hook_factory(_is_row, _rows)
    converter.register_unstructure_hook(Decimal, str)
    converter.register_unstructure_hook(datetime, datetime.isoformat)
    return converter


_CONVERTER: Final = _converter()
