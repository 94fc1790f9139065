"""The desk that all sources share: one memory, one verdict each, bounded, and the same after a restart."""

from __future__ import annotations

import tracemalloc
from datetime import timedelta

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from actors.market_clock import MarketClock
from actors.signal_desk import MAX_JUNK_PER_MIN, MAX_TAKEN_PER_MIN, SignalDesk
from protocol.control_events import FlowThresholdEvent, SourceEvent
from protocol.events import BaseEvent, PredictionSignalEvent, SignalVerdictEvent, Verdict
from protocol.signal_memory import SeenSignals
from protocol.source_settings import SourceRules
from protocol.values import Symbol
from tests.signal_bench import START, ListJournal

SLV, GLD = Symbol("SLV"), Symbol("GLD")
FEED, HOOK = SourceRules(name="feed"), SourceRules(name="hook")


def body(number: int = 1, signal: str = "BUY", **changes: object) -> dict[str, object]:
    stamp = round(START.timestamp() * 1000) - 1000
    made = {"id": f"s{number}", "ticker": "SLV", "signal": signal, "confidence": 0.8, "timestamp": stamp}
    return made | changes


@attrs.define
class Bench:
    """A desk whose clock stands still until it is set."""

    journal: ListJournal = attrs.Factory(ListJournal)
    judged: set[str] = attrs.Factory(set)
    delivered: list[str] = attrs.Factory(list)
    flows: list[str] = attrs.Factory(list)
    taken_per_min: int = MAX_TAKEN_PER_MIN
    clock: MarketClock = attrs.Factory(lambda: MarketClock(1.0, START))
    desk: SignalDesk = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        self.desk = SignalDesk(
            symbols=(SLV, GLD), journal=self.journal, deliver=self._deliver, clock=self.clock,
            judged=lambda: self.judged, deliver_flow=lambda event: self.flows.append(event.event_id),
            taken_per_min=self.taken_per_min,
        )  # fmt: skip

    def _deliver(self, event: PredictionSignalEvent) -> None:
        assert event in self.journal.events, "journalled before anything acts on it"
        self.delivered.append(event.signal_id)

    def take(self, body: object, rules: SourceRules = FEED, max_age_s: float = 90.0) -> str:
        """The code of the verdict, `passed`, or `repeated`."""
        judgement = self.desk.take(body, rules, max_age_s=max_age_s)
        if judgement.passed is not None:
            return "passed"
        verdicts = [event.code for event in judgement.events if isinstance(event, SignalVerdictEvent)]
        return verdicts[0] if verdicts else "repeated"

    async def again(self, **changes: object) -> Bench:
        """The same journal in another process, recovered."""
        bench = Bench(journal=self.journal, **changes)  # type: ignore[arg-type]
        await bench.desk.recover()
        return bench


def flow(number: int) -> FlowThresholdEvent:
    return FlowThresholdEvent(
        at=START, symbol=SLV, source="flow", event_id=f"e{number}", threshold="rich", field="d", value=2.0,
        limit=1.0, above=True, measured_at=START,
    )  # fmt: skip


# --- one memory for all ---------------------------------------------------------------------------


async def test_the_same_signal_from_two_sources_is_one_reception_and_one_trade() -> None:
    bench = Bench()
    assert bench.take(body(), FEED) == "passed"
    assert bench.take(body(), HOOK) == "repeated"
    assert bench.take(body(signal="SHORT"), HOOK) == "changed_body"
    assert bench.take(body(signal="SHORT"), HOOK) == "repeated"
    assert bench.take(body(), FEED) == "repeated"
    assert bench.delivered == ["s1"]
    assert bench.journal.alarms == ["changed_body"]
    assert bench.desk.counts("feed").accepted == 1
    assert (bench.desk.counts("hook").refused, bench.desk.counts("hook").repeated) == (1, 2)


async def test_confidence_is_asked_for_by_source_and_by_symbol() -> None:
    strict = SourceRules(name="strict", min_confidence=0.9, min_confidence_of=((GLD, 0.7),))
    bench = Bench()
    assert bench.take(body(1), strict) == "below_confidence"
    assert bench.take(body(2, ticker="GLD"), strict) == "passed"
    assert bench.take(body(3, ticker="GLD", confidence=0.69), strict) == "below_confidence"
    assert bench.take(body(4), FEED) == "passed"
    reasons = [event.reason for event in bench.journal.events if isinstance(event, SignalVerdictEvent)]
    assert reasons == ["confidence 0.8 under 0.9", "confidence 0.69 under 0.7"]


@pytest.mark.parametrize(
    ("wrong", "code"),
    [
        (body(confidence=float("nan")), "malformed"),
        (body(confidence=float("inf")), "malformed"),
        (body(notes="x" * 70_000), "malformed"),
        (body(feature_values=[[0] * 1000] * 100), "malformed"),
        (body(ticker="TSLA"), "unknown_symbol"),
        (body(timestamp=round(START.timestamp() * 1000) + 5000), "future"),
        (body(timestamp=round(START.timestamp() * 1000) - 95_000), "stale"),
        (body(signal="HOLD"), "no_trade"),
        ("just text", "malformed"),
        (None, "malformed"),
        ([body()], "malformed"),
    ],
)
async def test_what_must_not_trade_has_its_verdict_and_is_remembered(wrong: object, code: str) -> None:
    bench = Bench()
    assert bench.take(wrong) == code
    assert (await bench.again()).take(wrong) == "repeated"
    assert bench.delivered == []
    assert list(bench.journal.verdicts.values()) == [code]


async def test_what_is_no_prediction_at_all_can_be_refused_by_name_once_for_each_body() -> None:
    bench = Bench()
    for _ in range(2):
        bench.desk.refuse("a.jsonl:7", "", "malformed", "no JSON", body_hash="h1", source="file")
    assert bench.journal.verdicts == {"a.jsonl:7": "malformed"}
    bench.desk.refuse("a.jsonl:7", "", "malformed", "no JSON", body_hash="h2", source="file")
    assert sorted(bench.journal.verdicts.values()) == ["changed_body", "malformed"]
    again = await bench.again()
    again.desk.refuse("a.jsonl:7", "", "malformed", "no JSON", body_hash="h1", source="file")
    assert len(bench.journal.verdicts) == 2
    assert bench.desk.counts("file").refused == 2


async def test_a_threshold_event_is_taken_once_for_ever() -> None:
    bench = Bench()
    assert bench.desk.take_flow(flow(1))
    assert not bench.desk.take_flow(flow(1))
    assert bench.desk.take_flow(flow(2))
    again = await bench.again()
    assert not again.desk.take_flow(flow(1))
    assert (bench.flows, again.flows) == (["e1", "e2"], [])
    assert bench.take(body(id="e1")) == "passed", "a signal's id is another thing"


# --- turning around -------------------------------------------------------------------------------


def turns(bench: Bench, words: str, rules: SourceRules, first: int = 0) -> list[str]:
    spelled = {"b": "BUY", "s": "SELL", "h": "HOLD"}
    return [bench.take(body(first + number, spelled[word]), rules) for number, word in enumerate(words)]


async def test_a_symbol_that_turned_around_too_often_is_not_turned_once_more() -> None:
    rules = SourceRules(name="flow", max_flips=2, flip_flop_s=600.0)
    bench = Bench()
    assert turns(bench, "bbshb", rules) == ["passed", "passed", "passed", "no_trade", "passed"]
    assert turns(bench, "ssb", rules, first=10) == ["flip_flop", "flip_flop", "passed"]
    verdict = [event for event in bench.journal.events if isinstance(event, SignalVerdictEvent)][-1]
    assert verdict.reason == "turned around 2 times within 600 s, at most 2"
    assert bench.take(body(20, "SELL", ticker="GLD"), rules) == "passed", "each symbol has its own"
    assert turns(await bench.again(), "s", rules, first=30) == ["flip_flop"], "also after a restart"
    bench.clock.set(START + timedelta(seconds=700))
    fresh = {"timestamp": round(START.timestamp() * 1000) + 699_000}
    assert bench.take(body(40, "SELL", **fresh), rules) == "passed"


async def test_no_throttle_is_asked_for_and_none_is_there() -> None:
    assert set(turns(Bench(), "bs" * 30, FEED)) == {"passed"}


async def test_no_turn_at_all_may_be_wanted() -> None:
    rules = SourceRules(name="flow", max_flips=0)
    assert turns(Bench(), "bsb", rules) == ["passed", "flip_flop", "passed"]


# --- floods and memory ----------------------------------------------------------------------------


async def test_a_flood_of_junk_is_counted_and_told_once_instead_of_filling_the_journal() -> None:
    bench = Bench()
    for number in range(MAX_JUNK_PER_MIN + 500):
        bench.take({"junk": number})
    assert len(bench.journal.verdicts) == MAX_JUNK_PER_MIN
    assert bench.journal.alarms == ["signals_flood"]
    assert bench.desk.counts("feed").flooded == 500
    assert bench.take(body()) == "passed", "a real signal gets through"
    assert bench.take({"junk": -1}, HOOK) == "malformed", "another source has room of its own"
    bench.clock.set(START + timedelta(seconds=61))
    assert bench.take({"junk": MAX_JUNK_PER_MIN + 1}) == "malformed"


async def test_a_flood_of_predictions_is_cut_off_before_any_of_it_is_written_or_traded() -> None:
    bench = Bench(taken_per_min=50)
    for number in range(80):
        bench.take(body(number, ticker="EVIL"))
    assert len(bench.journal.received) == len(bench.journal.verdicts) == 50
    assert bench.journal.alarms == ["signals_flood"]
    assert bench.desk.counts("feed").flooded == 30
    assert bench.take(body(1000)) == "repeated"
    assert bench.take(body(1001), HOOK) == "passed"
    assert bench.delivered == ["s1001"]


@pytest.mark.slow
async def test_twenty_thousand_ids_are_remembered_in_little_more_than_a_megabyte() -> None:
    seen, count = SeenSignals(), 20_000
    tracemalloc.start()
    for number in range(count):
        seen.evolve(SignalVerdictEvent(
            at=START, cause=f"body:{number:024x}", signal_id=f"SLV-{number}", symbol="SLV",
            verdict=Verdict.REFUSED, code="malformed", reason="",
        ))  # fmt: skip
    used_bytes, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert len(seen) == count
    assert used_bytes < 1_300_000, used_bytes
    assert all(seen.holds(f"SLV-{number}", f"{number:024x}") for number in range(0, count, 997))
    assert not seen.holds("SLV-5", f"{6:024x}")
    assert "SLV-x" not in seen


# --- restarts -------------------------------------------------------------------------------------


async def test_what_was_received_and_has_no_verdict_is_handed_on_again_by_its_own_source() -> None:
    bench = Bench()
    bench.take(body(1), FEED)
    bench.take(body(2), HOOK)
    bench.take(body(3), HOOK)
    bench.take(body(4), SourceRules(name="gone"))
    again = await bench.again(judged={"s2"})
    assert again.delivered == []
    again.desk.hand_on(FEED, max_age_s=90.0)
    again.desk.hand_on(FEED, max_age_s=90.0)
    assert again.delivered == ["s1"]
    again.desk.hand_on(HOOK, max_age_s=0.5)
    again.desk.give_up(["feed", "hook"])
    assert again.delivered == ["s1"]
    assert bench.journal.verdicts == {"s3": "stale", "s4": "source_gone"}
    assert len(bench.journal.received) == 4


async def test_a_signal_that_kills_its_receiver_is_handed_on_again_by_the_next_start_of_its_source() -> None:
    bench, broken = Bench(), True

    def deliver(event: PredictionSignalEvent) -> None:
        if broken:
            raise RuntimeError("in hand")
        bench.delivered.append(event.signal_id)

    desk = SignalDesk(symbols=(SLV,), journal=bench.journal, deliver=deliver, clock=bench.clock)
    with pytest.raises(RuntimeError, match="in hand"):
        desk.take(body(), FEED, max_age_s=90.0)
    broken = False
    desk.hand_on(FEED, max_age_s=90.0)
    desk.hand_on(FEED, max_age_s=90.0)
    assert bench.delivered == ["s1"]


async def test_the_desk_knows_who_was_stopped_and_up_to_when_it_had_heard() -> None:
    bench = Bench()
    assert bench.desk.heard_at is None
    for name, what in (("feed", "stopped"), ("hook", "stopped"), ("hook", "started")):
        bench.desk.note_source(name, what, "by joe")
    again = await bench.again()
    assert {name: event.detail for name, event in again.desk.stopped.items()} == {"feed": "by joe"}
    assert again.desk.heard_at == START
    assert all(isinstance(event, SourceEvent) for event in bench.journal.events)


words = st.sampled_from(["BUY", "SELL", "HOLD"])
sent = st.tuples(st.integers(0, 6), words, st.sampled_from([0.2, 0.9]), st.sampled_from([FEED, HOOK]))


@given(st.lists(sent, max_size=25), st.integers(0, 25))
def test_whoever_sends_whatever_and_whenever_it_restarts_each_id_passes_at_most_once(
    sends: list[tuple[int, str, float, SourceRules]], restart_at: int
) -> None:
    journal, delivered = ListJournal(), list[str]()
    clock = MarketClock(1.0, START)

    def desk_over(events: list[BaseEvent]) -> SignalDesk:
        desk = SignalDesk(
            symbols=(SLV,), journal=journal, clock=clock,
            deliver=lambda event: delivered.append(event.signal_id),
        )  # fmt: skip
        for event in events:
            desk._seen.evolve(event)
        return desk

    desk = desk_over([])
    for place, (number, word, confidence, rules) in enumerate(sends):
        if place == restart_at:
            desk = desk_over(list(journal.events))
        limited = attrs.evolve(rules, max_flips=1)
        desk.take(body(number, word, confidence=confidence), limited, max_age_s=90.0)
    assert len(set(delivered)) == len(delivered)
    assert not set(delivered) & set(journal.verdicts)
    assert set(delivered) | set(journal.verdicts) >= set(journal.received)
