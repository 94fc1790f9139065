"""A folder with a calm market, the simulated TWS and the supervisor on it, and what they wrote there."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime, timedelta
from pathlib import Path
from types import MappingProxyType
from typing import Final

import attrs

from tests.programs import OPEN, SIMULATOR, SUPERVISOR, SYMBOLS, Program, kinds, prediction, started, truth
from tests.truth_checks import Line, Tail, differences, positions_of, too_long_bare

SPEED: Final = 60
AGE_S: Final = 20.0
NOTHING_MORE: Final[Mapping[str, str]] = MappingProxyType({})
QUICK: Final = """
[broker]
heartbeat_loop_s = 1.0

[risk]
max_quote_age_s = 240

[signals.notes]
kind = "file"
path = "{notes}"
from_start = true
max_age_s = 180

[[rules]]
name = "{symbol} long"
when.signal = { signal = "BUY" }
then = [{ enter = { side = "BUY", stop_pct = 0.03, target_pct = 0.06 } }]

[[rules]]
name = "{symbol} waits"
when.signal = { signal = "SHORT" }
then = [{ enter = { side = "BUY", order = "limit", offset_pct = 0.02, expires_s = 3600, stop_pct = 0.03 } }]
"""
"""BUY enters at the market, SHORT rests where nobody sells. Heartbeats come five times as often as usual. In
a market that runs a minute in each second, quotes and signals are old soon when the machine is busy."""


@attrs.frozen
class Desk:
    """A folder with a market, and both programs on it."""

    folder: Path
    market: Path
    config: str = ""
    """Of the supervisor; empty: what it does without one."""

    @property
    def truth(self) -> Path:
        return self.folder / "truth.jsonl"

    @property
    def report(self) -> Path:
        return self.folder / "report.json"

    @property
    def notes(self) -> Path:
        """Where a supervisor with a configuration reads its signals."""
        return self.folder / "notes.jsonl"

    @property
    def state(self) -> Path:
        return self.folder / "state"

    @contextmanager
    def simulator(self, port: int = 0) -> Iterator[tuple[Program, int]]:
        # The exchange is open from the first second on where signals come when a test says so.
        start = ("--start", "09:40") if self.config else ()
        options = ("--market", self.market, "--speed", SPEED, "--state", self.folder / "books", *start)
        with started(
            SIMULATOR, self.folder, "--port", str(port), *map(str, options), "--truth", self.truth
        ) as simulator:
            yield simulator, int(simulator.until_said(r"^listening on 127\.0\.0\.1:(\d+)$"))

    @contextmanager
    def supervisor(
        self,
        port: int,
        *options: str,
        state: Path | None = None,
        environment: Mapping[str, str] = NOTHING_MORE,
    ) -> Iterator[Program]:
        """On the desk's own state folder, or on another one; `environment` is added to ours."""
        if self.config:
            file = self.folder / "desk.toml"
            file.write_text(self.config.replace("{notes}", str(self.notes)), encoding="utf-8")
            source: tuple[str | Path, ...] = ("--config", file)
        else:
            source = ("--signals", self.market / "signals.jsonl")
        with started(
            SUPERVISOR,
            self.folder,
            *("--broker", "tws", "--tws", f"127.0.0.1:{port}", "--symbols", ",".join(SYMBOLS)),
            *("--speed", str(SPEED), "--report", self.report),
            *("--state", state or self.state),
            *source,
            *options,
            **environment,
        ) as supervisor:
            yield supervisor

    def lines(self) -> list[Line]:
        """What the venue has written so far."""
        return truth(self.truth)

    def signal(self, symbol: str, signal: str) -> None:
        """One that is some market seconds old, so that no clock takes it for one of the future."""
        last = self.lines()[-1]
        age = timedelta(seconds=(time.monotonic() - last["mono"]) * SPEED - AGE_S)
        at = datetime.fromisoformat(last["t"]) + age
        with self.notes.open("a", encoding="utf-8") as notes:
            notes.write(prediction((at - OPEN) / timedelta(minutes=1), symbol, signal) + "\n")

    def verdicts(self, symbol: str) -> list[tuple[str, str]]:
        """Of the signals of a symbol: verdict and code, in order."""
        return [
            (payload["verdict"], payload["code"])
            for _, kind, payload in kinds(self.state)
            if kind == "SignalVerdictEvent" and payload["symbol"] == symbol
        ]

    def last_of_orders(self) -> dict[str, Line]:
        """The venue's last word on every order, by its reference."""
        orders = [line for line in self.lines() if line["kind"].startswith("order_")]
        return {line["order_ref"] or "": line for line in orders}

    def works(self, symbol: str, role: str) -> bool:
        """Whether an order of that role works for the symbol."""
        return any(
            line["status"] in ("PreSubmitted", "Submitted")
            for ref, line in self.last_of_orders().items()
            if f":{symbol}:" in ref and f":{role}:" in ref
        )

    def covered(self, symbol: str) -> bool:
        """Whether the venue has a working stop for the position, by the last word on it."""
        return self.works(symbol, "stop")

    def orders_since(self, mono: float, symbol: str = "") -> list[Line]:
        """Placements and changes that the venue took from then on."""
        return [
            line
            for line in self.lines()
            if line["kind"] in ("order_accepted", "order_modified") and line["mono"] > mono
            if not symbol or line["symbol"] == symbol
        ]

    def held(self) -> dict[str, int]:
        return {symbol: shares for symbol, shares in positions_of(self.lines()).items() if shares}

    def faults(self) -> list[str]:
        """Whatever truth file and journal disagree about, once both programs have ended."""
        tail = Tail(self.truth)
        tail.read()
        return [*differences(tail.lines, self.state), *too_long_bare(tail.lines)]
