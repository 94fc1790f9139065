"""Options, futures and currency pairs of the simulated TWS: what there is, what it costs, how it trades."""

from __future__ import annotations

from datetime import UTC, date, datetime
from decimal import Decimal
from math import exp

import attrs
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from protocol.exchange.black_scholes import greeks_of, implied_volatility, price_of
from protocol.exchange.calendar import is_trading_day
from protocol.exchange.contract_details import details_of
from protocol.exchange.contract_key import contract_key
from protocol.exchange.derived_prices import sides_of
from protocol.exchange.futures import PRODUCTS, listed
from protocol.exchange.listings import Listing, option_listing
from protocol.exchange.options import OptionTerms, expiries, read_code, strikes, third_friday
from protocol.exchange.tws_market_settings import MarketSettings
from protocol.tws import messages as m
from tests.market_faces import FUTURE, OF_EVERY_KIND, OPTION, PAIR, STOCK, RunningFace
from tests.tws_faces import said

DAY = date(2025, 1, 23)
SETTINGS = MarketSettings()
TEN = datetime(2025, 1, 23, 15, tzinfo=UTC)

spots = st.floats(5, 500)
times = st.floats(0.01, 2)
volatilities = st.floats(0.05, 1.5)


def details(face: RunningFace, contract: m.Contract) -> list[m.ContractDetails]:
    *heard, end = face.ask(m.ReqContractDetails(3, contract))
    assert end == m.ContractDataEnd(3)
    return [one.details for one in heard if isinstance(one, m.ContractData)]


def executions(heard: list[m.ServerMessage]) -> list[m.Execution]:
    return [message.execution for message in heard if isinstance(message, m.ExecDetails)]


# --- the model --------------------------------------------------------------------------------------


@settings(deadline=None)
@given(spots, spots, times, volatilities)
def test_a_call_less_its_put_is_the_stock_less_the_discounted_strike(
    spot: float, strike: float, years: float, volatility: float
) -> None:
    call = price_of(spot, strike, years, 0.04, volatility, call=True)
    put = price_of(spot, strike, years, 0.04, volatility, call=False)
    assert call - put == pytest.approx(spot - strike * exp(-0.04 * years), abs=1e-9)


@settings(deadline=None)
@given(spots, st.floats(0.8, 1.25), st.floats(0.05, 2), st.floats(0.1, 1.5), st.booleans())
def test_a_price_implies_the_volatility_that_made_it(
    spot: float, moneyness: float, years: float, volatility: float, call: bool
) -> None:
    price = price_of(spot, spot * moneyness, years, 0.04, volatility, call=call)
    assume(price > 1e-4)
    implied = implied_volatility(price, spot, spot * moneyness, years, 0.04, call=call)
    assert implied is not None
    again = price_of(spot, spot * moneyness, years, 0.04, implied, call=call)
    assert again == pytest.approx(price, abs=1e-6)


@settings(deadline=None)
@given(spots, st.floats(0.8, 1.25), times, st.floats(0.1, 1.5), st.booleans())
def test_greeks_are_the_slopes_of_the_price(
    spot: float, moneyness: float, years: float, volatility: float, call: bool
) -> None:
    strike, step = spot * moneyness, spot * 1e-4
    greeks = greeks_of(spot, strike, years, 0.04, volatility, call=call)
    above = price_of(spot + step, strike, years, 0.04, volatility, call=call)
    below = price_of(spot - step, strike, years, 0.04, volatility, call=call)
    assert greeks.delta == pytest.approx((above - below) / (2 * step), abs=1e-3)
    more = price_of(spot, strike, years, 0.04, volatility + 0.005, call=call)
    less = price_of(spot, strike, years, 0.04, volatility - 0.005, call=call)
    assert greeks.vega == pytest.approx(more - less, abs=1e-3 * spot)


@settings(deadline=None)
@given(st.floats(20, 40), st.floats(0, 0.5), st.sampled_from([20.0, 27.5, 35.0]), st.sampled_from("CP"))
def test_an_option_is_quoted_around_its_model_on_its_grid(
    spot: float, move: float, strike: float, right: str
) -> None:
    listing = option_listing(OptionTerms("SLV", date(2025, 2, 21), strike, right))
    sides, moved = (sides_of(listing, price, 1.0, TEN, SETTINGS) for price in (spot, spot + move))
    assert sides.bid <= sides.worth <= sides.ask
    assert sides.bid < sides.ask
    for price in sides[:1] + sides[2:3]:
        step = Decimal("0.05") if price >= 3 else Decimal("0.01")
        assert Decimal(repr(price)) % step == 0
    assert moved.worth >= sides.worth if right == "C" else moved.worth <= sides.worth


# --- what there is ----------------------------------------------------------------------------------


def test_options_expire_on_fridays_or_the_trading_day_before() -> None:
    days = expiries(DAY)
    assert all(is_trading_day(day) for day in days)
    assert days[:5] == tuple(date(2025, *md) for md in ((1, 24), (1, 31), (2, 7), (2, 14), (2, 21)))
    assert date(2025, 4, 17) in days  # the Friday is Good Friday
    assert {third_friday(2025, month) for month in (3, 5, 6)} <= set(days)


def test_a_local_symbol_names_its_option() -> None:
    terms = OptionTerms("SLV", date(2025, 2, 21), 27.5, "P")
    assert terms.local_symbol == "SLV   250221P00027500"
    assert read_code(terms.local_symbol) == terms
    assert read_code("SLV   259921P00027500") is None


def test_the_two_front_quarters_of_a_future_are_listed() -> None:
    names = [terms.local_symbol for terms in listed(PRODUCTS["ES"], DAY)]
    assert names == ["ESH5", "ESM5"]
    assert [terms.local_symbol for terms in listed(PRODUCTS["ES"], date(2025, 3, 22))] == ["ESM5", "ESU5"]


def test_a_described_part_of_the_chain_has_one_contract_for_each_option() -> None:
    face = RunningFace()
    calls = attrs.evolve(OPTION, strike=0.0)
    found = [one.contract for one in details(face, calls)]
    assert {one.right for one in found} == {"C"}
    assert {one.last_trade_date_or_contract_month for one in found} == {"20250221"}
    close = face.market.history("SLV", 86_400, face.now, 1)[-1].close
    assert tuple(one.strike for one in found) == strikes(close)
    both = details(face, attrs.evolve(calls, right=""))
    assert len(both) == 2 * len(found)


def test_a_contract_found_once_is_found_by_its_id_alone() -> None:
    for contract in OF_EVERY_KIND:
        (one,) = details(RunningFace(), contract)
        face = RunningFace()
        face.ask(m.ReqContractDetails(2, STOCK))
        (again,) = details(face, m.Contract(con_id=one.contract.con_id))
        assert again == one


def test_an_ambiguous_contract_has_no_data_and_takes_no_orders() -> None:
    face = RunningFace()
    some = attrs.evolve(OPTION, strike=0.0)
    (refusal,) = face.ask(m.ReqMktData(4, some))
    assert isinstance(refusal, m.ErrorMessage)
    assert (refusal.id, refusal.code) == (4, 200)
    assert "SLV is ambiguous" in refusal.text
    assert said(face.buy(1, some, 1))[0] == "error 1 200"
    assert said(face.ask(m.ReqMktData(5, attrs.evolve(FUTURE, last_trade_date_or_contract_month="")))) == [
        "error 5 200"
    ]


@pytest.mark.parametrize(
    "stranger",
    [
        attrs.evolve(OPTION, last_trade_date_or_contract_month="20250222"),
        attrs.evolve(OPTION, strike=27.3),
        attrs.evolve(OPTION, strike=2700.0),
        attrs.evolve(OPTION, multiplier="10"),
        attrs.evolve(OPTION, exchange="CME"),
        attrs.evolve(FUTURE, symbol="XX"),
        attrs.evolve(FUTURE, last_trade_date_or_contract_month="202504"),
        attrs.evolve(FUTURE, exchange="SMART"),
        attrs.evolve(PAIR, currency="MAR"),
        attrs.evolve(PAIR, sec_type="CRYPTO"),
        attrs.evolve(STOCK, exchange="MARS"),
        m.Contract(con_id=1_999_999_999),
        m.Contract(local_symbol="SLV   250221C00027000", sec_type="FUT"),
    ],
)
def test_what_is_not_listed_has_no_security_definition(stranger: m.Contract) -> None:
    assert said(RunningFace().ask(m.ReqContractDetails(3, stranger))) == ["error 3 200"]


def test_each_kind_is_described_in_its_own_terms() -> None:
    face = RunningFace()
    option, future, pair = (details(face, contract)[0] for contract in (OPTION, FUTURE, PAIR))
    assert (option.contract.local_symbol, option.contract.multiplier) == ("SLV   250221C00027000", "100")
    assert (option.under_symbol, option.real_expiration_date) == ("SLV", "20250221")
    assert option.liquid_hours.startswith("20250123:0930-20250123:1600")
    assert (future.contract.local_symbol, future.contract.multiplier, future.min_tick) == ("ESH5", "50", 0.25)
    assert future.trading_hours.startswith("20250122:1700-20250123:1600")
    assert (pair.contract.local_symbol, pair.min_tick) == ("EUR.USD", 0.00005)
    for one in (option, future, pair):
        rule = one.market_rule_ids.split(",")[0]
        (steps,) = face.ask(m.ReqMarketRule(int(rule)))
        assert isinstance(steps, m.MarketRule)
        assert steps.increments[0] == (0.0, one.min_tick)


def test_hours_know_half_days_and_holidays() -> None:
    listing = RunningFace().server._data._floor.listings._stock("SLV")
    hours = details_of(listing, date(2024, 11, 28))
    assert hours.liquid_hours.split(";")[:2] == ["20241128:CLOSED", "20241129:0930-20241129:1300"]
    assert hours.trading_hours.split(";")[1] == "20241129:0400-20241129:1700"


def test_options_are_priced_in_wider_steps_from_three_dollars_on() -> None:
    face = RunningFace()
    assert face.ask(m.ReqMarketRule(32)) == [m.MarketRule(32, ((0.0, 0.01), (3.0, 0.05)))]


def test_the_chain_of_a_stock_is_the_same_on_every_exchange() -> None:
    *chains, end = RunningFace().ask(m.ReqOptionParameters(5, "SLV", "", "STK", 0))
    assert end == m.OptionParametersEnd(5)
    told = [chain for chain in chains if isinstance(chain, m.OptionParameters)]
    assert len(told) == len(chains)
    first = told[0]
    assert (first.exchange, first.trading_class, first.multiplier) == ("SMART", "SLV", "100")
    assert {attrs.evolve(chain, exchange="") for chain in told} == {attrs.evolve(first, exchange="")}
    for expiry in first.expirations[:2]:
        wanted = attrs.evolve(OPTION, last_trade_date_or_contract_month=expiry, strike=first.strikes[0])
        assert len(details(RunningFace(), wanted)) == 1


def test_symbols_are_found_by_how_they_begin() -> None:
    (samples,) = RunningFace().ask(m.ReqMatchingSymbols(6, "sm"))
    assert isinstance(samples, m.SymbolSamples)
    assert [one.symbol for one in samples.contracts] == ["SM", "SMH"]


def test_what_nobody_has_subscribed_to_is_refused() -> None:
    face = RunningFace()
    assert face.ask(m.ReqNewsProviders()) == [m.NewsProviders(())]
    assert said(face.ask(m.ReqHistoricalNews(7, 1, "BRFG", "", "", 10))) == ["error 7 10276"]
    assert said(face.ask(m.ReqNewsArticle(8, "BRFG", "x"))) == ["error 8 10276"]
    assert said(face.ask(m.ReqFundamentalData(9, STOCK, "ReportSnapshot"))) == ["error 9 430"]
    assert said(face.ask(m.ReqScannerSubscription(10, "10", "STK", "STK.US", "TOP_PERC_GAIN"))) == [
        "error 10 165"
    ]
    assert said(face.ask(m.CancelScannerSubscription(10))) == ["error 10 365"]
    assert said(face.ask(m.ReqScannerParameters())) == ["ScannerParameters"]
    assert said(face.ask(m.ReqSmartComponents(11, "9c0001"))) == ["SmartComponents"]
    assert said(face.ask(m.ReqMarketDepthExchanges())) == ["MarketDepthExchanges"]


# --- what it costs ----------------------------------------------------------------------------------


def standing(heard: list[m.ServerMessage], req_id: int) -> dict[int, float]:
    return {
        one.tick_type: one.price for one in heard if isinstance(one, m.TickPrice) and one.req_id == req_id
    }


@pytest.mark.parametrize("contract", OF_EVERY_KIND, ids=lambda contract: contract.sec_type)
def test_every_kind_of_contract_is_quoted_and_can_be_traded_at_the_quote(contract: m.Contract) -> None:
    face = RunningFace()
    face.ask(m.ReqMktData(1, STOCK))
    face.run(2)
    heard = face.ask(m.ReqMktData(5, contract)) + face.run(3)
    prices = standing(heard, 5)
    assert 0 < prices[1] < prices[2]
    heard = face.buy(1, contract, 10)
    (execution,) = executions(heard)
    assert execution.price == pytest.approx(prices[2])
    resolved = face.server.resolve(contract)
    assert resolved is not None
    *positions, _ = face.ask(m.ReqPositions())
    assert [
        (one.contract.local_symbol, one.position) for one in positions if isinstance(one, m.Position)
    ] == [(resolved.local_symbol, Decimal(10))]


def test_an_option_and_its_stock_are_two_positions() -> None:
    face = RunningFace()
    face.ask(m.ReqMktData(1, STOCK))
    face.run(2)
    face.buy(1, STOCK, 100)
    face.buy(2, OPTION, 3)
    *positions, _ = face.ask(m.ReqPositions())
    held = {one.contract.sec_type: one.position for one in positions if isinstance(one, m.Position)}
    assert held == {"STK": Decimal(100), "OPT": Decimal(3)}


def test_a_line_of_an_option_carries_the_model_and_what_its_quote_implies() -> None:
    face = RunningFace(MarketSettings(option_volatility=0.4))
    face.ask(m.ReqMktData(1, STOCK))
    face.run(2)
    heard = face.ask(m.ReqMktData(5, OPTION)) + face.run(5)
    computed = {one.tick_type: one for one in heard if isinstance(one, m.TickOptionComputation)}
    assert set(computed) >= {10, 11, 13}
    model = computed[13]
    assert model.implied_vol == 0.4
    assert model.delta is not None
    assert 0 < model.delta < 1
    assert model.theta is not None
    assert model.theta < 0
    bid, ask = computed[10].implied_vol, computed[11].implied_vol
    assert bid is not None
    assert ask is not None
    assert bid < 0.4 < ask


def test_the_model_answers_what_would_be() -> None:
    face = RunningFace()
    (priced,) = face.ask(m.CalculateOptionPrice(7, OPTION, 0.5, 27.0))
    assert isinstance(priced, m.TickOptionComputation)
    assert priced.opt_price is not None
    (implied,) = face.ask(m.CalculateImpliedVolatility(8, OPTION, priced.opt_price, 27.0))
    assert isinstance(implied, m.TickOptionComputation)
    assert implied.tick_type == 53
    assert implied.implied_vol == pytest.approx(0.5, abs=1e-6)
    assert face.ask(m.CancelOptionPrice(7)) == []
    assert said(face.ask(m.CalculateOptionPrice(7, STOCK, 0.5, 27.0))) == ["error 7 321"]
    assert said(face.ask(m.CalculateImpliedVolatility(8, OPTION, 500.0, 27.0))) == ["error 8 321"]


def test_a_future_follows_its_fund_and_a_pair_its_own_walk() -> None:
    face = RunningFace()
    face.ask(m.ReqMktData(1, attrs.evolve(STOCK, symbol="SPY")))
    face.run(1)
    heard = face.ask(m.ReqMktData(5, FUTURE)) + face.ask(m.ReqMktData(6, PAIR)) + face.run(30)
    spy, future, pair = (standing(heard, req_id) for req_id in (1, 5, 6))
    assert future[4] == pytest.approx(10 * spy[4] * exp(0.04 * 57 / 365), abs=0.25)
    assert 4 not in pair  # nobody reports trades of currencies
    assert len([one for one in heard if isinstance(one, m.TickPrice) and one.req_id == 6]) > 4


def test_a_seed_fixes_what_hangs_on_stocks_too() -> None:
    def one_run() -> list[m.ServerMessage]:
        face = RunningFace()
        return [one for contract in OF_EVERY_KIND for one in face.ask(m.ReqMktData(9, contract))] + face.run(
            5
        )

    assert one_run() == one_run()


def test_nobody_pays_for_contracts_that_nobody_asks_for() -> None:
    face = RunningFace()
    face.ask(m.ReqContractDetails(3, attrs.evolve(OPTION, strike=0.0)))
    face.run(2)
    assert face.venue.quote("SLV   250221C00027000") is None
    assert not face.server._data._floor.derived.carries("SLV")


def test_after_a_restart_a_contract_in_use_ticks_again() -> None:
    face = RunningFace()
    for contract in OF_EVERY_KIND:
        resolved = face.server.resolve(contract)
        assert resolved is not None
        again = RunningFace()
        again.server.follow_again(contract_key(resolved), again.now)
        again.run(2)
        quote = again.venue.quote(contract_key(resolved))
        assert quote is not None
        assert quote.bid is not None
    face.server.follow_again("no contract at all", face.now)


def test_a_listing_says_what_carries_it() -> None:
    face = RunningFace()
    floor = face.server._data._floor
    carriers = []
    for contract in OF_EVERY_KIND:
        (listing,) = floor.find(contract)
        assert isinstance(listing, Listing)
        carriers.append(listing.carrier)
    assert carriers == ["SLV", "SLV", "SPY", "fx EUR.USD"]
