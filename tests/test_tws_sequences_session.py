"""Whole sequences of a session: connecting, coming back, other people's orders, orders placed by hand."""

from __future__ import annotations

from datetime import timedelta

import pytest

from protocol.exchange.interventions import Interventions
from protocol.exchange.tws_settings import TwsSettings
from protocol.exchange.venue import Venue
from protocol.tws import messages as m
from tests.tws_faces import SLV, SLV_ECHO, Face, limit_order, market_order, said
from tests.tws_sequences import FARMS, RESTS, connected, lines


def told(face: Face) -> list[tuple[int, str]]:
    """What every client was told, with whom it was told."""
    return [(key, line) for key, message in face.server.take() for line in lines([message])]


# --- 4.1: connecting -------------------------------------------------------------------------------


def test_sequence_4_01_a_new_client_connects() -> None:
    assert lines(Face().connect()) == ["managedAccounts DU1234567", "nextValidId 1", *FARMS]


def test_sequence_4_01_a_client_with_live_orders_connects() -> None:
    face = connected()
    face.place(1, limit_order("BUY", 100, 24.0))
    face.server.disconnected(1, face.now)
    assert lines(face.connect()) == [
        *RESTS,
        "OpenOrderEnd",
        "managedAccounts DU1234567",
        "nextValidId 2",
        *FARMS,
    ]


def test_sequence_4_01_ids_are_counted_per_client() -> None:
    face = connected()
    face.place(294, limit_order("BUY", 100, 24.0))
    assert lines(face.connect(0))[1] == "nextValidId 1"
    assert lines(face.ask(m.ReqIds(1))) == ["nextValidId 295"]


def test_sequence_4_01_a_client_id_is_in_use() -> None:
    face = connected(TwsSettings(id_hold_s=2))
    refused = [
        "error -1 326 Unable to connect as the client id is already in use. Retry with a unique client id."
    ]
    face.server.connected(99, 178)
    face.server.receive(99, m.StartApi(1), face.now)
    assert told(face) == [(99, refused[0])]
    assert face.server.take_closing() == (99,)
    face.server.disconnected(99, face.now)
    # The end of the connection that had the id frees it only after a while.
    face.server.disconnected(1, face.now)
    assert lines(face.connect()) == refused
    face.server.disconnected(1, face.now)
    face.pass_time(2)
    assert lines(face.connect())[0] == "managedAccounts DU1234567"


# --- 4.12: coming back, everyone's orders, manual orders -----------------------------------------------


def test_sequence_4_12_what_was_filled_meanwhile_is_told_to_those_who_ask() -> None:
    face = connected()
    face.place(1, limit_order("BUY", 100, 24.0))
    face.server.disconnected(1, face.now)
    face.quote(23.98, 24.0, after_s=1)
    assert lines(face.connect()) == ["managedAccounts DU1234567", "nextValidId 2", *FARMS]
    assert lines(face.ask(m.ReqExecutions(3, m.ExecutionFilter()))) == [
        "execDetails 1 #1 BOT 100 at 24.0 of 100 e1.01 (request 3)",
        "commissionReport e1.01 1 opens",
        "ExecDetailsEnd",
    ]
    assert lines(face.ask(m.ReqExecutions(4, m.ExecutionFilter(side="SELL")))) == ["ExecDetailsEnd"]


@pytest.mark.parametrize(
    ("wanted", "found"),
    [
        (m.ExecutionFilter(client_id=1), 1),
        (m.ExecutionFilter(client_id=2), 0),
        (m.ExecutionFilter(account="DU1234567"), 1),
        (m.ExecutionFilter(account="DU9"), 0),
        (m.ExecutionFilter(time="20250123-15:00:00"), 1),
        (m.ExecutionFilter(time="20250123 10:00:01 US/Eastern"), 0),
        (m.ExecutionFilter(symbol="SLV", sec_type="STK"), 1),
        (m.ExecutionFilter(sec_type="OPT"), 0),
        (m.ExecutionFilter(exchange="IEX"), 1),
        (m.ExecutionFilter(exchange="ARCA"), 0),
        (m.ExecutionFilter(side="BUY"), 1),
    ],
)
def test_sequence_4_12_executions_pass_a_filter(wanted: m.ExecutionFilter, found: int) -> None:
    face = connected()
    face.place(1, market_order("BUY", 100))
    heard = face.ask(m.ReqExecutions(3, wanted))
    assert said(heard) == ["execDetails 1 BOT 100", "commissionReport"] * found + ["ExecDetailsEnd"]


@pytest.mark.parametrize(
    ("wanted", "found"),
    [
        (m.ExecutionFilter(), 2),
        (m.ExecutionFilter(last_n_days=1), 1),
        (m.ExecutionFilter(last_n_days=2), 2),
        (m.ExecutionFilter(specific_dates=("20250123",)), 1),
        (m.ExecutionFilter(specific_dates=("20250122", "20250124")), 1),
    ],
)
def test_sequence_4_12_new_clients_say_which_days_they_mean(wanted: m.ExecutionFilter, found: int) -> None:
    face = connected()
    face.place(1, market_order("BUY", 100))
    face.now += timedelta(days=1)
    face.place(2, market_order("BUY", 100))
    heard = face.ask(m.ReqExecutions(3, wanted))
    assert len([message for message in heard if isinstance(message, m.ExecDetails)]) == found


def manual(face: Face, order: m.Order) -> int:
    """A person in TWS places an order; its permanent id."""
    placed = Interventions(face.server.venue).place_manual(face.now, SLV_ECHO, order)
    face.server.orders.hear()
    assert placed is not None
    return placed.perm_id


MANUAL = ["openOrder 0 Submitted BUY 100 LMT 24.0", "orderStatus 0 Submitted 0+100 #1"]


def test_sequence_4_12_a_manual_order_is_nobodys_and_listed_as_order_0() -> None:
    face = connected(client_id=0)
    face.connect(1)
    perm_id = manual(face, limit_order("BUY", 100, 24.0))
    assert told(face) == []
    assert lines(face.ask(m.ReqAllOpenOrders(), 1)) == [*MANUAL, "OpenOrderEnd"]
    assert lines(face.ask(m.ReqOpenOrders(), 1)) == ["OpenOrderEnd"]
    assert lines(face.ask(m.CancelOrder(0), 1)) == [
        "error 0 10147 OrderId 0 that needs to be cancelled is not found."
    ]
    # No updates follow the listing.
    Interventions(face.server.venue).modify_manual(face.now, perm_id, limit_price=24.1)
    face.server.orders.hear()
    assert told(face) == []


@pytest.mark.parametrize(("negative", "order_id"), [(False, 8), (True, -1)])
def test_sequence_4_12_client_0_binds_manual_orders_when_it_asks(negative: bool, order_id: int) -> None:
    face = connected(TwsSettings(negative_auto_ids=negative), client_id=0)
    manual(face, limit_order("BUY", 100, 24.0))
    face.place(7, limit_order("BUY", 10, 23.0), 0)
    bound = [
        f"openOrder {order_id} Submitted BUY 100 LMT 24.0",
        f"orderStatus {order_id} Submitted 0+100 #1",
    ]
    own = ["openOrder 7 Submitted BUY 10 LMT 23.0", "orderStatus 7 Submitted 0+10 #2"]
    assert lines(face.ask(m.ReqOpenOrders(), 0)) == [
        f"orderBound #1 to 0/{order_id}",
        *bound,
        *own,
        "OpenOrderEnd",
    ]
    assert lines(face.ask(m.ReqOpenOrders(), 0)) == [*bound, *own, "OpenOrderEnd"]
    # From now on it is an order like any other.
    assert lines(face.place(order_id, limit_order("BUY", 50, 24.0), 0))[1] == (
        f"orderStatus {order_id} Submitted 0+50 #1"
    )
    assert lines(face.ask(m.CancelOrder(order_id), 0))[-1] == (
        f"error {order_id} 202 Order Canceled - reason:"
    )


def test_sequence_4_12_client_0_binds_manual_orders_as_they_come() -> None:
    face = connected(client_id=0)
    assert face.ask(m.ReqAutoOpenOrders(auto_bind=True), 0) == []
    manual(face, market_order("BUY", 100))
    assert lines(face.heard(0)) == [
        "orderBound #1 to 0/1",
        "openOrder 1 Submitted BUY 100 MKT 0.0",
        "orderStatus 1 Submitted 0+100 #1",
        "execDetails 1 #1 BOT 100 at 25.02 of 100 e1.01",
        "openOrder 1 Filled BUY 100 MKT 0.0",
        "orderStatus 1 Filled 100+0 avg 25.02 last 25.02 #1",
        "commissionReport e1.01 1 opens",
    ]
    face.ask(m.ReqAutoOpenOrders(auto_bind=False), 0)
    manual(face, limit_order("BUY", 100, 24.0))
    assert face.heard(0) == []


def test_sequence_4_12_nobody_but_client_0_binds_manual_orders() -> None:
    face = connected()
    assert lines(face.ask(m.ReqAutoOpenOrders(auto_bind=True))) == [
        "error -1 321 Error validating request.-'bF' : cause - Only the default client (i.e 0) can auto bind "
        "orders."
    ]


def test_sequence_4_12_a_bound_order_keeps_its_id_when_the_venue_is_restored() -> None:
    face = connected(client_id=0)
    manual(face, limit_order("BUY", 100, 24.0))
    face.ask(m.ReqOpenOrders(), 0)
    venue = Venue.restore(face.settings, face.server.venue.snapshot())
    restored = venue.find(0, 1)
    assert restored is not None
    assert restored.perm_id == 1_000_000_001
    assert venue.largest_order_id(0) == 1


@pytest.mark.parametrize(("unset", "order_id"), [(False, 0), (True, 2_147_483_647)])
def test_sequence_4_12_executions_of_manual_orders_have_no_order_id(unset: bool, order_id: int) -> None:
    face = connected(TwsSettings(unset_manual_id=unset))
    manual(face, market_order("BUY", 100))
    assert face.heard() == []
    assert lines(face.ask(m.ReqExecutions(3, m.ExecutionFilter()))) == [
        f"execDetails {order_id} #1 BOT 100 at 25.02 of 100 e1.01 (request 3)",
        "commissionReport e1.01 1 opens",
        "ExecDetailsEnd",
    ]


def test_sequence_4_12_completed_manual_orders_are_listed_unless_only_those_of_the_api_are_asked_for() -> (
    None
):
    face = connected()
    manual(face, market_order("BUY", 100))
    face.place(1, market_order("BUY", 50))
    everything = lines(face.ask(m.ReqCompletedOrders(api_only=False)))
    assert [line.split()[1] for line in everything[:-1]] == ["#1", "#2"]
    assert [line.split()[1] for line in lines(face.ask(m.ReqCompletedOrders(api_only=True)))[:-1]] == ["#2"]


def test_sequence_4_12_the_master_client_hears_of_everybodys_orders() -> None:
    face = connected(TwsSettings(master_client_id=9))
    face.connect(9)
    face.server.receive(1, m.PlaceOrder(1, SLV, market_order("BUY", 100)), face.now)
    heard = told(face)
    own = [line for key, line in heard if key == 1]
    assert own == [line for key, line in heard if key == 9]
    assert len(own) == 6
    # Errors are for the one who asked.
    face.server.receive(1, m.PlaceOrder(1, SLV, market_order("BUY", 100)), face.now)
    assert told(face) == [(1, "error 1 104 Cannot modify a filled order.")]
    face.server.receive(1, m.PlaceOrder(2, SLV, limit_order("BUY", 100, 24.0, "FOK")), face.now)
    assert [line.split()[0] for key, line in told(face) if key == 9] == ["openOrder", "orderStatus"]
    manual(face, limit_order("BUY", 100, 24.0))
    assert [key for key, _ in told(face)] == [9, 9]
