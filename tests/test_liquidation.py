"""The broker closes positions for want of margin: the account is halted, and a person is told (F14)."""

from __future__ import annotations

from decimal import Decimal

import attrs

from protocol.control_events import KillLevelEvent
from protocol.events import AlarmEvent, ForeignFillEvent
from protocol.journal import decode, encode
from protocol.risk.words import KillLevel
from protocol.session_translation import report_of_execution
from protocol.tws import messages as tws
from protocol.values import Side
from tests.broker_fakes import START, contract
from tests.journals import GLD, SLV, at
from tests.risk_stage import RiskStage
from tests.symbol_desk import Desk


def sold(symbol: str = "SLV", seconds: float = 5, *, liquidation: bool = True) -> ForeignFillEvent:
    return ForeignFillEvent(
        at=at(seconds), symbol=SLV if symbol == "SLV" else GLD, exec_id=f"{symbol}{seconds}.01",
        side=Side.SELL, quantity=100, price=Decimal("15"), liquidation=liquidation,
    )  # fmt: skip


def codes(events: list[object]) -> list[str]:
    return [event.code for event in events if isinstance(event, AlarmEvent)]


def test_the_flag_of_an_execution_reaches_the_journal() -> None:
    execution = tws.Execution(
        exec_id="0001.01", time="20250123 10:00:01 US/Eastern", acct_number="DU1234567", exchange="IEX",
        side="SLD", shares=Decimal(100), price=15.0, perm_id=9, client_id=0, order_id=0, order_ref="",
        cum_qty=Decimal(100), avg_price=15.0, liquidation=1,
    )  # fmt: skip
    told = report_of_execution(tws.ExecDetails(1, contract(), execution), SLV, None, START)
    assert told.liquidation
    usual = tws.ExecDetails(1, contract(), attrs.evolve(execution, liquidation=0))
    assert not report_of_execution(usual, SLV, None, START).liquidation
    desk = Desk.ready().entered()
    desk.say(told)
    (event,) = [each for each in desk.events if isinstance(each, ForeignFillEvent)]
    assert event.liquidation
    assert decode("ForeignFillEvent", 1, encode(event)) == event


def test_a_row_of_before_without_the_flag_is_read_as_a_trade_of_a_person() -> None:
    row = encode(sold(liquidation=False))
    older = row.replace(b',"liquidation":false', b"")
    assert older != row
    assert decode("ForeignFillEvent", 1, older) == sold(liquidation=False)


def test_a_liquidation_halts_the_account_with_the_reason_and_an_alarm_of_its_own() -> None:
    stage = RiskStage()
    stage.open()
    stage.tell(sold())
    events = stage.look(6)
    (level,) = [event for event in events if isinstance(event, KillLevelEvent)]
    assert level.level == KillLevel.HALT.value
    assert level.why == "the broker closes positions for want of margin (SELL 100 SLV at 15)"
    assert codes(list(events)) == ["LIQUIDATION", "KILL_LEVEL"]
    assert stage.look(7) == []


def test_what_a_person_sells_halts_nothing() -> None:
    stage = RiskStage()
    stage.open()
    stage.look(1)
    stage.tell(sold(liquidation=False))
    assert stage.look(6) == []


def test_a_person_may_lower_the_level_and_the_next_liquidation_raises_it_again() -> None:
    stage = RiskStage()
    stage.open()
    stage.tell(sold())
    stage.look(6)
    stage.tell(
        KillLevelEvent(at=at(60), level=0, before=KillLevel.HALT.value, who="me", why="paid in"),
        stream="risk",
    )
    assert stage.look(61) == []
    stage.tell(sold("GLD", 70))
    assert codes(list(stage.look(71))) == ["LIQUIDATION", "KILL_LEVEL"]


def test_after_a_restart_the_level_still_holds() -> None:
    stage = RiskStage()
    stage.open()
    stage.tell(sold())
    stage.look(6)
    again = stage.again()
    assert again.gate.standing.level is KillLevel.HALT
    assert again.look(8) == []
