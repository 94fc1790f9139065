"""A rule: when something holds, do something."""

from __future__ import annotations

from collections.abc import Iterator

import attrs

from protocol.rules.actions import Action, Choose, Enter
from protocol.rules.conditions import Condition
from protocol.values import Symbol


def _sequence(actions: Action | tuple[Action, ...]) -> tuple[Action, ...]:
    return actions if isinstance(actions, tuple) else (actions,)


@attrs.frozen
class Rule:
    """`symbols` empty means every configured symbol. Rules of higher `priority` are asked first.

    A rule with a signal in its condition acts on signals; any other acts when its condition becomes true.
    The cooldown holds per symbol, over the entries of all its rules, and for a rule that does not enter
    over its own actions. `reset_by_stop_out`: a trade that its stop ended leaves no cooldown.
    `max_per_day` counts how often the rule has acted on a day.
    """

    name: str
    when: Condition
    then: tuple[Action, ...] = attrs.field(converter=_sequence)
    symbols: tuple[Symbol, ...] = ()
    priority: int = 100
    cooldown_s: float = 180.0
    max_per_day: int | None = None
    reset_by_stop_out: bool = False
    enabled: bool = True

    @property
    def entry(self) -> Enter | None:
        """The first entry among its actions, also behind a choice."""
        return next(entries_of(self.then), None)


def entries_of(actions: tuple[Action, ...]) -> Iterator[Enter]:
    """Every entry among the actions, in their order, also behind a choice; those only prepared are not."""
    for action in actions:
        if isinstance(action, Enter):
            yield action
        elif isinstance(action, Choose):
            yield from entries_of((*action.then, *action.otherwise))
