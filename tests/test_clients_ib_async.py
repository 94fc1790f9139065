"""ib_async, unchanged, trades on the simulated TWS over real sockets and is told the truth."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Final, TypeVar

import attrs
import pytest
from ib_async import IB, BarDataList, BracketOrder, LimitOrder, MarketOrder, Order, Stock, StopOrder, Ticker
from ib_async import Trade as Placed
from ib_async.util import getLoop

from protocol.exchange.tws_market_settings import MarketSettings
from protocol.exchange.tws_settings import TwsSettings
from tests.clients import ACCOUNT, HOST, PATIENCE_LOOP_S, ServedTws, serving

pytestmark = [
    pytest.mark.slow,
    # ib_async asks for the loop of a thread that has none yet.
    pytest.mark.filterwarnings("ignore:There is no current event loop:DeprecationWarning"),
]

T = TypeVar("T")

PRICES: Final = {"SLV": 25.0, "GLD": 190.0}
SPEED: Final = 40.0
CANCELLED = "202"


class Complaints(logging.Handler):
    """What ib_async has to say about what it hears, from warnings on."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.heard: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.heard.append(record.getMessage())

    def codes(self) -> list[str]:
        """`Error 202, reqId 5: …` is 202; anything else is itself."""
        return [
            text.split()[1].rstrip(",") if text.startswith("Error ") else text for text in self.heard
        ]


@attrs.frozen
class Client:
    ib: IB
    tws: ServedTws
    complaints: Complaints

    def until(self, condition: Callable[[], T], what: str = "") -> T:
        """Wait for something true; every wait ends."""
        for found in self.ib.loopUntil(condition, PATIENCE_LOOP_S):
            if found:
                return found  # type: ignore[return-value]
            if found is False and not condition():
                self.ib.sleep(0.005)
        raise AssertionError(what or "it did not come")
