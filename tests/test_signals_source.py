"""The polling signal source against a real server on loopback: what it receives, survives and remembers."""

from __future__ import annotations

import os
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path

import pytest
import trio

from actors.flow_api import load_predictions
from actors.flow_client import MAX_BODY_BYTES, FlowClient, Trouble, check_base_url
from protocol.events import SignalVerdictEvent, Verdict
from protocol.flow_service import FlowLimits
from protocol.source_health import TroubleKind
from tests.signal_bench import (
    KEY,
    START,
    ListJournal,
    Run,
    embedded,
    http,
    scripted,
    stored,
    success,
)

# --- what it receives -----------------------------------------------------------------------------


async def test_every_visible_prediction_is_journalled_then_delivered_or_answered() -> None:
    lines = [
        stored("SLV", 1),
        stored("GLD", 4),
        stored("GLD", 8, signal="HOLD"),
        stored("SLV", 12, confidence=0.1),
        stored("SLV", 13, confidence="high"),
        stored("SLV", -600),
        stored("SLV", 3600),
    ]
    async with embedded(*lines) as run:
        async with run.going():
            await run.until(lambda: len(run.journal.received) + len(run.journal.verdicts) >= 8)
            await trio.sleep(0.2)
        assert sorted(run.delivered) == ["GLD-4", "SLV-1"]
        assert run.journal.verdicts == {
            "GLD-8": "no_trade",
            "SLV-12": "below_confidence",
            "SLV-13": "malformed",
            "SLV--600": "stale",
        }
        assert sorted(run.journal.received) == ["GLD-4", "GLD-8", "SLV--600", "SLV-1", "SLV-12"]
        assert run.journal.alarms == []
        assert run.source.statistics().repeated > 0


async def test_a_full_page_is_followed_by_the_rest() -> None:
    lines = [stored("SLV", second / 10) for second in range(-450, 0)]
    async with embedded(*lines) as run, run.going():
        await run.until(lambda: len(run.delivered) >= len(lines))
        assert run.delivered == run.journal.received
        assert run.delivered == [f"SLV-{second / 10:g}" for second in range(-450, 0)]


async def test_a_service_that_gives_the_oldest_of_a_full_page_loses_nothing_either() -> None:
    lines = [stored("SLV", second / 10) for second in range(-450, 0)]

    async def oldest_first(request: str, stream: trio.SocketStream) -> None:
        start = request.partition("start_date=")[2].partition("&")[0].partition(" ")[0]
        end = request.partition("end_date=")[2].partition("&")[0].partition(" ")[0]
        start_ms, end_ms = (
            None if not text else datetime.fromisoformat(text.replace("%3A", ":")).timestamp() * 1000
            for text in (start, end)
        )
        asked = [
            line
            for line in lines
            if (start_ms is None or line.timestamp_ms >= start_ms)
            and (end_ms is None or line.timestamp_ms <= end_ms)
        ]
        await stream.send_all(success(*asked[:100]))

    async with scripted(oldest_first) as url:
        run = Run(url, symbols=("SLV",))
        async with run.going():
            await run.until(lambda: len(run.delivered) >= len(lines))
        assert sorted(run.delivered) == sorted(f"SLV-{second / 10:g}" for second in range(-450, 0))


async def test_tickers_that_nobody_trades_get_their_verdicts_too() -> None:
    async with embedded(stored("TSLA", 1), stored("SLV", 1)) as service:
        run = Run(service.url, also_polled=("TSLA",))
        async with run.going():
            await run.until(lambda: "TSLA-1" in run.journal.verdicts and bool(run.delivered))
        assert run.journal.verdicts == {"TSLA-1": "unknown_symbol"}
        assert run.delivered == ["SLV-1"]


async def test_draining_polls_everything_once_more_right_now() -> None:
    async with embedded(stored("SLV", 5), stored("GLD", 5)) as run:
        slow = Run(run.url, poll_s=80.0)
        async with slow.going():
            await slow.until(lambda: slow.clock.now() > START + timedelta(seconds=10))
            assert slow.delivered == []
            assert await slow.source.drain() == ()
            assert sorted(slow.delivered) == ["GLD-5", "SLV-5"]


async def test_draining_names_what_it_could_not_poll() -> None:
    async with scripted(partial(_send, http(b"{}", 500))) as url:
        run = Run(url)
        assert await run.source.drain(0.2) == ("GLD", "SLV")
        async with run.going():
            assert await run.source.drain(0.3) == ("GLD", "SLV")


async def test_draining_gets_through_a_limit_made_for_the_polling() -> None:
    limits = FlowLimits.for_polling(tickers=2, poll_s=60.0)
    assert limits == FlowLimits(30, 15)
    async with embedded(stored("SLV", 1), stored("GLD", 2), limits=limits) as service:
        run = Run(service.url, poll_s=60.0)
        async with run.going():
            await run.until(lambda: run.clock.now() > START + timedelta(seconds=5))
            for _ in range(3):
                assert await run.source.drain() == ()
    assert sorted(run.delivered) == ["GLD-2", "SLV-1"]


async def test_a_market_that_skips_ahead_does_not_leave_the_polls_behind() -> None:
    async with embedded(stored("SLV", 600)) as service:
        run = Run(service.url, speed=1.0, poll_s=400.0)
        async with run.going():
            await run.until(lambda: run.source.statistics().polls == 1)
            later = START + timedelta(seconds=605)
            service.service_clock.set(later)
            run.clock.set(later)
            await run.until(lambda: run.delivered == ["SLV-600"], within_loop_s=2.0)


# --- what it survives -----------------------------------------------------------------------------


async def _send(answer: bytes, _request: str, stream: trio.SocketStream) -> None:
    await stream.send_all(answer)


@pytest.mark.parametrize(
    ("answer", "alarm"),
    [
        (http(b'{"status":"error","code":401}', 401), "signals_unauthorized"),
        (http(b"oops", 500, content_type="text/html"), "signals_server_error"),
        (http(b"{}", 404), "signals_unknown_ticker"),
        (http(b"", 302, "Location: https://elsewhere.example/"), "signals_refused"),
        (http(b"{not json"), "signals_bad_body"),
        (http(b"[]"), "signals_bad_body"),
        (http(b'{"status":"success","data":{"predictions":"many"}}'), "signals_bad_body"),
        (http(b'{"status":"success"}', content_type="text/html"), "signals_bad_body"),
        (http(b"xx", 200, "Content-Encoding: gzip"), "signals_bad_body"),
        (http(b'{"status":"success","data":{"predictions":[' + b"1," * 2000 + b"1]}}"), "signals_too_large"),
        (b"HTTP/1.1 nonsense\r\n\r\n", "signals_unreachable"),
        (b"", "signals_unreachable"),
    ],
)
@pytest.mark.slow
async def test_a_service_in_trouble_raises_one_alarm_and_one_when_it_is_over(
    answer: bytes, alarm: str
) -> None:
    healthy = False

    async def respond(_request: str, stream: trio.SocketStream) -> None:
        await stream.send_all(success(stored("SLV", 0)) if healthy else answer)

    async with scripted(respond) as url:
        # As rarely as the service's usual limit allows: the limit is not what this is about.
        run = Run(url, poll_s=5.0)
        async with run.going():
            await run.until(lambda: run.source.statistics().troubles >= 2)
            assert run.journal.alarms == [alarm]
            healthy = True
            await run.until(lambda: len(run.journal.alarms) > 1)
        assert run.journal.received == ["SLV-0"]
        assert run.journal.alarms == [alarm, "signals_recovered"]
        assert KEY not in repr(run.journal.events)


async def test_a_body_without_end_is_cut_off_at_its_limit() -> None:
    sent = 0

    async def flood(_request: str, stream: trio.SocketStream) -> None:
        nonlocal sent
        await stream.send_all(
            b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nConnection: close\r\n\r\n"
        )
        for _ in range(800):
            await stream.send_all(b" " * 65536)
            sent += 65536

    async with scripted(flood) as url, FlowClient(url, KEY) as client:
        outcome = await client.fetch_predictions("SLV")
        assert isinstance(outcome, Trouble)
        assert outcome.kind is TroubleKind.TOO_LARGE
        # What the sockets buffer comes on top of what was read.
        assert sent < 15 * MAX_BODY_BYTES, sent


async def test_a_body_that_announces_its_size_is_not_read_at_all() -> None:
    head = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 50000000\r\n\r\n"
    async with scripted(partial(_send, head)) as url, FlowClient(url, KEY) as client:
        outcome = await client.fetch_predictions("SLV")
    assert isinstance(outcome, Trouble)
    assert outcome.kind is TroubleKind.TOO_LARGE


async def test_nobody_listening_is_a_trouble_not_a_crash() -> None:
    async with scripted(partial(_send, b"")) as url:
        pass
    async with FlowClient(url, KEY) as client:
        outcome = await client.fetch_predictions("SLV")
    assert isinstance(outcome, Trouble)
    assert outcome.kind is TroubleKind.UNREACHABLE


@pytest.mark.slow
async def test_a_service_that_drips_its_answer_is_left_at_the_deadline() -> None:
    async def drip(_request: str, stream: trio.SocketStream) -> None:
        while True:
            await stream.send_all(b"H")
            await trio.sleep(0.5)

    async with scripted(drip) as url, FlowClient(url, KEY) as client:
        before = trio.current_time()
        outcome = await client.fetch_predictions("SLV")
        assert isinstance(outcome, Trouble)
        assert outcome.kind is TroubleKind.TIMEOUT
        assert 4.9 < trio.current_time() - before < 5.5


@pytest.mark.slow
async def test_past_the_rate_limit_it_waits_for_the_market_minute_to_pass() -> None:
    lines = [stored("SLV", second) for second in range(0, 180, 20)]
    async with embedded(*lines, limits=FlowLimits(light_per_min=4), speed=240.0) as run, run.going():
        await run.until(lambda: len(run.delivered) == len(lines))
        elapsed_s = (run.clock.now() - START).total_seconds()
        assert run.source.statistics().polls <= 4 * (1 + elapsed_s / 60)
        assert run.source.statistics().troubles <= 2
        assert "signals_throttled" in run.journal.alarms


@pytest.mark.slow
async def test_a_429_is_obeyed_until_its_reset() -> None:
    times: list[float] = []

    async def refuse_once(_request: str, stream: trio.SocketStream) -> None:
        times.append(trio.current_time())
        limited = http(
            b"{}", 429, "X-RateLimit-Limit: 30", "X-RateLimit-Remaining: 0", "X-RateLimit-Reset: 90"
        )
        await stream.send_all(limited if len(times) == 1 else success(stored("SLV", 0)))

    async with scripted(refuse_once) as url:
        run = Run(url, symbols=("SLV",))
        async with run.going():
            await run.until(lambda: run.journal.received == ["SLV-0"])
        assert times[1] - times[0] >= 90 / run.speed
        assert run.journal.alarms == ["signals_rate_limited", "signals_recovered"]


async def test_it_stops_at_once_in_the_middle_of_a_request() -> None:
    async def never(_request: str, _stream: trio.SocketStream) -> None:
        await trio.sleep_forever()

    async with scripted(never) as url:
        run = Run(url)
        async with run.going():
            await run.until(lambda: run.source.statistics().polls > 0)
            await trio.sleep(0.05)
            before = trio.current_time()
        assert trio.current_time() - before < 0.2


async def test_a_prediction_under_another_ticker_waits_for_that_tickers_own_poll() -> None:
    async def mixed(request: str, stream: trio.SocketStream) -> None:
        # GLD's own answer is empty: what SLV's answer says of GLD is not believed.
        await stream.send_all(
            success(*([stored("SLV", 0), stored("GLD", 0)] if "ticker=SLV" in request else []))
        )

    async with scripted(mixed) as url:
        run = Run(url)
        async with run.going():
            await run.until(lambda: run.source.statistics().polls >= 6)
        assert run.delivered == ["SLV-0"]
        assert run.journal.received == ["SLV-0"]


@pytest.mark.parametrize(
    "url",
    [
        "http://flow.example/api/v1",
        "ftp://localhost/",
        "https://user@flow.example/",
        "https://flow.example/?api_key=x",
        "flow.example",
        "",
    ],
)
def test_a_url_that_could_leak_is_refused(url: str) -> None:
    with pytest.raises(ValueError, match="URL of a signal source"):
        check_base_url(url)


@pytest.mark.parametrize("key", ["", "with\nline", "naïve", " padded "])
def test_a_key_that_no_header_can_carry_is_refused_without_being_named(key: str) -> None:
    with pytest.raises(ValueError, match="key of a signal source") as caught:
        FlowClient("https://flow.example/api/v1", key)
    assert key == "" or key not in str(caught.value)


# --- what it remembers ----------------------------------------------------------------------------


@pytest.mark.slow
async def test_a_restart_keeps_every_id_and_asks_for_what_was_missed() -> None:
    lines = [stored("SLV", 1), stored("SLV", 2, confidence="high"), stored("GLD", 3, signal="HOLD")]
    later = stored("SLV", 50)
    async with embedded(*lines, later) as run:
        async with run.going():
            await run.until(lambda: len(run.journal.received) == 2 and "SLV-2" in run.journal.verdicts)
        assert run.delivered == ["SLV-1"]
        again = Run(run.url, journal=run.journal, judged={"SLV-1"})
        async with again.going(run.clock.now()):
            await again.until(lambda: bool(again.delivered))
        assert again.delivered == ["SLV-50"]
        assert run.journal.verdicts == {"SLV-2": "malformed", "GLD-3": "no_trade"}
        assert sorted(run.journal.received) == ["GLD-3", "SLV-1", "SLV-50"]


@pytest.mark.slow
async def test_receptions_without_a_verdict_are_handed_on_again_unless_too_old() -> None:
    first = ListJournal()
    async with embedded(stored("SLV", 1), stored("GLD", 70)) as service:
        run = Run(service.url, journal=first)
        async with run.going():
            await run.until(lambda: len(run.delivered) == 2)
        again = Run(service.url, journal=first)
        async with again.going(START + timedelta(seconds=120)):
            await again.until(lambda: bool(again.delivered))
            assert again.delivered == ["GLD-70"]
        assert first.verdicts == {"SLV-1": "stale"}
        assert first.received == ["SLV-1", "GLD-70"]


async def test_the_same_source_started_again_hands_nothing_on_twice() -> None:
    async with embedded(stored("SLV", 1)) as run:
        for _ in range(2):
            async with run.going():
                await run.until(lambda: run.delivered == ["SLV-1"])
                await trio.sleep(0.1)
        assert run.delivered == ["SLV-1"]


async def test_nothing_is_polled_before_the_broker_has_said_what_time_it_is() -> None:
    async with embedded(stored("SLV", 0)) as run, trio.open_nursery() as nursery:
        await nursery.start(run.source.run, 1)
        await trio.sleep(0.2)
        assert run.source.statistics().polls == 0
        run.clock.set(START)
        await run.until(lambda: run.delivered == ["SLV-0"])
        nursery.cancel_scope.cancel()


# --- recorded sessions ----------------------------------------------------------------------------


def _market_folder() -> Path:
    named = os.environ.get("RINGFENCE_MARKET")
    return Path(named) if named else Path(__file__).resolve().parents[1].parent / "shared" / "market"


@pytest.mark.slow
async def test_every_line_of_a_recorded_session_has_its_reception() -> None:
    path = _market_folder() / "flow-2025-01-23" / "signals.jsonl"
    if not path.exists():
        pytest.skip(f"the recorded session {path} is not here")
    predictions, faults = load_predictions(path)
    assert faults == ()
    symbols = tuple(sorted({prediction.ticker for prediction in predictions}))
    stamps = [prediction.timestamp_ms for prediction in predictions]
    begin, end = (datetime.fromtimestamp(stamp / 1000, UTC) for stamp in (min(stamps) - 1000, max(stamps)))
    async with embedded(*predictions, speed=3600.0, at=begin) as service:
        run = Run(service.url, symbols=symbols, speed=3600.0, poll_s=60.0)
        async with run.going(begin):
            await run.until(lambda: run.clock.now() > end, 30)
            assert await run.source.drain() == ()
    assert len(run.journal.received) == len(set(run.journal.received)) == len(predictions)
    assert len(run.delivered) + len(run.journal.verdicts) == len(predictions)

    assert set(run.journal.verdicts.values()) <= {"below_confidence", "no_trade"}
    assert all(
        event.verdict is Verdict.IGNORED
        for event in run.journal.events
        if isinstance(event, SignalVerdictEvent)
    )
