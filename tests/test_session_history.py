"""Requests for history keep to every one of TWS's limits, and none is forgotten for it."""

from __future__ import annotations

from datetime import UTC, datetime
from itertools import count

from protocol.commands import AskHistory
from protocol.session_history import History
from protocol.session_words import Outbox
from protocol.tws import messages as tws
from protocol.values import Symbol
from tests.symbol_desk import SLV

AT = datetime(2025, 1, 23, 15, 0, tzinfo=UTC)


class Session:
    """A history that is asked at moments of loop time; each request is answered at once, with nothing."""

    def __init__(self) -> None:
        self.history = History()
        self._ids = count(1)

    def ask(self, loop_s: float, *asks: AskHistory) -> int:
        """How many requests leave then."""
        out = Outbox(loop_s=loop_s, at=AT)
        for ask in asks:
            self.history.ask(ask, out)
        self.history.send(lambda symbol: tws.Contract(symbol=symbol), lambda: next(self._ids), out)
        for sent in out.sends:
            (request,) = sent.requests
            assert isinstance(request, tws.ReqHistoricalData)
            self.history.failed(request.req_id, out)
        return len(out.sends)


def test_an_identical_request_waits_for_fifteen_seconds() -> None:
    session = Session()
    assert session.ask(0.0, AskHistory(SLV, 1, 60, 10)) == 1
    assert session.ask(5.0, AskHistory(SLV, 1, 60, 11)) == 0, "the same span in TWS's words"
    assert session.history.due() == 15.0
    assert session.ask(14.9) == 0
    assert session.ask(15.0) == 1
    assert session.history.due() is None


def test_another_size_another_span_and_another_contract_are_not_identical() -> None:
    session = Session()
    session.ask(0.0, AskHistory(SLV, 1, 10, 10))
    others = (AskHistory(SLV, 1, 30, 10), AskHistory(SLV, 1, 10, 20), AskHistory(Symbol("GLD"), 1, 10, 10))
    assert sum(session.ask(0.1, other) for other in others) == 3


def test_a_contract_is_asked_about_five_times_in_two_seconds_at_most() -> None:
    session = Session()
    sizes = (5, 10, 15, 30, 60, 300, 900)
    assert session.ask(0.0, *(AskHistory(SLV, 1, bar_s, 10) for bar_s in sizes)) == 5
    assert session.history.due() == 2.0
    assert session.ask(1.0, AskHistory(Symbol("GLD"), 1, 60, 10)) == 1, "nobody else waits for it"
    assert session.ask(2.0) == 2
