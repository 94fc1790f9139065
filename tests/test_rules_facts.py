"""What one symbol's facts are, at moments of a trade."""

from __future__ import annotations

import math
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest

from protocol.events import FillEvent, ValueSetEvent
from protocol.rules.expression import Expression, Value
from protocol.rules.fact_names import FACTS
from protocol.rules.facts import SymbolFacts
from protocol.symbol_state import evolve
from protocol.values import MAIN, OrderStatus, Side, Tick, TickKind
from tests.symbol_desk import SLV, TEN, Desk, ref, signal

D = Decimal
OF_THE_ACCOUNT = {"equity", "open_pnl_all", "exposure_all"}


def fact(desk: Desk, name: str) -> Value:
    return SymbolFacts(desk.state, desk.view, desk.plan, desk.at).fact(name)


def facts(desk: Desk, *names: str) -> tuple[Value, ...]:
    return tuple(fact(desk, name) for name in names)


def at(desk: Desk, moment: datetime, name: str) -> Value:
    return SymbolFacts(desk.state, desk.view, desk.plan, moment).fact(name)


def test_a_signal_at_hand_is_read_and_without_one_it_is_not_known() -> None:
    desk = Desk.ready()
    heard = SymbolFacts(desk.state, desk.view, desk.plan, desk.at, signal("BUY", desk.at, confidence=0.8))
    assert [heard.fact(name) for name in ("signal", "confidence", "source", "signal_price")] == [
        "BUY", 0.8, "flow", None,
    ]  # fmt: skip
    assert facts(desk, "signal", "confidence", "source") == (None, None, None)


def test_the_market_is_read_from_quote_and_trades() -> None:
    desk = Desk.ready(bid=9.9, ask=10.1)
    assert facts(desk, "bid", "ask", "mid", "price") == (9.9, 10.1, 10.0, None)
    assert fact(desk, "spread") == pytest.approx(0.2)
    assert fact(desk, "spread_pct") == pytest.approx(0.02)
    assert facts(desk, "volume", "change_pct", "volatility") == (None, None, None)
    desk.say(Tick(SLV, TickKind.LAST, 10.5, 1.0, desk.at, 10.5, 10.5))
    desk.view.previous_close, desk.view.volume = 10.0, 1200.0
    assert fact(desk, "price") == 10.5
    assert fact(desk, "change_pct") == pytest.approx(0.05)
    assert fact(desk, "volume") == 1200.0


def test_without_a_trade_everything_about_it_is_empty_or_unknown() -> None:
    desk = Desk.ready()
    assert facts(desk, "state", "side", "quantity") == ("flat", "", 0.0)
    for name in ("average_price", "pnl", "pnl_pct", "mfe_pct", "duration_s", "stop_price", "target_price"):
        assert fact(desk, name) is None, name
    assert facts(desk, "scale_ins", "double_downs", "trades_today", "losses_today", "realized_today") == (
        0.0, 0.0, 0.0, 0.0, 0.0,
    )  # fmt: skip


def test_a_trade_goes_from_planned_over_opening_to_open() -> None:
    desk = Desk.ready()
    desk.signal("BUY")
    assert facts(desk, "state", "side") == ("planned", "long")
    desk.bracket_taken()
    assert fact(desk, "state") == "opening"
    desk.fills(ref(MAIN), 60, "100")
    assert facts(desk, "state", "quantity") == ("opening", 60.0)
    desk.fills(ref(MAIN), 40, "100")
    desk.told(ref(MAIN), OrderStatus.FILLED, 100)
    assert facts(desk, "state", "quantity") == ("open", 100.0)
    desk.wait(200)
    desk.signal("SELL", "s2")
    assert fact(desk, "state") == "closing"


def test_an_open_trade_is_measured_at_the_price_it_could_be_closed_at() -> None:
    desk = Desk.ready().entered()
    assert facts(desk, "state", "side", "quantity", "average_price") == ("open", "long", 100.0, 100.0)
    assert facts(desk, "stop_price", "target_price", "trades_today") == (97.0, 108.0, 1.0)
    desk.quote(104.0, 104.1)
    desk.quote(102.0, 102.1)
    assert fact(desk, "pnl") == pytest.approx(200.0)
    assert fact(desk, "pnl_pct") == pytest.approx(0.02)
    assert fact(desk, "mfe_pct") == pytest.approx(0.04)
    assert fact(desk, "drawdown_pct") == pytest.approx(0.02)
    mae = fact(desk, "mae_pct")
    assert isinstance(mae, float)
    assert 0 <= mae < 0.001
    later = desk.at + timedelta(seconds=90)
    duration = at(desk, later, "duration_s")
    assert isinstance(duration, float)
    assert duration >= 90


def test_hours_are_those_of_the_exchange_with_its_half_days() -> None:
    desk = Desk.ready()
    assert facts(desk, "time", "weekday", "market_open", "half_day") == ("10:00", "fri", True, False)
    assert facts(desk, "minutes_since_open", "minutes_to_close") == (30.0, 360.0)
    half_day = datetime(2025, 11, 28, 15, 0, tzinfo=UTC)
    assert at(desk, half_day, "half_day") is True
    assert at(desk, half_day, "minutes_to_close") == 180.0
    sunday = datetime(2025, 9, 28, 15, 0, tzinfo=UTC)
    assert at(desk, sunday, "minutes_to_close") is None
    assert at(desk, sunday, "market_open") is False
    assert at(desk, TEN.replace(hour=21), "minutes_to_close") == -60.0


def test_what_rules_keep_is_read_by_name() -> None:
    desk = Desk.ready()
    desk.state = evolve(desk.state, ValueSetEvent(at=desk.at, symbol=SLV, name="hits", value=2.0))
    assert fact(desk, "value.hits") == 2.0
    assert fact(desk, "value.misses") is None


def test_fields_of_the_event_at_hand_are_read_as_numbers_and_words() -> None:
    desk = Desk.ready()
    fill = FillEvent(at=desk.at, ref=ref(MAIN), exec_id="x.01", side=Side.BUY, quantity=60, price=D("10.02"))
    heard = SymbolFacts(desk.state, desk.view, desk.plan, desk.at, fill)
    assert heard.fact("event.event_type") == "FillEvent"
    assert heard.fact("event.quantity") == 60.0
    assert heard.fact("event.price") == 10.02
    assert heard.fact("event.side") == "BUY"
    assert heard.fact("event.ref.role") == "main"
    assert heard.fact("event.symbol") == "SLV"
    assert heard.fact("event.ref") is None
    assert heard.fact("event.confidence") is None
    assert heard.fact("event.to_dict") is None


def test_every_fact_of_the_table_can_be_asked_at_any_moment_and_is_of_its_kind() -> None:
    kinds = {"a number": float, "a text": str, "true or false": bool}
    for desk in (Desk(), Desk.ready(), Desk.ready().entered()):
        for name, said in FACTS.items():
            value = fact(desk, name)
            assert value is None or type(value) is kinds[said.kind.value], name
            assert not isinstance(value, float) or math.isfinite(value)
            if said.words and value is not None:
                assert value in said.words
    known = [name for name in FACTS if fact(desk, name) is not None]
    assert OF_THE_ACCOUNT.isdisjoint(known)


def test_an_expression_is_asked_of_a_symbol() -> None:
    desk = Desk.ready().entered()
    desk.quote(103.0, 103.1)
    expression = Expression.parse("state == 'open' and pnl_pct > 0.02 and minutes_to_close > 30")
    told = SymbolFacts(desk.state, desk.view, desk.plan, desk.at)
    assert expression.value(told) is True
