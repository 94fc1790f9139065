"""One episode, drawn whole from its seed before anything runs: market, strategy, signals, faults, blows.

Each part has a generator of its own, so that a change of one part leaves the others as they were.
"""

from __future__ import annotations

import enum
from datetime import date, datetime, time, timedelta
from random import Random
from typing import Final

import attrs

from protocol.chaos.defects import Defect, draw_defects, draw_hush
from protocol.chaos.market import Temper, draw_tempers
from protocol.chaos.signals import Prediction, draw_predictions
from protocol.chaos.strategy import draw_settings, most_shares
from protocol.chaos.swarm import Draw, draw_faults
from protocol.exchange.calendar import new_york
from protocol.exchange.faults import Fault
from protocol.exchange.tws_settings import PendingCancel, TwsSettings
from protocol.exchange.venue_settings import ChildActivation, VenueSettings
from protocol.kills import KillOrder, Moment
from protocol.risk.words import KillLevel
from protocol.settings import Settings
from protocol.values import Symbol

DAY: Final = date(2025, 1, 23)
"""An ordinary full Thursday."""
NAMES: Final = tuple(map(Symbol, ("AAA", "BBB", "CCC", "DDD", "EEE")))
HEAL_S: Final = 75.0
"""After the safety phase: a minute in which all must come right (INV-25), and a look around."""
TAIL_MIN: Final = 3.0
"""Minutes of market behind that, so that nothing ends before it is looked at."""


class CrashPoint(enum.Enum):
    """Where the process dies: at the `nth` of these moments from some time on."""

    AT_ONCE = "crash_at_once"
    BEFORE_APPEND = "crash_before_append"
    AFTER_APPEND = "crash_after_append"
    BEFORE_SEND = "crash_before_send"
    AFTER_SEND = "crash_after_send"
    AT_STEP = "crash_at_step"
    """At a step of any task: between any two things that wait."""


@attrs.frozen
class Crash:
    """The whole process dies at the `nth` occasion after `at_s`; `down_s` later the next one starts."""

    at_s: float
    point: CrashPoint
    nth: int
    down_s: float


class Victim(enum.Enum):
    """Whom a kill means; one that is not in the tree is replaced by another."""

    SYMBOL = "kill_symbol"
    BROKER = "kill_broker"
    ROUTER = "kill_router"
    TIMERS = "kill_timers"
    PORTFOLIO = "kill_portfolio"
    RISK = "kill_risk"
    CUSTODIAN = "kill_custodian"
    JOURNAL = "kill_journal"
    EDGE = "kill_edge"
    SUPERVISOR = "kill_supervisor"


@attrs.frozen
class Kill:
    """`pick` (0 to 1) chooses among several of a kind. After `steps` further steps of the scheduler."""

    at_s: float
    victim: Victim
    pick: float
    steps: int = 0


@attrs.frozen
class Pause:
    """The machine stands still: no task runs, and all clocks go on."""

    at_s: float
    lasts_s: float


class DiskFault(enum.Enum):
    FULL = "disk_full"
    """The write is refused and nothing of it is there."""
    TORN = "disk_error_after_write"
    """The row is there, and the writer is told that it is not."""


@attrs.frozen
class DiskFailure:
    """The `nth` write after `at_s` fails, and with it the process; `down_s` later it starts again."""

    at_s: float
    fault: DiskFault
    nth: int
    down_s: float


@attrs.frozen
class Switch:
    """A person raises the kill level, and lowers it again at `off_s`."""

    at_s: float
    level: KillLevel
    off_s: float

    @property
    def kind(self) -> str:
        return f"kill_level_{self.level.name.lower()}"


@attrs.frozen(kw_only=True)
class EpisodePlan:
    seed: int
    start: datetime
    safety_s: float
    tempers: tuple[Temper, ...]
    settings: Settings
    venue: VenueSettings
    tws: TwsSettings
    predictions: tuple[Prediction, ...]
    faults: tuple[Fault, ...]
    crashes: tuple[Crash, ...]
    kills: tuple[Kill, ...]
    moments: tuple[KillOrder, ...]
    pauses: tuple[Pause, ...]
    disk: tuple[DiskFailure, ...]
    switches: tuple[Switch, ...]
    defects: tuple[Defect, ...]

    @property
    def symbols(self) -> tuple[Symbol, ...]:
        return tuple(temper.symbol for temper in self.tempers)

    @property
    def caps(self) -> dict[Symbol, int]:
        """Shares that a trade of each symbol may grow to, by its own plan."""
        return {
            entry.symbol: most_shares(entry.sizing, self.settings.rules) for entry in self.settings.symbols
        }

    def random(self, part: str) -> Random:
        """The generator of a part of the episode that draws while it runs."""
        return Random(f"{part} {self.seed}")


def draw_plan(seed: int, minutes: float = 30.0, *, faults: bool = True) -> EpisodePlan:
    """The episode of a seed. `faults` False: the same market and strategy, and nothing is done to them."""

    def random(part: str) -> Random:
        return Random(f"{part} {seed}")

    shape = random("shape")
    symbols = NAMES[: shape.choice((1, 2, 2, 3, 4))]
    start = new_york(DAY, time(10, 0)) + timedelta(seconds=shape.randrange(0, 4 * 3600, 60))
    safety_s = minutes * 60 - HEAL_S
    plan = EpisodePlan(
        seed=seed,
        start=start,
        safety_s=safety_s,
        tempers=draw_tempers(random("tempers"), symbols),
        settings=draw_settings(random("strategy"), symbols),
        venue=VenueSettings(child_activation=shape.choice(tuple(ChildActivation))),
        tws=TwsSettings(),
        predictions=draw_predictions(random("predictions"), symbols, start, safety_s),
        faults=(), crashes=(), kills=(), moments=(), pauses=(), disk=(), switches=(), defects=(),
    )  # fmt: skip
    if not faults:
        return plan
    defects = draw_defects(random("defects"), symbols, safety_s)
    return attrs.evolve(
        plan,
        tws=_draw_face(random("face")),
        faults=(
            *draw_faults(Draw(random("faults"), symbols, start, safety_s)),
            *draw_hush(random("hush"), defects, plan.predictions, start),
        ),
        crashes=_draw_crashes(random("crashes"), safety_s),
        kills=_draw_kills(random("kills"), safety_s),
        moments=_draw_moments(random("moments"), symbols),
        pauses=_draw_pauses(random("pauses"), safety_s),
        disk=_draw_disk(random("disk"), safety_s),
        switches=_draw_switches(random("switches"), safety_s),
        defects=defects,
    )


def _draw_face(random: Random) -> TwsSettings:
    """The legal habits of a TWS: rare ones as often as usual ones."""

    def maybe() -> bool:
        return random.random() < 0.3

    return TwsSettings(
        duplicate_echo=maybe(),
        presubmitted_first=maybe(),
        stop_price_echo=maybe(),
        status_before_execution=maybe(),
        commission_echo=maybe(),
        commission_delay_s=random.choice((0.0, 0.0, 0.3, 5.0)),
        pending_cancel=random.choice(tuple(PendingCancel)),
        error_before_inactive=maybe(),
        repeat_rejection=maybe(),
        tif_preset_notice=maybe(),
        order_latency_s=random.choice((0.0, 0.0, 0.05, 0.4)),
        report_latency_s=random.choice((0.0, 0.0, 0.05, 0.4)),
        tell_missed_executions=not maybe(),
    )


def _times(random: Random, safety_s: float, most: int) -> list[float]:
    count = random.choice((0, 0, 1, 2, most))
    return sorted(round(random.uniform(12, safety_s - 10), 3) for _ in range(count))


def _draw_crashes(random: Random, safety_s: float) -> tuple[Crash, ...]:
    points = tuple(CrashPoint)
    return tuple(
        Crash(at_s, point, random.randint(1, 400 if point is CrashPoint.AT_STEP else 6), _draw_down(random))
        for at_s in _times(random, safety_s, 5)
        for point in (random.choice(points),)
    )


def _draw_down(random: Random) -> float:
    return round(random.choice((random.uniform(0.2, 3), random.uniform(3, 20))), 3)


def _draw_kills(random: Random, safety_s: float) -> tuple[Kill, ...]:
    victims = (*([Victim.SYMBOL] * 8), *([Victim.BROKER] * 3), *tuple(Victim)[2:])
    return tuple(
        Kill(at_s, random.choice(victims), random.random(), random.choice((0, 0, random.randint(1, 300))))
        for at_s in _times(random, safety_s, 8)
    )


def _draw_moments(random: Random, symbols: tuple[Symbol, ...]) -> tuple[KillOrder, ...]:
    count = random.choice((0, 0, 1, 3))
    return tuple(KillOrder(random.choice(symbols), random.choice(tuple(Moment))) for _ in range(count))


def _draw_pauses(random: Random, safety_s: float) -> tuple[Pause, ...]:
    return tuple(
        Pause(at_s, round(random.choice((random.uniform(0.3, 3), random.uniform(3, 25))), 2))
        for at_s in _times(random, safety_s - 40, 2)
        if random.random() < 0.5
    )


def _draw_disk(random: Random, safety_s: float) -> tuple[DiskFailure, ...]:
    if random.random() < 0.75:
        return ()
    at_s = round(random.uniform(20, safety_s - 30), 3)
    return (DiskFailure(at_s, random.choice(tuple(DiskFault)), random.randint(1, 5), _draw_down(random)),)


def _draw_switches(random: Random, safety_s: float) -> tuple[Switch, ...]:
    if random.random() < 0.7:
        return ()
    at_s = round(random.uniform(60, safety_s - 60), 3)
    off_s = round(min(safety_s - 20, at_s + random.uniform(10, 240)), 3)
    return (Switch(at_s, random.choice(tuple(KillLevel)[1:]), off_s),)
