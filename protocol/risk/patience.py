"""What only the market's prices say must be said twice: a feed can tell half of every price for a moment."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Final

import attrs

PATIENCE: Final = timedelta(seconds=2.0)
"""Market time between the first and the confirming look."""


@attrs.define
class Patience:
    """Demands that were seen once. Not durable: a restart looks twice again."""

    _since: dict[tuple[str, str], datetime] = attrs.field(factory=dict)
    _now: dict[tuple[str, str], datetime] = attrs.field(factory=dict)

    def confirmed(self, kind: str, symbol: str, at: datetime) -> bool:
        """Whether a demand has been there, at every look, for long enough."""
        first = self._since.get((kind, symbol), at)
        self._now[kind, symbol] = first
        return at - first >= PATIENCE

    def end_look(self) -> None:
        """What was not demanded any more begins anew when it is."""
        self._since, self._now = self._now, {}
