"""A folder of recorded market data on disk.

`SYMBOL.csv` holds bars, `SYMBOL.trades.csv` and `SYMBOL.quotes.csv` ticks; each may be packed (`.gz`).

Reading is done at start-up, before anything waits on the loop. What is wrong with single lines becomes
the market's `warnings`; a folder that cannot be replayed at all is a `MarketFolderError`.
"""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Final

import attrs

from protocol.exchange.calendar import is_trading_day
from protocol.exchange.market import RecordedMarket
from protocol.exchange.market_csv import Complaints, parse_bars, parse_quotes, parse_trades
from protocol.exchange.tape import Tape

SIGNALS_FILE: Final = "signals.jsonl"


class MarketFolderError(ValueError):
    """The folder holds no market. `problems`: one line each, ready to be shown."""

    def __init__(self, problems: tuple[str, ...]) -> None:
        super().__init__("\n".join(problems))
        self.problems = problems


def signals_path(folder: Path | str) -> Path | None:
    """The folder's own predictions, if it has any."""
    path = Path(folder) / SIGNALS_FILE
    return path if path.is_file() else None


def load_market(folder: Path | str) -> RecordedMarket:
    """The market recorded in `folder`. Raises MarketFolderError when there is none that could be replayed."""
    folder = Path(folder)
    if not folder.is_dir():
        what = "not a folder" if folder.exists() else "no such folder"
        raise MarketFolderError((f"{folder}: {what}",))
    warnings: list[str] = []
    files = _files(folder, warnings)
    tapes: dict[str, Tape] = {}
    for (symbol, kind), path in sorted(files.items()):
        tape, complaints = tapes.get(symbol, Tape(symbol)), Complaints(path.name)
        lines = _Lines(path)
        match kind:
            case "trades":
                tape = attrs.evolve(tape, trades=parse_trades(lines, complaints))
            case "quotes":
                tape = attrs.evolve(tape, quotes=parse_quotes(lines, complaints))
            case _:
                tape = attrs.evolve(tape, bars=parse_bars(lines, complaints))
        tapes[symbol] = tape
        warnings += complaints.lines()
        if lines.fault is not None:
            warnings.append(f"{path.name}:{lines.count + 1}: {lines.fault}")
    if not any(tape.days() for tape in tapes.values()):
        raise MarketFolderError((*warnings, f"{folder}: no usable file: {_WANTED}"))
    warnings += [f"{symbol}: no usable line" for symbol, tape in tapes.items() if not tape.days()]
    warnings += _closed_days(tapes)
    return RecordedMarket(tuple(tapes.values()), tuple(warnings))


_WANTED: Final = "SYMBOL.csv, SYMBOL.trades.csv or SYMBOL.quotes.csv (or .gz), with at least one good line"
_KINDS: Final = ("trades", "quotes")


def _files(folder: Path, warnings: list[str]) -> dict[tuple[str, str], Path]:
    """The data files by symbol and kind. A plain file is preferred to a packed one of the same name."""
    files: dict[tuple[str, str], Path] = {}
    for path in sorted(folder.iterdir()):
        name = path.name.removesuffix(".gz")
        if path.name.startswith(".") or not name.endswith(".csv") or not path.is_file():
            continue
        symbol, dot, kind = name.removesuffix(".csv").rpartition(".")
        if not dot or kind not in _KINDS:
            symbol, kind = name.removesuffix(".csv"), "bars"
        if (symbol, kind) in files:
            warnings.append(f"{path.name}: {files[symbol, kind].name} holds the same and is used instead")
        else:
            files[symbol, kind] = path
    return files


class _Lines:
    """The lines of a file, plain or gzip. A damaged one ends early: `fault` says why, `count` where."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self.count = 0
        self.fault: str | None = None

    def __iter__(self) -> Iterator[str]:
        try:
            with self._open() as file:
                for self.count, line in enumerate(file, 1):
                    yield line
        except (EOFError, zlib.error, OSError) as damage:
            self.fault = f"cannot be read on from here: {damage}"

    def _open(self) -> IO[str]:
        # Undecodable bytes make their own line a bad one, not the file.
        if self._path.suffix == ".gz":
            return gzip.open(self._path, "rt", encoding="utf-8", errors="replace", newline="\n")
        return self._path.open(encoding="utf-8", errors="replace", newline="\n")


def _closed_days(tapes: dict[str, Tape]) -> list[str]:
    days = set().union(*(tape.days() for tape in tapes.values()))
    return [
        f"{day}: the exchange was closed; replayed as recorded"
        for day in sorted(days)
        if not is_trading_day(day)
    ]
