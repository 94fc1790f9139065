"""Defects in the code of one symbol: its handler raises at one message, at some, or at whatever comes."""

from __future__ import annotations

import enum
from datetime import datetime, timedelta
from random import Random
from typing import Final

import attrs

from protocol.chaos.signals import Prediction
from protocol.exchange.faults import Silence, When
from protocol.values import Symbol

SHORT_S, LONG_S = 20.0, 300.0
"""How long a defect stays at least and at most before a person has mended it."""
HUSH_S: Final = 3.6
"""Of silence, after which new risk waits for a sign of life."""


class DefectKind(enum.Enum):
    POISON_SIGNAL = "poison_signal"
    """One signal, each time it is handled."""
    POISON_BROKER_EVENT = "poison_broker_event"
    """One report of the broker, each time it is handled."""
    RAISING_RULE = "raising_rule"
    """Each tick, signal and time to wake, from at once or from the next signal on."""


@attrs.frozen
class Companion:
    """Another symbol that is killed `after_s` after the first fall; `pick` (0 to 1) says which."""

    after_s: float
    pick: float


@attrs.frozen(kw_only=True)
class Defect:
    """From `at_s` on, at the `nth` message of those that it is about.

    A raising rule with `nth` 0 raises at once, with 1 from the next signal on.
    `times`: how often a raising rule raises, None: until it is mended. `late`: the message has had all its
    effects, in the journal and at the broker, when the handler raises; otherwise it has had none.
    `mended_s`: when a person has mended it and lets the symbol out of a quarantine; None: it stays in.
    """

    at_s: float
    kind: DefectKind
    symbol: Symbol
    nth: int
    times: int | None
    late: bool
    mended_s: float | None
    company: tuple[Companion, ...] = ()
    """Others that die while it falls again and again: none of them may have to wait for it."""


PLACES: Final = {
    DefectKind.POISON_SIGNAL: (1, 1),
    DefectKind.POISON_BROKER_EVENT: (1, 12),
    DefectKind.RAISING_RULE: (0, 1),
}
"""Between which the place of the first message lies at which a defect shows."""
TIMES: Final[dict[int, tuple[int | None, ...]]] = {0: (1, 2, 4, None, None), 1: (1, 1, 1, None)}
"""How often a rule raises, by that place: a signal that it raises at once only is judged after all."""


def draw_defects(random: Random, symbols: tuple[Symbol, ...], safety_s: float) -> tuple[Defect, ...]:
    """Half of the episodes have none."""
    if random.random() < 0.5:
        return ()
    return tuple(_draw_defect(random, symbols, safety_s) for _ in range(random.choice((1, 1, 2, 3))))


def draw_hush(
    random: Random, defects: tuple[Defect, ...], predictions: tuple[Prediction, ...], start: datetime
) -> tuple[Silence, ...]:
    """TWS falls silent before some of the signals that are poison when they have had their effects: what
    they lead to is held back until TWS speaks, and whoever asked for it is dead by then."""
    found = []
    for defect in defects:
        asks = f'"ticker":"{defect.symbol}"'.encode()
        due = (each.at_s for each in predictions if each.at_s > defect.at_s and asks in each.body)
        at_s = next(due, None)
        if defect.kind is DefectKind.POISON_SIGNAL and defect.late and at_s is not None:
            began = start + timedelta(seconds=at_s - HUSH_S)
            lasts_s = round(HUSH_S + random.uniform(0.5, 1.7), 3)
            found.append(Silence(when=When(at=began), duration_loop_s=lasts_s))
    return tuple(found)


def _draw_defect(random: Random, symbols: tuple[Symbol, ...], safety_s: float) -> Defect:
    kind = random.choice(tuple(DefectKind))
    nth = random.randint(*PLACES[kind])
    at_s = round(random.uniform(20, safety_s - SHORT_S - 20), 3)
    latest_s = min(at_s + LONG_S, safety_s - 10)
    mended_s = round(random.uniform(at_s + SHORT_S, latest_s), 3)
    return Defect(
        at_s=at_s,
        kind=kind,
        symbol=random.choice(symbols),
        nth=nth,
        times=random.choice(TIMES[nth]) if kind is DefectKind.RAISING_RULE else None,
        late=random.random() < 0.5,
        mended_s=mended_s if random.random() < 0.6 else None,
        company=_draw_company(random) if nth == 0 else (),
    )


def _draw_company(random: Random) -> tuple[Companion, ...]:
    """Within the second and a half in which a symbol falls so often that it is shut away."""
    times = sorted(round(random.uniform(0.02, 1.6), 3) for _ in range(random.choice((3, 6))))
    return tuple(Companion(after_s, random.random()) for after_s in times)
