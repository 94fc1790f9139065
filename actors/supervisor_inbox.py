"""What reaches a supervisor's loop: one closed union, and nothing else makes it act."""

from __future__ import annotations

from typing import TypeAlias

import attrs

from actors.child import Child, Incarnation


@attrs.frozen
class Exited:
    child: Child
    life: Incarnation


@attrs.frozen
class Settled:
    """All children of the specification have come up."""


@attrs.frozen
class StopAsked:
    pass


@attrs.frozen
class AllDown:
    pass


@attrs.frozen
class QuarantineAsked:
    child: Child


InboxMessage: TypeAlias = Exited | Settled | StopAsked | AllDown | QuarantineAsked
