"""What can be wrong with rules as a whole, whether they were written in TOML or in Python."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from protocol.portfolio import is_portfolio_rule, portfolio_faults
from protocol.rules.rule import Rule
from protocol.values import Symbol


def rule_faults(rules: Sequence[Rule], symbols: Collection[Symbol]) -> tuple[str, ...]:
    """Everything that keeps these rules from being traded by a system of these symbols."""
    names = [rule.name for rule in rules]
    faults = [f"two rules are called {name}" for name in sorted(set(names)) if names.count(name) > 1]
    for rule in rules:
        unknown = [symbol for symbol in rule.symbols if symbol not in symbols]
        faults += [f"rule '{rule.name}': {symbol} is not among the symbols" for symbol in unknown]
        if is_portfolio_rule(rule):
            faults += [f"rule '{rule.name}': {fault}" for fault in portfolio_faults(rule)]
    return tuple(faults)
