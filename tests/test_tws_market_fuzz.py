"""Whatever a client asks about the market, it is answered with something that can be sent."""

from __future__ import annotations

import typing
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from protocol.tws import messages as m
from protocol.tws.codec import encode_server
from tests.market_faces import OF_EVERY_KIND, RunningFace

TEXTS = st.sampled_from([
    "", "SLV", "SPY", "OPT", "STK", "FUT", "ES", "EUR", "USD", "C", "P", "20250221", "202503",
    "SMART", "CME", "1 D", "1 Y", "2 M", "60 S", "1 min", "1 secs", "1 day", "1 week", "TRADES",
    "BID", "BID_ASK", "MIDPOINT", "SCHEDULE", "HISTORICAL_VOLATILITY", "20250123-15:00:00",
    "00010101-00:00:00", "99991231-23:59:59", "233,221", "mdoff", "BidAsk", "Last", "MidPoint",
    "3 days", "9999 years", "100", "SLV   250221C00027000", "ESH5", "x",
])  # fmt: skip
NUMBERS = st.sampled_from([0.0, -1.0, 0.5, 27.0, 1e300, -1e300, float("inf"), float("nan"), 1e-300])
COUNTS = st.sampled_from([0, 1, -1, 5, 1000, 2**31 - 1])
CONTRACTS = st.one_of(
    st.sampled_from(OF_EVERY_KIND),
    st.builds(
        m.Contract,
        con_id=COUNTS,
        symbol=TEXTS,
        sec_type=st.sampled_from(["STK", "OPT", "FUT", "CASH", "BAG", ""]),
        last_trade_date_or_contract_month=TEXTS,
        strike=NUMBERS,
        right=TEXTS,
        exchange=TEXTS,
        currency=st.sampled_from(["USD", ""]),
        local_symbol=TEXTS,
    ),
)
CLASSES: tuple[type, ...] = (
    *typing.get_args(m.MarketRequest),
    m.ReqMktData,
    m.ReqHistoricalData,
    m.ReqContractDetails,
    m.ReqMarketRule,
    m.ReqMarketDataType,
)


def requests(of: type) -> st.SearchStrategy[Any]:
    drawn: dict[Any, st.SearchStrategy[Any]] = {
        m.Contract: CONTRACTS,
        str: TEXTS,
        float: NUMBERS,
        int: COUNTS,
        bool: st.booleans(),
    }
    return st.builds(of, **{name: drawn[hint] for name, hint in typing.get_type_hints(of).items()})


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(st.one_of(*map(requests, CLASSES)), max_size=6))
@pytest.mark.slow
def test_any_request_about_the_market_is_answered(asked: list[m.ClientRequest]) -> None:
    face = RunningFace()
    for request in asked:
        for message in face.ask(request):
            encode_server(178, message)
    for message in face.run(2):
        encode_server(178, message)
