"""Whatever order and however often TWS says its words, each fact is told once and none is lost."""

from __future__ import annotations

from decimal import Decimal
from random import Random

import attrs
from hypothesis import given, settings
from hypothesis import strategies as st

from protocol.commands import PlaceOrders
from protocol.reports import CommissionCharged, ExecutionReport, LinkState, OrderReport, RequestRefused
from protocol.session import Session
from protocol.session_contracts import Qualified
from protocol.session_phase import Phase
from protocol.session_words import Outbox, Sending
from protocol.settings import BrokerSettings
from protocol.tws import messages as tws
from protocol.values import CENT_GRID, OrderStatus
from tests.broker_fakes import (
    ACCOUNT,
    SLV,
    START,
    OpenGate,
    contract,
    echo,
    execution_of,
    spec,
    status_of,
)  # fmt: skip


def placed_session() -> tuple[Session, tws.PlaceOrder]:
    """A session whose link is up and that has just sent one order."""
    session = Session(BrokerSettings(), (SLV,), "a7", gate=OpenGate())
    session.orders.account = ACCOUNT
    session.contracts.qualified[SLV] = Qualified(contract(), CENT_GRID)
    session.phase, session.desk.heard_loop_s = Phase.UP, 0.0
    assert session.state is LinkState.UP
    out = Outbox(START, 0.0)
    session.command(PlaceOrders(SLV, 1, (spec(),)), out)
    (sending,) = out.sends
    assert isinstance(sending, Sending)
    (request,) = sending.requests
    assert isinstance(request, tws.PlaceOrder)
    return session, request


_, REQUEST = placed_session()
FILLS = tuple(
    attrs.evolve(execution_of(REQUEST, 50, exec_id=f"aa.bb.0{number}.01"), cum_qty=Decimal(50 * number))
    for number in (1, 2)
)
WORDS: tuple[tws.ServerMessage, ...] = (
    *echo(REQUEST, "PreSubmitted"),
    *echo(REQUEST, "Submitted"),
    status_of(REQUEST, "Submitted", filled=50),
    *echo(REQUEST, "Filled", filled=100),
    *(tws.ExecDetails(-1, contract(), fill) for fill in FILLS),
    *(tws.ExecDetails(77, contract(), fill) for fill in FILLS),
    *(tws.CommissionReport(fill.exec_id, 1.0, "USD", None) for fill in FILLS),
)
NOISE: tuple[tws.ServerMessage, ...] = tuple(
    tws.ErrorMessage(REQUEST.order_id, code, "word") for code in (399, 404, 10349, 2109, 202, 54321)
)


@settings(deadline=None)
@given(st.permutations(WORDS), st.lists(st.sampled_from(WORDS + NOISE), max_size=20), st.randoms())
def test_any_order_and_repetition_of_tws_words_tells_each_fact_once(
    words: list[tws.ServerMessage],
    again: list[tws.ServerMessage],
    chance: Random,
) -> None:
    session, _ = placed_session()
    for word in again:
        words.insert(chance.randint(0, len(words)), word)
    out = Outbox(START, 0.1)
    for word in words:
        session.receive(word, out)
    told = [report for _, report in out.deliveries]
    fills = [report for report in told if isinstance(report, ExecutionReport)]
    assert sorted(fill.exec_id for fill in fills) == ["aa.bb.01.01", "aa.bb.02.01"]
    assert {fill.ref for fill in fills} == {spec().ref}
    assert sorted(each.exec_id for each in told if isinstance(each, CommissionCharged)) == [
        "aa.bb.01.01",
        "aa.bb.02.01",
    ]
    statuses = [report for report in told if isinstance(report, OrderReport)]
    assert (statuses[-1].status, statuses[-1].filled) == (OrderStatus.FILLED, 100)
    assert [report.status for report in statuses].count(OrderStatus.FILLED) == 1
    assert [report.filled for report in statuses] == sorted(report.filled for report in statuses)
    assert not [report for report in told if isinstance(report, RequestRefused)]
    assert session.books.executions.positions == {SLV: 100}


@settings(deadline=None)
@given(st.integers(100, 20_000))
def test_no_error_code_alone_ends_an_order_that_works(code: int) -> None:
    """Only the broker's lists do; an unknown code asks, and changes nothing."""
    session, request = placed_session()
    out = Outbox(START, 0.1)
    for word in (*echo(request), tws.ErrorMessage(request.order_id, code, "word")):
        session.receive(word, out)
    reports = [report for _, report in out.deliveries if isinstance(report, OrderReport)]
    assert [report.status for report in reports] == [OrderStatus.SUBMITTED]
    assert not [report for _, report in out.deliveries if isinstance(report, RequestRefused)]
    sent = session.orders.get(spec().ref)
    assert sent is not None
    assert not sent.ended


def test_a_fractional_execution_is_an_alarm() -> None:
    session, request = placed_session()
    out = Outbox(START, 0.1)
    half = attrs.evolve(execution_of(request, 1), shares=Decimal("1.5"))
    session.receive(tws.ExecDetails(-1, contract(), half), out)
    assert [getattr(event, "code", "") for event in out.events] == ["FRACTION"]
