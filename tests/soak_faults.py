"""What a soak does to the system, drawn from a seed: at the proxy, at the simulated TWS, to actors.

Only what the system has to live with by itself: whatever needs a person's word for good (somebody else's
trade, an execution that is never told) would leave the rest of the hour without trades.
"""

from __future__ import annotations

import json
import random
import socket
from typing import Any, Final, TypeAlias

import attrs

from tests.proxy_troubles import Step, draw_trouble

ON_LINK_S: Final = 10.0
"""How long after the end of a trouble of the line everything may take to be in order again (INV-01)."""
CONTROL_S: Final = 10.0

AT_TWS: Final[tuple[dict[str, Any], ...]] = (
    {"kind": "drop_connection", "on": "place_order", "processed": True, "reset": True},
    {"kind": "drop_connection", "on": "place_order", "processed": False},
    {"kind": "drop_connection", "flush": True},
    {"kind": "silence", "duration_loop_s": 4.0},
    {"kind": "silence", "duration_loop_s": 14.0, "lost": True},
    {"kind": "freeze", "duration_loop_s": 3.0},
    {"kind": "freeze", "duration_loop_s": 14.0},
    {"kind": "stop_reading", "duration_loop_s": 6.0},
    {"kind": "burst_bytes", "duration_loop_s": 3.0, "pause_loop_s": 0.3},
    {"kind": "garbage_frame", "what": "unknown_id"},
    {"kind": "garbage_frame", "what": "bad_utf8"},
    {"kind": "garbage_frame", "what": "absurd_length"},
    {"kind": "garbage_frame", "what": "empty_integer"},
    {"kind": "refuse_connections", "duration_loop_s": 6.0},
    {"kind": "silent_handshake", "duration_loop_s": 5.0},
    {"kind": "client_id_busy"},
    {"kind": "connectivity_lost", "duration_s": 60.0},
    {"kind": "connectivity_lost", "duration_s": 90.0, "data_lost": True, "told": True},
    {"kind": "farm_broken", "duration_s": 30.0},
    {"kind": "restart", "down_loop_s": 5.0, "rolls_back": 20},
    {"kind": "notice", "code": 4711, "text": "The soak says something that nobody knows."},
    {"kind": "swallow_request"},
    {"kind": "unanswered_order"},
    {"kind": "delay_request", "by_s": 10.0},
    {"kind": "order_notice", "code": 399},
    {"kind": "fill_after_cancel"},
    {"kind": "reject_order", "leg": "entry"},
    {"kind": "reject_order", "leg": "stop"},
    {"kind": "reject_order", "leg": "target"},
    {"kind": "manual_cancel", "leg": "target"},
    {"kind": "suspend_order", "duration_s": 20.0},
    {"kind": "shredded_fills", "parts": 60},
    {"kind": "replay_executions", "copies": 2},
    {"kind": "delay_messages", "on": "exec_details", "by_s": 20.0, "times": 2},
    {"kind": "duplicate_messages", "on": "exec_details", "times": 3},
    {"kind": "duplicate_messages", "on": "order_status", "times": 3},
    {"kind": "drop_messages", "on": "order_status", "times": 3},
    {"kind": "reorder_messages", "on": "order_status", "times": 2},
    {"kind": "zero_perm_id", "times": 2},
    {"kind": "stale_status"},
    {"kind": "silent_feed", "duration_s": 120.0},
    {"kind": "old_ticks", "hold_s": 50.0},
    {"kind": "bad_tick", "what": "crossed"},
    {"kind": "bad_tick", "what": "half_price"},
    {"kind": "halt", "duration_s": 120.0},
)
"""Seconds of market time unless they are `…_loop_s`; the market of a soak runs several times faster."""
OF_A_SYMBOL: Final = frozenset({"halt", "bad_tick", "shredded_fills"})


@attrs.frozen
class AtProxy:
    step: Step


@attrs.frozen
class AtTws:
    fault: dict[str, Any]


@attrs.frozen
class KillActor:
    """By the command that a person would give."""

    symbol: str


Deed: TypeAlias = AtProxy | AtTws | KillActor


def name_of(deed: Deed) -> str:
    match deed:
        case AtProxy(step):
            return f"proxy {type(step.trouble).__name__.lower()}"
        case AtTws(fault):
            return f"tws {fault['kind']}"
        case KillActor():
            return "actor restart"


def draw_deed(rng: random.Random, symbols: tuple[str, ...]) -> Deed:
    kind = rng.random()
    if kind < 0.4:
        return AtProxy(draw_trouble(rng))
    if kind < 0.85:
        fault = dict(rng.choice(AT_TWS))
        if fault["kind"] in OF_A_SYMBOL:
            fault["symbol"] = rng.choice(symbols)
        return AtTws(fault)
    return KillActor(rng.choice(symbols))


def lasts_s(deed: Deed) -> float:
    """For how long nobody can count on the line; 0 for what leaves it alone."""
    match deed:
        case AtProxy(step):
            return ON_LINK_S + (0.0 if step.for_s == float("inf") else step.for_s)
        case AtTws(fault) if "duration_loop_s" in fault or "down_loop_s" in fault:
            return ON_LINK_S + float(fault.get("duration_loop_s", fault.get("down_loop_s", 0.0)))
        case AtTws(fault) if fault["kind"] in ("drop_connection", "garbage_frame", "client_id_busy"):
            return ON_LINK_S
        case AtTws() | KillActor():
            return 0.0


def command(port: int, **what: Any) -> dict[str, Any]:
    """One command to the control interface of the simulator, and its answer."""
    with socket.create_connection(("127.0.0.1", port), CONTROL_S) as connection:
        connection.sendall(json.dumps(what).encode() + b"\n")
        with connection.makefile("rb") as answers:
            answer: dict[str, Any] = json.loads(answers.readline())
    return answer
