"""The control interface of the simulated TWS for other processes: one JSON object a line, and its answer.

`{"do": "inject", "fault": {"kind": "drop_connection", …}}`, and `status`, `books`, `pause`, `go_on`, `stop`.
Every answer has `ok`; a refused one has `problems`, a list of sentences. Whoever can connect commands the
simulator, so it listens on the loopback only.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import orjson
import trio

from actors.simulated_tws import SimulatedTws
from protocol.config_reading import suggest
from protocol.exchange.fault_settings import read_fault
from protocol.exchange.truth import Moment, end_line

LOOPBACK: Final = "127.0.0.1"
MAX_LINE_BYTES: Final = 1_000_000
"""Of one command; a longer one ends the connection."""
_RECEIVE_BYTES: Final = 65_536
COMMANDS: Final = ("inject", "status", "books", "pause", "go_on", "stop")


class ControlDesk:
    """Answers commands about one simulated TWS. `stopped` is set when one asks for its end."""

    def __init__(self, tws: SimulatedTws) -> None:
        self._tws = tws
        self.stopped = trio.Event()

    async def listen(self, port: int, nursery: trio.Nursery) -> int:
        """Take commands on the loopback; 0 picks a free port. Returns the port. OSError when it is taken."""
        listeners = await trio.open_tcp_listeners(port, host=LOOPBACK)
        nursery.start_soon(trio.serve_listeners, self.serve, listeners)
        return int(listeners[0].socket.getsockname()[1])

    async def serve(self, stream: trio.abc.Stream) -> None:
        """One client of the control interface, to its end."""
        async with stream:
            unread = bytearray()
            try:
                while data := await stream.receive_some(_RECEIVE_BYTES):
                    unread += data
                    *lines, rest = unread.split(b"\n")
                    unread = bytearray(rest)
                    for line in lines:
                        await stream.send_all(self.answer(bytes(line)) + b"\n")
                    if len(unread) > MAX_LINE_BYTES:
                        return
            except (trio.BrokenResourceError, trio.ClosedResourceError):
                return

    def answer(self, line: bytes) -> bytes:
        """The answer to one command, without its line end."""
        try:
            command = orjson.loads(line)
        except orjson.JSONDecodeError as error:
            return _refused(f"no JSON: {error}")
        if not isinstance(command, Mapping):
            return _refused("expected an object with `do`")
        match command.get("do"):
            case "inject":
                return self._inject(command.get("fault"))
            case "status":
                return self._status()
            case "books":
                return self._books()
            case "pause":
                self._tws.pause()
                return _done()
            case "go_on":
                self._tws.go_on()
                return _done()
            case "stop":
                self.stopped.set()
                return _done()
            case other:
                return _refused(f"do: {other!r} is no command{suggest(str(other), COMMANDS)}")

    def _inject(self, table: object) -> bytes:
        problems: list[str] = []
        fault = read_fault(table, "fault", problems)
        if fault is None:
            return _refused(*problems)
        try:
            return _done(number=self._tws.inject(fault))
        except ValueError as error:
            return _refused(str(error))

    def _status(self) -> bytes:
        tws = self._tws
        faults = [
            {"number": s.number, "kind": s.kind, "seen": s.seen, "fired": s.fired, "over": s.over}
            for s in tws.fault_states()
        ]
        return _done(
            market_time=tws.market_now(),
            paused=tws.paused,
            ended=tws.ended.is_set(),
            lag_s=tws.lag_s,
            clients=tws.client_ids,
            faults=faults,
        )

    def _books(self) -> bytes:
        """As the last line of the truth file would say now."""
        venue = self._tws.venue
        accounts = [venue.account(name) for name in venue.account_names]
        positions = [position for name in venue.account_names for position in venue.positions(name)]
        moment = Moment(self._tws.market_now(), trio.current_time(), self._tws.client_ids)
        told = orjson.loads(end_line(moment, accounts, positions, venue.open_orders()))
        return _done(**{key: told[key] for key in ("cash", "accounts", "positions", "open_orders")})


def _done(**told: object) -> bytes:
    return orjson.dumps({"ok": True} | told)


def _refused(*problems: str) -> bytes:
    return orjson.dumps({"ok": False, "problems": problems})
