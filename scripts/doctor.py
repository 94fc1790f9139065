#!/usr/bin/env python3
"""What stands between Ringfence and a trade: an examination of configuration, machine, TWS and signals."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Literal

from cyclopts import App, CycloptsError, Parameter

USAGE_EXIT = 2

HELP = """Examines everything between Ringfence and a trade, and says what to do about it.

Each line is ok, warn, fail or skip: configuration, secrets, state folder, disk,
WSL and containers, port, handshake, account, clock, API settings, contracts,
market-data permissions, history, money, and the sources of signals. Nothing is
changed and nothing is ordered, unless you ask for it.

Try it:

  .venv/bin/python scripts/doctor.py
    TWS or Gateway where the default configuration expects it: 127.0.0.1:7497.

  .venv/bin/python scripts/doctor.py --tws 127.0.0.1:4002 --symbols SLV,GLD
    A paper Gateway, and the symbols that you want to trade.

  .venv/bin/python scripts/doctor.py --config my.toml --place-order
    The same, and an order for one share, far from the market, is placed, seen
    and cancelled. On paper accounts only.

  .venv/bin/python scripts/doctor.py --json
    One JSON object, for programs.

Exit codes: 0 nothing stands in the way, 1 something does, 2 wrong option,
configuration, secret or account, 3 no session with TWS, 130 second Ctrl-C."""

app = App(name="doctor.py", help=HELP, help_format="plaintext", version_flags=[])


class UsageError(Exception):
    """What the user has to change: one line."""


@app.default
def main(
    *,
    config: Annotated[
        tuple[Path, ...],
        Parameter(help="TOML file; may be given several times, later ones win.", negative=""),
    ] = (),
    tws: Annotated[str, Parameter(help="HOST:PORT of the TWS or Gateway.")] = "",
    client_id: Annotated[int | None, Parameter(help="API client id that the run will use.")] = None,
    symbols: Annotated[str, Parameter(help="Ask about these, separated by commas.")] = "",
    place_order: Annotated[
        bool,
        Parameter(negative="", help="Place one share far from the market, and cancel it. Paper only."),
    ] = False,
    state: Annotated[Path | None, Parameter(help="Folder of the journal that the run will use.")] = None,
    live: Annotated[
        bool, Parameter(negative="", help="The run will trade real money; nothing is ordered here.")
    ] = False,
    timeout: Annotated[float, Parameter(help="Seconds that each answer may take.")] = 10.0,
    as_json: Annotated[
        bool, Parameter(name="--json", negative="", help="One JSON object, for programs.")
    ] = False,
    log_format: Annotated[Literal["text", "json"], Parameter(help="Form of the log, on stderr.")] = "text",
    verbose: Annotated[bool, Parameter(name=["--verbose", "-v"], negative="", help="Log more.")] = False,
) -> int:
    """Examine, and say what was found; returns the exit code."""
    # Here and not above, so that --help and a wrong option are answered at once.
    from actors.doctor import DoctorOptions
    from actors.doctor_program import diagnose
    from protocol.values import Symbol

    if not 0 < timeout < float("inf"):
        raise UsageError(f"--timeout: must be more than 0, not {timeout:g}")
    names = tuple(dict.fromkeys(Symbol(name.strip().upper()) for name in symbols.split(",") if name.strip()))
    options = DoctorOptions(
        config=config,
        tws=read_address(tws) if tws else None,
        client_id=client_id,
        symbols=names,
        place_order=place_order,
        live=live,
        state=state,
        timeout_loop_s=timeout,
    )
    return diagnose(options, as_json=as_json, log_format=log_format, verbose=verbose)


def read_address(text: str) -> tuple[str, int]:
    host, colon, port = text.rpartition(":")
    if not colon or not host or not port.isdecimal() or not 0 < int(port) < 65_536:
        raise UsageError(f"--tws: must be HOST:PORT, not {text!r}")
    return host, int(port)


def run(arguments: list[str] | None = None) -> int:
    """The program: what was wrong with the way it was called is one line each on stderr, exit code 2."""
    arguments = sys.argv[1:] if arguments is None else arguments
    try:
        code = app(arguments, print_error=False, exit_on_error=False, result_action="return_value")
    except (CycloptsError, UsageError) as error:
        for line in str(error).splitlines():
            if line.strip():
                print(f"doctor.py: {line}", file=sys.stderr)
        return USAGE_EXIT
    return int(code or 0)


if __name__ == "__main__":
    sys.exit(run())
