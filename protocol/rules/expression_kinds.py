"""What can be told about a part of an expression before it is asked: comparisons that cannot be meant."""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, NoReturn

import attrs

from protocol.rules.fact_names import Kind
from protocol.rules.three_valued import Value

if TYPE_CHECKING:
    from protocol.rules.expression import Facts

_TIME_OF_DAY = re.compile(r"([01]\d|2[0-3]):[0-5]\d")


@attrs.frozen
class Meaning:
    """A compiled part. `constant` is its value where the text says it; `words` all that it can be."""

    kind: Kind
    run: Callable[[Facts], Value]
    constant: Value = None
    words: tuple[str, ...] = ()
    name: str = ""


def common_kind(one: Meaning, other: Meaning) -> Kind:
    return one.kind if one.kind is other.kind else Kind.ANY


def check_truth(meaning: Meaning, where: str, refuse: Callable[[str], NoReturn]) -> None:
    if meaning.kind not in (Kind.TRUTH, Kind.ANY):
        subject = f"{meaning.name} is" if meaning.name else "this is"
        refuse(f"{subject} {meaning.kind.value}; {where} stands a condition, such as price > 10")


def numbers_fault(what: str, given: Sequence[Meaning]) -> str:
    """Why `what` cannot be done to these; empty when it can."""
    for each in given:
        if each.kind not in (Kind.NUMBER, Kind.ANY):
            return f"{what} needs numbers; {each.name or 'one of these'} is {each.kind.value}"
    return ""


def check_comparison(left: Meaning, sign: str, right: Meaning, refuse: Callable[[str], NoReturn]) -> None:
    kinds = {left.kind, right.kind} - {Kind.ANY}
    if len(kinds) > 1:
        refuse(
            f"{left.name or 'the left side'} is {left.kind.value}, "
            f"{right.name or 'the right side'} is {right.kind.value}: they cannot be compared"
        )
    if Kind.TRUTH in kinds and sign not in ("==", "!="):
        refuse("what is true or false has no order")
    for fact, other in ((left, right), (right, left)):
        if isinstance(other.constant, str):
            _check_word(fact, sign, other.constant, refuse)


def _check_word(fact: Meaning, sign: str, word: str, refuse: Callable[[str], NoReturn]) -> None:
    if fact.name == "time" and not _TIME_OF_DAY.fullmatch(word):
        refuse(f'a time of day is written "09:30", not "{word}"')
    if not fact.words:
        return
    if sign not in ("==", "!="):
        refuse(f"{fact.name} is a word, and words have no order here")
    if word not in fact.words:
        close = difflib.get_close_matches(word, fact.words, n=1, cutoff=0.5)
        known = ", ".join(f'"{each}"' for each in fact.words)
        hint = f'did you mean "{close[0]}"?' if close else f"known: {known}"
        refuse(f'{fact.name} is never "{word}"; {hint}')
