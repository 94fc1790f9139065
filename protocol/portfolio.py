"""Rules over all symbols: what the portfolio sees, and what its rules decide.

Their owner is the portfolio actor. It holds no position: it looks at what the symbols hold, a few times a
second, and asks them to flatten. Each symbol closes its own trade in its own way.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from decimal import Decimal
from types import MappingProxyType
from typing import Final
from zoneinfo import ZoneInfo

import attrs

from protocol.events import BaseEvent, NotifyEvent, PeerAskedEvent, RuleFiredEvent
from protocol.exchange.calendar import is_half_day
from protocol.rules.actions import Action, FlattenAll, Log, Notify
from protocol.rules.conditions import holds
from protocol.rules.fact_names import ACCOUNT_FACTS, PORTFOLIO_FACTS, WEEKDAYS
from protocol.rules.indicator_names import IndicatorName
from protocol.rules.rule import Rule
from protocol.rules.three_valued import Value
from protocol.rules.used import facts_used, indicators_used
from protocol.schedule import day_of
from protocol.settings import Schedule
from protocol.values import Symbol

PORTFOLIO: Final = Symbol("*")
"""Whose events they are, in place of a symbol."""
_MINUTE: Final = timedelta(minutes=1)


@attrs.frozen
class Holding:
    """One symbol as the portfolio sees it; `mark` is where its position could be closed now."""

    symbol: Symbol
    quantity: int
    average: Decimal
    mark: float | None
    realized_today: Decimal


@attrs.frozen
class PortfolioView:
    """All that its rules can read. A position without a price makes sums unknown: they would be guesses."""

    at: datetime
    holdings: tuple[Holding, ...]
    equity: Decimal | None
    schedule: Schedule

    def indicator(self, name: IndicatorName) -> float | None:
        del name  # indicators are a symbol's
        return None

    def fact(self, name: str) -> Value:
        local = self.at.astimezone(ZoneInfo(self.schedule.zone))
        day = day_of(self.schedule, self.at)
        match name:
            case "open_pnl_all":
                return self._open_pnl()
            case "exposure_all":
                return self._exposure()
            case "realized_today_all":
                return self._realized()
            case "pnl_today_all":
                open_pnl = self._open_pnl()
                return None if open_pnl is None else open_pnl + self._realized()
            case "positions_all":
                return float(sum(1 for holding in self.holdings if holding.quantity))
            case "equity":
                return None if self.equity is None else float(self.equity)
            case "time":
                return f"{local:%H:%M}"
            case "weekday":
                return WEEKDAYS[local.weekday()]
            case "half_day":
                return is_half_day(local.date())
            case "market_open":
                return day is not None and day.open <= self.at < day.close
            case "minutes_to_close":
                return None if day is None else (day.close - self.at) / _MINUTE
            case "minutes_since_open":
                return None if day is None else (self.at - day.open) / _MINUTE
            case _:
                return None

    def _open_pnl(self) -> float | None:
        total = 0.0
        for holding in self.holdings:
            if holding.quantity and holding.mark is None:
                return None
            total += ((holding.mark or 0.0) - float(holding.average)) * holding.quantity
        return total

    def _exposure(self) -> float | None:
        if any(holding.quantity and holding.mark is None for holding in self.holdings):
            return None
        return sum(abs(holding.quantity) * (holding.mark or 0.0) for holding in self.holdings)

    def _realized(self) -> float:
        return float(sum((holding.realized_today for holding in self.holdings), Decimal(0)))


def is_portfolio_rule(rule: Rule) -> bool:
    """Whether the rule reads what only the portfolio sees."""
    return bool(facts_used((rule,)) & ACCOUNT_FACTS)


def portfolio_faults(rule: Rule) -> tuple[str, ...]:
    """What a rule of the portfolio asks for that only a symbol has."""
    faults = [
        f"a rule over all symbols cannot read {name}, which is one symbol's"
        for name in sorted(facts_used((rule,)) - PORTFOLIO_FACTS)
    ]
    faults += [
        f"a rule over all symbols can only flatten_all, notify or log, not {type(action).__name__}"
        for action in rule.then
        if not isinstance(action, FlattenAll | Notify | Log)
    ]
    if indicators_used((rule,)):
        faults.append("a rule over all symbols has no indicators: those are a symbol's")
    if rule.symbols:
        faults.append("a rule over all symbols names none of them")
    return tuple(faults)


def portfolio_rules(rules: Sequence[Rule]) -> tuple[Rule, ...]:
    """By falling priority."""
    mine = [rule for rule in rules if is_portfolio_rule(rule)]
    return tuple(sorted(mine, key=lambda rule: -rule.priority))


@attrs.frozen
class PortfolioState:
    """What its rules did, and what they saw when they were last looked at (not durable: None is unknown)."""

    fired: Mapping[str, tuple[datetime, ...]] = MappingProxyType({})
    was: Mapping[str, bool] = MappingProxyType({})


def evolve_portfolio(state: PortfolioState, event: BaseEvent) -> PortfolioState:
    """The state after an event of the portfolio's own stream."""
    match event:
        case RuleFiredEvent(rule=rule, at=at):
            earlier = tuple(each for each in state.fired.get(rule, ()) if each.date() == at.date())
            return attrs.evolve(state, fired=MappingProxyType({**state.fired, rule: (*earlier, at)}))
        case _:
            return state


def watch_portfolio(
    state: PortfolioState, rules: Sequence[Rule], view: PortfolioView
) -> tuple[PortfolioState, tuple[BaseEvent, ...]]:
    """The rules that have become true and may act: what they lead to, and what they looked like.

    They only ever reduce risk, so that one which holds at the first look acts at once.
    """
    was, events = dict(state.was), list[BaseEvent]()
    for rule in rules:
        before, now = was.get(rule.name, False), rule.enabled and holds(rule.when, view) is True
        was[rule.name] = now
        if now and not before:
            if _may_act(state, rule, view.at):
                events += _act(rule, view)
            else:
                was[rule.name] = False
    return attrs.evolve(state, was=MappingProxyType(was)), tuple(events)


def _may_act(state: PortfolioState, rule: Rule, at: datetime) -> bool:
    fired = [each for each in state.fired.get(rule.name, ()) if each.date() == at.date()]
    if rule.max_per_day is not None and len(fired) >= rule.max_per_day:
        return False
    return not fired or at >= fired[-1] + timedelta(seconds=rule.cooldown_s)


def _act(rule: Rule, view: PortfolioView) -> list[BaseEvent]:
    kinds = ", ".join(type(action).__name__ for action in rule.then)
    cause = f"rule {rule.name}"
    events: list[BaseEvent] = [
        RuleFiredEvent(at=view.at, cause=cause, symbol=PORTFOLIO, rule=rule.name, why=cause, actions=kinds)
    ]
    for action in rule.then:
        events += _event_of(action, rule, view)
    return events


def _event_of(action: Action, rule: Rule, view: PortfolioView) -> list[BaseEvent]:
    cause = f"rule {rule.name}"
    match action:
        case FlattenAll(reason=reason):
            return [PeerAskedEvent(
                at=view.at, cause=cause, symbol=PORTFOLIO, what="flatten", peer="*", trade=0,
                reason=reason or f"rule '{rule.name}' flattens everything",
            )]  # fmt: skip
        case Notify(text=text) | Log(text=text):
            told = _fill_in(text, view)
            urgent = isinstance(action, Notify)
            return [NotifyEvent(
                at=view.at, cause=cause, symbol=PORTFOLIO, rule=rule.name, text=told, urgent=urgent
            )]  # fmt: skip
        case _:
            # Refused when the configuration was read: every other action is about one symbol.
            raise ValueError(f"rule '{rule.name}': {type(action).__name__} is about one symbol")


def _fill_in(text: str, view: PortfolioView) -> str:
    for name in sorted(ACCOUNT_FACTS | {"equity", "time"}):
        value = view.fact(name)
        if value is not None:
            shown = f"{value:.2f}" if isinstance(value, float) else str(value)
            text = text.replace(f"{{{name}}}", shown)
    return text
