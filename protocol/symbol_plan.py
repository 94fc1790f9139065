"""Everything about one symbol that does not change while it runs, and the order references it hands out."""

from __future__ import annotations

from datetime import timedelta

import attrs

from protocol.settings import Atr, RiskLimits, Rule, Schedule, Sizing
from protocol.values import OrderRef, Symbol


@attrs.frozen
class SymbolPlan:
    """`rules` are those of this symbol, the most important first.

    `latency_s` is what our own machine may add between a word of the broker and our answer, in market
    seconds: next to nothing at speed 1, a lot in a fast replay. Waiting times that watch over the broker
    are longer by it.
    """

    symbol: Symbol
    instance: str
    sizing: Sizing
    rules: tuple[Rule, ...]
    schedule: Schedule
    limits: RiskLimits
    atr: Atr = attrs.field(factory=Atr)
    latency_s: float = 0.05

    @property
    def latency(self) -> timedelta:
        return timedelta(seconds=self.latency_s)

    def ref(self, trade: int, role: str, revision: int = 0) -> OrderRef:
        return OrderRef(self.instance, self.symbol, trade, role, revision)

    def oca_group(self, trade: int) -> str:
        """The name of the group that all exits of a trade share."""
        return f"{self.instance}:{self.symbol}:{trade:06d}"

    def rule_named(self, name: str) -> Rule | None:
        return next((rule for rule in self.rules if rule.name == name), None)


def rules_of(symbol: Symbol, rules: tuple[Rule, ...]) -> tuple[Rule, ...]:
    """The rules that concern `symbol`, by falling priority; equals keep their order."""
    mine = [rule for rule in rules if not rule.symbols or symbol in rule.symbols]
    return tuple(sorted(mine, key=lambda rule: -rule.priority))
