"""States of symbols in files beside the journal, so that a replay need not begin at its first row.

They are made of the journal's own rows by replay, never of a living actor's state: what is in a file is
what a replay would give, also where somebody else has written into the symbol's stream. The folder may be
deleted at any time; that costs the next recovery time and nothing else. The last two of each stream are
kept. Whatever is wrong with one is a line in the log, and the older one or the whole replay takes its place.
"""

from __future__ import annotations

import functools
import hashlib
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final
from urllib.parse import quote

import attrs
import structlog
import trio

import protocol
from actors.journal import Journal
from protocol.events import BaseEvent
from protocol.saved_state import SAVE_EVERY_ROWS, SavedHead, StateReader, UnusableState, saved_lines
from protocol.symbol_state import SymbolState, evolve
from protocol.values import Symbol

FOLDER: Final = "states"
KEPT: Final = 2
REPLAY_CHUNK: Final = 100
CHUNK_LOOP_S: Final = 0.002
"""A replay lets others run after this many events, or this long, whichever comes first."""

log = structlog.get_logger("recovery")


@attrs.frozen
class Recovered:
    """Where a replay begins: a state, and the `seq` of the last row that is in it (0: none)."""

    state: SymbolState
    seq: int


class Pace:
    """When a long piece of work should let others run."""

    def __init__(self) -> None:
        self._events, self._until = 0, trio.current_time() + CHUNK_LOOP_S

    async def step(self) -> None:
        """One event is done."""
        self._events += 1
        if self._events >= REPLAY_CHUNK or trio.current_time() >= self._until:
            await trio.lowlevel.checkpoint()
            self._events, self._until = 0, trio.current_time() + CHUNK_LOOP_S


@functools.cache
def code_hash() -> str:
    """Of the code that makes states of events: another one may make other states of the same events."""
    seal = hashlib.sha256()
    folder = Path(protocol.__path__[0])
    for path in sorted(folder.rglob("*.py")):
        seal.update(f"{path.relative_to(folder)}\0".encode())
        seal.update(path.read_bytes())
    return seal.hexdigest()


class SavedStates:
    """Of one journal, in `folder`. `every_rows` of a stream a state is saved."""

    def __init__(self, journal: Journal, folder: Path, *, every_rows: int = SAVE_EVERY_ROWS) -> None:
        self.folder = folder
        self._journal, self._every_rows = journal, every_rows
        self._newest: dict[str, int] = {}
        """The row of each stream's newest state that can be believed, of streams that were looked at."""
        self._unusable: set[str] = set()
        code_hash()  # now, while nobody trades yet

    # --- recovery ---------------------------------------------------------------------------------

    async def recover(self, stream: str, symbol: Symbol) -> Recovered:
        """The newest state of the stream that can be believed; the beginning of all things without one."""
        for path in self._files(stream):
            if path.name in self._unusable:
                continue
            try:
                found = await self._read(path, stream)
            except (UnusableState, OSError) as unusable:
                self._unusable.add(path.name)
                log.warning("a saved state is not used", file=path.name, why=str(unusable))
            else:
                self._newest[stream] = found.seq
                return found
        self._newest[stream] = 0
        return Recovered(SymbolState.begin(symbol), 0)

    async def _read(self, path: Path, stream: str) -> Recovered:
        reader, pace = StateReader(), Pace()
        for line in path.read_bytes().splitlines(keepends=True):
            reader.take(line)
            head = reader.head
            assert head is not None
            if reader.lines == 1:
                self._believe(head, stream)
            await pace.step()
        state = reader.state
        assert reader.head is not None
        return Recovered(state, reader.head.seq)

    def _believe(self, head: SavedHead, stream: str) -> None:
        if head.stream != stream:
            raise UnusableState(f"it is of the stream {head.stream}")
        if head.made_by != code_hash():
            raise UnusableState("another version of the system made it")
        if self._journal.hash_at(head.seq) != head.chain:
            raise UnusableState(f"the journal's row {head.seq} is another one, or is not there")

    def rest(self, stream: str, after: int) -> Iterator[BaseEvent]:
        """What the stream has beyond a state."""
        return (row.event for row in self._journal.rows(stream, after=after))

    # --- saving -----------------------------------------------------------------------------------

    async def bring_up(self, streams: Sequence[tuple[str, Symbol]], *, least_rows: int = 0) -> None:
        """Save a state of each stream that has grown by `least_rows`, as many as usual for 0.

        A disk that refuses is a line in the log: the journal itself says when nothing can be relied on.
        """
        for stream, symbol in streams:
            try:
                await self._bring_up(stream, symbol, least_rows or self._every_rows)
            except OSError as error:
                log.warning("a state was not saved", stream=stream, why=str(error))
                return

    async def _bring_up(self, stream: str, symbol: Symbol, least_rows: int) -> None:
        after = self._newest.get(stream)
        if after is not None and self._journal.row_behind(stream, after, least_rows) is None:
            return
        begun = await self.recover(stream, symbol)
        last = self._journal.row_behind(stream, begun.seq, least_rows)
        if last is None:
            return
        state, seq, pace = begun.state, begun.seq, Pace()
        for row in self._journal.rows(stream, after=begun.seq):
            state, seq = evolve(state, row.event), row.seq
            await pace.step()
        await self._save(stream, state, seq)

    async def _save(self, stream: str, state: SymbolState, seq: int) -> None:
        chain = self._journal.hash_at(seq)
        assert chain is not None
        head = SavedHead(stream=stream, seq=seq, chain=chain, made_by=code_hash())
        lines, pace = [], Pace()
        for line in saved_lines(head, state):
            lines.append(line)
            await pace.step()
        write = functools.partial(self._write, stream, seq, b"".join(lines))
        if self._journal.synchronous:
            write()
        else:
            await trio.to_thread.run_sync(write)
        self._newest[stream] = seq

    def _write(self, stream: str, seq: int, content: bytes) -> None:
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        path = self.folder / f"{quote(stream, safe='')}.{seq:012d}"
        part = path.with_name(f"{path.name}.part")
        descriptor = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        with open(descriptor, "wb") as file:
            file.write(content)
        part.replace(path)
        self._unusable.discard(path.name)
        for old in self._files(stream)[KEPT:]:
            old.unlink(missing_ok=True)

    def _files(self, stream: str) -> list[Path]:
        """The saved states of a stream, newest first."""
        name = quote(stream, safe="")
        found = self.folder.glob(f"{name}.*")
        # The name of a symbol may hold a dot: BRK is not BRK.B.
        mine = (path for path in found if path.stem == name and path.suffix[1:].isdecimal())
        return sorted(mine, reverse=True)
