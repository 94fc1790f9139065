"""The names that an expression may use: facts, values that rules keep, fields of events, indicators."""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable
from functools import lru_cache
from typing import NoReturn

import attrs

from protocol import events
from protocol.rules.expression_fault import ExpressionFault
from protocol.rules.fact_names import EVENT_PREFIX, FACTS, VALUE_PREFIX, Kind
from protocol.rules.indicator_names import KINDS, IndicatorFault, IndicatorName, indicator_name, split_suffix

_KEPT = re.compile(r"[a-z_][a-z0-9_]{0,39}")


@attrs.frozen
class Name:
    """`indicator` None: a fact, under `text`."""

    text: str
    kind: Kind
    words: tuple[str, ...] = ()
    indicator: IndicatorName | None = None


def find_name(text: str, refuse: Callable[[str], NoReturn], *, called: bool = False) -> Name:
    """What a (dotted) name stands for; `refuse` raises with what is wrong and what is known.

    `called`: it stands before parentheses, where only an indicator's own name can.
    """
    head, _, tail = text.partition(".")
    if called:
        if split_suffix(head) is None:
            refuse(f'no function or indicator "{head}"{_suggestion(head)}')
        return Name(text, Kind.NUMBER)
    fact = FACTS.get(text)
    if fact is not None:
        return Name(text, fact.kind, fact.words)
    if text.startswith(VALUE_PREFIX):
        if not _KEPT.fullmatch(tail):
            refuse(f'"{tail}" is no name for a kept value: small letters, digits and _')
        return Name(text, Kind.ANY)
    if text.startswith(EVENT_PREFIX):
        first = tail.partition(".")[0]
        if first not in event_fields():
            refuse(f'no event has a field "{first}"{_close(first, sorted(event_fields()))}')
        return Name(text, Kind.ANY)
    suffixed = split_suffix(head)
    if suffixed is None:
        refuse(f'no fact or indicator "{text}"{_suggestion(head)}')
    try:
        indicator = indicator_name(*suffixed, None, tail)
    except IndicatorFault as fault:
        refuse(str(fault))
    return Name(str(indicator), Kind.NUMBER, (), indicator)


@lru_cache(maxsize=1)
def event_fields() -> frozenset[str]:
    """The fields and properties of all events."""
    found: set[str] = set()
    kinds: list[type[events.BaseEvent]] = [events.BaseEvent]
    while kinds:
        kind = kinds.pop()
        kinds += kind.__subclasses__()
        found |= set(attrs.fields_dict(kind))
        found |= {name for name, member in vars(kind).items() if isinstance(member, property)}
    return frozenset(found)


def _suggestion(word: str) -> str:
    functions = ("min", "max", "abs", "round", "known", "default")
    stem = word.rstrip("0123456789")
    return _close(word, (*FACTS, *KINDS, *functions)) or _close(stem, tuple(KINDS)) or (
        f"; known facts: {', '.join(FACTS)}; indicators: {', '.join(KINDS)}; "
        f"functions: {', '.join(functions)}"
    )  # fmt: skip


def _close(word: str, known: tuple[str, ...] | list[str]) -> str:
    close = difflib.get_close_matches(word, known, n=1, cutoff=0.6)
    return f'; did you mean "{close[0]}"?' if close else ""


def check_fact(text: str) -> None:
    """Whether `text` names a fact, a kept value or a field of an event. Raises `ExpressionFault`."""

    def refuse(what: str) -> NoReturn:
        raise ExpressionFault(what, 1)

    if find_name(text, refuse).indicator is not None:
        refuse(f"{text} is an indicator; only facts are filled in")
