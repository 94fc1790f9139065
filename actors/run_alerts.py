"""The alerts of a run: its channels, wired to its journal and its tree."""

from __future__ import annotations

import sys
from random import Random

from actors.alerts import IN_HAND_LOOP_S, Alerts
from actors.journal import Journal
from actors.logs import same_place
from actors.run_options import Plan
from actors.system import Edge, TradingSystem


def attach_alerts(plan: Plan, system: TradingSystem, journal: Journal) -> Alerts:
    """Alarms from now on go to stderr and to every channel; each channel is an actor at the edge."""
    broker = plan.settings.broker
    where = "simulation" if plan.embedded else f"{broker.host}:{broker.port} client {broker.client_id}"
    alerts = Alerts(
        plan.channels,
        alarm=system.alarm,
        origin=f"ringfence {broker.mode.value}, {where}",
        zone=plan.settings.schedule.zone,
        random=Random(plan.options.seed),
        # The terminal has a line for each alarm already.
        on_stderr=not same_place(sys.stdout, sys.stderr),
    )
    journal.follow(alerts.follow)
    system.edges += [
        Edge(
            id=f"alerts:{channel.name}",
            start=channel.run,
            ask_stop=channel.stop,
            shutdown_loop_s=IN_HAND_LOOP_S,
        )
        for channel in alerts.channels
    ]
    return alerts
