"""How a symbol's state comes back: a saved state, and the rows of its stream behind it, through `evolve`.

No effect leaves here. Others run in between, and only a few symbols recover at a time, so that many that
died together do not take the loop from those that live.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final, Protocol

import trio

from actors.saved_states import Pace, Recovered, SavedStates
from protocol.events import BaseEvent
from protocol.symbol_state import SymbolState, evolve
from protocol.values import Symbol

MAX_AT_ONCE: Final = 4


class Reading(Protocol):
    """What a replay needs of the journal."""

    def read(self, stream: str | None = None) -> Iterator[BaseEvent]: ...


class Recovery:
    """One for all symbols. Without `saved`, each replay begins at the first row."""

    def __init__(self, journal: Reading, saved: SavedStates | None = None) -> None:
        self._journal, self._saved = journal, saved
        self._places = trio.CapacityLimiter(MAX_AT_ONCE)

    @property
    def at_once(self) -> int:
        """How many symbols recover now."""
        return self._places.borrowed_tokens

    async def state(self, stream: str, symbol: Symbol) -> SymbolState:
        """The state of the symbol as of the last row of its stream."""
        try:
            # Without a switch of tasks where there is room, which is nearly always.
            self._places.acquire_nowait()
        except trio.WouldBlock:
            await self._places.acquire()
        try:
            return await self._replayed(stream, symbol)
        finally:
            self._places.release()

    async def _replayed(self, stream: str, symbol: Symbol) -> SymbolState:
        if self._saved is None:
            begun, rest = Recovered(SymbolState.begin(symbol), 0), self._journal.read(stream)
        else:
            begun = await self._saved.recover(stream, symbol)
            rest = self._saved.rest(stream, begun.seq)
        state, pace = begun.state, Pace()
        for event in rest:
            state = evolve(state, event)
            await pace.step()
        return state
