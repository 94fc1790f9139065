"""What a run was configured with, as a fact beside its journal: for whoever reads that without the files.

Only what people ask about later: the rules in words, with what their cooldowns need, and what is known of
the stocks. Nothing that trades reads it.
"""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal
from typing import Final

import attrs
import orjson
from cattrs import BaseValidationError, Converter

from protocol.config_rules_text import describe_rule
from protocol.rules.conditions import asks_for_signal
from protocol.rules.rule import Rule
from protocol.settings import Settings, StockFacts
from protocol.symbol_state import SymbolState
from protocol.values import Symbol

KEY: Final = "configuration"
"""Its name among the small facts of the journal."""


@attrs.frozen(kw_only=True)
class RuleNote:
    name: str
    symbols: tuple[Symbol, ...]
    priority: int
    cooldown_s: float
    reset_by_stop_out: bool
    max_per_day: int | None
    enabled: bool
    enters: bool
    on_signals: bool
    text: str

    def concerns(self, symbol: Symbol) -> bool:
        return not self.symbols or symbol in self.symbols

    def is_on(self, state: SymbolState) -> bool:
        return state.switched.get(self.name, self.enabled)

    def cooldown_left_s(self, state: SymbolState, at: datetime) -> float:
        """Market seconds until it may act again, as `judging.py` and `rules/evaluation.py` reckon it."""
        if not self.enters:
            fired = state.fired.get(self.name, ())
            return self._left_s(fired[-1] if fired else None, at)
        last, stopped = state.last_entry_at, state.stopped_out_at
        reset = self.reset_by_stop_out and None not in (last, stopped) and stopped >= last  # type: ignore[operator]
        return 0.0 if reset else self._left_s(last, at)

    def _left_s(self, last: datetime | None, at: datetime) -> float:
        return 0.0 if last is None else max(self.cooldown_s - (at - last).total_seconds(), 0.0)

    def acted_today(self, state: SymbolState, at: datetime) -> int:
        times = (state.entries if self.enters else state.fired).get(self.name, ())
        return sum(time.date() == at.date() for time in times)


@attrs.frozen(kw_only=True)
class ConfigurationNote:
    rules: tuple[RuleNote, ...] = ()
    facts: dict[Symbol, StockFacts] = attrs.field(factory=dict)


def note_of(settings: Settings) -> str:
    """The note, as text."""
    facts = {entry.symbol: entry.facts for entry in settings.symbols if entry.facts != StockFacts()}
    note = ConfigurationNote(rules=tuple(_rule(rule) for rule in settings.rules), facts=facts)
    return orjson.dumps(_CONVERTER.unstructure(note), option=orjson.OPT_SORT_KEYS).decode()


def read_note(text: str | None) -> ConfigurationNote:
    """What `note_of` wrote; an empty one when there is none, or another version wrote it."""
    if text is None:
        return ConfigurationNote()
    try:
        return _CONVERTER.structure(orjson.loads(text), ConfigurationNote)
    except (ValueError, KeyError, TypeError, BaseValidationError):
        return ConfigurationNote()


def _rule(rule: Rule) -> RuleNote:
    return RuleNote(
        name=rule.name,
        symbols=rule.symbols,
        priority=rule.priority,
        cooldown_s=rule.cooldown_s,
        reset_by_stop_out=rule.reset_by_stop_out,
        max_per_day=rule.max_per_day,
        enabled=rule.enabled,
        enters=rule.entry is not None,
        on_signals=asks_for_signal(rule.when),
        text=describe_rule(rule),
    )


def _converter() -> Converter:
    converter = Converter()
    converter.register_unstructure_hook(Decimal, str)
    converter.register_structure_hook(Decimal, lambda text, _: Decimal(text))
    return converter


_CONVERTER: Final = _converter()
