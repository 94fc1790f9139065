"""The checks of the runs on real processes find what they are for: each is shown what breaks its law."""

from __future__ import annotations

import random
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from actors.journal import Journal
from protocol.events import FillEvent
from protocol.exchange.fault_settings import read_fault
from protocol.values import Side
from tests.proxy_troubles import TROUBLES, Garble, Split, Stall, Step, Way, draw_plan, read_command
from tests.soak_faults import AT_TWS, OF_A_SYMBOL, AtProxy, AtTws, KillActor, draw_deed, lasts_s, name_of
from tests.soak_report import merged
from tests.soak_samples import Sample, growth_kib_per_min, slope
from tests.symbol_desk import TEN, ref
from tests.truth_checks import Line, differences, too_long_bare, twice, uncovered, while_anybody_was_there


def link(mono: float, up: bool) -> Line:
    kind = "client_connected" if up else "client_disconnected"
    return {"kind": kind, "mono": mono, "connected": [1] if up else []}


def bought(mono: float, quantity: int = 100, **more: Any) -> Line:
    line = {"kind": "execution", "mono": mono, "symbol": "SLV", "side": "BOT", "quantity": quantity}
    return line | {"perm_id": 1, "exec_id": f"e{mono}.01", "order_ref": "a:SLV:1:main:r0"} | more


def stop(mono: float, status: str = "PreSubmitted", quantity: int = 100, **more: Any) -> Line:
    line = {"kind": "order_accepted", "mono": mono, "symbol": "SLV", "perm_id": 2, "type": "STP"}
    line |= {"action": "SELL", "quantity": quantity, "filled": 0, "status": status}
    return line | {"order_ref": "a:SLV:1:stop:r0"} | more


def test_link_time_without_the_whole_stop_counts_over_all_the_connections_of_a_spell() -> None:
    lines = [link(0, True), bought(1), link(2.5, False), link(10, True), stop(11)]
    (bare,) = uncovered(lines).values()
    assert (bare.in_one_s, bare.in_all_s) == (1.5, 2.5)
    assert list(too_long_bare(lines)) == ["SLV was 2.50 s of link time without its whole stop"]


def test_a_stop_that_is_too_small_or_on_its_own_side_or_gone_does_not_cover() -> None:
    for wrong in (
        stop(1, quantity=60),
        stop(1, action="BUY"),
        stop(1, status="Cancelled", kind="order_cancelled"),
    ):
        (bare,) = uncovered([link(0, True), stop(0.5), wrong, bought(2), link(6, False)]).values()
        assert bare.in_one_s == 4.0
    (bare,) = uncovered([link(0, True), stop(1), bought(2), link(6, False)]).values()
    assert bare.in_one_s == 0.0


def test_a_stop_that_has_filled_in_part_covers_what_is_left() -> None:
    sold = {"side": "SLD", "perm_id": 2, "exec_id": "e3.01"}
    lines = [link(0, True), stop(1), bought(2), bought(3, 40, **sold), link(9, False)]
    (bare,) = uncovered(lines).values()
    assert bare.in_all_s == 0.0


def test_spans_in_which_nobody_could_act_do_not_count() -> None:
    lines = [link(0, True), bought(1), stop(11), link(12, False)]
    (bare,) = uncovered(lines, ((0.5, 4.0), (9.0, 20.0))).values()
    assert bare.in_one_s == 5.0
    assert merged([(3, 5), (1, 2), (4, 9)]) == ((1, 2), (3, 9))


def test_an_order_that_is_there_under_two_permanent_ids_is_there_twice() -> None:
    assert twice([stop(1), stop(2)]) == []
    assert twice([stop(1), stop(2, perm_id=3)]) == ["a:SLV:1:stop:r0"]


def test_executions_and_positions_are_held_against_the_journal_both_ways(tmp_path: Path) -> None:
    journal = Journal.open(tmp_path)
    for exec_id, quantity in (("e1.01", 100), ("e7.01", 5)):
        fill = FillEvent(
            at=TEN, ref=ref("main"), exec_id=exec_id, side=Side.BUY, quantity=quantity, price=Decimal(100)
        )
        journal.append("symbol:SLV", [fill])
    journal.close()
    symbol = ref("main").symbol
    lines = [bought(1, symbol=symbol), bought(2, 7, symbol=symbol)]
    assert set(differences(lines, tmp_path)) == {
        "the journal lacks the execution e2.01 of a:SLV:1:main:r0",
        "the venue lacks the execution e7.01",
        f"{symbol}: 107 at the venue, 105 in the journal",
    }


def test_an_execution_on_its_way_when_the_last_client_left_is_asked_for_by_the_next(tmp_path: Path) -> None:
    Journal.open(tmp_path).close()
    assert list(differences([link(0, True), bought(1.9), link(2, False)], tmp_path)) == []
    assert len(list(differences([link(0, True), bought(1.7), link(2, False)], tmp_path))) == 2


def test_what_happens_after_the_last_client_has_left_is_nobodys_fault() -> None:
    lines = [link(0, True), bought(1), link(2, False), bought(3)]
    assert while_anybody_was_there(lines) == lines[:3]


# --- what is done ---------------------------------------------------------------------------------


@pytest.mark.parametrize("fault", AT_TWS, ids=lambda fault: fault["kind"])
def test_the_simulator_knows_every_fault_of_the_soak(fault: dict[str, Any]) -> None:
    problems: list[str] = []
    read_fault(fault | ({"symbol": "SLV"} if fault["kind"] in OF_A_SYMBOL else {}), "fault", problems)
    assert problems == []


def test_the_same_seed_draws_the_same_deeds_and_every_kind_comes() -> None:
    def drawn() -> list[Any]:
        rng = random.Random(3)
        return [draw_deed(rng, ("SLV", "GLD")) for _ in range(1000)]

    assert drawn() == drawn()
    kinds = {name_of(deed) for deed in drawn()}
    assert kinds >= {f"tws {fault['kind']}" for fault in AT_TWS}
    assert kinds >= {f"proxy {trouble.__name__.lower()}" for trouble in TROUBLES.values()}
    assert "actor restart" in kinds
    assert draw_plan(5, 600.0) == draw_plan(5, 600.0) != draw_plan(6, 600.0)


def test_only_what_concerns_the_line_excuses_it() -> None:
    assert lasts_s(KillActor("SLV")) == lasts_s(AtTws({"kind": "swallow_request"})) == 0.0
    assert lasts_s(AtTws({"kind": "freeze", "duration_loop_s": 3.0})) == 13.0
    assert lasts_s(AtProxy(Step(0.0, Stall(), for_s=4.0))) == 14.0


def test_a_command_of_the_proxy_is_a_word_its_numbers_a_way_and_a_time() -> None:
    assert read_command("split 2 from_tws for 3") == Step(0.0, Split(2), Way.FROM_TWS, 3.0)
    assert read_command("garble") == Step(0.0, Garble())
    assert read_command("pass") is None
    for wrong in ("", "explode", "split 1 2 3", "stall sideways"):
        with pytest.raises(ValueError, match=r"\w"):
            read_command(wrong)


def test_growth_is_that_of_the_life_that_was_watched_longest_after_its_warm_up() -> None:
    def sample(at_s: float, life: int, rss_kib: float) -> Sample:
        return Sample(at_s=at_s, life=life, rss_kib=rss_kib, threads=3, fds=20, cpu_s=0.0)

    first = [sample(at * 60.0, 1, 1000.0 if at < 5 else 5000.0 + 10.0 * at) for at in range(40)]
    second = [sample(2400.0 + at * 60.0, 2, 9000.0 * at) for at in range(8)]
    growth, minutes = growth_kib_per_min([*first, *second], 300.0)
    assert growth == pytest.approx(10.0)
    assert minutes == 34.0
    assert slope([(1.0, 5.0)]) == 0.0
