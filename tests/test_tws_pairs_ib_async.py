"""ib_async as second opinion, at every version that it speaks: what it sends we read, what we send it reads.

Its own client and decoder do the work; only the connection under them and the wrapper above are fakes.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from datetime import UTC, datetime, tzinfo
from decimal import Decimal
from typing import Any, Final, cast

import attrs
import ib_async
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from ib_async import contract as ib_contract
from ib_async import order as ib_order
from ib_async.client import Client
from ib_async.decoder import Decoder
from ib_async.objects import SoftDollarTier

from protocol.tws import messages as m
from protocol.tws.codec import decode_client, encode_server
from protocol.tws.framing import Deframer
from protocol.tws.kinds import UNSET_DOUBLE, UNSET_INTEGER
from protocol.tws.versions import ADVERTISED
from tests.ibapi_words import random_messages
from tests.pair_words import CONDITIONS, Tree, differences, spoken, unexpected
from tests.tws_strategies import (
    GATES,
    NOT_COMPLETED,
    NOT_PLACED,
    PLAIN_TEXT,
    echoed,
    placements,
    server_messages,
    telling_contract,
    telling_orders,
    without,
)

VERSIONS: Final = tuple(version for version in GATES if version <= ADVERTISED)
NAMES: Final = {
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
    "SoftDollarTier": SoftDollarTier,
    **{of.__name__: getattr(ib_order, of.__name__) for of in CONDITIONS},
}

# --- what ib_async sends -----------------------------------------------------------------------------


class KeptBytes:
    """The duck type of ib_async's connection: keeps what is sent."""

    def __init__(self) -> None:
        self.deframer = Deframer()
        self.payloads: list[bytes] = []

    def sendMsg(self, message: bytes) -> None:  # noqa: N802  ib_async's name
        self.payloads += self.deframer.feed(message)


class Speaker(Client):  # type: ignore[misc]
    """An ib_async client that believes to be connected at some version, and is not slowed down."""

    def __init__(self, version: int) -> None:
        super().__init__(wrapper=None)
        self.kept = KeptBytes()
        self.conn = self.kept
        self.connState = Client.CONNECTED
        self._serverVersion = version

    def sendMsg(self, message: str) -> None:  # noqa: N802  ib_async's name
        # Its own method paces by the clock of a running loop; the bytes are these.
        self.conn.sendMsg(self._prefix(message.encode()))


def made(tree: Any) -> Any:
    """A tree as objects of ib_async."""
    if isinstance(tree, list):
        return [made(one) for one in tree]
    if not isinstance(tree, dict):
        return tree
    tree = dict(tree)
    of = CLASSES[tree.pop("is")]
    known = {field.name for field in dataclasses.fields(of)} if dataclasses.is_dataclass(of) else set(tree)
    said = {name: made(value) for name, value in tree.items() if name in known and value is not None}
    if "conjunction" in said:
        said["conjunction"] = "a" if said["conjunction"] else "o"
    return of(**said)


def order_of(order: m.Order) -> ib_order.Order:
    tree = spoken(attrs.evolve(order, order_misc_options=""), NAMES)
    pairs = [pair.split("=", 1) for pair in order.order_misc_options.split(";") if pair]
    tree["orderMiscOptions"] = [{"is": "TagValue", "tag": tag, "value": value} for tag, value in pairs]
    target = made(tree)
    # The two that are not unset in ib_async unless one says so.
    target.usePriceMgmtAlgo = order.use_price_mgmt_algo
    target.displaySize = UNSET_INTEGER if order.display_size is None else order.display_size
    return target


def understood(version: int, placed: m.PlaceOrder) -> m.ClientRequest:
    speaker = Speaker(version)
    contract = made(spoken(placed.contract, NAMES))
    speaker.placeOrder(placed.order_id, contract, order_of(placed.order))
    (payload,) = speaker.kept.payloads
    return decode_client(version, payload)


def as_ib_async_sends(placed: m.PlaceOrder) -> m.PlaceOrder:
    """ib_async leaves the volatility out of every order that is not about it."""
    order = placed.order
    if not order.order_type.startswith("VOL"):
        order = without(order, ["volatility"])
    return attrs.evolve(placed, order=order)


def check_placement(version: int, placed: m.PlaceOrder) -> None:
    assert understood(version, placed) == as_ib_async_sends(placed)


MISC_OPTIONS = st.sampled_from(["", "a=1;", "a=1;b=2;", "tag=;"])


@st.composite
def placements_at_some_version(draw: st.DrawFn) -> tuple[int, m.PlaceOrder]:
    version = draw(st.sampled_from(VERSIONS))
    placed = draw(placements(version, PLAIN_TEXT))
    order = attrs.evolve(placed.order, order_misc_options=draw(MISC_OPTIONS))
    return version, attrs.evolve(placed, order=order)


@given(placements_at_some_version())
@settings(random_messages, max_examples=40)
def test_orders_that_ib_async_places_are_understood(case: tuple[int, m.PlaceOrder]) -> None:
    check_placement(*case)


@pytest.mark.slow
@given(placements_at_some_version())
@settings(random_messages, max_examples=500)
def test_every_order_that_ib_async_places_is_understood_at_every_version(
    case: tuple[int, m.PlaceOrder],
) -> None:
    check_placement(*case)


def telling_placements(version: int) -> list[m.PlaceOrder]:
    """Orders with every field and every block set, one for each order type that brings fields along."""
    contract = attrs.evolve(telling_contract(), sec_id_type="ISIN", sec_id="US0", exchange="IBKRATS")
    conditions = (
        m.PriceCondition(is_more=True, price=1.5, con_id=2, exchange="E", trigger_method=3),
        m.TimeCondition(is_conjunction_connection=False, is_more=False, time="20250123 10:00:00 US/Eastern"),
        m.MarginCondition(is_more=True, percent=4.0),
        m.ExecutionCondition(is_conjunction_connection=False, sec_type="S", exchange="X", symbol="Y"),
        m.VolumeCondition(is_more=True, volume=5, con_id=6, exchange="V"),
        m.PercentChangeCondition(is_more=False, change_percent=7.5, con_id=8, exchange="P"),
    )
    placed = []
    for number, order in enumerate(telling_orders(version)):
        tier = without(order.soft_dollar_tier, ["display_name"])
        order = without(order, NOT_PLACED)
        order = attrs.evolve(
            order, soft_dollar_tier=tier, order_misc_options="a=1;b=2;", conditions=conditions
        )
        kinds: list[dict[str, Any]] = [{}]
        if number == 0:
            kinds += [
                {"order_type": "PEG BEST", "compete_against_best_offset": 1.5},
                {"order_type": "PEG BEST", "compete_against_best_offset": math.inf},
                {"order_type": "PEG MID"},
                {"order_type": "VOL"},
                {"scale_price_increment": None},
                {"delta_neutral_order_type": ""},
            ]
        placed += [m.PlaceOrder(7, contract, said_only(attrs.evolve(order, **kind), version)) for kind in kinds]
    return placed


def said_only(order: m.Order, version: int) -> m.Order:
    """`order` without what does not travel with its type in a placement."""
    from tests.tws_strategies import DELTA_NEUTRAL, MID_OFFSETS, PEG_BENCH, SCALE

    unsaid: list[str] = []
    if order.order_type != "PEG BENCH":
        unsaid += PEG_BENCH
    if version < 170 or order.order_type != "PEG BEST":
        unsaid += ["min_compete_size", "compete_against_best_offset"]
    up_to_mid = order.order_type == "PEG BEST" and order.compete_against_best_offset == math.inf
    if version < 170 or not (up_to_mid or order.order_type == "PEG MID"):
        unsaid += MID_OFFSETS
    if not order.scale_price_increment:
        unsaid += SCALE
    if not order.delta_neutral_order_type:
        unsaid += DELTA_NEUTRAL
    return without(order, unsaid)


@pytest.mark.parametrize("version", VERSIONS)
def test_no_two_attributes_of_an_order_of_ib_async_change_places(version: int) -> None:
    for placed in telling_placements(version):
        check_placement(version, placed)
