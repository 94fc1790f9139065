"""Accounts as a client of the simulated TWS sees them: values, summaries, several accounts, families."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal

import attrs
import pytest

from protocol.exchange.contracts import contract_id
from protocol.exchange.replay_clock import Boundary, Turn
from protocol.exchange.tws_server import TwsServer
from protocol.exchange.venue import Venue
from protocol.exchange.venue_settings import AccountSettings, VenueSettings
from protocol.tws import messages as m
from protocol.tws.codec import decode_server, encode_server
from tests.tws_faces import OPENING, SLV_ECHO, Face, limit_order, market_order, said

D = Decimal
FIRST, SECOND = "DU1234567", "DU7654321"


def connected(*accounts: str) -> Face:
    """A client of a TWS with these accounts, of a million dollars each; SLV stands at 25.00 to 25.02."""
    face = Face()
    if accounts:
        face.settings = VenueSettings(
            accounts=tuple(AccountSettings(name, D(1_000_000)) for name in accounts)
        )
        face.server = TwsServer(face.market, Venue(face.settings))
        face.server.turn(Boundary(OPENING, Turn.OPENS))
    face.connect()
    face.quote(25.0, 25.02)
    return face


def values(heard: list[m.ServerMessage]) -> dict[tuple[str, str], str]:
    return {(one.key, one.currency): one.value for one in heard if isinstance(one, m.AccountValue)}


def tags(heard: list[m.ServerMessage]) -> list[tuple[str, str, str]]:
    return [(one.tag, one.value, one.currency) for one in heard if isinstance(one, m.AccountSummary)]


# --- account updates ----------------------------------------------------------------------------------


def test_margin_values_come_for_the_account_its_segments_and_its_variants() -> None:
    face = connected()
    face.place(1, market_order("BUY", 1000))
    told = values(face.ask(m.ReqAccountUpdates(True, FIRST)))
    for variant in ("", "Full", "LookAhead"):
        for segment in ("", "-S"):
            assert told[f"{variant}InitMarginReq{segment}", "USD"] == "12505.00"
            assert told[f"{variant}MaintMarginReq{segment}", "USD"] == "6252.50"
        assert told[f"{variant}AvailableFunds", "USD"] == "987480.00"
        assert told[f"{variant}InitMarginReq-C", "USD"] == "0.00"
    assert told["NetLiquidation", "USD"] == told["EquityWithLoanValue", "USD"] == "999985.00"
    assert told["BuyingPower", "USD"] == "3949920.00"
    assert (told["Cushion", ""], told["Leverage-S", ""]) == ("0.993747", "0.03")
    assert told["AccruedCash", "USD"] == "0.00"
    assert told["SMA", "USD"] == "987480.00"


def test_every_currency_and_their_sum_have_a_ledger() -> None:
    face = connected()
    face.place(1, market_order("BUY", 1000))
    told = values(face.ask(m.ReqAccountUpdates(True, FIRST)))
    for currency in ("BASE", "USD"):
        assert told["CashBalance", currency] == "974975.00"
        assert told["StockMarketValue", currency] == "25010.00"
        assert told["NetLiquidationByCurrency", currency] == "999985.00"
        assert told["ExchangeRate", currency] == "1.00"


def test_a_refresh_tells_only_the_values_that_have_changed() -> None:
    face = connected()
    face.pass_time(0)
    everything = values(face.ask(m.ReqAccountUpdates(True, FIRST)))
    quiet = face.pass_time(180)
    assert said(quiet) == ["AccountUpdateTime", "AccountDownloadEnd"]
    face.place(1, market_order("BUY", 100))
    news = values(face.pass_time(1))
    assert 0 < len(news) < len(everything)
    assert news["TotalCashValue", "USD"] == "997497.00"


def test_the_average_cost_has_the_commissions_of_opening_and_the_profits_follow_from_it() -> None:
    face = connected()
    face.place(1, market_order("BUY", 100))
    face.quote(26.0, 26.02)
    face.trade(26.0)
    (line,) = [one for one in face.ask(m.ReqAccountUpdates(True, "")) if isinstance(one, m.PortfolioValue)]
    assert line == m.PortfolioValue(SLV_ECHO, D(100), 26.0, 2600.0, 25.03, 97.0, 0.0, FIRST)
    heard = face.place(2, market_order("SELL", 40))
    (line,) = [one for one in heard if isinstance(one, m.PortfolioValue)]
    assert (line.position, line.average_cost) == (D(60), 25.03)
    # 40 at 0.97 over cost, less the minimum of 40 cents' worth of shares: one dollar.
    assert line.realized_pnl == pytest.approx(40 * 0.97 - 1.0)
    (report,) = [one for one in heard if isinstance(one, m.CommissionReport)]
    assert report.realized_pnl == pytest.approx(line.realized_pnl)


def test_updates_of_several_models_are_the_same_and_the_light_form_is_the_ledger() -> None:
    face = connected()
    heard = face.ask(m.ReqAccountUpdatesMulti(5, FIRST, "", True))
    keys = {one.key for one in heard if isinstance(one, m.AccountUpdateMulti)}
    assert {"NetLiquidation", "CashBalance", "ExchangeRate"} < keys
    assert "InitMarginReq" not in keys
    assert heard[-1] == m.AccountUpdateMultiEnd(5)


# --- the summary --------------------------------------------------------------------------------------

ALL_TAGS = (
    "AccountType,NetLiquidation,TotalCashValue,SettledCash,AccruedCash,BuyingPower,EquityWithLoanValue,"
    "PreviousDayEquityWithLoanValue,GrossPositionValue,RegTEquity,RegTMargin,SMA,InitMarginReq,"
    "MaintMarginReq,AvailableFunds,ExcessLiquidity,Cushion,FullInitMarginReq,FullMaintMarginReq,"
    "FullAvailableFunds,FullExcessLiquidity,LookAheadNextChange,LookAheadInitMarginReq,"
    "LookAheadMaintMarginReq,LookAheadAvailableFunds,LookAheadExcessLiquidity,HighestSeverity,"
    "DayTradesRemaining,Leverage"
)
"""What IBKR documents, and ibapi's AccountSummaryTags lists."""


def test_every_documented_tag_is_answered_in_the_order_it_was_asked_for() -> None:
    heard = connected().ask(m.ReqAccountSummary(6, "All", ALL_TAGS))
    assert [tag for tag, _, _ in tags(heard)] == ALL_TAGS.split(",")
    assert heard[-1] == m.AccountSummaryEnd(6)


def test_a_ledger_is_of_the_base_currency_of_one_or_of_all() -> None:
    face = connected()
    base = tags(face.ask(m.ReqAccountSummary(6, "All", "$LEDGER")))
    assert ("CashBalance", "1000000.00", "BASE") in base
    dollars = tags(face.ask(m.ReqAccountSummary(6, "All", "$LEDGER:USD")))
    assert ("CashBalance", "1000000.00", "USD") in dollars
    everything = tags(face.ask(m.ReqAccountSummary(6, "All", "$LEDGER:ALL")))
    assert everything == base + dollars
    assert tags(face.ask(m.ReqAccountSummary(6, "All", "$LEDGER:JPY"))) == []


def test_a_client_watches_two_summaries_and_is_refused_a_third() -> None:
    face = connected()
    face.ask(m.ReqAccountSummary(6, "All", "NetLiquidation"))
    face.ask(m.ReqAccountSummary(7, "All", "NetLiquidation"))
    assert said(face.ask(m.ReqAccountSummary(8, "All", "NetLiquidation"))) == ["error 8 322"]
    face.ask(m.CancelAccountSummary(6))
    assert said(face.ask(m.ReqAccountSummary(8, "All", "NetLiquidation")))[-1] == "AccountSummaryEnd"
    assert said(face.ask(m.ReqAccountSummary(7, "no such group", ""))) == ["error 7 321"]


# --- several accounts -----------------------------------------------------------------------------------


def test_orders_positions_and_figures_of_several_accounts_stay_apart() -> None:
    face = connected(FIRST, SECOND)
    assert face.ask(m.ReqManagedAccounts()) == [m.ManagedAccounts((FIRST, SECOND))]
    face.place(1, market_order("BUY", 100))
    face.place(2, attrs.evolve(market_order("SELL", 50), account=SECOND))
    assert face.ask(m.ReqPositions()) == [
        m.Position(FIRST, SLV_ECHO, D(100), 25.03),
        m.Position(SECOND, SLV_ECHO, D(-50), 24.98),
        m.PositionEnd(),
    ]
    assert face.ask(m.ReqPositionsMulti(9, SECOND, "")) == [
        m.PositionMulti(9, SECOND, SLV_ECHO, D(-50), 24.98, ""),
        m.PositionMultiEnd(9),
    ]
    heard = face.ask(m.ReqAccountSummary(6, "All", "GrossPositionValue"))
    assert [(one.account, one.value) for one in heard if isinstance(one, m.AccountSummary)] == [
        (FIRST, "2501.00"), (SECOND, "1250.50"),
    ]  # fmt: skip
    assert tags(face.ask(m.ReqAccountSummary(6, SECOND, "GrossPositionValue"))) == [
        ("GrossPositionValue", "1250.50", "USD")
    ]


def test_positions_of_one_account_are_told_with_each_change_until_they_are_cancelled() -> None:
    face = connected(FIRST, SECOND)
    assert face.ask(m.ReqPositionsMulti(9, SECOND, "")) == [m.PositionMultiEnd(9)]
    face.place(1, market_order("BUY", 100))
    assert not [one for one in face.heard() if isinstance(one, m.PositionMulti)]
    heard = face.place(2, attrs.evolve(market_order("BUY", 50), account=SECOND))
    assert heard[-1] == m.PositionMulti(9, SECOND, SLV_ECHO, D(50), 25.04, "")
    face.ask(m.CancelPositionsMulti(9))
    heard = face.place(3, attrs.evolve(market_order("SELL", 50), account=SECOND))
    assert not [one for one in heard if isinstance(one, m.PositionMulti)]


# --- profit ---------------------------------------------------------------------------------------------


def test_the_days_profit_begins_anew_with_the_next_opening() -> None:
    face = connected()
    face.place(1, market_order("BUY", 100))
    face.trade(26.0)
    assert face.ask(m.ReqPnL(6, FIRST, "")) == [m.PnL(6, 97.0, 97.0, 0.0)]
    face.now += timedelta(days=1)
    face.server.turn(Boundary(face.now - timedelta(hours=1), Turn.CLOSES))
    face.server.turn(Boundary(face.now, Turn.OPENS))
    con_id = contract_id("SLV")
    assert face.ask(m.ReqPnL(7, FIRST, "")) == [m.PnL(7, 0.0, 97.0, 0.0)]
    assert face.ask(m.ReqPnLSingle(8, FIRST, "", con_id)) == [m.PnLSingle(8, D(100), 0.0, 97.0, 0.0, 2600.0)]


def test_a_subscription_ends_with_its_connection() -> None:
    face = connected()
    face.ask(m.ReqPnL(6, FIRST, ""))
    face.ask(m.ReqAccountUpdates(True, ""))
    face.server.disconnected(1, face.now)
    face.connect()
    face.place(1, market_order("BUY", 100))
    assert not [one for one in face.pass_time(200) if isinstance(one, m.PnL | m.AccountValue)]


# --- refusals and honest answers --------------------------------------------------------------------------


def test_an_order_beyond_the_margin_is_inactive_with_the_reason() -> None:
    face = connected()
    heard = face.place(1, market_order("BUY", 100_000))
    assert said(heard)[-1] == "error 1 201"
    assert "openOrder 1 Inactive" in said(heard)
    assert not [one for one in face.ask(m.ReqOpenOrders()) if isinstance(one, m.OpenOrder)]


def test_a_what_if_order_tells_what_a_real_one_would_take() -> None:
    face = connected()
    (preview,) = face.place(1, attrs.evolve(limit_order("SELL", 100, 25.0), what_if=True))
    assert isinstance(preview, m.OpenOrder)
    state = preview.state
    assert (state.init_margin_before, state.init_margin_after) == (0.0, 1250.0)
    assert (state.maint_margin_change, state.equity_with_loan_change) == (750.0, -1.0)
    assert (state.commission, state.commission_currency) == (1.0, "USD")


def test_families_tiers_and_advisors_are_answered_honestly() -> None:
    face = connected(FIRST, SECOND)
    assert face.ask(m.ReqFamilyCodes()) == [m.FamilyCodes(((FIRST, ""), (SECOND, "")))]
    assert face.ask(m.ReqSoftDollarTiers(4)) == [m.SoftDollarTiers(4, ())]
    assert said(face.ask(m.RequestFa(1))) == ["error -1 321"]
    assert said(face.ask(m.ReplaceFa(1, "<xml/>", 5))) == ["error 5 321"]
    assert said(face.ask(m.ReqPositionsMulti(9, "DU0", ""))) == ["error 9 321"]


@pytest.mark.parametrize("version", [157, 178])
def test_what_is_said_about_accounts_reads_as_it_was_written(version: int) -> None:
    for message in (
        m.PositionMulti(9, SECOND, SLV_ECHO, D(50), 25.04, ""),
        m.PositionMultiEnd(9),
        m.FamilyCodes(((FIRST, ""),)),
        m.SoftDollarTiers(4, (m.SoftDollarTier(name="a", val="b", display_name="c"),)),
    ):
        assert decode_server(version, encode_server(version, message)) == message
