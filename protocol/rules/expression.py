"""Checked expressions: conditions, sizes and distances that users write as text.

`confidence >= 0.7 and rsi14 < 70 and minutes_to_close > 30` is parsed by Python's own parser, checked
against a closed list of what may be in it, and compiled once; nothing of it is ever run as Python.
Unknown names, comparisons that cannot be meant and anything else that is not understood are refused when
it is parsed. What is not known yet (an indicator that warms up) makes the answer unknown, not wrong.
"""

from __future__ import annotations

from typing import Protocol

import attrs

from protocol.rules.expression_compiler import Clause, compile_text
from protocol.rules.expression_fault import ExpressionFault
from protocol.rules.fact_names import Kind
from protocol.rules.indicator_names import IndicatorName
from protocol.rules.three_valued import Value, truth

__all__ = ["Expression", "ExpressionFault", "Facts", "IndicatorName", "Kind", "Value"]


class Facts(Protocol):
    """What an expression is asked about: one symbol at one moment."""

    def fact(self, name: str) -> Value:
        """The value of a fact (`fact_names.py`), of `value.NAME` or `event.FIELD`; None: not known."""
        ...

    def indicator(self, name: IndicatorName) -> float | None: ...


@attrs.frozen(repr=False)
class Expression:
    """Equal to another one by its text alone."""

    text: str
    kind: Kind = attrs.field(eq=False)
    """What its value is, as far as that can be told from its text."""
    names: frozenset[str] = attrs.field(eq=False)
    indicators: frozenset[IndicatorName] = attrs.field(eq=False)
    clauses: tuple[Clause, ...] = attrs.field(eq=False)
    """The conditions that `and` joins; one, if none is joined."""

    @classmethod
    def parse(cls, text: str) -> Expression:
        """Raises `ExpressionFault`, which says where and what would be right."""
        compiled = compile_text(text)
        return cls(compiled.text, compiled.kind, compiled.names, compiled.indicators, compiled.clauses)

    def value(self, facts: Facts) -> Value:
        clauses = self.clauses
        if len(clauses) == 1:
            return clauses[0].run(facts)
        known = True
        for clause in clauses:
            value = clause.run(facts)
            if value is False:
                return False
            known = known and isinstance(value, bool)
        return True if known else None

    def holds(self, facts: Facts) -> bool | None:
        """Its value as a condition; a number or a text is neither true nor false."""
        return truth(self.value(facts))

    def why_not(self, facts: Facts) -> str:
        """The first clause that does not hold, with the values that it is about; empty when all hold."""
        unknown = ""
        for clause in self.clauses:
            value = clause.run(facts)
            if value is False:
                return clause.with_values(facts)
            if value is not True:
                unknown = unknown or clause.with_values(facts)
        return unknown

    def __str__(self) -> str:
        return self.text

    def __repr__(self) -> str:
        return f"Expression.parse({self.text!r})"
