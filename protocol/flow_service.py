"""What the embedded options-flow API answers: the contract of the real service over shelves of what it knows.

Requests come in as parameters and market time, answers go out as JSON; `actors/flow_api.py` puts HTTP
around it. A prediction becomes visible when market time reaches its `timestamp`. `/predictions` answers
oldest first; of more than `limit` it holds back the oldest, so that a client that gets a full page asks
again with `end_date` set to the first stamp it got, and misses nothing. `start_date` and `end_date` are
both inclusive: an ISO date-time (without an offset: New York) or a day.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from datetime import UTC, datetime, time, timedelta
from functools import partial
from zoneinfo import ZoneInfo

import attrs
import holidays
import orjson

from protocol.prediction_shelf import PredictionShelf, StoredPrediction
from protocol.rate_window import RateWindow
from protocol.settings import Schedule

DEFAULT_LIMIT = 100
MAX_LIMIT = 1000
MAX_DAYS = 365
MODEL = "recorded predictions"

Parameters = dict[str, str]
Answer = Callable[[Parameters, datetime], bytes]


@attrs.frozen
class FlowLimits:
    """Requests per minute of market time, as the service grants them to one key."""

    light_per_min: int = 30
    heavy_per_min: int = 15

    @classmethod
    def for_polling(
        cls, tickers: int, poll_s: float, *, heavy: int = 0, data_poll_s: float = 60.0
    ) -> FlowLimits:
        """The service's own limits or more: room for each ticker's poll, full pages and a last round.

        `heavy`: how many end points are polled about each ticker besides its predictions.
        """
        return cls(
            light_per_min=max(30, math.ceil(4 * tickers * max(1.0, 60 / poll_s))),
            heavy_per_min=max(15, math.ceil(4 * heavy * tickers * max(1.0, 60 / data_poll_s))),
        )


class Refusal(Exception):
    """A request that is answered with an error body."""

    def __init__(self, code: int, error: str, message: str) -> None:
        super().__init__(message)
        self.code, self.error, self.message = code, error, message


class FlowService:
    """What the service knows, and how often it may be asked."""

    def __init__(
        self,
        predictions: Iterable[StoredPrediction],
        *,
        tickers: Iterable[str] = (),
        limits: FlowLimits | None = None,
        schedule: Schedule | None = None,
        trades: Iterable[StoredPrediction] = (),
        divergence: Iterable[StoredPrediction] = (),
    ) -> None:
        self._shelf = PredictionShelf(predictions, tickers)
        known = self._shelf.tickers
        self._trades, self._divergence = PredictionShelf(trades, known), PredictionShelf(divergence, known)
        self._schedule = schedule if schedule is not None else Schedule()
        self._zone = ZoneInfo(self._schedule.zone)
        limits = limits if limits is not None else FlowLimits()
        self._light, self._heavy = RateWindow(limits.light_per_min), RateWindow(limits.heavy_per_min)

    @property
    def tickers(self) -> tuple[str, ...]:
        """Every ticker that the service knows, those of its predictions included."""
        return self._shelf.tickers

    def count_visible(self, ticker: str, at: datetime) -> int:
        """How many predictions of `ticker` have become visible by `at`."""
        return self._shelf.count_visible(ticker, _ms(at))

    def end_points(self) -> dict[str, tuple[RateWindow, Answer]]:
        """By path: the limit that a request falls under, and what answers it."""
        return {
            "/status": (self._light, self._status),
            "/tickers": (self._light, self._tickers),
            "/prediction/latest": (self._light, self._latest),
            "/predictions": (self._light, self._predictions),
            "/trades": (self._heavy, partial(self._rows, "trades", self._trades)),
            "/minute-data": (self._heavy, partial(self._rows, "minute_data", None)),
            "/divergence": (self._heavy, partial(self._rows, "divergence_data", self._divergence)),
        }

    def nowhere(self) -> tuple[RateWindow, Answer]:
        """The same for every other path."""
        return self._light, _refuse_path

    # --- the end points: parameters in, the JSON of `data` out ------------------------------------

    def _status(self, _parameters: Parameters, at: datetime) -> bytes:
        now = at.astimezone(self._zone)
        opens, closes = self._schedule.open, self._schedule.close
        trading_day = now.weekday() < 5 and now.date() not in holidays.financial_holidays(
            self._schedule.calendar
        )
        return orjson.dumps(
            {
                "system": {
                    "service": "options-flow-monitor",
                    "status": "running",
                    "current_time_et": now.isoformat(timespec="seconds"),
                    "timezone": self._schedule.zone,
                },
                "market": {
                    "is_market_hours": trading_day and opens <= now.time() < closes,
                    "market_open": opens.isoformat("minutes"),
                    "market_close": closes.isoformat("minutes"),
                },
                "tickers": self.tickers,
            }
        )

    def _tickers(self, _parameters: Parameters, _at: datetime) -> bytes:
        return orjson.dumps({"tickers": self.tickers, "count": len(self.tickers)})

    def _latest(self, parameters: Parameters, at: datetime) -> bytes:
        ticker = self._ticker(parameters)
        default_only = _flag(parameters, "use_default_only")
        bodies = self._shelf.between(ticker, -math.inf, _ms(at), 1)
        return b'{"ticker":%b,"prediction":%b,"model_info":%b}' % (
            orjson.dumps(ticker),
            bodies[0] if bodies else b"null",
            _model_info(default_only),
        )

    def _predictions(self, parameters: Parameters, at: datetime) -> bytes:
        ticker = self._ticker(parameters)
        limit = _limit(parameters)
        start_ms, end_ms = self._dates(parameters)
        bodies = self._shelf.between(ticker, start_ms, min(end_ms, _ms(at)), limit)
        return b'{"ticker":%b,"predictions":[%b],"count":%d,"model_info":%b}' % (
            orjson.dumps(ticker),
            b",".join(bodies),
            len(bodies),
            _model_info(default_only=False),
        )

    def _rows(self, name: str, shelf: PredictionShelf | None, parameters: Parameters, at: datetime) -> bytes:
        """The newest rows of a ticker, oldest first. Without any it is a success without data."""
        ticker, limit = self._ticker(parameters), _limit(parameters)
        start_ms, end_ms = self._dates(parameters)
        days = _days(parameters)
        if days is not None:
            start_ms = max(start_ms, _ms(at - timedelta(days=days)))
        _flag(parameters, "recent")
        bodies = [] if shelf is None else shelf.between(ticker, start_ms, min(end_ms, _ms(at)), limit)
        return b'{"ticker":%b,"%b":[%b],"count":%d}' % (
            orjson.dumps(ticker),
            name.encode(),
            b",".join(bodies),
            len(bodies),
        )

    # --- parameters -------------------------------------------------------------------------------

    def _ticker(self, parameters: Parameters) -> str:
        ticker = parameters.get("ticker", "")
        if not ticker:
            raise Refusal(400, "Bad Request", "the parameter ticker is missing")
        if ticker not in self._shelf:
            raise Refusal(404, "Not Found", f"no such ticker: {ticker[:20]}")
        return ticker

    def _dates(self, parameters: Parameters) -> tuple[float, float]:
        start = self._date(parameters, "start_date", time.min)
        end = self._date(parameters, "end_date", time.max)
        return (
            -math.inf if start is None else _ms(start),
            math.inf if end is None else _ms(end),
        )

    def _date(self, parameters: Parameters, name: str, of_day: time) -> datetime | None:
        """An instant; a bare day means its beginning or its end (`of_day`) in New York."""
        text = parameters.get(name)
        if text is None:
            return None
        try:
            at = datetime.fromisoformat(text)
        except ValueError:
            raise Refusal(400, "Bad Request", f"{name} is no ISO date or date-time") from None
        if len(text) == len("YYYY-MM-DD"):
            at = datetime.combine(at.date(), of_day)
        return at if at.tzinfo is not None else at.replace(tzinfo=self._zone)


_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MS = timedelta(milliseconds=1)


def _ms(at: datetime) -> float:
    """Epoch milliseconds, exact where `timestamp() * 1000` would miss an inclusive bound by a hair."""
    return (at - _EPOCH) / _MS


def _limit(parameters: Parameters) -> int:
    text = parameters.get("limit", str(DEFAULT_LIMIT))
    if len(text) <= 4 and text.isascii() and text.isdecimal() and 1 <= int(text) <= MAX_LIMIT:
        return int(text)
    raise Refusal(400, "Bad Request", f"limit is a whole number from 1 to {MAX_LIMIT}")


def _days(parameters: Parameters) -> int | None:
    text = parameters.get("days")
    if text is None:
        return None
    if len(text) <= 3 and text.isascii() and text.isdecimal() and 1 <= int(text) <= MAX_DAYS:
        return int(text)
    raise Refusal(400, "Bad Request", f"days is a whole number from 1 to {MAX_DAYS}")


def _flag(parameters: Parameters, name: str) -> bool:
    text = parameters.get(name, "false").lower()
    if text not in ("true", "false", "1", "0"):
        raise Refusal(400, "Bad Request", f"{name} is true or false")
    return text in ("true", "1")


def _model_info(default_only: bool) -> bytes:
    return orjson.dumps(
        {"model_path": MODEL, "is_ticker_specific": False, "using_default_only": default_only}
    )


def _refuse_path(_parameters: Parameters, _at: datetime) -> bytes:
    raise Refusal(404, "Not Found", "no such end point")
