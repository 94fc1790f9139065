"""How a polled signal source is doing: who is in trouble, since which failure, and how long to wait."""

from __future__ import annotations

import enum
from random import Random

BACKOFF_LEAST_LOOP_S = 0.5
BACKOFF_MOST_LOOP_S = 30.0
JITTER = 0.2


class TroubleKind(enum.Enum):
    """Why a poll brought nothing. The value is part of the alarm's code."""

    UNREACHABLE = "unreachable"
    TIMEOUT = "timeout"
    UNAUTHORIZED = "unauthorized"
    RATE_LIMITED = "rate_limited"
    UNKNOWN_TICKER = "unknown_ticker"
    SERVER_ERROR = "server_error"
    REFUSED = "refused"
    TOO_LARGE = "too_large"
    BAD_BODY = "bad_body"


class SourceHealth:
    """The tickers in trouble, by kind. A kind begins with its first ticker and is over with its last."""

    __slots__ = ("_failures", "_troubled")

    def __init__(self) -> None:
        self._troubled: dict[TroubleKind, set[str]] = {}
        self._failures: dict[str, int] = {}

    @property
    def troubled(self) -> tuple[str, ...]:
        """The kinds of trouble that somebody is in."""
        return tuple(kind.value for kind, tickers in self._troubled.items() if tickers)

    def note_failure(self, ticker: str, kind: TroubleKind) -> bool:
        """Whether this is the beginning of a trouble of that kind."""
        tickers = self._troubled.setdefault(kind, set())
        begins = not tickers
        tickers.add(ticker)
        self._failures[ticker] = self._failures.get(ticker, 0) + 1
        return begins

    def note_success(self, ticker: str) -> tuple[TroubleKind, ...]:
        """The kinds of trouble that are over with it."""
        if self._failures.pop(ticker, 0) == 0:
            return ()
        over = tuple(kind for kind, tickers in self._troubled.items() if tickers == {ticker})
        for tickers in self._troubled.values():
            tickers.discard(ticker)
        return over

    def backoff_loop_s(self, ticker: str, random: Random) -> float:
        """How long to leave `ticker` alone: doubling with each failure in a row, with jitter."""
        doublings = max(0, min(self._failures.get(ticker, 0) - 1, 16))
        delay_loop_s: float = min(BACKOFF_MOST_LOOP_S, BACKOFF_LEAST_LOOP_S * 2.0**doublings)
        return delay_loop_s * (1 + JITTER * random.random())
