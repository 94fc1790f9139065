"""Whose shares a position is made of: ours to look after, or those of a person or another program.

One account has one position in a symbol, whoever traded. What others add is theirs; what they take off is
gone; what is left when our trade has ended is theirs as well. So that nobody of us ever trades it back.
"""

from __future__ import annotations

from protocol.events import BaseEvent, ForeignFillEvent, PositionCloseEvent


def foreign_after(foreign: int, before: int, after: int, event: BaseEvent) -> int:
    """The signed shares of others, after `event` has taken the position from `before` to `after`."""
    if after == 0:
        return 0
    match event:
        case ForeignFillEvent():
            return foreign + after - before
        case PositionCloseEvent():
            return after
        case _:
            return foreign


def own_part(position: int, foreign: int) -> int:
    """How much of `position` is ours, signed: never more than there is, and never on its other side."""
    own = position - foreign
    return max(0, min(own, position)) if own > 0 else min(0, max(own, position))
