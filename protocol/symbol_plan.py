"""Everything about one symbol that does not change while it runs, and the order references it hands out."""

from __future__ import annotations

from datetime import timedelta
from typing import Final

import attrs

from protocol.portfolio import is_portfolio_rule
from protocol.risk.settings import RiskLimits
from protocol.rules.amounts import Sizing
from protocol.rules.conditions import asks_for_signal, changes_of, event_types
from protocol.rules.fact_names import Change
from protocol.rules.indicator_names import IndicatorName
from protocol.rules.rule import Rule
from protocol.settings import Atr, Schedule
from protocol.values import OrderRef, Symbol

LONGEST_WAIT_S: Final = 30.0
WAIT_LATENCIES: Final = 200
"""Latencies that a recovery may take: ten seconds of our machine, as it is configured, at any speed."""


def _only_bars(rule: Rule) -> bool:
    changes = changes_of(rule.when)
    return Change.BAR in changes and Change.TICK not in changes


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
    indicators: tuple[IndicatorName, ...] = ()
    """What the rules ask of the market beyond the plan's ATR."""

    follows_rules: bool = attrs.field(init=False)
    """Whether there are rules that act without a signal."""

    @follows_rules.default
    def _asks_without_signals(self) -> bool:
        return any(not asks_for_signal(rule.when) for rule in self.rules)

    tick_rules: tuple[Rule, ...] = attrs.field(init=False)
    """Rules whose condition a tick can make true."""
    bar_rules: tuple[Rule, ...] = attrs.field(init=False)
    """Rules whose condition a bar that is complete can make true, and no other tick."""
    timed_rules: bool = attrs.field(init=False)
    """Whether there are rules whose condition only the passing of time makes true."""

    @tick_rules.default
    def _follow_the_market(self) -> tuple[Rule, ...]:
        return tuple(rule for rule in self._followed() if Change.TICK in changes_of(rule.when))

    @bar_rules.default
    def _follow_the_bars(self) -> tuple[Rule, ...]:
        return tuple(rule for rule in self._followed() if _only_bars(rule))

    @timed_rules.default
    def _follow_the_clock(self) -> bool:
        return any(Change.TIME in changes_of(rule.when) for rule in self._followed())

    def _followed(self) -> tuple[Rule, ...]:
        """Rules that act when their condition becomes true."""
        return tuple(
            rule for rule in self.rules if not asks_for_signal(rule.when) and not event_types(rule.when)
        )

    @property
    def latency(self) -> timedelta:
        return timedelta(seconds=self.latency_s)

    @property
    def longest_wait(self) -> timedelta:
        """How long a signal may wait for its symbol, which recovers or has no books: older ones are stale."""
        return timedelta(seconds=LONGEST_WAIT_S + WAIT_LATENCIES * self.latency_s)

    def ref(self, trade: int, role: str, revision: int = 0) -> OrderRef:
        return OrderRef(self.instance, self.symbol, trade, role, revision)

    def oca_group(self, trade: int, index: int = 0) -> str:
        """The name of the group that the exits of one tranche of a trade share."""
        name = f"{self.instance}:{self.symbol}:{trade:06d}"
        return f"{name}:{index}" if index else name

    def rule_named(self, name: str) -> Rule | None:
        return next((rule for rule in self.rules if rule.name == name), None)


def rules_of(symbol: Symbol, rules: tuple[Rule, ...]) -> tuple[Rule, ...]:
    """The rules that concern `symbol`, by falling priority; equals keep their order."""
    mine = [
        rule for rule in rules if (not rule.symbols or symbol in rule.symbols) and not is_portfolio_rule(rule)
    ]
    return tuple(sorted(mine, key=lambda rule: -rule.priority))
