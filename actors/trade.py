"""The trading system as a Python program: rules and handlers of one's own, everything else as options.

The same run as that of `scripts/supervisor.py`, with its exit codes: real time, real sockets, and a TWS if
the options say so. For a story on a simulated clock there is `actors/simulation.py`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import attrs
import trio

from actors.run import Run
from actors.run_options import RunOptions, resolve
from actors.system import TradingSystem
from protocol.config import ConfigFaults
from protocol.rule_checks import rule_faults
from protocol.rules.rule import Rule


def trade(
    options: RunOptions | None = None,
    *,
    rules: Sequence[Rule] | None = None,
    prepare: Callable[[TradingSystem], None] | None = None,
) -> int:
    """Run until it ends; returns the exit code.

    `rules` take the place of those of the configuration. `prepare` is given the system before it starts: the
    place to subscribe handlers. Raises `UsageError` and `ConfigFaults` before anything has started.
    """
    plan = resolve(options or RunOptions())
    if rules is not None:
        wrong = rule_faults(rules, tuple(entry.symbol for entry in plan.settings.symbols))
        if wrong:
            raise ConfigFaults(wrong)
        plan = attrs.evolve(plan, settings=attrs.evolve(plan.settings, rules=tuple(rules)))
    return trio.run(Run(plan, prepare_system=prepare).run)
