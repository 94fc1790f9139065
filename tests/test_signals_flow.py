"""The polled source beyond predictions: end points, limits and holds, the circuit breaker, thresholds."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from functools import partial
from random import Random

import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st

from actors.flow_api import flow_app, serve_flow_api
from actors.flow_client import Allowance, Fetched, FlowClient, Trouble
from actors.market_clock import MarketClock
from protocol.circuit_breaker import OPENS_AFTER, BreakerState, CircuitBreaker
from protocol.exchange.flow_data import draw_divergence, draw_trades
from protocol.flow_service import FlowLimits, FlowService
from protocol.flow_thresholds import stamp_of_row
from protocol.prediction_shelf import StoredPrediction, read_prediction_lines
from protocol.source_health import TroubleKind
from protocol.source_settings import FlowThreshold, HttpSource
from protocol.values import Symbol
from tests.signal_bench import KEY, PLENTY, START, Run, embedded, http, scripted, stored, success

RICH = FlowThreshold(name="rich", field="d_diff_short", limit=50.0)
BLOCK = FlowThreshold(name="block", field="trade_value", limit=1e6, data="trades", symbols=(Symbol("SLV"),))
BOTH = HttpSource(max_age_s=90, trades=True, divergence=True, data_poll_s=3.0)


def figures(ticker: str, second: float, **values: object) -> StoredPrediction:
    return stored(ticker, second, "", **values)


# --- the end points -------------------------------------------------------------------------------


async def test_every_end_point_is_asked_and_answers() -> None:
    clock = MarketClock(60.0, START)
    service = FlowService(
        [stored("SLV", -5), stored("SLV", -1)], tickers=("GLD", "SLV"), limits=PLENTY,
        trades=[figures("SLV", -30, trade_value=5.0)], divergence=[figures("SLV", -20, d_diff_short=1.0)],
    )  # fmt: skip
    async with trio.open_nursery() as nursery:
        url = await nursery.start(partial(serve_flow_api, flow_app(service, api_key=KEY, now=clock.now)))
        async with FlowClient(url, KEY) as client:
            status = await client.fetch_status()
            assert isinstance(status, Fetched)
            (told,) = status.bodies
            assert isinstance(told, dict)
            assert told["system"]["status"] == "running"
            answers = {
                "tickers": await client.fetch_tickers(),
                "latest": await client.fetch_latest("SLV"),
                "none": await client.fetch_latest("GLD", use_default_only=True),
                "predictions": await client.fetch_predictions("SLV"),
                "trades": await client.fetch_trades("SLV", "2019-02-11"),
                "minutes": await client.fetch_minute_data("SLV"),
                "divergence": await client.fetch_divergence("SLV", None, "2019-02-12"),
            }
            unknown = await client.fetch_trades("TSLA")
        nursery.cancel_scope.cancel()
    assert {name: len(answer.bodies) for name, answer in answers.items() if isinstance(answer, Fetched)} == {
        "tickers": 2, "latest": 1, "none": 0, "predictions": 2, "trades": 1, "minutes": 0, "divergence": 1,
    }  # fmt: skip
    assert answers["trades"].allowance.limit == PLENTY.heavy_per_min
    assert isinstance(unknown, Trouble)
    assert unknown.kind is TroubleKind.UNKNOWN_TICKER


@pytest.mark.parametrize(
    ("headers", "wait_s"),
    [
        (("Retry-After: 17",), 17.0),
        (("Date: Mon, 11 Feb 2019 15:00:00 GMT", "Retry-After: Mon, 11 Feb 2019 15:01:30 GMT"), 90.0),
        (("Date: Mon, 11 Feb 2019 15:00:00 GMT", "Retry-After: Mon, 11 Feb 2019 14:00:00 GMT"), 0.0),
        (("Retry-After: 99999999",), 3600.0),
        (("Retry-After: soon",), None),
        (("Retry-After: -3",), None),
        ((), None),
    ],
)
async def test_a_wait_is_read_as_seconds_or_as_a_date_by_the_services_own_clock(
    headers: tuple[str, ...], wait_s: float | None
) -> None:
    async def limited(_request: str, stream: trio.SocketStream) -> None:
        await stream.send_all(http(b"{}", 429, *headers))

    async with scripted(limited) as url, FlowClient(url, KEY) as client:
        outcome = await client.fetch_status()
    assert isinstance(outcome, Trouble)
    assert (outcome.kind, outcome.allowance) == (TroubleKind.RATE_LIMITED, Allowance(retry_after_s=wait_s))


async def test_a_date_without_the_services_own_date_counts_from_this_machines_clock() -> None:
    later = format_datetime(datetime.now(UTC) + timedelta(seconds=60), usegmt=True)

    async def limited(_request: str, stream: trio.SocketStream) -> None:
        await stream.send_all(http(b"{}", 429, f"Retry-After: {later}"))

    async with scripted(limited) as url, FlowClient(url, KEY) as client:
        outcome = await client.fetch_status()
    assert outcome.allowance.retry_after_s == pytest.approx(60.0, abs=2.0)


# --- limits and holds -----------------------------------------------------------------------------


@pytest.mark.parametrize(("headers", "wait_s"), [((), 20.0), (("Retry-After: 45",), 45.0)])
@pytest.mark.slow
async def test_after_a_429_nobody_asks_until_the_service_allows_it(
    headers: tuple[str, ...], wait_s: float
) -> None:
    times: list[float] = []

    async def refuse_once(request: str, stream: trio.SocketStream) -> None:
        times.append(trio.current_time())
        await stream.send_all(http(b"{}", 429, *headers) if len(times) == 1 else success(stored("SLV", 0)))

    async with scripted(refuse_once) as url:
        run = Run(url, symbols=("SLV",))
        async with run.going():
            await run.until(lambda: run.journal.received == ["SLV-0"])
        assert times[1] - times[0] >= wait_s / run.speed
        assert run.journal.alarms == ["signals_rate_limited", "signals_recovered"]


@pytest.mark.slow
async def test_a_ticker_with_an_interval_of_its_own_is_polled_in_it() -> None:
    asked: list[str] = []

    async def note(request: str, stream: trio.SocketStream) -> None:
        asked.append(request.partition("ticker=")[2][:3])
        await stream.send_all(success())

    async with scripted(note) as url:
        settings = HttpSource(max_age_s=90, poll_of=((Symbol("GLD"), 60.0),))
        run = Run(url, settings=settings, poll_s=6.0)
        async with run.going():
            await run.until(lambda: asked.count("SLV") >= 8)
        assert asked.count("GLD") == 1
        assert run.journal.alarms == []


# --- the circuit breaker --------------------------------------------------------------------------


@pytest.mark.slow
async def test_a_dead_service_is_left_alone_and_asked_by_one_request_until_it_answers() -> None:
    healthy, asked = False, list[float]()

    async def respond(_request: str, stream: trio.SocketStream) -> None:
        asked.append(trio.current_time())
        await stream.send_all(success(stored("SLV", 0)) if healthy else http(b"{}", 500))

    async with scripted(respond) as url:
        names = tuple(f"S{number}" for number in range(OPENS_AFTER))
        run = Run(url, symbols=names, poll_s=15.0, breaker=CircuitBreaker(1.0))
        async with run.going():
            await run.until(lambda: "signals_breaker_open" in run.journal.alarms)
            assert run.source.health()[0] == "down"
            before = len(asked)
            await trio.sleep(0.7)
            assert len(asked) == before
            healthy = True
            await run.until(lambda: "signals_breaker_closed" in run.journal.alarms, 8.0)
            assert len(asked) == before + 1
            await run.until(lambda: run.source.health()[0] == "ok")
        assert run.journal.alarms == [
            "signals_server_error", "signals_breaker_open", "signals_breaker_closed", "signals_recovered",
        ]  # fmt: skip


@given(st.lists(st.tuples(st.floats(0.0, 30.0), st.booleans()), max_size=60))
def test_a_breaker_never_lets_two_requests_through_while_it_is_not_closed(
    steps: list[tuple[float, bool]],
) -> None:
    breaker, random, at, trying, failures = CircuitBreaker(), Random(1), 0.0, False, 0
    for gap_s, succeeds in steps:
        at += gap_s
        was_closed = breaker.state is BreakerState.CLOSED
        if not breaker.may_ask(at):
            assert breaker.state is not BreakerState.CLOSED
            assert at < breaker.retry_at_loop
            continue
        trying = not was_closed
        if trying:
            assert breaker.state is BreakerState.HALF_OPEN
            assert not breaker.may_ask(at), "one request tries for all"
        if succeeds:
            failures = 0
            assert breaker.note_success() is trying
            assert breaker.state is BreakerState.CLOSED
        else:
            failures += 1
            opens = breaker.note_failure(at, random)
            assert opens is (was_closed and failures >= OPENS_AFTER)
            assert (breaker.state is BreakerState.CLOSED) is (was_closed and failures < OPENS_AFTER)
            if breaker.state is BreakerState.OPEN:
                assert 5.0 <= breaker.retry_at_loop - at <= 72.0


# --- thresholds -----------------------------------------------------------------------------------


async def test_trades_and_divergence_are_polled_and_crossings_become_events_once() -> None:
    divergence = [
        figures("SLV", -60, d_diff_short=10), figures("SLV", -10, d_diff_short=60),
        figures("GLD", -20, d_diff_short=70), figures("SLV", 5, d_diff_short=5),
        figures("SLV", 10, d_diff_short=51), figures("SLV", -900, d_diff_short="broken"),
    ]  # fmt: skip
    trades = [
        figures("SLV", -60, trade_value=1000), figures("SLV", 4, trade_value=2e6),
        figures("GLD", -60, trade_value=1000), figures("GLD", 4, trade_value=9e6),
    ]  # fmt: skip
    clock = MarketClock(60.0, START)
    service = FlowService((), tickers=("GLD", "SLV"), limits=PLENTY, trades=trades, divergence=divergence)
    async with trio.open_nursery() as nursery:
        url = await nursery.start(partial(serve_flow_api, flow_app(service, api_key=KEY, now=clock.now)))
        clock.set(START)
        run = Run(url, settings=BOTH, thresholds=(RICH, BLOCK))
        async with run.going():
            await run.until(lambda: len(run.flows) >= 3)
            await trio.sleep(0.3)
        assert sorted((event.threshold, event.symbol, event.value) for event in run.flows) == [
            ("block", "SLV", 2e6), ("rich", "SLV", 51.0), ("rich", "SLV", 60.0),
        ]  # fmt: skip
        assert [event for event in run.journal.events if event in run.flows] == run.flows
        again = Run(url, settings=BOTH, thresholds=(RICH, BLOCK), journal=run.journal)
        async with again.going(run.clock.now()):
            await again.until(lambda: again.source.statistics().polls >= 6)
        assert again.flows == []
        nursery.cancel_scope.cancel()


@pytest.mark.slow
async def test_heavy_polls_keep_to_their_own_limit_and_leave_the_predictions_theirs() -> None:
    async with embedded(
        *(stored("SLV", second) for second in range(0, 100, 10)),
        limits=FlowLimits(light_per_min=100, heavy_per_min=6), speed=120.0,
    ) as service:  # fmt: skip
        run = Run(service.url, symbols=("SLV",), speed=120.0, settings=BOTH, thresholds=(RICH, BLOCK))
        async with run.going():
            await run.until(lambda: len(run.delivered) == 10)
            assert run.source.health()[0] in ("ok", "troubled")
        heavy = sum(1 for code in run.journal.alarms if code == "signals_rate_limited")
        assert heavy <= 1


async def test_rows_that_are_none_raise_one_alarm_and_harm_nothing() -> None:
    async def answer(request: str, stream: trio.SocketStream) -> None:
        rows = [{"d_diff_short": 1}, "text", {"timestamp": 1, "d_diff_short": "x"}]
        data = {"divergence_data": rows} if "/divergence" in request else {"predictions": []}
        await stream.send_all(http(json.dumps({"status": "success", "data": data}).encode()))

    async with scripted(answer) as url:
        run = Run(url, symbols=("SLV",), settings=BOTH, thresholds=(RICH,))
        async with run.going():
            await run.until(lambda: run.source.statistics().polls >= 6)
        assert run.flows == []
        assert run.journal.alarms == ["signals_bad_rows"] * 2


async def test_tickers_change_while_it_runs() -> None:
    async with embedded(stored("SLV", 1), stored("GLD", 1), stored("GLD", 20)) as service:
        run = Run(service.url, symbols=("GLD", "SLV"))
        run.source.set_tickers(["SLV"])
        async with run.going():
            await run.until(lambda: run.delivered == ["SLV-1"])
            run.source.set_tickers(["GLD"])
            assert run.source.tickers == ("GLD",)
            await run.until(lambda: run.delivered == ["SLV-1", "GLD-1", "GLD-20"])
            assert run.journal.alarms == []


# --- what the demo draws --------------------------------------------------------------------------


@pytest.mark.parametrize("draw", [draw_divergence, draw_trades])
def test_the_drawn_figures_of_a_seed_are_the_same_and_can_be_watched(
    draw: Callable[[Sequence[str], Random, datetime, datetime], Iterable[StoredPrediction]],
) -> None:
    def rows(seed: int) -> list[StoredPrediction]:
        return list(draw(("AAPL", "SPY"), Random(seed), START, START + timedelta(hours=1)))

    first = rows(7)
    assert first == rows(7)
    assert first != rows(8)
    assert {row.ticker for row in first} == {"AAPL", "SPY"}
    assert all(stamp_of_row(json.loads(row.body)) == row.timestamp_ms for row in first)
    served, faults = read_prediction_lines("drawn", [row.body for row in first], stamp_of=stamp_of_row)
    assert (list(served), faults) == (first, ())
