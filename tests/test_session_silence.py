"""New risk does not go to a TWS that has been silent before it has answered. Exits go at once."""

from __future__ import annotations

import attrs

from protocol.commands import CancelOrder, ModifyOrder, PlaceOrders
from protocol.reports import LinkState, RequestRefused
from protocol.session import Session
from protocol.session_contracts import Qualified
from protocol.session_desk import ANSWER_LOOP_S, SILENCE_LOOP_S
from protocol.session_phase import Phase
from protocol.session_words import Outbox
from protocol.settings import BrokerSettings
from protocol.tws import messages as tws
from protocol.values import CENT_GRID, CLOSE, OrderRef, OrderType, Purpose, Side
from tests.broker_fakes import ACCOUNT, SLV, START, OpenGate, contract, spec

LATE = SILENCE_LOOP_S + 0.1


def silent_session() -> Session:
    """Up, and last heard of at loop time 0."""
    session = Session(BrokerSettings(), (SLV,), "a7", gate=OpenGate())
    session.orders.account = ACCOUNT
    session.contracts.qualified[SLV] = Qualified(contract(), CENT_GRID)
    session.phase, session.desk.heard_loop_s = Phase.UP, 0.0
    assert session.state is LinkState.UP
    return session


def sent(out: Outbox) -> list[type[object]]:
    return [type(request) for sending in out.sends for request in sending.requests]


def test_an_entry_after_three_seconds_of_silence_waits_for_a_sign_of_life() -> None:
    session, out = silent_session(), Outbox(START, LATE)
    session.command(PlaceOrders(SLV, 1, (spec(),)), out)
    assert sent(out) == [tws.ReqCurrentTime]
    out = Outbox(START, LATE + 0.2)
    session.desk.heard_loop_s = out.loop_s
    session.desk.serve_held(out)
    assert sent(out) == [tws.PlaceOrder]
    assert session.desk.due_loop_s is None


def test_an_entry_just_before_three_seconds_goes_at_once() -> None:
    session, out = silent_session(), Outbox(START, SILENCE_LOOP_S - 0.1)
    session.command(PlaceOrders(SLV, 1, (spec(),)), out)
    assert sent(out) == [tws.PlaceOrder]


def test_without_an_answer_the_entry_is_refused_and_known_to_be_dead() -> None:
    session, out = silent_session(), Outbox(START, LATE)
    session.command(PlaceOrders(SLV, 1, (spec(),)), out)
    assert session.due() == LATE + ANSWER_LOOP_S
    out = Outbox(START, LATE + ANSWER_LOOP_S)
    session.tick(out)
    (refused,) = (told for _, told in out.deliveries if isinstance(told, RequestRefused))
    assert refused.terminal
    assert tws.PlaceOrder not in sent(out)


def test_what_is_held_is_refused_when_the_link_goes() -> None:
    session, out = silent_session(), Outbox(START, LATE)
    session.command(PlaceOrders(SLV, 1, (spec(),)), out)
    out = Outbox(START, LATE + 0.1)
    session.link_closed("gone", out)
    assert [told.terminal for _, told in out.deliveries if isinstance(told, RequestRefused)] == [True]


def test_an_entry_that_is_cancelled_while_it_is_held_never_leaves() -> None:
    session, out = silent_session(), Outbox(START, LATE)
    session.command(PlaceOrders(SLV, 1, (spec(),)), out)
    session.command(CancelOrder(SLV, 1, spec().ref), out)
    out = Outbox(START, LATE + 0.2)
    session.desk.serve_held(out)
    assert sent(out) == []


def test_an_exit_goes_at_once_whatever_the_silence() -> None:
    session, out = silent_session(), Outbox(START, 0.0)
    session.command(PlaceOrders(SLV, 1, (spec(),)), out)
    close = attrs.evolve(
        spec(), ref=OrderRef("a7", SLV, 1, CLOSE), side=Side.SELL, type=OrderType.MARKET, limit_price=None,
        purpose=Purpose.CLOSE,
    )  # fmt: skip
    out = Outbox(START, LATE)
    session.command(PlaceOrders(SLV, 1, (close,)), out)
    assert sent(out) == [tws.PlaceOrder]
    session.command(ModifyOrder(SLV, 1, close), out)
    assert sent(out) == [tws.PlaceOrder, tws.PlaceOrder]


def test_what_a_dead_incarnation_asked_is_not_sent_when_tws_speaks_again() -> None:
    """Its successor takes the order for one that never left, and may enter afresh."""
    session, out = silent_session(), Outbox(START, LATE)
    session.command(PlaceOrders(SLV, 1, (spec(),)), out)
    session.set_epoch(SLV, 2)
    out = Outbox(START, LATE + 0.2)
    session.desk.serve_held(out)
    assert sent(out) == []
    assert session.desk.due_loop_s is None
    assert session.counts.stale_commands == 1
