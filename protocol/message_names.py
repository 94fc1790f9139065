"""How a message that waits for an actor is named to people: its kind, and the id that finds it again."""

from __future__ import annotations

from protocol.commands import ModifyOrder, PlaceOrders

_IDS = ("signal_id", "event_id", "exec_id", "ref", "symbol")
"""The field that names a message, the most telling first."""


def message_name(message: object) -> str:
    """Such as `ExecutionReport 0001.01`; of a batch, its length and its first one. Empty for no message."""
    match message:
        case None:
            return ""
        case (str() | None, report):
            # A report with the symbol that it is for.
            return message_name(report)
        case (first, *rest):
            return f"{len(rest) + 1} messages from {message_name(first)}" if rest else message_name(first)
        case PlaceOrders(orders=orders):
            return f"PlaceOrders {orders[0].ref}"
        case ModifyOrder(order=order):
            return f"ModifyOrder {order.ref}"
        case _:
            found = next((getattr(message, name) for name in _IDS if hasattr(message, name)), "")
            return f"{type(message).__name__} {found}".rstrip()
