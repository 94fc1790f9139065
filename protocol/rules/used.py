"""What rules read: every indicator and fact in their conditions and in the expressions of their actions."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import attrs

from protocol.rules.actions import Choose
from protocol.rules.conditions import facts_of, indicators_of
from protocol.rules.expression import Expression
from protocol.rules.indicator_names import IndicatorName
from protocol.rules.rule import Rule


def indicators_used(rules: Iterable[Rule]) -> tuple[IndicatorName, ...]:
    """Sorted, each once."""
    names: set[IndicatorName] = set()
    for rule in rules:
        names |= set(indicators_of(rule.when))
        for action in _within(rule.then):
            if isinstance(action, Expression):
                names |= action.indicators
            elif isinstance(action, Choose):
                names |= set(indicators_of(action.condition))
    return tuple(sorted(names))


def facts_used(rules: Iterable[Rule]) -> frozenset[str]:
    names: set[str] = set()
    for rule in rules:
        names |= facts_of(rule.when)
        for action in _within(rule.then):
            if isinstance(action, Expression):
                names |= action.names
            elif isinstance(action, Choose):
                names |= facts_of(action.condition)
    return frozenset(names)


def _within(value: object) -> Iterator[object]:
    """The value, and every attrs instance inside it."""
    kind = type(value)
    if isinstance(value, tuple):
        for each in value:
            yield from _within(each)
    elif attrs.has(kind):
        yield value
        for field in attrs.fields(kind):
            yield from _within(getattr(value, field.name))
