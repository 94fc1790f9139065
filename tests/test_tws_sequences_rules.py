"""What holds for every sequence of messages about orders, whatever clients and the market do."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

import attrs
from hypothesis import given, settings
from hypothesis import strategies as st

from protocol.exchange.happenings import MarketTick
from protocol.exchange.tws_settings import PendingCancel, TwsSettings
from protocol.tws import messages as m
from tests.tws_faces import Face, limit_order, market_order

Step = Callable[[Face], None]
CLIENTS = (1, 2)


def _market(cents: int, size: int) -> Step:
    def step(face: Face) -> None:
        bid, ask = cents / 100, (cents + 2) / 100
        face.server.tick(MarketTick(face.now, "SLV", bid, size, ask, size))

    return step


def _place(client: int, order: m.Order) -> Step:
    def step(face: Face) -> None:
        request = m.PlaceOrder(face.server.orders.largest_order_id(client) + 1, SLV, order)
        face.server.receive(client, request, face.now)

    return step


def _cancel(client: int, order_id: int) -> Step:
    return lambda face: face.server.receive(client, m.CancelOrder(order_id), face.now)


def _modify(client: int, order_id: int, cents: int, size: int) -> Step:
    order = limit_order("BUY", size, cents / 100)
    return lambda face: face.server.receive(client, m.PlaceOrder(order_id, SLV, order), face.now)


SLV = m.Contract(symbol="SLV", sec_type="STK", exchange="SMART", currency="USD")
_clients, _ids = st.sampled_from(CLIENTS), st.integers(1, 4)
_cents, _sizes = st.integers(2480, 2520), st.integers(1, 5).map(lambda lots: 40 * lots)
_sides = st.sampled_from(("BUY", "SELL"))
_orders = st.one_of(
    st.builds(market_order, _sides, _sizes),
    st.builds(
        lambda side, size, cents, tif: limit_order(side, size, cents / 100, tif),
        _sides, _sizes, _cents, st.sampled_from(("DAY", "GTC", "IOC", "FOK")),
    ),
)  # fmt: skip
_steps = st.lists(
    st.one_of(
        st.builds(_market, _cents, _sizes),
        st.builds(_place, _clients, _orders),
        st.builds(_cancel, _clients, _ids),
        st.builds(_modify, _clients, _ids, _cents, _sizes),
    ),
    max_size=12,
)
_forms = st.builds(
    TwsSettings,
    duplicate_echo=st.booleans(),
    presubmitted_first=st.booleans(),
    status_before_execution=st.booleans(),
    commission_echo=st.booleans(),
    commission_delay_s=st.sampled_from((0.0, 0.7, 2.5)),
    pending_cancel=st.sampled_from(PendingCancel),
    repeat_rejection=st.booleans(),
)


def heard(form: TwsSettings, steps: list[Step]) -> dict[int, list[m.ServerMessage]]:
    """What each client has heard when all is told; a second passes between two steps."""
    face = Face(form)
    for client in CLIENTS:
        face.connect(client)
    face.quote(25.0, 25.02, size=80)
    face.server.take()
    told: dict[int, list[m.ServerMessage]] = {client: [] for client in CLIENTS}
    for step in steps:
        step(face)
        face.now = face.now.replace(second=face.now.second + 1)
        face.server.advance(face.now)
    face.now = face.now.replace(minute=1)
    face.server.advance(face.now)
    for key, message in face.server.take():
        told[key].append(message)
    return told


@settings(max_examples=60, deadline=None)
@given(_forms, st.sampled_from((0.3, 1.0, 3.2)), _steps)
def test_late_reports_are_the_same_reports(form: TwsSettings, latency_s: float, steps: list[Step]) -> None:
    """The delay changes when things are said, not what is said, nor in which order; the delay of commissions
    apart, which lets later reports overtake them."""
    form = attrs.evolve(form, commission_delay_s=0.0)
    late, at_once = heard(attrs.evolve(form, report_latency_s=latency_s), steps), heard(form, steps)
    for client in CLIENTS:
        # One by one: the difference of two long lists is slow to find.
        assert len(late[client]) == len(at_once[client])
        for one, other in zip(late[client], at_once[client], strict=True):
            assert one == other


@settings(max_examples=120, deadline=None)
@given(_forms, _steps)
def test_every_sequence_is_one_that_tws_could_say(form: TwsSettings, steps: list[Step]) -> None:
    for messages in heard(form, steps).values():
        executed: Counter[str] = Counter()
        filled: dict[int, int] = {}
        shown: dict[int, str] = {}
        for message in messages:
            match message:
                case m.OpenOrder(order_id=order_id, state=state):
                    shown[order_id] = state.status
                case m.OrderStatus(order_id=order_id, status=status):
                    assert order_id in shown, "a status comes after the order was shown"
                    if message.status not in ("Cancelled", "PendingCancel"):
                        assert shown[order_id] == status, "echo and status agree"
                    before = filled.get(order_id, 0)
                    assert message.filled >= before, "what has filled stays filled"
                    filled[order_id] = int(message.filled)
                case m.ExecDetails(execution=execution):
                    assert execution.exec_id not in executed, "an execution is told once"
                    executed[execution.exec_id] += 1
                case m.CommissionReport(exec_id=exec_id):
                    assert executed[exec_id] == 1, "a commission follows its execution, once"
                    executed[exec_id] += 1
                case _:
                    pass
        assert set(executed.values()) <= {2}, "every execution has its commission"
