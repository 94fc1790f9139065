"""What faults call the messages, requests and happenings that give them their opportunity."""

from __future__ import annotations

import re
from typing import get_args

from protocol.exchange.happenings import Happening
from protocol.tws import messages as m


def word_of(kind: type) -> str:
    """`place_order` for PlaceOrder, `req_pnl` for ReqPnL."""
    name = kind.__name__.replace("PnL", "Pnl")
    return re.sub(r"(?<=[a-z0-9])([A-Z])", r"_\1", name).lower()


REQUEST_WORDS: dict[type, str] = {kind: word_of(kind) for kind in get_args(m.ClientRequest)}
MESSAGE_WORDS: dict[type, str] = {kind: word_of(kind) for kind in get_args(m.ServerMessage)}
HAPPENING_WORDS: dict[type, str] = {
    kind: {"executed": "execution", "execution_corrected": "correction"}.get(word_of(kind), word_of(kind))
    for kind in get_args(Happening)
}

TICKS = frozenset(word for word in MESSAGE_WORDS.values() if word.startswith("tick_")) - {"tick_req_params"}

REQUEST_GROUPS: dict[str, frozenset[str]] = {"request": frozenset(REQUEST_WORDS.values())}
MESSAGE_GROUPS: dict[str, frozenset[str]] = {
    "message": frozenset(MESSAGE_WORDS.values()),
    "ticks": TICKS,
    "order_echo": frozenset({"open_order", "order_status"}),
    "fills": frozenset({"exec_details", "commission_report"}),
}
GROUPS = REQUEST_GROUPS | MESSAGE_GROUPS

NEW_ORDER, MODIFY_ORDER = "new_order", "modify_order"
"""The two kinds of placeOrder: the second names a live order of the client."""
ORDER_FILLED = "order_filled"
"""An orderStatus that says Filled."""

ORDER_ACCEPTED = "order_accepted"

FEED = TICKS | {word for word in MESSAGE_WORDS.values() if "depth" in word or "real_time" in word}
"""What streams to those who watch a market."""
NEWS = frozenset({"open_order", "order_status", "exec_details", "commission_report", "position"})
"""What TWS says by itself, and says again to whoever asks."""

REQUESTS = frozenset(REQUEST_WORDS.values()) | REQUEST_GROUPS.keys() | {NEW_ORDER, MODIFY_ORDER}
MESSAGES = frozenset(MESSAGE_WORDS.values()) | MESSAGE_GROUPS.keys() | {ORDER_FILLED}
HAPPENINGS = frozenset(HAPPENING_WORDS.values())
WORDS = REQUESTS | MESSAGES | HAPPENINGS
