"""What can be done to a connection, how it is drawn from a seed, and how it is said in a line of text."""

from __future__ import annotations

import enum
import math
import random
from collections.abc import Mapping
from types import MappingProxyType
from typing import Final, TypeAlias

import attrs
import cattrs


class Way(enum.Enum):
    TO_TWS = "to_tws"
    FROM_TWS = "from_tws"
    BOTH = "both"

    def covers(self, other: Way) -> bool:
        return self in (other, Way.BOTH)


@attrs.frozen
class Split:
    """In pieces of `size` bytes."""

    size: int = 1


@attrs.frozen
class Glue:
    """What comes within `hold_s` leaves in one piece."""

    hold_s: float = 0.5


@attrs.frozen
class Delay:
    by_s: float = 1.0


@attrs.frozen
class Throttle:
    bytes_per_s: int = 20_000


@attrs.frozen
class Stall:
    """Neither read nor written, as by a peer that was stopped: the senders' buffers fill. Then it goes on."""


@attrs.frozen
class Swallow:
    """A black hole: all is taken, nothing arrives, nobody is told, an end is not either.

    A connection that has lost a byte never passes anything again; new ones fare likewise while it lasts.
    """


@attrs.frozen
class Garble:
    """One byte in each of the next `times` reads is another one."""

    times: int = 1


@attrs.frozen
class Cut:
    """So many bytes more, then an RST to both ends: in the middle of a frame, as likely as not."""

    after_bytes: int = 7


@attrs.frozen
class Reset:
    """RST to both ends, now. What was in the proxy's hands is lost."""


@attrs.frozen
class Refuse:
    """Nobody listens. Connections that are there go on."""


@attrs.frozen
class AcceptAndClose:
    """New connections are taken and closed at once."""


Trouble: TypeAlias = (
    Split | Glue | Delay | Throttle | Stall | Swallow | Garble | Cut | Reset | Refuse | AcceptAndClose
)
TROUBLES: Final[Mapping[str, type[Trouble]]] = MappingProxyType({
    "split": Split, "glue": Glue, "delay": Delay, "throttle": Throttle, "stall": Stall, "swallow": Swallow,
    "garble": Garble, "cut": Cut, "reset": Reset, "refuse": Refuse, "accept_and_close": AcceptAndClose,
})  # fmt: skip


@attrs.frozen
class Step:
    """`trouble` from `at_s` on, for `for_s` (those that happen once need none)."""

    at_s: float
    trouble: Trouble
    way: Way = Way.BOTH
    for_s: float = math.inf


def draw_trouble(rng: random.Random, at_s: float = 0.0) -> Step:
    """One trouble of any kind, each as likely, with a length that a system must be able to live with."""
    ways = tuple(Way)
    match rng.choice(tuple(TROUBLES)):
        case "split":
            return Step(at_s, Split(rng.choice((1, 2, 3, 7))), rng.choice(ways), rng.uniform(0.5, 3.0))
        case "glue":
            return Step(at_s, Glue(rng.uniform(0.05, 1.0)), rng.choice(ways), rng.uniform(1.0, 6.0))
        case "delay":
            return Step(at_s, Delay(rng.uniform(0.02, 1.5)), rng.choice(ways), rng.uniform(1.0, 8.0))
        case "throttle":
            return Step(at_s, Throttle(rng.choice((2_000, 10_000, 50_000))), rng.choice(ways), 4.0)
        case "stall":
            return Step(at_s, Stall(), rng.choice(ways), rng.choice((1.0, 4.0, 8.0, 14.0)))
        case "swallow":
            return Step(at_s, Swallow(), rng.choice(ways), rng.uniform(0.5, 8.0))
        case "garble":
            return Step(at_s, Garble(rng.randint(1, 5)), rng.choice((Way.FROM_TWS, Way.TO_TWS)))
        case "cut":
            return Step(at_s, Cut(rng.randint(1, 900)), rng.choice((Way.FROM_TWS, Way.TO_TWS)))
        case "reset":
            return Step(at_s, Reset())
        case "refuse":
            # Refusing alone is nothing to those who are connected.
            return Step(at_s, Refuse(), for_s=rng.uniform(1.0, 8.0))
        case _:
            return Step(at_s, AcceptAndClose(), for_s=rng.uniform(1.0, 8.0))


def draw_plan(seed: int, length_s: float, every_s: tuple[float, float] = (10.0, 30.0)) -> tuple[Step, ...]:
    """The same seed gives the same troubles, one each `every_s`."""
    rng = random.Random(seed)
    steps, at_s = [], rng.uniform(*every_s)
    while at_s < length_s:
        steps.append(draw_trouble(rng, at_s))
        at_s += rng.uniform(*every_s)
    return tuple(steps)


def read_command(line: str) -> Step | None:
    """`KIND [NUMBER] [to_tws|from_tws|both] [for SECONDS]`; None is `pass`. ValueError says what is wrong."""
    words = line.split()
    if not words:
        raise ValueError("a command is expected")
    if words == ["pass"]:
        return None
    kind, *rest = words
    if kind not in TROUBLES:
        raise ValueError(f"{kind} is none of {', '.join(TROUBLES)}, pass")
    for_s = math.inf
    if rest[-2:-1] == ["for"]:
        for_s = float(rest[-1])
        rest = rest[:-2]
    way = Way(rest.pop()) if rest and not rest[-1][0].isdigit() else Way.BOTH
    names = [field.name for field in attrs.fields(TROUBLES[kind])]
    if len(rest) > len(names):
        raise ValueError(f"{kind} takes at most {len(names)} numbers")
    return Step(0.0, cattrs.structure(dict(zip(names, rest, strict=False)), TROUBLES[kind]), way, for_s)
