"""ib_async with fakes around it: what its client sends, what its decoder calls, its objects as trees."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable
from datetime import UTC
from decimal import Decimal
from typing import Any, Final, cast

import attrs
from ib_async import contract as ib_contract
from ib_async import objects as ib_objects
from ib_async import order as ib_order
from ib_async.client import Client
from ib_async.decoder import Decoder

from protocol.tws import messages as m
from protocol.tws.codec import encode_server
from protocol.tws.framing import Deframer
from protocol.tws.kinds import UNSET_INTEGER
from tests.pair_words import CONDITIONS, Tree, differences, spoken, unexpected

NAMES: Final[dict[tuple[type, str], str]] = {
    **{(of, "is_conjunction_connection"): "conjunction" for of in CONDITIONS},
    **{(of, "exchange"): "exch" for of in CONDITIONS},
    (m.HistoricalBar, "wap"): "average",
    (m.HistoricalBar, "count"): "barCount",
}
CLASSES: Final[dict[str, type]] = {
    "Contract": ib_contract.Contract,
    "ComboLeg": ib_contract.ComboLeg,
    "DeltaNeutralContract": ib_contract.DeltaNeutralContract,
    "TagValue": ib_contract.TagValue,
    "Order": ib_order.Order,
    "OrderComboLeg": ib_order.OrderComboLeg,
    "SoftDollarTier": ib_objects.SoftDollarTier,
    **{of.__name__: getattr(ib_order, of.__name__) for of in CONDITIONS},
}


class KeptBytes:
    """Keeps what is sent, without its frames."""

    def __init__(self) -> None:
        self.deframer = Deframer()
        self.payloads: list[bytes] = []

    def send(self, message: bytes) -> None:
        self.payloads += self.deframer.feed(message)


def speaker(version: int) -> tuple[Any, KeptBytes]:
    """An ib_async client that believes to be connected at some version, and is not slowed down."""
    client, kept = cast("Any", Client)(wrapper=None), KeptBytes()
    client.connState, client._serverVersion = Client.CONNECTED, version
    # Its own method paces by the clock of a running loop; the bytes are these.
    client.sendMsg = lambda message: kept.send(client._prefix(message.encode()))
    return client, kept


def made(tree: Any) -> Any:
    """A tree as objects of ib_async."""
    if isinstance(tree, list):
        return [made(one) for one in tree]
    if not isinstance(tree, dict):
        return tree
    if "decimal" in tree:
        return Decimal(tree["decimal"])
    tree = dict(tree)
    of = CLASSES[tree.pop("is")]
    known = {field.name for field in dataclasses.fields(of)} if dataclasses.is_dataclass(of) else set(tree)
    said = {name: made(value) for name, value in tree.items() if name in known and value is not None}
    if "conjunction" in said:
        said["conjunction"] = "a" if said["conjunction"] else "o"
    return of(**said)


def order_of(order: m.Order) -> Any:
    """An order of ours as one of ib_async."""
    tree = spoken(attrs.evolve(order, order_misc_options=""), NAMES)
    pairs = [pair.split("=", 1) for pair in order.order_misc_options.split(";") if pair]
    tree["orderMiscOptions"] = [{"is": "TagValue", "tag": tag, "value": value} for tag, value in pairs]
    target = made(tree)
    # The two that are not unset in ib_async unless one says so.
    target.usePriceMgmtAlgo = order.use_price_mgmt_algo
    target.displaySize = UNSET_INTEGER if order.display_size is None else order.display_size
    return target


class Complaints:
    """The logger of ib_async's decoder: what it cannot handle it tells nobody else."""

    def __init__(self) -> None:
        self.said: list[str] = []

    def exception(self, text: str) -> None:
        self.said.append(text)


class Recorder:
    """A wrapper of ib_async that keeps what its decoder calls, by name and arguments."""

    defaultTimezone = UTC  # noqa: N815  ib_async's name
    TimezoneTWS = "US/Eastern"

    def __init__(self) -> None:
        self.calls: list[tuple[str, tuple[Any, ...]]] = []

    @property
    def ib(self) -> Recorder:
        return self

    def __getattr__(self, name: str) -> Callable[..., None]:
        def record(*args: Any) -> None:
            self.calls.append((name, tuple(tree_of(one) for one in args)))

        return record


def tree_of(value: Any) -> Any:
    """An object of ib_async as a tree of plain values."""
    if isinstance(value, ib_contract.TagValue):
        return [value.tag, value.value]
    if isinstance(value, ib_objects.PriceIncrement):
        return [value.lowEdge, value.increment]
    if isinstance(value, list):
        return [tree_of(one) for one in value]
    if isinstance(value, tuple) and hasattr(value, "_asdict"):
        return {name: tree_of(one) for name, one in value._asdict().items()}
    if dataclasses.is_dataclass(value):
        return {name: tree_of(one) for name, one in vars(value).items()}
    return value


@functools.cache
def decoder_at(version: int) -> Any:
    return cast("Any", Decoder)(None, version)


def decoded(version: int, fields: list[str]) -> tuple[list[tuple[str, tuple[Any, ...]]], list[str]]:
    """What ib_async's decoder calls for these fields, and what it complains of."""
    recorder, complaints = Recorder(), Complaints()
    decoder = decoder_at(version)
    decoder.wrapper, decoder.logger = recorder, complaints
    decoder.interpret(fields)
    return recorder.calls, complaints.said


def heard(version: int, message: m.ServerMessage) -> list[tuple[str, tuple[Any, ...]]]:
    """What ib_async's decoder calls for a message of ours, every field of which it has read.

    It would not notice a field too many; so it has to miss the last one when that is taken away.
    """
    fields = encode_server(version, message).decode("ascii").split("\0")[:-1]
    calls, complaints = decoded(version, list(fields))
    assert complaints == []
    if any(args for _, args in calls):
        assert decoded(version, fields[:-1])[0] != calls, "its last field is not read"
    return calls


FRESH: Final[dict[type, Tree]] = {
    m.Order: tree_of(ib_order.Order()),
    m.Contract: tree_of(ib_contract.Contract()),
    m.OrderState: tree_of(ib_order.OrderState()),
    m.Execution: tree_of(ib_objects.Execution()),
    m.ContractDetails: tree_of(ib_contract.ContractDetails()),
}


def check(ours: Any, theirs: Tree, besides: frozenset[str] = frozenset()) -> None:
    """Equal in every attribute, and theirs as new in all that ours does not have but for `besides`."""
    assert differences(ours, theirs, NAMES) == {}
    rest = unexpected(theirs, FRESH[type(ours)], type(ours), NAMES)
    assert set(rest) <= besides
