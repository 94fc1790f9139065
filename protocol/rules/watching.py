"""Whether a tick makes a rule worth looking at: the cheap question that every tick asks."""

from __future__ import annotations

from protocol.market_view import MarketView
from protocol.rules.conditions import holds
from protocol.rules.facts import SymbolFacts
from protocol.symbol_plan import SymbolPlan
from protocol.symbol_state import SymbolState
from protocol.values import Tick


def turned(state: SymbolState, view: MarketView, plan: SymbolPlan, tick: Tick) -> bool:
    """Whether the condition of a rule that follows the market has become true with this tick.

    One that became false is noted here, so that its next turn counts.
    """
    if not view.reconciled:
        return False
    bars, facts = view.bars.completed, SymbolFacts(state, view, plan, tick.at)
    new_bar, view.rules_saw_bars = bars != view.rules_saw_bars, bars
    for rule in plan.tick_rules if not new_bar else (*plan.tick_rules, *plan.bar_rules):
        now = holds(rule.when, facts) is True
        if now is not view.rule_was.get(rule.name):
            if now and state.switched.get(rule.name, rule.enabled):
                return True
            view.rule_was[rule.name] = False
            view.rule_tries.pop(rule.name, None)
    return False
