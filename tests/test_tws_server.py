"""What the simulated TWS says about orders, message by message: the sequences of captured live sessions."""

from __future__ import annotations

from decimal import Decimal

import attrs

from protocol.exchange.replay_clock import Boundary, Turn
from protocol.exchange.tws_settings import TwsSettings
from protocol.tws import messages as m
from tests.tws_faces import NOW, SLV, SLV_ECHO, Face, limit_order, market_order, said

FARMS = [
    m.ErrorMessage(-1, 2104, "Market data farm connection is OK:usfarm"),
    m.ErrorMessage(-1, 2106, "HMDS data farm connection is OK:ushmds"),
    m.ErrorMessage(-1, 2158, "Sec-def data farm connection is OK:secdefnj"),
]


def connected(bid: float = 25.0, ask: float = 25.02, *, size: int = 1000) -> Face:
    face = Face()
    face.connect()
    face.quote(bid, ask, size=size)
    return face


def test_a_new_client_hears_accounts_then_its_next_id_then_the_farms() -> None:
    assert Face().connect() == [m.ManagedAccounts(("DU1234567",)), m.NextValidId(1), *FARMS]


def test_a_client_that_comes_back_hears_its_live_orders_before_the_ids() -> None:
    face = connected()
    face.place(7, limit_order("BUY", 100, 24.0))
    face.server.disconnected(1, NOW)
    assert said(face.connect()) == [
        "openOrder 7 Submitted",
        "orderStatus 7 Submitted 0/100",
        "OpenOrderEnd",
        "ManagedAccounts",
        "NextValidId",
        "error -1 2104",
        "error -1 2106",
        "error -1 2158",
    ]


def test_next_ids_are_counted_per_client() -> None:
    face = connected()
    face.place(41, limit_order("BUY", 100, 24.0))
    assert face.ask(m.ReqIds(1)) == [m.NextValidId(42)]
    assert m.NextValidId(1) in face.connect(2)


def test_a_second_client_of_the_same_id_is_refused_and_closed() -> None:
    face = connected()
    face.server.connected(99, 178)
    face.server.receive(99, m.StartApi(1), NOW)
    text = "Unable to connect as the client id is already in use. Retry with a unique client id."
    assert face.server.take() == ((99, m.ErrorMessage(-1, 326, text)),)
    assert face.server.take_closing() == (99,)
    face.server.disconnected(99, NOW)
    assert face.server.clients.ids == (1,)


def test_nothing_is_said_to_a_client_before_it_has_named_itself() -> None:
    face = Face()
    face.server.connected(1, 178)
    assert face.ask(m.ReqIds(1)) == []


def test_an_unknown_request_is_answered_and_the_session_goes_on() -> None:
    face = connected()
    assert said(face.ask(m.UnknownRequest(4711, ("4711",), "unknown id"))) == ["error -1 320"]
    assert face.ask(m.ReqCurrentTime()) == [m.CurrentTime(int(NOW.timestamp()))]


def test_a_market_order_fills_in_the_order_of_a_real_tws() -> None:
    face = connected()
    heard = face.place(1, market_order("BUY", 100))
    perm_id = 1_000_000_001
    filled = m.OrderStatus(1, "Filled", Decimal(100), Decimal(0), 25.02, perm_id, 0, 25.02, 1, "", 0.0)
    exec_id = next(message for message in heard if isinstance(message, m.ExecDetails)).execution.exec_id
    order = attrs.evolve(
        market_order("BUY", 100),
        lmt_price=0.0,
        aux_price=0.0,
        tif="DAY",
        oca_type=3,
        account="DU1234567",
        client_id=1,
        perm_id=perm_id,
    )
    assert heard == [
        m.OpenOrder(1, SLV_ECHO, order, m.OrderState(status="Submitted")),
        m.OrderStatus(1, "Submitted", Decimal(0), Decimal(100), 0.0, perm_id, 0, 0.0, 1, "", 0.0),
        m.ExecDetails(
            -1,
            attrs.evolve(SLV_ECHO, exchange="IEX"),
            m.Execution(
                exec_id=exec_id,
                time="20250123 10:00:00 US/Eastern",
                acct_number="DU1234567",
                exchange="IEX",
                side="BOT",
                shares=Decimal(100),
                price=25.02,
                perm_id=perm_id,
                client_id=1,
                order_id=1,
                cum_qty=Decimal(100),
                avg_price=25.02,
                order_ref="ref",
                last_liquidity=2,
            ),
        ),
        m.OpenOrder(1, SLV_ECHO, order, m.OrderState(status="Filled")),
        filled,
        m.CommissionReport(exec_id, 1.0, "USD", None),
    ]


def test_an_execution_of_an_old_client_has_two_blanks_in_its_time() -> None:
    face = Face()
    face.connect(version=157)
    face.quote(25.0, 25.02)
    heard = face.place(1, market_order("BUY", 100))
    details = next(message for message in heard if isinstance(message, m.ExecDetails))
    assert details.execution.time == "20250123  10:00:00"


def test_an_order_that_fills_in_parts_stays_submitted_until_the_last() -> None:
    face = connected(size=80)
    assert said(face.place(1, market_order("BUY", 100))) == [
        "openOrder 1 Submitted",
        "orderStatus 1 Submitted 0/100",
        "execDetails 1 BOT 80",
        "openOrder 1 Submitted",
        "orderStatus 1 Submitted 80/100",
        "commissionReport",
    ]
    assert said(face.quote(25.0, 25.02, size=80, after_s=1)) == [
        "execDetails 1 BOT 20",
        "openOrder 1 Filled",
        "orderStatus 1 Filled 100/100",
        "commissionReport",
    ]


def test_the_closing_trade_reports_its_profit() -> None:
    face = connected()
    face.place(1, market_order("BUY", 100))
    face.quote(26.0, 26.02, after_s=1)
    report = face.place(2, market_order("SELL", 100))[-1]
    assert isinstance(report, m.CommissionReport)
    assert report.realized_pnl is not None
    assert 90 < report.realized_pnl <= 98


def test_a_cancelled_limit_order_hears_cancelled_then_202() -> None:
    face = connected()
    assert said(face.place(1, limit_order("BUY", 100, 24.0))) == [
        "openOrder 1 Submitted",
        "orderStatus 1 Submitted 0/100",
    ]
    assert said(face.ask(m.CancelOrder(1))) == [
        "orderStatus 1 PendingCancel 0/100",
        "orderStatus 1 Cancelled 0/100",
        "error 1 202",
    ]


def test_cancelling_what_cannot_be_cancelled_is_refused_by_its_code() -> None:
    face = connected()
    face.connect(2)
    face.place(1, market_order("BUY", 100))
    face.place(2, limit_order("BUY", 100, 24.0))
    assert said(face.ask(m.CancelOrder(1))) == ["error 1 10148"]
    assert said(face.ask(m.CancelOrder(77))) == ["error 77 10147"]
    assert said(face.ask(m.CancelOrder(2), 2)) == ["error 2 10147"]


def test_a_modify_echoes_the_new_values_under_the_same_permanent_id() -> None:
    face = connected()
    before = face.place(1, limit_order("BUY", 100, 24.0))[0]
    after = face.place(1, limit_order("BUY", 50, 24.5))[0]
    assert isinstance(before, m.OpenOrder)
    assert isinstance(after, m.OpenOrder)
    assert after == attrs.evolve(
        before, order=attrs.evolve(before.order, total_quantity=Decimal(50), lmt_price=24.5)
    )


def test_placements_that_cannot_be_are_refused_by_their_codes() -> None:
    face = connected()
    face.place(1, market_order("BUY", 100))
    face.place(5, limit_order("BUY", 100, 24.0))
    assert said(face.place(1, market_order("BUY", 100))) == ["error 1 104"]
    assert said(face.place(3, market_order("BUY", 100))) == ["error 3 103"]
    assert said(face.place(6, limit_order("BUY", 100, 24.001))) == ["error 6 110"]
    assert said(face.place(5, limit_order("SELL", 100, 26.0))) == ["error 5 105"]
    unknown = attrs.evolve(SLV, symbol="NOPE")
    heard = face.ask(m.PlaceOrder(8, unknown, market_order("BUY", 1)))
    assert heard == [m.ErrorMessage(8, 200, "No security definition has been found for the request")]
    elsewhere = attrs.evolve(market_order("BUY", 1), account="DU9")
    assert said(face.place(9, elsewhere)) == ["error 9 321"]


def test_a_fill_or_kill_order_goes_inactive_and_is_rejected() -> None:
    face = connected()
    heard = said(face.place(1, limit_order("BUY", 100, 25.0, tif="FOK")))
    assert heard == ["openOrder 1 Inactive", "orderStatus 1 Inactive 0/100", "error 1 201"]


def bracket(face: Face, entry: m.Order) -> list[m.ServerMessage]:
    quiet = face.place(1, attrs.evolve(entry, transmit=False))
    target = attrs.evolve(limit_order("SELL", 100, 27.0, "GTC"), parent_id=1, transmit=False)
    stop = m.Order(
        action="SELL",
        total_quantity=Decimal(100),
        order_type="STP",
        aux_price=24.0,
        tif="GTC",
        parent_id=1,
    )
    quiet += face.place(2, target)
    assert quiet == []
    return face.place(3, stop)


def test_a_bracket_is_silent_until_its_last_leg_and_its_children_wait() -> None:
    face = connected()
    heard = bracket(face, limit_order("BUY", 100, 24.9))
    assert said(heard) == [
        "openOrder 1 Submitted",
        "orderStatus 1 Submitted 0/100",
        "openOrder 2 PreSubmitted",
        "orderStatus 2 PreSubmitted 0/100 (child)",
        "openOrder 3 PreSubmitted",
        "orderStatus 3 PreSubmitted 0/100 (child,trigger)",
    ]
    child = heard[2]
    assert isinstance(child, m.OpenOrder)
    assert (child.order.parent_id, child.order.oca_group) == (1, "1000000001")
    assert child.order.oca_type == 3


def test_the_children_of_a_bracket_work_after_the_entry_has_filled() -> None:
    face = connected()
    heard = said(bracket(face, market_order("BUY", 100)))
    assert heard[6:] == [
        "execDetails 1 BOT 100",
        "openOrder 1 Filled",
        "orderStatus 1 Filled 100/100",
        "commissionReport",
        "openOrder 2 Submitted",
        "orderStatus 2 Submitted 0/100",
        "openOrder 3 PreSubmitted",
        "orderStatus 3 PreSubmitted 0/100 (trigger)",
    ]
    ended = said(face.quote(27.0, 27.02, after_s=1))
    assert ended[:4] == [
        "execDetails 2 SLD 100",
        "openOrder 2 Filled",
        "orderStatus 2 Filled 100/100",
        "commissionReport",
    ]
    assert ended[-2:] == ["orderStatus 3 Cancelled 0/100", "error 3 202"]


def test_children_are_cancelled_with_an_entry_that_never_filled() -> None:
    face = connected()
    bracket(face, limit_order("BUY", 100, 24.0))
    assert said(face.ask(m.CancelOrder(1)))[-4:] == [
        "orderStatus 2 Cancelled 0/100",
        "error 2 202",
        "orderStatus 3 Cancelled 0/100",
        "error 3 202",
    ]


def test_open_orders_are_the_own_ones_or_everyones() -> None:
    face = connected()
    face.connect(2)
    face.place(1, limit_order("BUY", 100, 24.0))
    face.place(1, limit_order("BUY", 200, 24.0), 2)
    own = ["openOrder 1 Submitted", "orderStatus 1 Submitted 0/100"]
    theirs = ["openOrder 1 Submitted", "orderStatus 1 Submitted 0/200"]
    assert said(face.ask(m.ReqOpenOrders())) == [*own, "OpenOrderEnd"]
    assert said(face.ask(m.ReqAllOpenOrders())) == [*own, *theirs, "OpenOrderEnd"]


def test_only_the_owner_hears_of_an_order() -> None:
    face = connected()
    face.connect(2)
    face.server.receive(1, m.PlaceOrder(1, SLV, market_order("BUY", 100)), face.now)
    assert {key for key, _ in face.server.take()} == {1}


def test_executions_answer_a_filter_with_their_commissions_and_an_end() -> None:
    face = connected()
    face.connect(2)
    face.place(1, market_order("BUY", 100))
    face.place(1, market_order("SELL", 30), 2)
    everything = face.ask(m.ReqExecutions(9, m.ExecutionFilter()))
    assert said(everything) == [
        "execDetails 1 BOT 100",
        "commissionReport",
        "execDetails 1 SLD 30",
        "commissionReport",
        "ExecDetailsEnd",
    ]
    assert {message.req_id for message in everything if isinstance(message, m.ExecDetails)} == {9}
    filters = [
        m.ExecutionFilter(client_id=2),
        m.ExecutionFilter(side="SELL"),
        m.ExecutionFilter(symbol="GLD"),
        m.ExecutionFilter(time="20250123 10:00:01 US/Eastern"),
    ]
    counts = [
        sum(isinstance(heard, m.ExecDetails) for heard in face.ask(m.ReqExecutions(9, wanted)))
        for wanted in filters
    ]
    assert counts == [1, 1, 0, 0]


def test_completed_orders_say_how_they_ended() -> None:
    face = connected()
    face.place(1, market_order("BUY", 100))
    face.place(2, limit_order("BUY", 10, 24.0))
    face.ask(m.CancelOrder(2))
    filled, cancelled, end = face.ask(m.ReqCompletedOrders(api_only=True))
    assert isinstance(filled, m.CompletedOrder)
    assert isinstance(cancelled, m.CompletedOrder)
    assert (filled.order.total_quantity, filled.filled_quantity) == (Decimal(0), Decimal(100))
    assert (filled.state.status, filled.state.completed_status) == ("Filled", "Filled Size: 100")
    assert filled.state.completed_time == "20250123 10:00:00 US/Eastern"
    assert cancelled.state.completed_status == "Cancelled by Trader"
    assert end == m.CompletedOrdersEnd()


def test_a_what_if_order_is_answered_and_never_becomes_one() -> None:
    face = connected()
    heard = face.place(1, attrs.evolve(limit_order("BUY", 100, 25.0), what_if=True))
    assert said(heard) == ["openOrder 1 PreSubmitted"]
    preview = heard[0]
    assert isinstance(preview, m.OpenOrder)
    assert (preview.state.init_margin_change, preview.state.maint_margin_change) == (1250.0, 625.0)
    assert preview.state.commission == 1.0
    assert said(face.ask(m.ReqOpenOrders())) == ["OpenOrderEnd"]


def test_an_order_placed_out_of_hours_waits_with_a_notice() -> None:
    face = Face(open_=False)
    face.connect()
    face.now = NOW.replace(hour=12)
    heard = face.place(1, limit_order("BUY", 100, 24.0))
    assert said(heard) == ["openOrder 1 PreSubmitted", "orderStatus 1 PreSubmitted 0/100", "error 1 399"]
    assert isinstance(heard[-1], m.ErrorMessage)
    assert "until 20250123 09:30:00 US/Eastern." in heard[-1].text
    face.server.turn(Boundary(NOW.replace(hour=14, minute=30), Turn.OPENS))
    assert said(face.heard()) == ["openOrder 1 Submitted", "orderStatus 1 Submitted 0/100"]


def test_day_orders_end_with_the_day_and_others_stay() -> None:
    face = connected()
    face.place(1, limit_order("BUY", 100, 24.0))
    face.place(2, limit_order("BUY", 100, 24.0, "GTC"))
    face.server.turn(Boundary(NOW.replace(hour=21), Turn.DAY_ENDS))
    assert said(face.heard()) == ["orderStatus 1 Cancelled 0/100", "error 1 202"]


def test_global_cancel_ends_every_order_of_everyone() -> None:
    face = connected()
    face.connect(2)
    face.place(1, limit_order("BUY", 100, 24.0))
    face.place(1, limit_order("BUY", 100, 24.0), 2)
    face.server.receive(1, m.GlobalCancel(), face.now)
    told = [(key, line) for key, message in face.server.take() for line in said([message])]
    assert (1, "orderStatus 1 Cancelled 0/100") in told
    assert (2, "orderStatus 1 Cancelled 0/100") in told


def test_echoes_can_be_doubled() -> None:
    face = Face(TwsSettings(duplicate_echo=True))
    face.connect()
    face.quote(25.0, 25.02)
    once = ["openOrder 1 Submitted", "orderStatus 1 Submitted 0/100"]
    assert said(face.place(1, limit_order("BUY", 100, 24.0))) == once * 2


def test_a_modern_tws_refuses_orders_with_etrade_only() -> None:
    face = Face(TwsSettings(reject_etrade_only=True))
    face.connect()
    order = attrs.evolve(limit_order("BUY", 100, 24.0), e_trade_only=True)
    assert said(face.place(1, order)) == ["error 1 10268"]


def test_a_withheld_execution_is_never_told() -> None:
    face = connected()
    face.server.orders.withhold_execution(2)
    face.place(1, market_order("BUY", 100))
    assert said(face.place(2, market_order("BUY", 50)))[2:] == [
        "openOrder 2 Filled",
        "orderStatus 2 Filled 50/50",
    ]
    assert said(face.ask(m.ReqExecutions(9, m.ExecutionFilter()))) == [
        "execDetails 1 BOT 100",
        "commissionReport",
        "ExecDetailsEnd",
    ]
