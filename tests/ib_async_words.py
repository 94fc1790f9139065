"""ib_async's objects and ours, brought to each other by the names of their attributes alone.

The same idea as in `ibapi_words`: no layout takes part. What it writes and reads goes through its own
`Client` and `Decoder`, without a socket.
"""

from __future__ import annotations

import dataclasses
import functools
from datetime import UTC
from decimal import Decimal
from types import SimpleNamespace
from typing import Any, cast

import attrs
import ib_async as ia
from ib_async.client import Client
from ib_async.decoder import Decoder
from ib_async.order import (
    ExecutionCondition,
    MarginCondition,
    PercentChangeCondition,
    PriceCondition,
    TimeCondition,
    VolumeCondition,
)

from protocol.tws import messages as m
from protocol.tws.framing import Deframer
from tests.ibapi_words import hints_of, snake, value_as
from tests.tws_strategies import GATES

VERSIONS = tuple(version for version in GATES if version <= Client.MaxClientVersion)

_CONDITIONS: dict[type, type] = {
    PriceCondition: m.PriceCondition,
    TimeCondition: m.TimeCondition,
    MarginCondition: m.MarginCondition,
    ExecutionCondition: m.ExecutionCondition,
    VolumeCondition: m.VolumeCondition,
    PercentChangeCondition: m.PercentChangeCondition,
}
CLASSES: dict[type, type] = _CONDITIONS | {
    ia.Contract: m.Contract,
    ia.ContractDetails: m.ContractDetails,
    ia.ComboLeg: m.ComboLeg,
    ia.DeltaNeutralContract: m.DeltaNeutralContract,
    ia.Order: m.Order,
    ia.OrderState: m.OrderState,
    ia.OrderComboLeg: m.OrderComboLeg,
    ia.SoftDollarTier: m.SoftDollarTier,
    ia.Execution: m.Execution,
    ia.BarData: m.HistoricalBar,
}


@functools.cache
def _our_name(name: str) -> str:
    return {"conjunction": "is_conjunction_connection", "exch": "exchange"}.get(name) or snake(name)


def ours(value: Any) -> Any:
    """An object of theirs as the object of ours with the same attributes."""
    if isinstance(value, ia.TagValue):
        return tuple(value)
    if isinstance(value, list):
        return tuple(ours(element) for element in value)
    of = CLASSES.get(type(value))
    if of is None:
        return value
    hints = hints_of(of)
    known = {}
    for field in dataclasses.fields(value):
        name, theirs = _our_name(field.name), getattr(value, field.name)
        if field.name == "conjunction":
            known[name] = theirs == "a"
        elif name in hints and theirs is not None and name != "order_misc_options":
            known[name] = value_as(hints[name], ours(theirs))
    return of(**known)


def theirs(value: Any, of: Any) -> Any:
    """An object of ours as theirs of class `of`."""
    said: dict[str, Any] = {}
    for field in dataclasses.fields(of):
        one = getattr(value, _our_name(field.name), None)
        if field.name == "conjunction":
            said[field.name] = "a" if value.is_conjunction_connection else "o"
        elif one is not None and field.name not in {"condType", "orderMiscOptions"}:
            said[field.name] = _their_value(one)
    return of(**said)


def _their_value(value: Any) -> Any:
    if isinstance(value, tuple):
        return [ia.TagValue(*one) if isinstance(one, tuple) else _their_value(one) for one in value]
    for their_class, our_class in CLASSES.items():
        if isinstance(value, our_class):
            return theirs(value, their_class)
    return value


class Heard:
    """A wrapper for ib_async's decoder that keeps what it calls, by name and arguments."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, tuple[Any, ...]]] = []
        self.ib = SimpleNamespace(TimezoneTWS="UTC")
        self.defaultTimezone = UTC

    def __getattr__(self, name: str) -> Any:
        def record(*arguments: Any) -> None:
            self.calls.append((name, arguments))

        return record


def heard(payload: bytes, version: int) -> list[tuple[str, tuple[Any, ...]]]:
    """What ib_async's decoder calls for a payload. What it cannot read it logs, and calls nothing."""
    wrapper = Heard()
    decoder: Any = Decoder(cast("Any", wrapper), version)
    decoder.interpret(payload.decode().split("\0")[:-1])
    return wrapper.calls


class _Wire:
    """The duck type of ib_async's connection: keeps what is sent."""

    def __init__(self) -> None:
        self.deframer = Deframer()
        self.payloads: list[bytes] = []

    def sendMsg(self, message: bytes) -> None:  # noqa: N802  ib_async's name
        self.payloads += self.deframer.feed(message)

    def isConnected(self) -> bool:  # noqa: N802  ib_async's name
        return True


def payload_of(version: int, method: str, *arguments: Any) -> bytes:
    """What ib_async's client sends when it is called so at a version."""
    client = cast("Any", Client)(SimpleNamespace())
    wire = _Wire()
    client.conn = wire
    client.connState, client._serverVersion = Client.CONNECTED, version
    client.MaxRequests = 0
    getattr(client, method)(*arguments)
    (payload,) = wire.payloads
    return payload


def with_whole_percents(order: m.Order) -> m.Order:
    """ib_async reads and writes the percent of a margin condition as a whole number."""
    conditions = tuple(
        attrs.evolve(one, percent=float(round(one.percent))) if isinstance(one, m.MarginCondition) else one
        for one in order.conditions
    )
    return attrs.evolve(order, conditions=conditions)


def as_float(value: Decimal) -> Decimal:
    """A quantity that has been a float on its way."""
    return Decimal(str(float(value)))
