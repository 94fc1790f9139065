"""Closes of the custodian that the broker refuses, keeps, or loses: tried again, ever more slowly, each end
written down."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime

import pytest
import trio

from actors.child import ChildState
from actors.custodian import Custodian
from actors.mailbox import Mailbox
from actors.market_clock import MarketClock
from protocol.commands import AskSnapshot, BrokerCommand, PlaceOrders
from protocol.events import NewOrderEvent, OrderStatusEvent, RejectEvent
from protocol.reports import (
    NOT_SENT,
    OrderLost,
    OrderReport,
    Report,
    RequestKind,
    RequestRefused,
    SymbolSnapshot,
)
from protocol.settings import Schedule
from protocol.values import OrderSpec, OrderStatus, Symbol
from tests.broker_fakes import ListJournal

SLV = Symbol("SLV")
AT = datetime(2025, 1, 23, 15, 0, tzinfo=UTC)


class Ward:
    """A symbol in quarantine with 100 shares and no orders, at a broker whose answer to a close is chosen."""

    def __init__(self, answer: Callable[[OrderSpec], Report]) -> None:
        self.journal, self.sent_at = ListJournal(), list[float]()
        self.broker: Mailbox[BrokerCommand] = Mailbox()
        self.answer = answer
        self.custodian = Custodian(
            states=lambda: {SLV: ChildState.QUARANTINED},
            spec_of=lambda _: None,
            epoch_of=lambda _: 1,
            stream_of=lambda symbol: f"symbol:{symbol}",
            instance="a7",
            broker=self.broker,
            journal=self.journal,
            clock=MarketClock(start=AT),
            schedule=Schedule(),
            on_poison=lambda _: None,
        )

    def _handle(self, command: BrokerCommand) -> None:
        match command:
            case AskSnapshot():
                self.custodian.hear(SLV, SymbolSnapshot(AT, SLV, 1, 100, (), (), 0, tradable=True))
            case PlaceOrders(orders=(order,)):
                self.sent_at.append(trio.current_time())
                self.custodian.hear(SLV, self.answer(order))
            case _:
                raise AssertionError(f"nobody wanted this: {command!r}")

    async def live(self, seconds: float) -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self.broker.serve, self._handle)
            await nursery.start(self.custodian.run, 1)
            await trio.sleep(seconds)
            nursery.cancel_scope.cancel()

    @property
    def pauses(self) -> list[int]:
        return [round(after - before) for before, after in zip(self.sent_at, self.sent_at[1:], strict=False)]


def refusal(code: int = 201) -> Callable[[OrderSpec], Report]:
    return lambda order: RequestRefused(AT, order.ref, RequestKind.PLACE, code, "no", terminal=True)


async def test_whoever_refuses_one_close_is_not_asked_for_the_next_at_once(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """Fault seed 654: 350 closes, one refused after the other."""
    ward = Ward(refusal())
    await ward.live(120.0)
    assert ward.pauses == [2, 4, 8, 16, 30, 30]
    assert ward.journal.alarms.count("REFUSED") == len(ward.sent_at)


async def test_each_close_that_was_refused_has_its_end_in_the_journal(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """The limits count a close that may still execute, and let no other leave beside it (seed 654)."""
    ward = Ward(refusal())
    await ward.live(60.0)
    closes = [event.ref for event in ward.journal.of(NewOrderEvent)]
    assert len(closes) > 3
    assert [event.ref for event in ward.journal.of(RejectEvent) if event.terminal] == closes


async def test_of_a_close_that_was_never_sent_its_gate_has_told(
    autojump_clock: trio.testing.MockClock,
) -> None:
    ward = Ward(refusal(NOT_SENT))
    await ward.live(10.0)
    assert len(ward.journal.of(RejectEvent)) > 1
    assert "REFUSED" not in ward.journal.alarms


def lost(order: OrderSpec) -> Report:
    return OrderLost(AT, order.ref)


def cancelled(order: OrderSpec) -> Report:
    status = OrderStatus.CANCELLED
    return OrderReport(AT, order.ref, 77, status, order.side, order.type, order.quantity, 0, None, None)


@pytest.mark.parametrize(("answer", "end"), [(lost, RejectEvent), (cancelled, OrderStatusEvent)])
async def test_a_close_that_was_lost_or_ended_is_written_down_and_followed_by_another(
    answer: Callable[[OrderSpec], Report],
    end: type[RejectEvent] | type[OrderStatusEvent],
    autojump_clock: trio.testing.MockClock,
) -> None:
    ward = Ward(answer)
    await ward.live(10.0)
    closes = [event.ref for event in ward.journal.of(NewOrderEvent)]
    assert len(closes) > 1
    assert [event.ref for event in ward.journal.of(end)] == closes


async def test_an_end_that_is_told_twice_is_written_down_once(
    autojump_clock: trio.testing.MockClock,
) -> None:
    ward = Ward(cancelled)

    def twice(order: OrderSpec) -> Report:
        ward.custodian.hear(SLV, cancelled(order))
        return cancelled(order)

    ward.answer = twice
    await ward.live(10.0)
    ends = [event.ref for event in ward.journal.of(OrderStatusEvent)]
    assert len(ends) == len(set(ends)) > 1
