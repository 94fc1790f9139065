"""The embedded options-flow API, over real HTTP: the contract that signals come through."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from random import Random

import attrs
import httpx2
import orjson
import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st

from actors.flow_api import flow_app, load_predictions, serve_flow_api
from protocol.exchange.predictions import draw_predictions
from protocol.flow_service import FlowLimits, FlowService
from protocol.prediction_shelf import PredictionShelf, StoredPrediction, read_prediction_lines

KEY = "canary-key"
START = datetime(2019, 2, 11, 15, 0, tzinfo=UTC)


def stored(ticker: str, second: int, **more: object) -> StoredPrediction:
    timestamp_ms = round(START.timestamp() * 1000) + second * 1000
    body = {"id": f"{ticker}-{second}", "ticker": ticker, "timestamp": timestamp_ms, **more}
    return StoredPrediction(ticker, timestamp_ms, orjson.dumps(body))


@attrs.define
class HandClock:
    at: datetime = START

    def now(self) -> datetime:
        return self.at


@attrs.frozen
class Asked:
    code: int
    body: dict[str, object]
    headers: httpx2.Headers

    @property
    def data(self) -> dict[str, object]:
        assert self.body["status"] == "success"
        data = self.body["data"]
        assert isinstance(data, dict)
        return data

    @property
    def ids(self) -> list[object]:
        predictions = self.data["predictions"]
        assert isinstance(predictions, list)
        return [prediction["id"] for prediction in predictions]


@attrs.frozen
class Service:
    url: str
    clock: HandClock
    client: httpx2.AsyncClient

    async def ask(self, path: str, key: str | None = KEY, **parameters: str) -> Asked:
        headers = {} if key is None else {"X-API-Key": key}
        response = await self.client.get(self.url + path, params=parameters, headers=headers)
        body = orjson.loads(response.content)
        assert response.headers["content-type"] == "application/json"
        return Asked(response.status_code, body, response.headers)


@asynccontextmanager
async def serving(
    *predictions: StoredPrediction,
    tickers: tuple[str, ...] = ("GLD", "SLV"),
    limits: FlowLimits | None = None,
    trades: Sequence[StoredPrediction] = (),
    divergence: Sequence[StoredPrediction] = (),
) -> AsyncIterator[Service]:
    clock = HandClock()
    service = FlowService(
        predictions, tickers=tickers, limits=limits or FlowLimits(1000, 1000), trades=trades,
        divergence=divergence,
    )  # fmt: skip
    async with trio.open_nursery() as nursery:
        app = flow_app(service, api_key=KEY, now=clock.now)
        url = await nursery.start(partial(serve_flow_api, app))
        async with httpx2.AsyncClient(trust_env=False) as client:
            yield Service(url, clock, client)
        nursery.cancel_scope.cancel()


async def test_a_prediction_becomes_visible_at_its_timestamp_in_market_time() -> None:
    async with serving(stored("SLV", 0), stored("SLV", 60), stored("GLD", 60)) as service:
        assert (await service.ask("/predictions", ticker="SLV")).ids == ["SLV-0"]
        assert (await service.ask("/prediction/latest", ticker="GLD")).data["prediction"] is None
        service.clock.at += timedelta(seconds=60)
        assert (await service.ask("/predictions", ticker="SLV")).ids == ["SLV-0", "SLV-60"]
        latest = await service.ask("/prediction/latest", ticker="GLD", use_default_only="true")
        assert latest.data == {
            "ticker": "GLD",
            "prediction": orjson.loads(stored("GLD", 60).body),
            "model_info": {
                "model_path": "recorded predictions",
                "is_ticker_specific": False,
                "using_default_only": True,
            },
        }


async def test_the_end_points_without_predictions_answer_as_the_contract_says() -> None:
    async with serving(stored("AAPL", 5)) as service:
        tickers = await service.ask("/tickers")
        assert tickers.data == {"tickers": ["AAPL", "GLD", "SLV"], "count": 3}
        assert (await service.ask("/status")).data == {
            "system": {
                "service": "options-flow-monitor",
                "status": "running",
                "current_time_et": "2019-02-11T10:00:00-05:00",
                "timezone": "America/New_York",
            },
            "market": {"is_market_hours": True, "market_open": "09:30", "market_close": "16:00"},
            "tickers": ["AAPL", "GLD", "SLV"],
        }
        for path, name in (
            ("/trades", "trades"),
            ("/minute-data", "minute_data"),
            ("/divergence", "divergence_data"),
        ):
            assert (await service.ask(path, ticker="SLV")).data == {"ticker": "SLV", name: [], "count": 0}


async def test_trades_and_divergence_are_served_where_there_are_any() -> None:
    rows = [stored("SLV", second, trade_value=second) for second in (-7200, -90_000, 0, 60)]
    async with serving(stored("SLV", 0), trades=rows, divergence=rows[:1]) as service:

        async def ids(path: str, name: str, **parameters: str) -> list[object]:
            found = (await service.ask(path, ticker="SLV", **parameters)).data
            listed = found[name]
            assert isinstance(listed, list)
            assert found["count"] == len(listed)
            return [row["id"] for row in listed]

        assert await ids("/trades", "trades") == ["SLV--90000", "SLV--7200", "SLV-0"]
        assert await ids("/trades", "trades", days="1", recent="true") == ["SLV--7200", "SLV-0"]
        assert await ids("/trades", "trades", limit="1") == ["SLV-0"]
        assert await ids("/divergence", "divergence_data", start_date="2019-02-11T12:00:00Z") == ["SLV--7200"]
        assert await ids("/minute-data", "minute_data") == []
        assert (await service.ask("/divergence", ticker="SLV", days="0")).code == 400


async def test_dates_and_limit_choose_the_newest_and_answer_oldest_first() -> None:
    async with serving(*(stored("SLV", second) for second in range(0, 50, 10))) as service:
        service.clock.at += timedelta(hours=1)
        ask = partial(service.ask, "/predictions", ticker="SLV")
        assert (await ask(limit="2")).ids == ["SLV-30", "SLV-40"]
        assert (await ask(end_date="2019-02-11T15:00:30Z", limit="2")).ids == ["SLV-20", "SLV-30"]
        assert (await ask(start_date="2019-02-11T10:00:30")).ids == ["SLV-30", "SLV-40"]
        assert (await ask(start_date="2019-02-11", end_date="2019-02-11")).ids[0] == "SLV-0"
        assert (await ask(start_date="2019-02-12")).ids == []
        assert (await ask(end_date="2019-02-10")).data["count"] == 0


@pytest.mark.parametrize(
    ("path", "parameters", "code"),
    [
        ("/predictions", {}, 400),
        ("/predictions", {"ticker": "TSLA"}, 404),
        ("/predictions", {"ticker": "SLV", "limit": "0"}, 400),
        ("/predictions", {"ticker": "SLV", "limit": "many"}, 400),
        ("/predictions", {"ticker": "SLV", "limit": "1001"}, 400),
        ("/predictions", {"ticker": "SLV", "start_date": "yesterday"}, 400),
        ("/predictions", {"ticker": "SLV", "end_date": "0001-01-01"}, 200),
        ("/predictions", {"ticker": "SLV", "start_date": "9999-12-31T23:59:59-12:00"}, 200),
        ("/prediction/latest", {"ticker": "SLV", "use_default_only": "perhaps"}, 400),
        ("/trades", {"ticker": "NONE"}, 404),
        ("/no-such-thing", {}, 404),
        ("/predictions", {f"p{number}": "1" for number in range(30)}, 400),
    ],
)
async def test_bad_requests_get_an_error_body_with_their_code(
    path: str, parameters: dict[str, str], code: int
) -> None:
    async with serving() as service:
        asked = await service.ask(path, KEY, **parameters)
        assert asked.code == code
        if code != 200:
            assert asked.body["status"] == "error"
            assert asked.body["code"] == code
            assert asked.body["error"]
            assert asked.body["message"]


async def test_only_the_header_opens_the_door() -> None:
    async with serving() as service:
        for key in (None, "", "canary-kez", KEY + "y"):
            refused = await service.ask("/tickers", key)
            assert (refused.code, refused.body["code"]) == (401, 401)
            assert "x-ratelimit-limit" not in refused.headers
        assert (await service.ask("/tickers", None, api_key=KEY)).code == 401
        assert (await service.ask("/no-such-thing", None)).code == 401


async def test_only_get_is_served() -> None:
    async with serving() as service:
        response = await service.client.post(service.url + "/tickers", headers={"X-API-Key": KEY})
        assert (response.status_code, orjson.loads(response.content)["code"]) == (501, 501)


async def test_the_rate_limit_counts_market_minutes_light_and_heavy_apart() -> None:
    async with serving(limits=FlowLimits(light_per_min=3, heavy_per_min=1)) as service:
        remaining = [(await service.ask("/tickers")).headers["x-ratelimit-remaining"] for _ in range(3)]
        assert remaining == ["2", "1", "0"]
        service.clock.at += timedelta(seconds=20)
        refused = await service.ask("/predictions", ticker="SLV")
        assert (refused.code, refused.body["code"]) == (429, 429)
        assert refused.headers["x-ratelimit-limit"] == "3"
        assert refused.headers["x-ratelimit-reset"] == "40"
        assert (await service.ask("/trades", ticker="SLV")).code == 200
        assert (await service.ask("/divergence", ticker="SLV")).code == 429
        service.clock.at += timedelta(seconds=40)
        assert (await service.ask("/tickers")).code == 200


async def test_the_server_stops_at_once_with_a_kept_connection_open() -> None:
    with trio.fail_after(2):
        async with serving() as service:
            await service.ask("/tickers")


def test_a_service_without_a_key_is_refused() -> None:
    with pytest.raises(ValueError, match="key"):
        flow_app(FlowService(()), api_key="", now=lambda: START)


def test_lines_that_cannot_be_served_are_faults_with_their_number(tmp_path: Path) -> None:
    good = stored("SLV", 0, confidence="not even a number")
    lines = [
        good.body,
        b"",
        b"{broken",
        b"[1, 2]",
        b'{"timestamp": 1549896660000}',
        b'{"ticker": "SLV", "timestamp": "soon"}',
        b'{"ticker": "SLV", "timestamp": 1549896660000, "confidence": NaN}',
        b'\xff\xfe{"ticker": "SLV"}',
    ]
    path = tmp_path / "signals.jsonl"
    path.write_bytes(b"\n".join(lines) + b"\n")
    predictions, faults = load_predictions(path)
    assert predictions == (good,)
    assert [fault.split(" ")[0] for fault in faults] == [
        f"signals.jsonl:{line}:" for line in (3, 4, 5, 6, 7, 8)
    ]
    assert faults[1:4] == (
        "signals.jsonl:4: no JSON object",
        "signals.jsonl:5: no usable ticker",
        "signals.jsonl:6: no usable timestamp (milliseconds since 1970)",
    )


@given(st.lists(st.tuples(st.sampled_from("AB"), st.integers(0, 20)), max_size=30), st.integers(0, 20))
def test_walking_back_page_by_page_misses_nothing(made: list[tuple[str, int]], now: int) -> None:
    predictions = [
        StoredPrediction(ticker, stamp, b"%d:%d" % (stamp, number))
        for number, (ticker, stamp) in enumerate(made)
    ]
    shelf = PredictionShelf(predictions, ("A", "B"))
    due = [
        prediction
        for prediction in predictions
        if prediction.ticker == "A" and prediction.timestamp_ms <= now
    ]
    page_size = 1 + max(
        (sum(one.timestamp_ms == other.timestamp_ms for other in due) for one in due), default=1
    )
    got: set[bytes] = set()
    end: float = now
    while True:
        page = shelf.between("A", 0, end, page_size)
        got.update(page)
        if len(page) < page_size:
            break
        end = float(page[0].split(b":")[0])
    assert got == {prediction.body for prediction in due}
    assert shelf.count_visible("A", now) == len(due)


def test_the_drawn_predictions_of_a_seed_are_the_same_and_begin_at_once() -> None:
    symbols = ("AAPL", "MSFT", "SPY")

    def draw(seed: int) -> list[StoredPrediction]:
        return list(draw_predictions(symbols, Random(seed), START, START + timedelta(minutes=10)))

    first = draw(7)
    assert first == draw(7)
    assert first != draw(8)
    start_ms = START.timestamp() * 1000
    assert start_ms < first[0].timestamp_ms <= start_ms + 2000
    assert [prediction.ticker for prediction in first[:3]] == list(symbols)
    served, faults = read_prediction_lines("drawn", [prediction.body for prediction in first])
    assert (list(served), faults) == (first, ())
