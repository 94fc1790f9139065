#!/usr/bin/env python3
"""The trading system as a program."""

from __future__ import annotations

import signal
import sys
from pathlib import Path
from typing import Annotated, Literal, NoReturn

from cyclopts import App, CycloptsError, Parameter

from actors import control_commands, journal_commands

CLEAN_EXIT, USAGE_EXIT = 0, 2

HELP = """Ringfence: supervised, per-symbol automated trading on Interactive Brokers.

Without arguments it trades a demo: an embedded simulated TWS with a synthetic
market, and predictions from an embedded options-flow service. Nothing leaves
this machine and no money is at stake.

Try it:

  scripts/run
    The demo. It starts trading within seconds; Ctrl-C ends it.

  scripts/run --market DIR --speed 600 --until-end --report report.json
    A folder of recorded days through the whole system, 600 times faster.

  scripts/run --market DIR --until-end --kill SLV@entry-filled
    The same, and the actor of SLV is crashed while it holds a position.

  scripts/run --broker tws --tws 127.0.0.1:7497 --symbols SLV,GLD
    A paper TWS or Gateway, or scripts/tws_simulator.py in another process.

  scripts/run --config my.toml --check
    Say what would run, and start nothing.

  scripts/run status
    From another terminal: how the run is. The commands below look at it, act on
    it and read its journal; each has a --help of its own. With several runs, and
    for one that is over, say which: --state DIR.

  scripts/run pause SLV --why news    and then: resume SLV
  scripts/run kill halt --why "strange fills"
    No entries of SLV; no entries at all, and working ones are cancelled. Stops stay.

Stop it with Ctrl-C: working entries are cancelled, protective stops stay.
Exit codes: 0 clean stop, 1 crash or books that disagree, 2 wrong option or
configuration, 3 no broker session, 4 halted by a kill level, 70 the supervision
tree gave up, 71 the loop was stuck, 130 second Ctrl-C or SIGTERM."""

KILL_HELP = """SYMBOL@WHEN: crash that symbol's actor at HH:MM:SS (New York), at a date and time, or at
its next entry-filled, stop-modify-sent, reversal-closing or recovering. Simulator only."""

app = App(
    name="supervisor.py",
    help=HELP,
    help_format="plaintext",
    version_flags=[],
    suppress_keyboard_interrupt=False,
)


@app.default
def main(
    *,
    config: Annotated[
        tuple[Path, ...],
        Parameter(help="TOML file; may be given several times, later ones win.", negative=""),
    ] = (),
    broker: Annotated[Literal["sim", "tws"], Parameter(help="Embedded simulator, or a TWS.")] = "sim",
    tws: Annotated[str, Parameter(help="HOST:PORT of the TWS or Gateway.")] = "",
    client_id: Annotated[
        int | None, Parameter(help="API client id, 1 unless said otherwise; always the same one.")
    ] = None,
    market: Annotated[Path | None, Parameter(help="Folder of recorded prices to replay.")] = None,
    signals: Annotated[
        Path | None, Parameter(help="File of predictions, one a line; default DIR/signals.jsonl.")
    ] = None,
    symbols: Annotated[str, Parameter(help="Trade only these, separated by commas.")] = "",
    speed: Annotated[
        float | None,
        Parameter(help="Market seconds per second: 60 for a replay, else 1. With --broker tws: that one's."),
    ] = None,
    until_end: Annotated[
        bool, Parameter(help="Stop when the replay of --market is over, flat and reconciled.", negative="")
    ] = False,
    duration: Annotated[float | None, Parameter(help="Stop after that many seconds.")] = None,
    state: Annotated[
        Path | None, Parameter(help="Folder for the journal; the same folder continues the same trades.")
    ] = None,
    report: Annotated[Path | None, Parameter(help="Write the account of the run there, as JSON.")] = None,
    seed: Annotated[int, Parameter(help="Of the synthetic market and everything random.")] = 1,
    connect_timeout: Annotated[
        float | None,
        Parameter(help="Seconds until the first session must be there, 30 unless said otherwise."),
    ] = None,
    kill: Annotated[
        tuple[str, ...],
        Parameter(help=KILL_HELP, negative=""),
    ] = (),
    check: Annotated[bool, Parameter(help="Resolve everything, say it, start nothing.", negative="")] = False,
    live: Annotated[bool, Parameter(help="Needed, among other things, for real money.", negative="")] = False,
    log_format: Annotated[Literal["text", "json"], Parameter(help="Form of the log, on stderr.")] = "text",
    verbose: Annotated[bool, Parameter(name=["--verbose", "-v"], negative="", help="Log more.")] = False,
) -> int:
    """Run the trading system until it is stopped; returns the exit code."""
    # Here and not above, so that --help and a wrong option are answered at once.
    from actors.run_options import RunOptions
    from actors.run_program import supervise
    from protocol.values import Symbol

    names = tuple(dict.fromkeys(Symbol(name.strip().upper()) for name in symbols.split(",") if name.strip()))
    options = RunOptions(
        config=config,
        broker=broker,
        tws=tws,
        client_id=client_id,
        market=market,
        signals=signals,
        symbols=names,
        speed=speed,
        until_end=until_end,
        duration_s=duration,
        state=state,
        report=report,
        seed=seed,
        connect_timeout_s=connect_timeout,
        kill=kill,
        live=live,
    )
    return supervise(options, check=check, log_format=log_format, verbose=verbose)


control_commands.register(app)
journal_commands.register(app)


def run(arguments: list[str] | None = None) -> int:
    """The program: what was wrong with the way it was called is one line each on stderr, exit code 2."""
    arguments = sys.argv[1:] if arguments is None else arguments
    signal.signal(signal.SIGTERM, stop_early)
    try:
        code = app(arguments, print_error=False, exit_on_error=False, result_action="return_value")
    except CycloptsError as error:
        return complain(USAGE_EXIT, *(line for line in str(error).splitlines() if line.strip()))
    except KeyboardInterrupt:
        return complain(CLEAN_EXIT, "stopped before the run began")
    return int(code or 0)


def stop_early(_number: int, _frame: object) -> NoReturn:
    """SIGTERM before the run listens to it is a Ctrl-C."""
    raise KeyboardInterrupt


def complain(code: int, *lines: str) -> int:
    for line in lines:
        print(f"supervisor.py: {line}", file=sys.stderr)
    return code


if __name__ == "__main__":
    sys.exit(run())
