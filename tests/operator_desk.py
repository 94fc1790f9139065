"""Ann at her terminal: a person's hands on the system of a world, with what the journal says of them."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import attrs

from actors.operator import Operator, RiskHands
from actors.overview import Overview, RunIdentity
from actors.signal_desk import SignalCounts, SourceStatistics
from actors.sources import SourceStatus
from protocol.control_answers import (
    Answer,
    Declined,
    Done,
)
from protocol.control_events import OperatorEvent
from protocol.control_messages import read_answer, write_answer
from protocol.control_requests import (
    Request,
)
from tests.directed_market import DirectedMarket
from tests.world import GLD, SLV, World, play, settings_for


class FakeSources:
    """A registry of one source that notes what is asked of it."""

    def __init__(self) -> None:
        self.asked: list[tuple[object, ...]] = []

    def names(self) -> tuple[str, ...]:
        return ("flow",)

    def status(self) -> tuple[SourceStatus, ...]:
        counts = SignalCounts(accepted=3, refused=1)
        return (
            SourceStatus(
                name="flow", kind="http", running=True, state="ok", sentence="it answers", tickers=("SLV",),
                counts=counts, statistics=SourceStatistics(polls=9, troubles=2),
            ),
        )  # fmt: skip

    def start(self, name: str, *, who: str) -> None:
        self.asked.append(("start", name, who))
        raise ValueError(f"{name} runs already")

    def stop(self, name: str, *, who: str) -> None:
        self.asked.append(("stop", name, who))

    def set_tickers(self, name: str, tickers: Iterable[str], *, who: str) -> None:
        self.asked.append(("tickers", name, tuple(tickers), who))


class Person:
    """Ann at her terminal, and the system of a world."""

    def __init__(self, world: World, *, risk: RiskHands | None = None, sources: bool = True) -> None:
        system = world.system
        self.world, self.sources, self.ended = world, FakeSources(), list[str]()
        run = RunIdentity(
            state=Path("/s"), temporary=False, mode="simulation", version="0", configuration="c",
            began=lambda: None, now=system.clock.now,
        )  # fmt: skip
        found = self.sources if sources else None
        view = Overview(
            system, run, standing=system.gate.standing, figures=system.risk.figures, sources=found
        )
        system.journal.follow(view.follow)
        self.operator = Operator(
            view, risk=risk or system.risk, tree=system, end=self.ended.append, sources=found
        )

    def ask(self, request: Request) -> Answer:
        """What comes back, having been a line of JSON on its way."""
        answer = self.operator.answer(attrs.evolve(request, tty="pts/1"), "ann")
        told = read_answer(write_answer(answer))
        assert told == answer
        return told

    def do(self, request: Request) -> str:
        answer = self.ask(request)
        assert isinstance(answer, Done), answer
        return "\n".join(answer.said)

    def declined(self, request: Request) -> str:
        answer = self.ask(request)
        assert isinstance(answer, Declined), answer
        return "\n".join(answer.problems)

    @property
    def noted(self) -> list[tuple[str, str, str]]:
        """(action, arguments, outcome) of everything in the stream of control."""
        events = self.world.events(OperatorEvent)
        assert all(event.who == "ann@pts/1" for event in events)
        return [(event.action, event.arguments, event.outcome) for event in events]


def act_out(story: Any, *symbols: Any) -> None:
    play(story, DirectedMarket({SLV: 100.0, GLD: 200.0}), settings_for(*(symbols or (SLV, GLD))))
