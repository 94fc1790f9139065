"""When a person is told that there is no link to the broker: after a minute, and every quarter of an hour.

Not while TWS is away by plan (`protocol/reset_windows.py`): then when that is over.
"""

from __future__ import annotations

from typing import Final

import trio

from actors.market_clock import MarketClock
from protocol.reset_windows import ResetPlan

AFTER_LOOP_S: Final = 60.0
AGAIN_LOOP_S: Final = 900.0


class LinkAlarm:
    """Made when there is no link; `begin_anew` when one has been up."""

    def __init__(self, resets: ResetPlan, clock: MarketClock) -> None:
        self._resets, self._clock = resets, clock
        self.begin_anew()

    def begin_anew(self) -> None:
        self._at_loop_s = trio.current_time() + AFTER_LOOP_S

    def is_due(self, *, holding: bool) -> bool:
        """Whether to tell it now; asked after each vain attempt. `holding`: positions are open."""
        if trio.current_time() < self._at_loop_s:
            return False
        clock = self._clock
        excuse = self._resets.excuses(clock.now(), holding=holding) if clock.known else None
        if excuse is not None:
            self._at_loop_s = clock.loop_time_of(excuse.ends)
            return False
        self._at_loop_s = trio.current_time() + AGAIN_LOOP_S
        return True
