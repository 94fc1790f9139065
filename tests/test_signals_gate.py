"""The gate of the signals, pure: what one prediction may say, and what becomes of it."""

from __future__ import annotations

import math
from datetime import UTC, datetime, timedelta
from random import Random
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocol.events import AlarmEvent, BaseEvent, PredictionSignalEvent, SignalVerdictEvent, Verdict
from protocol.predictions import PredictionFault, hash_body, read_prediction
from protocol.rate_window import RateWindow
from protocol.signal_gate import GateLimits, Judgement, judge, judge_again, unjudged
from protocol.signal_memory import SeenSignals
from protocol.source_health import SourceHealth, TroubleKind
from protocol.values import Symbol

NOW = datetime(2019, 2, 11, 15, 0, tzinfo=UTC)
LIMITS = GateLimits(symbols=frozenset({"SLV", "GLD"}))


def prediction(*, age_s: float = 1.0, **changes: Any) -> dict[str, object]:
    timestamp_ms = round((NOW.timestamp() - age_s) * 1000)
    body: dict[str, object] = {
        "id": f"SLV-{timestamp_ms}",
        "ticker": "SLV",
        "signal": "BUY",
        "numeric": 1,
        "confidence": 0.8,
        "timestamp": timestamp_ms,
        "stock_price": 14.7,
        "feature_values": {"momentum_z": 1.9},
    }
    return {**body, **changes}


def tell(seen: SeenSignals, body: object, limits: GateLimits = LIMITS, allowance_s: float = 0.0) -> Judgement:
    judgement = judge(seen, body, limits, at=NOW, source="flow", allowance_s=allowance_s)
    for event in judgement.events:
        seen.evolve(event)
    return judgement


def only_verdict(judgement: Judgement) -> SignalVerdictEvent:
    verdicts = [event for event in judgement.events if isinstance(event, SignalVerdictEvent)]
    assert len(verdicts) == 1
    assert judgement.passed is None
    return verdicts[0]


def test_a_good_prediction_passes_as_a_journalled_reception() -> None:
    body = prediction()
    expected = PredictionSignalEvent(
        at=NOW,
        symbol=Symbol("SLV"),
        signal_id=str(body["id"]),
        source="flow",
        signal="BUY",
        confidence=0.8,
        predicted_at=NOW - timedelta(seconds=1),
        stock_price=14.7,
        body_hash=hash_body(body),
    )
    assert tell(SeenSignals(), body) == Judgement((expected,), passed=expected)


def test_a_prediction_without_an_id_is_known_by_ticker_and_timestamp() -> None:
    body = prediction()
    own_id = body.pop("id")
    passed = tell(SeenSignals(), body).passed
    assert passed is not None
    assert passed.signal_id == own_id


def test_a_repetition_is_no_new_reception_whatever_the_order_of_its_keys() -> None:
    seen, body = SeenSignals(), prediction()
    assert tell(seen, body).passed is not None
    assert tell(seen, dict(reversed(body.items()))) == Judgement()
    assert tell(seen, {**body, "prediction_time": "14:59:59"}) == Judgement()


def test_the_same_id_with_another_body_is_refused_once_with_an_alarm() -> None:
    seen = SeenSignals()
    tell(seen, prediction())
    changed = tell(seen, prediction(signal="SHORT"))
    verdict = only_verdict(changed)
    assert (verdict.verdict, verdict.code, verdict.symbol) == (Verdict.REFUSED, "changed_body", "SLV")
    assert verdict.signal_id not in (prediction()["id"], "")
    assert [event.code for event in changed.events if isinstance(event, AlarmEvent)] == ["changed_body"]
    assert tell(seen, prediction(signal="SHORT")) == Judgement()
    assert tell(seen, prediction()) == Judgement()


@pytest.mark.parametrize(
    ("body", "verdict", "code"),
    [
        (prediction(ticker="TSLA"), Verdict.REFUSED, "unknown_symbol"),
        (prediction(signal="HOLD"), Verdict.IGNORED, "no_trade"),
        (prediction(signal="buy"), Verdict.IGNORED, "no_trade"),
        (prediction(confidence=0.4999), Verdict.IGNORED, "below_confidence"),
        (prediction(age_s=90.1), Verdict.REFUSED, "stale"),
        (prediction(age_s=-2.1), Verdict.REFUSED, "future"),
    ],
)
def test_what_must_not_trade_is_received_and_answered_with_its_reason(
    body: object, verdict: Verdict, code: str
) -> None:
    judgement = tell(SeenSignals(), body)
    answer = only_verdict(judgement)
    assert (answer.verdict, answer.code) == (verdict, code)
    assert isinstance(judgement.events[0], PredictionSignalEvent)
    assert judgement.events[0].signal_id == answer.signal_id


@pytest.mark.parametrize("age_s", [90.0, 0.0, -2.0])
def test_the_bounds_of_age_and_confidence_still_pass(age_s: float) -> None:
    assert tell(SeenSignals(), prediction(age_s=age_s, confidence=0.5)).passed is not None


def test_what_our_own_machine_added_does_not_make_a_signal_stale() -> None:
    assert tell(SeenSignals(), prediction(age_s=93.0), allowance_s=3.0).passed is not None


@pytest.mark.parametrize(
    ("change", "part"),
    [
        ({"confidence": 1.01}, "confidence"),
        ({"confidence": math.nan}, "confidence"),
        ({"confidence": True}, "confidence"),
        ({"confidence": "0.9"}, "confidence"),
        ({"confidence": None}, "confidence"),
        ({"timestamp": "yesterday"}, "timestamp"),
        ({"timestamp": 1e18}, "timestamp"),
        ({"timestamp": -5}, "timestamp"),
        ({"ticker": "S" * 65}, "ticker"),
        ({"ticker": "SL\x1b[31mV"}, "ticker"),
        ({"ticker": ""}, "ticker"),
        ({"signal": 1}, "signal"),
        ({"stock_price": -1}, "stock_price"),
        ({"stock_price": math.inf}, "stock_price"),
        ({"probabilities": [0.1, math.nan]}, "probabilities"),
        ({"numeric": 7}, "numeric"),
        ({"numeric": [1]}, "numeric"),
        ({"id": ["x"]}, "id"),
        ({"id": 10**400}, "id"),
        ({"datetime": "x" * 65}, "datetime"),
    ],
)
def test_a_malformed_prediction_gets_exactly_one_verdict_that_names_the_field(
    change: dict[str, Any], part: str
) -> None:
    seen, body = SeenSignals(), prediction(**change)
    verdict = only_verdict(tell(seen, body))
    assert (verdict.verdict, verdict.code) == (Verdict.REFUSED, "malformed")
    assert part in verdict.reason
    assert verdict.reason.isprintable()
    assert tell(seen, body) == Judgement()


def test_all_faults_of_a_prediction_are_named_at_once() -> None:
    fault = read_prediction({"signal": "BUY"}, at=NOW, source="flow")
    assert isinstance(fault, PredictionFault)
    assert fault.reason == "has no ticker; has no confidence; has no timestamp"
    assert fault.signal_id == f"body-{fault.body_hash}"


def test_what_nobody_can_hash_the_short_way_is_still_judged_once() -> None:
    deep: object = []
    for _ in range(5000):
        deep = [deep]
    seen = SeenSignals()
    for body in (deep, {"x": 2**70}, prediction(extra=deep)):
        assert tell(seen, body).events
        assert tell(seen, body) == Judgement()


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=80),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=12), inner, max_size=4),
    max_leaves=8,
)
FIELDS = ("id", "ticker", "signal", "confidence", "timestamp", "stock_price", "numeric", "datetime", "new")
near_predictions = st.dictionaries(st.sampled_from(FIELDS), json_values, max_size=3).map(
    lambda changes: {**prediction(), **changes}
)


@given(st.lists(json_values | near_predictions, max_size=12))
@pytest.mark.slow
def test_whatever_comes_every_signal_has_at_most_one_gate_verdict_and_passes_at_most_once(
    bodies: list[object],
) -> None:
    seen = SeenSignals()
    judgements = [tell(seen, body) for body in bodies * 2]
    events = [event for judgement in judgements for event in judgement.events]
    verdicts = [event.signal_id for event in events if isinstance(event, SignalVerdictEvent)]
    passed = [judgement.passed.signal_id for judgement in judgements if judgement.passed is not None]
    assert len(set(verdicts)) == len(verdicts)
    assert len(set(passed)) == len(passed)
    assert not set(verdicts) & set(passed)
    assert all(not judgement.events for judgement in judgements[len(bodies) :])


@given(st.lists(near_predictions, max_size=10))
@pytest.mark.slow
def test_replaying_the_stream_rebuilds_the_memory(bodies: list[object]) -> None:
    seen = SeenSignals()
    events: list[BaseEvent] = [event for body in bodies for event in tell(seen, body).events]
    again = SeenSignals()
    for event in [*events, *events]:
        again.evolve(event)
    assert len(again) == len(seen)
    assert all(tell(again, body) == Judgement() for body in bodies)


@given(json_values)
def test_the_hash_of_a_body_is_that_of_what_its_json_says(body: object) -> None:
    try:
        text = orjson.dumps(body)
    except orjson.JSONEncodeError:
        assert hash_body(body) == hash_body(body)
    else:
        assert hash_body(orjson.loads(text)) == hash_body(body)


def test_a_reception_without_a_verdict_is_still_waiting_after_a_restart() -> None:
    seen = SeenSignals()
    bodies = [prediction(age_s=age_s) for age_s in (1, 2, 3)] + [prediction(age_s=100)]
    events: list[BaseEvent] = [event for body in bodies for event in tell(seen, body).events]
    judged_by_its_symbol = str(bodies[1]["id"])
    waiting = unjudged(events, {judged_by_its_symbol})
    assert [event.signal_id for event in waiting] == [bodies[0]["id"], bodies[2]["id"]]


def test_a_reception_that_waited_too_long_is_answered_instead_of_handed_on() -> None:
    passed = tell(SeenSignals(), prediction()).passed
    assert passed is not None
    assert judge_again(passed, LIMITS, at=NOW + timedelta(seconds=89)) == Judgement((), passed=passed)
    late = only_verdict(judge_again(passed, LIMITS, at=NOW + timedelta(seconds=90)))
    assert (late.signal_id, late.code) == (passed.signal_id, "stale")


def test_the_rate_window_frees_a_place_a_minute_after_it_was_taken() -> None:
    window = RateWindow(2)
    assert window.take(NOW)
    assert window.take(NOW + timedelta(seconds=10))
    assert not window.take(NOW + timedelta(seconds=59))
    assert window.free_at(NOW + timedelta(seconds=59)) == NOW + timedelta(seconds=60)
    assert window.take(NOW + timedelta(seconds=60))
    assert window.free_at(NOW + timedelta(seconds=60)) == NOW + timedelta(seconds=70)


@given(st.integers(1, 5), st.lists(st.floats(0, 100), max_size=40))
def test_no_minute_ever_holds_more_than_the_limit(limit: int, gaps_s: list[float]) -> None:
    window, at, taken = RateWindow(limit), NOW, []
    for gap_s in gaps_s:
        at += timedelta(seconds=gap_s)
        assert (window.free_at(at) <= at) == (window.remaining(at) > 0)
        if window.take(at):
            taken.append(at)
    for begin in taken:
        assert sum(begin <= other < begin + timedelta(minutes=1) for other in taken) <= limit


def test_a_trouble_begins_with_its_first_ticker_and_is_over_with_its_last() -> None:
    health = SourceHealth()
    assert health.note_failure("SLV", TroubleKind.TIMEOUT)
    assert not health.note_failure("GLD", TroubleKind.TIMEOUT)
    assert not health.note_failure("SLV", TroubleKind.TIMEOUT)
    assert health.note_success("SLV") == ()
    assert health.note_success("GLD") == (TroubleKind.TIMEOUT,)
    assert health.note_success("GLD") == ()
    assert health.note_failure("GLD", TroubleKind.TIMEOUT)


def test_backoff_doubles_to_its_bound_and_ends_with_a_success() -> None:
    health, random = SourceHealth(), Random(1)
    delays = []
    for _ in range(10):
        health.note_failure("SLV", TroubleKind.SERVER_ERROR)
        delays.append(health.backoff_loop_s("SLV", random))
    assert 0.5 <= delays[0] <= 0.6
    assert 2.0 <= delays[2] <= 2.4
    assert 30.0 <= delays[-1] <= 36.0
    health.note_success("SLV")
    health.note_failure("SLV", TroubleKind.SERVER_ERROR)
    assert health.backoff_loop_s("SLV", random) <= 0.6
