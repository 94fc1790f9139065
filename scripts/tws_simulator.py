#!/usr/bin/env python3
"""The simulated TWS as a program: a server that any TWS API client can connect to."""

from __future__ import annotations

import os
import signal
import sys
import time as clock
from collections.abc import Sequence
from datetime import datetime
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import Annotated, Literal

import attrs
import structlog
import trio
from cyclopts import App, CycloptsError, Parameter

from actors.config_files import read_toml
from actors.logs import set_up_log
from actors.market_folder import MarketFolderError, load_market
from actors.simulated_tws import SimulatedTws
from actors.simulated_tws_books import StateError
from actors.simulated_tws_control import LOOPBACK, ControlDesk
from protocol.config import ConfigFaults
from protocol.exchange.calendar import new_york
from protocol.exchange.market import Market
from protocol.exchange.settings_reading import WrongSettings
from protocol.exchange.simulator_settings import SimulatorSettings, read_settings
from protocol.exchange.synthetic import SyntheticMarket
from protocol.exchange.venue_settings import AccountSettings
from protocol.tws.versions import ADVERTISED, NEWEST, OLDEST

USAGE_EXIT = 2
DEFAULT_ACCOUNT = "DU1234567"
SECOND_INTERRUPT_EXIT = 130

HELP = """A simulated TWS: connect any TWS API client (ibapi, ib_async, ...) and trade.

It speaks the real protocol over TCP (server versions 157 to 200) and fills
market, limit, stop and stop-limit orders, brackets and OCA groups on a market
that runs by itself: a synthetic one with any US stock you ask for, or a folder
of recorded data. Nothing leaves this machine and no money is at stake.

The market's clock starts with the first client and skips the hours in which the
exchange is closed. The books live as long as the program; with --state they
also survive a restart, and the replay goes on where it was.

Try it:

  python scripts/tws_simulator.py
    TWS's own paper port, 7497, and a synthetic market from 10:00 on.

  python scripts/tws_simulator.py --market DIR --speed 60 --port 0
    Recorded days, a minute in each second, on a free port (it prints which).
    DIR holds SYMBOL.csv (bars), SYMBOL.trades.csv.gz, SYMBOL.quotes.csv.gz.

  python scripts/tws_simulator.py --truth truth.jsonl --state books
    Every order and execution as JSON lines, and books that survive a restart.

  python scripts/tws_simulator.py --faults scripts/examples/faults.toml
    Dropped connections, lost answers, busts and the rest, when the file says.

  python scripts/tws_simulator.py --settings FILE --control 7499
    Latencies, message variants, halts, auctions (tables [venue], [session],
    [[account]], [[fault]]), and a port that takes commands as lines of JSON:
    {"do": "inject", "fault": {"kind": "drop_connection"}}, "status", "books",
    "pause", "go_on", "stop".

Stop it with Ctrl-C. Exit codes: 0 stopped, 1 crashed, 2 wrong option, bad
folder or port in use, 130 second Ctrl-C."""

app = App(name="tws_simulator.py", help=HELP, help_format="plaintext", version_flags=[])


class UsageError(Exception):
    """What the user has to change: one line each."""

    def __init__(self, *lines: str) -> None:
        super().__init__("\n".join(lines))
        self.lines = lines


@app.default
def main(
    *,
    host: Annotated[str, Parameter(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, Parameter(help="Port to listen on; 0 picks a free one.")] = 7497,
    market: Annotated[
        Path | None, Parameter(help="Folder of recorded data; without it, a synthetic market.")
    ] = None,
    speed: Annotated[float, Parameter(help="Market seconds per second of the clock.")] = 1.0,
    seed: Annotated[int, Parameter(help="Of the synthetic market: the same gives the same prices.")] = 1,
    account: Annotated[
        list[str] | None, Parameter(help="NAME or NAME=CASH; once for each account.", negative="")
    ] = None,
    cash: Annotated[str, Parameter(help="Dollars in an account at the beginning.")] = "1000000",
    server_version_max: Annotated[
        int, Parameter(help=f"Newest protocol version to offer, {OLDEST} to {NEWEST}.")
    ] = ADVERTISED,
    truth: Annotated[
        Path | None, Parameter(help="File for what the venue knows, one JSON object a line.")
    ] = None,
    settings: Annotated[
        list[Path] | None,
        Parameter(help="TOML: [venue], [session], [[account]], [[fault]].", negative=""),
    ] = None,
    faults: Annotated[
        list[Path] | None, Parameter(help="The same; for the [[fault]] tables of one test.", negative="")
    ] = None,
    control: Annotated[
        int | None, Parameter(help="Port on the loopback for commands as JSON lines; 0 picks one.")
    ] = None,
    start: Annotated[
        str | None, Parameter(help="Begin at HH:MM, New York time, of the market's first day.")
    ] = None,
    state: Annotated[
        Path | None, Parameter(help="Folder for books and market time that survive a restart.")
    ] = None,
    log_format: Annotated[Literal["text", "json"], Parameter(help="Form of the log, on stderr.")] = "text",
    verbose: Annotated[bool, Parameter(name=["--verbose", "-v"], negative="", help="Log more.")] = False,
) -> int:
    """Run the simulated TWS until it is stopped; returns the exit code."""
    set_up_log(log_format, verbose=verbose)
    check_numbers(port, control, speed, server_version_max)
    chosen_settings = read_files([*(settings or ()), *(faults or ())])
    venue = attrs.evolve(
        chosen_settings.venue, accounts=open_accounts(account, cash, chosen_settings.accounts)
    )
    chosen, begin = open_market(market, seed, start)
    try:
        tws = SimulatedTws(
            chosen,
            venue,
            speed=speed,
            seed=seed,
            server_version_max=server_version_max,
            truth=truth,
            state_dir=state,
            start=begin,
            settings=chosen_settings.session,
            faults=chosen_settings.faults,
            mono=clock.monotonic,
        )
    except StateError as error:
        raise UsageError(str(error)) from error
    except OSError as error:
        raise UsageError(f"--truth: {error.filename}: {error.strerror}") from error
    return trio.run(serve, tws, host, port, control)


def check_numbers(port: int, control: int | None, speed: float, server_version_max: int) -> None:
    if not 0 <= port <= 65_535:
        raise UsageError(f"--port: must be from 0 to 65535, not {port}")
    if not 0 < speed < float("inf"):
        raise UsageError(f"--speed: must be more than 0, not {speed:g}")
    if not OLDEST <= server_version_max <= NEWEST:
        raise UsageError(f"--server-version-max: must be {OLDEST} to {NEWEST}, not {server_version_max}")
    if control is not None and not 0 <= control <= 65_535:
        raise UsageError(f"--control: must be from 0 to 65535, not {control}")


def read_files(files: Sequence[Path]) -> SimulatorSettings:
    """All files, a later one winning; everything that is wrong in any of them at once."""
    settings = SimulatorSettings()
    problems: list[str] = []
    for file in files:
        try:
            settings = settings.and_then(read_settings(read_toml(file)))
        except ConfigFaults as unreadable:
            problems += unreadable.faults
        except WrongSettings as wrong:
            problems += [f"{file}: {problem}" for problem in wrong.problems]
    if problems:
        raise UsageError(*problems)
    return settings


def open_accounts(
    asked: Sequence[str] | None, cash: str, in_files: Sequence[AccountSettings]
) -> tuple[AccountSettings, ...]:
    """Those of the options, else those of the files, else the one that there always is."""
    if asked:
        pairs = [name.partition("=") for name in asked]
        accounts = [AccountSettings(name, dollars(own or cash)) for name, _, own in pairs]
    else:
        accounts = list(in_files) or [AccountSettings(DEFAULT_ACCOUNT, dollars(cash))]
    for number, account in enumerate(accounts):
        name = account.name
        if not name.isascii() or not name.isprintable() or not name or "," in name:
            raise UsageError(f"--account: {name!r} is no account name")
        if any(name == other.name for other in accounts[:number]):
            raise UsageError(f"--account: {name} is named twice")
    return tuple(accounts)


def dollars(text: str) -> Decimal:
    try:
        amount = Decimal(text)
    except InvalidOperation:
        amount = Decimal("nan")
    if not amount.is_finite() or amount <= 0:
        raise UsageError(f"--cash: must be an amount of dollars above 0, not {text!r}")
    return amount


def open_market(folder: Path | None, seed: int, start: str | None) -> tuple[Market, datetime | None]:
    """The market, and where in it to begin (None: at its own start)."""
    wall = None
    if start is not None:
        try:
            wall = datetime.strptime(start, "%H:%M").time()  # noqa: DTZ007 - a time of day, no moment
        except ValueError:
            raise UsageError(f"--start: must be a time of day such as 09:45, not {start!r}") from None
    if folder is None:
        try:
            return (SyntheticMarket(seed) if wall is None else SyntheticMarket(seed, start=wall)), None
        except ValueError as error:
            raise UsageError(f"--start: {error}") from error
    try:
        recorded = load_market(folder)
    except MarketFolderError as error:
        raise UsageError(*error.problems) from error
    for warning in recorded.warnings:
        structlog.get_logger().warning(warning)
    if wall is None:
        return recorded, None
    first = recorded.sessions[0]
    begin = new_york(first.day, wall)
    if not first.start <= begin < first.end:
        raise UsageError(f"--start: the recorded {first.day} does not trade at {start} New York time")
    return recorded, begin


async def serve(tws: SimulatedTws, host: str, port: int, control: int | None) -> int:
    """Listen, and run until a signal comes or the control interface says so."""
    log, desk = structlog.get_logger(), ControlDesk(tws)
    with trio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:
        async with trio.open_nursery() as nursery:
            await nursery.start(tws.run)
            address = f"{host}:{port}"
            try:
                listening = await tws.listen(host, port)
                address = f"{LOOPBACK}:{control}"
                commanded = None if control is None else await desk.listen(control, nursery)
            except OSError as error:
                refused = f"{address}: cannot listen: {error.strerror or error}"
                nursery.cancel_scope.cancel()
                return complain(refused)
            print(f"listening on {host}:{listening}", flush=True)
            if commanded is not None:
                print(f"control on {LOOPBACK}:{commanded}", flush=True)
            log.info("listening", host=host, port=listening, market_time=tws.market_now().isoformat())
            nursery.start_soon(stop_when, desk.stopped, signal_scope := trio.CancelScope())
            with signal_scope:
                async for _ in signals:
                    break
            # From here on a second Ctrl-C does not wait for anything.
            signal.signal(signal.SIGINT, lambda *_: os._exit(SECOND_INTERRUPT_EXIT))
            nursery.cancel_scope.cancel()
    log.info("stopped", market_time=tws.market_now().isoformat())
    return 0


async def stop_when(asked: trio.Event, waiting: trio.CancelScope) -> None:
    await asked.wait()
    waiting.cancel()


def run(arguments: list[str] | None = None) -> int:
    """The program: what was wrong with the way it was called is one line each on stderr, exit code 2."""
    arguments = sys.argv[1:] if arguments is None else arguments
    try:
        code = app(arguments, print_error=False, exit_on_error=False, result_action="return_value")
    except CycloptsError as error:
        lines = tuple(line for line in str(error).splitlines() if line.strip())
    except UsageError as error:
        lines = error.lines
    else:
        return int(code or 0)
    return complain(*lines)


def complain(*lines: str) -> int:
    for line in lines:
        print(f"tws_simulator.py: {line}", file=sys.stderr)
    return USAGE_EXIT


if __name__ == "__main__":
    sys.exit(run())
