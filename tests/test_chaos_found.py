"""What fault runs have found, each as the smallest story that tells it."""

from __future__ import annotations

from decimal import Decimal

import pytest

from protocol.commands import CancelOrder, Flatten, ModifyOrder, PlaceOrders
from protocol.events import AlarmEvent, FillEvent, LinkEvent, PositionCloseEvent, PositionUpdateEvent
from protocol.reports import ExecutionReport, RequestKind
from protocol.session import Session
from protocol.session_identity import choose_account
from protocol.session_words import RefuseBroker
from protocol.settings import BrokerSettings
from protocol.values import CLOSE, MAIN, STOP, TARGET, OrderStatus, Side
from tests.broker_fakes import OpenGate
from tests.symbol_desk import SLV, TEN, Desk, ref


def test_a_stop_that_is_filled_by_its_status_before_its_executions_come_closes_nothing_else() -> None:
    """TWS may say Filled first. Whoever takes what the executions have not moved yet for uncovered sells it
    a second time (seed 62: a reversed position without a stop)."""
    desk = Desk.ready().entered()
    assert desk.told(ref(STOP), OrderStatus.FILLED, 100) == ()
    assert [event for event in desk.events if isinstance(event, PositionUpdateEvent)] == []
    said = desk.fills(ref(STOP), 100, "97")
    assert [command for command in said if isinstance(command, PlaceOrders | ModifyOrder)] == []
    assert desk.position == 0


def test_a_stop_that_filled_before_it_had_grown_still_leads_to_a_close() -> None:
    """With all its executions told, what it did not cover is closed, and a person hears of it (seed 29)."""
    desk = Desk.ready().entered()
    desk.fills(ref(STOP), 60, "97")
    desk.told(ref(STOP), OrderStatus.FILLED, 60)
    assert desk.position == 40
    assert [event.reason for event in desk.events if isinstance(event, PositionUpdateEvent)] == [
        "the stop filled before it had grown"
    ]
    assert [event.code for event in desk.events if isinstance(event, AlarmEvent)] == ["UNCOVERED"]
    assert not any(isinstance(event, PositionCloseEvent) for event in desk.events)


def test_an_exit_that_is_told_before_its_entry_turns_nothing_around() -> None:
    """The entry has filled by its status, its execution is not told yet, and the stop fills: the position
    only looks turned around, and closing it would open one (seeds 218 and 228: it was never told)."""
    desk = Desk.ready()
    desk.signal("BUY")
    desk.bracket_taken()
    desk.told(ref(MAIN), OrderStatus.FILLED, 100)
    said = desk.fills(ref(STOP), 100, "97")
    assert desk.position == -100
    assert [command for command in said if isinstance(command, PlaceOrders | ModifyOrder)] == []
    desk.fills(ref(MAIN), 100, "100")
    assert desk.position == 0


def test_a_change_that_overwrote_what_the_broker_took_off_is_made_good_at_once() -> None:
    """A new price for the stop, sent for 100 shares, crosses 60 that the target fills: TWS takes them off
    the stop, then hears 100 (seed 210: too big for the two seconds after which silence is an answer)."""
    desk = Desk.ready().entered()
    assert desk.fills(ref(TARGET), 60, "108") == ()
    assert desk.told(ref(STOP), OrderStatus.ACCEPTED, 0, quantity=40) == ()
    (command,) = desk.told(ref(STOP), OrderStatus.ACCEPTED, 0, quantity=100)
    assert isinstance(command, ModifyOrder)
    assert (command.order.ref, command.order.quantity) == (ref(STOP), 40)


def closing_at_the_market() -> Desk:
    """A close of 100 works, and then 50 more of the entry fill."""
    desk = Desk.ready().entered()
    desk.refused(ref(TARGET), RequestKind.MODIFY)
    desk.say(Flatten(TEN, "enough"))
    assert desk.order(ref(CLOSE)).spec.quantity == 100
    desk.told(ref(CLOSE), OrderStatus.SUBMITTED)
    return desk


def test_what_fills_beside_a_market_close_is_closed_by_it_as_well() -> None:
    """In a thin market the rest had nothing that closed it until the close had filled (seed 984)."""
    desk = closing_at_the_market()
    desk.fills(ref(CLOSE), 30, "101")
    said = desk.fills(ref(MAIN), 50, "100") + desk.fills(ref(MAIN), 10, "100")
    changes = [command.order for command in said if isinstance(command, ModifyOrder)]
    assert [order.quantity for order in changes if order.ref == ref(CLOSE)] == [150, 160]
    assert not any(isinstance(command, PlaceOrders) for command in said)


def test_what_a_close_had_filled_too_soon_to_take_along_is_closed_at_once() -> None:
    """The close fills its group, whose stop goes with it (seed 285: the rest had neither for two seconds)."""
    desk = closing_at_the_market()
    desk.fills(ref(MAIN), 50, "100")
    desk.fills(ref(CLOSE), 100, "101")
    said = desk.told(ref(CLOSE), OrderStatus.FILLED, 100, quantity=100)
    (placed,) = [command for command in said if isinstance(command, PlaceOrders)]
    assert [(order.ref, order.quantity) for order in placed.orders] == [(ref(CLOSE, revision=1), 50)]
    assert [event.code for event in desk.events if isinstance(event, AlarmEvent)][-1] == "UNCOVERED"


def test_what_a_person_added_is_theirs_when_a_bust_takes_the_entry_away() -> None:
    """Nothing of it is ours any more: the trade is over, and closes nothing (seed 402)."""
    desk = Desk.ready().entered()
    (busted,) = [event for event in desk.events if isinstance(event, FillEvent)]
    desk.say(ExecutionReport(desk.at, SLV, "f.01.01", None, 7, Side.BUY, 10, Decimal(100)))
    root = busted.exec_id.rpartition(".")[0]
    desk.say(ExecutionReport(desk.at, SLV, f"{root}.02", ref(MAIN), 1, Side.BUY, 0, Decimal(100)))
    desk.say(Flatten(desk.at, "close all"))
    desk.wait(10)
    desk.told(ref(STOP), OrderStatus.CANCELLED)
    desk.told(ref(TARGET), OrderStatus.CANCELLED)
    assert (desk.position, desk.state.trade, desk.state.foreign) == (10, None, 10)
    assert not any(isinstance(command, PlaceOrders) for command in desk.commands[1:])


def test_a_trade_that_closes_what_a_person_added_is_not_over_before_the_position_is() -> None:
    """200 shares, 100 of them a person's. A part of the close leaves 50, which its exits go on covering
    (seed 648: they counted as the person's, and were left without a stop)."""
    desk = Desk.ready().entered()
    desk.say(ExecutionReport(desk.at, SLV, "f.01.01", None, 7, Side.BUY, 100, Decimal(100)))
    desk.say(Flatten(desk.at, "close all"))
    desk.fills(ref(TARGET), 150, "100")
    desk.wait(10)
    assert (desk.position, desk.state.guarded) == (50, 50)
    assert not any(isinstance(command, CancelOrder) for command in desk.commands)
    desk.fills(ref(TARGET), 50, "100")
    desk.told(ref(STOP), OrderStatus.CANCELLED)
    assert (desk.position, desk.state.trade) == (0, None)


def told_by_halves() -> Desk:
    """An entry of 100 shares has filled by its status, and executions of 40 were told."""
    desk = Desk.ready()
    desk.signal("BUY")
    desk.bracket_taken()
    desk.fills(ref(MAIN), 40, "100")
    desk.told(ref(MAIN), OrderStatus.FILLED, 100)
    return desk


def test_a_close_waits_for_the_executions_of_an_entry_that_its_status_has_told_of() -> None:
    """A close of 40 would take the stop of the other 60 along when it fills."""
    desk = told_by_halves()
    assert desk.say(Flatten(desk.at, "enough")) == ()
    (command,) = desk.fills(ref(MAIN), 60, "100")
    assert isinstance(command, ModifyOrder)
    assert (command.order.ref, command.order.quantity) == (ref(TARGET), 100)


def test_a_close_does_not_wait_for_ever_for_executions_that_never_come() -> None:
    desk = told_by_halves()
    desk.say(Flatten(desk.at, "enough"))
    asked = [command.order for command in desk.wait(120) if isinstance(command, ModifyOrder)]
    assert (ref(TARGET), 40) in [(order.ref, order.quantity) for order in asked]


def test_a_journal_belongs_to_one_account() -> None:
    """TWS may name another paper account after a reconnect: our orders are not there (seed 26)."""
    settings = BrokerSettings()
    assert choose_account(settings, ("DU7654321",)) == "DU7654321"
    assert choose_account(settings, ("DU1234567",), "DU1234567") == "DU1234567"
    refused = choose_account(settings, ("DU7654321",), "DU1234567")
    assert isinstance(refused, RefuseBroker)
    assert "DU1234567" in refused.reason


@pytest.mark.parametrize("told", ["DU1234567", ""])
def test_the_account_of_a_journal_survives_a_restart_of_the_process(told: str) -> None:
    session = Session(BrokerSettings(), [SLV], "w", gate=OpenGate())
    session.fold(LinkEvent(at=TEN, state="up", generation=3, reason="", account=told))
    assert session.account == told
    session.fold(LinkEvent(at=TEN, state="down", generation=3, reason=""))
    assert session.account == told
