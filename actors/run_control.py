"""The control connection of a run: its socket at the edge of the tree, its hands on the system."""

from __future__ import annotations

import shlex
from collections.abc import Callable
from pathlib import Path

from actors.control import Control
from actors.journal import Journal
from actors.operator import Operator
from actors.overview import Overview, RunIdentity
from actors.run_options import Plan
from actors.sources import Sources
from actors.system import Edge, TradingSystem

CONTROL = "control"
"""The actor's name."""


def attach_control(
    run: RunIdentity,
    system: TradingSystem,
    journal: Journal,
    *,
    sources: Sources | None,
    end: Callable[[str], None],
) -> Control:
    """`end` asks for the clean stop of the run, with the reason."""
    view = Overview(system, run, standing=system.gate.standing, figures=system.risk.figures, sources=sources)
    journal.follow(view.follow)
    view.recall(journal.read("risk"))
    operator = Operator(view, risk=system.risk, tree=system, end=end, sources=sources)
    what = f"{run.mode}, {', '.join(system.symbols)}"
    control = Control(operator, run.state, what=what, alarm=system.alarm)
    system.edges.append(Edge(id=CONTROL, start=control.run))
    return control


def control_hint(plan: Plan) -> str:
    """The command that a person types in another terminal to see and control the run."""
    given: Path | None = plan.options.state
    return "scripts/run status" + ("" if given is None else f" --state {shlex.quote(str(given))}")
