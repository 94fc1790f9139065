"""What reqContractDetails says of a contract beside its name: hours, exchanges, price steps, expiry.

Hours are those of the exchange's calendar, half days and holidays included. The market of this TWS moves in
the hours of stocks alone; futures and currencies have their longer hours in their description nevertheless.
"""

from __future__ import annotations

from datetime import date, timedelta
from typing import Final

import attrs

from protocol.exchange.calendar import is_half_day, is_trading_day, session_of
from protocol.exchange.contracts import contract_id
from protocol.exchange.currencies import Pair
from protocol.exchange.futures import FutureTerms
from protocol.exchange.listings import OPTION_EXCHANGES, STOCK_EXCHANGES, Listing
from protocol.exchange.options import OptionTerms
from protocol.tws.messages import ContractDetails

HOURS_DAYS: Final = 6
_STOCK_ORDER_TYPES: Final = (
    "ACTIVETIM,ALLOC,AON,CASHQTY,COND,DAY,GAT,GTC,GTD,HID,IOC,LIT,LMT,LOC,LOO,MIT,MKT,MOC,MOO,NONALGO,OCA,OPG,"
    "OUTRTH,REL,STP,STPLMT,TRAIL,TRAILLMT,WHATIF"
)
_OTHER_ORDER_TYPES: Final = (
    "ACTIVETIM,COND,DAY,GAT,GTC,GTD,IOC,LIT,LMT,MIT,MKT,OCA,STP,STPLMT,TRAIL,TRAILLMT,WHATIF"
)
_LISTED_ON: Final = "NASDAQ"


def details_of(listing: Listing, today: date) -> ContractDetails:
    """The description of a contract, with its trading hours from `today` on."""
    contract = listing.contract
    plain = ContractDetails(
        contract=contract,
        market_name=contract.trading_class,
        min_tick=listing.min_tick,
        order_types=_OTHER_ORDER_TYPES,
        valid_exchanges=contract.exchange,
        time_zone_id="US/Eastern",
        market_rule_ids=str(listing.rule_id),
    )
    match listing.terms:
        case str():
            return _stock(listing, plain, today)
        case OptionTerms() as terms:
            return _option(terms, listing, plain, today)
        case FutureTerms() as terms:
            return _future(terms, plain, today)
        case Pair() as pair:
            return attrs.evolve(
                plain,
                long_name=f"{_CURRENCIES.get(pair.base, pair.base)}",
                trading_hours=_overnight_hours(today, "1715", "1700"),
                liquid_hours=_overnight_hours(today, "1715", "1700"),
                agg_group=4,
            )


_CURRENCIES: Final = {
    "AUD": "Australian dollar", "EUR": "European Monetary Union Euro", "GBP": "British pound",
    "NZD": "New Zealand dollar", "USD": "United States dollar",
}  # fmt: skip


def _stock(listing: Listing, plain: ContractDetails, today: date) -> ContractDetails:
    return attrs.evolve(
        plain,
        contract=attrs.evolve(plain.contract, primary_exchange=_LISTED_ON),
        market_name="NMS",
        order_types=_STOCK_ORDER_TYPES,
        valid_exchanges=",".join(STOCK_EXCHANGES),
        long_name=plain.contract.symbol,
        trading_hours=_hours(today, extended=True),
        liquid_hours=_hours(today, extended=False),
        agg_group=1,
        market_rule_ids=",".join([str(listing.rule_id)] * len(STOCK_EXCHANGES)),
        stock_type="COMMON",
    )


def _option(terms: OptionTerms, listing: Listing, plain: ContractDetails, today: date) -> ContractDetails:
    return attrs.evolve(
        plain,
        valid_exchanges=",".join(OPTION_EXCHANGES),
        under_con_id=contract_id(terms.underlying),
        long_name=terms.underlying,
        contract_month=f"{terms.expiry:%Y%m}",
        trading_hours=_hours(today, extended=False),
        liquid_hours=_hours(today, extended=False),
        agg_group=2,
        under_symbol=terms.underlying,
        under_sec_type="STK",
        market_rule_ids=",".join([str(listing.rule_id)] * len(OPTION_EXCHANGES)),
        real_expiration_date=f"{terms.expiry:%Y%m%d}",
    )


def _future(terms: FutureTerms, plain: ContractDetails, today: date) -> ContractDetails:
    return attrs.evolve(
        plain,
        under_con_id=contract_id(terms.product.carrier),
        long_name=terms.product.name,
        contract_month=f"{terms.expiry:%Y%m}",
        time_zone_id="US/Central",
        trading_hours=_overnight_hours(today, "1700", "1600"),
        liquid_hours=_days(today, "0830", "1600", half_day_end="1215"),
        agg_group=2147483647,
        under_symbol=terms.product.symbol,
        under_sec_type="IND",
        real_expiration_date=f"{terms.expiry:%Y%m%d}",
    )


def _hours(today: date, *, extended: bool) -> str:
    """`20250123:0930-20250123:1600;20250124:CLOSED`, from `today` on."""
    if extended:
        return _days(today, "0400", "2000", half_day_end="1700")
    return _days(today, "0930", "1600", half_day_end="1300")


def _days(today: date, first: str, last: str, *, half_day_end: str) -> str:
    days: list[str] = []
    for offset in range(HOURS_DAYS):
        day = today + timedelta(days=offset)
        if not is_trading_day(day):
            days.append(f"{day:%Y%m%d}:CLOSED")
            continue
        days.append(f"{day:%Y%m%d}:{first}-{day:%Y%m%d}:{half_day_end if is_half_day(day) else last}")
    return ";".join(days)


def _overnight_hours(today: date, first: str, last: str) -> str:
    """Sessions that begin on the evening before."""
    days: list[str] = []
    for offset in range(HOURS_DAYS):
        day = today + timedelta(days=offset)
        if session_of(day) is None:
            days.append(f"{day:%Y%m%d}:CLOSED")
        else:
            days.append(f"{day - timedelta(days=1):%Y%m%d}:{first}-{day:%Y%m%d}:{last}")
    return ";".join(days)
