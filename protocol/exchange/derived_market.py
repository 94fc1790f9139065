"""The market of options, futures and currency pairs: ticks of those that somebody follows, prints of any.

A contract follows its carrier: an option its stock, a future the fund on its index, a currency pair a walk
that is seen nowhere else. A carrier that the market of stocks has ticks there, and each of its trades moves
what hangs on it; one that it has not is walked here, a step a second. Both only in regular hours. Contracts
that nobody has asked for do not exist: a tick of a stock on which nothing hangs costs one look-up.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import date, datetime, timedelta
from typing import Final

import attrs

from protocol.exchange.calendar import NEW_YORK, Session, previous_trading_day, session_at, session_of
from protocol.exchange.contract_key import contract_key
from protocol.exchange.derived_prices import Sides, sides_of
from protocol.exchange.futures import FutureTerms
from protocol.exchange.happenings import MarketTick
from protocol.exchange.history import MINUTE_US, SECOND_US, Prints, micros, moment
from protocol.exchange.listings import Listing
from protocol.exchange.market import Market
from protocol.exchange.options import OptionTerms
from protocol.exchange.path import Print
from protocol.exchange.stock import Stock
from protocol.exchange.tws_market_settings import MarketSettings

COARSE_FROM_S, COARSE_S = 3600, 1800
"""Bars of an option from an hour on are made of the half hours of its stock: the model takes its time."""
OPTION_TRADE: Final = 5
"""Contracts of an option that trade each minute, with the first trade of its stock."""
WALK_DAYS: Final = 30
"""Before the market's start: so far back walks are known, a month as the stocks of a synthetic market."""
_MINUTE: Final = timedelta(minutes=1)


@attrs.define(eq=False)
class _Followed:
    """A contract that somebody follows, and what was told of it last."""

    listing: Listing
    key: str
    sides: Sides | None = None
    minute: datetime | None = None
    """The last one in which an option traded."""


@attrs.define(eq=False)
class _Walk:
    stock: Stock
    reached_us: int
    """Steps before this moment have been taken."""


class DerivedMarket:
    def __init__(self, market: Market, settings: MarketSettings) -> None:
        self._market, self._settings = market, settings
        self._followers: dict[str, list[_Followed]] = {}
        self._keys: set[str] = set()
        self._walks: dict[str, _Walk] = {}
        self._traded: set[str] = set()
        self._bases: dict[str, float] = {}
        self._hours: Session | None = None

    # --- ticks ------------------------------------------------------------------------------------

    @property
    def walks(self) -> bool:
        """Whether anything moves here by time alone."""
        return bool(self._walks)

    def carries(self, symbol: str) -> bool:
        """Whether something hangs on a stock of the market."""
        return symbol in self._followers

    def follow(
        self, listing: Listing, at: datetime, carrier_price: float | None, *, quietly: bool = False
    ) -> tuple[MarketTick, ...] | None:
        """Make a contract tick from now on: its first tick, if its carrier has a price (`carrier_price`).

        None when it ticks already. `quietly`: without a first tick.
        """
        key = contract_key(listing.contract)
        if key in self._keys:
            return None
        self._keys.add(key)
        carrier = listing.carrier
        followed = _Followed(listing, key)
        self._followers.setdefault(carrier, []).append(followed)
        if self._market.knows(carrier):
            self._market.add(carrier)
        else:
            if carrier not in self._walks:
                self._walks[carrier] = _Walk(self._stock(carrier), micros(at) // SECOND_US * SECOND_US)
            carrier_price = self._walk_price(carrier, at)
        if carrier_price is None or quietly:
            return ()
        tick = self._tick(followed, at, carrier_price, None)
        return () if tick is None else (tick,)

    def followed_by(self, tick: MarketTick) -> Iterator[MarketTick]:
        """What a tick of a stock means for what hangs on it."""
        price = tick.last
        if price is not None and price > 0:
            self._traded.add(tick.symbol)
        elif tick.halted is None and (tick.symbol in self._traded or not tick.bid or not tick.ask):
            return
        elif tick.bid and tick.ask:
            price = (tick.bid + tick.ask) / 2
        if not self._is_open(tick.at):
            return
        for followed in self._followers[tick.symbol]:
            if price is None:
                yield MarketTick(tick.at, followed.key, halted=tick.halted)
                continue
            derived = self._tick(followed, tick.at, price, tick if tick.last is not None else None)
            if derived is not None:
                yield derived

    def walked_until(self, at: datetime) -> Iterator[MarketTick]:
        """What moves here by time, up to and including `at`; at the same time by carrier."""
        steps = sorted(
            (step for name, walk in self._walks.items() for step in self._steps(name, walk, micros(at))),
            key=lambda step: (step.at, step.symbol),
        )
        for step in steps:
            yield from self.followed_by(step)

    def _steps(self, name: str, walk: _Walk, until_us: int) -> Iterator[MarketTick]:
        """The walk as the ticks of a stock that nobody sees."""
        from_us, walk.reached_us = walk.reached_us, max(walk.reached_us, until_us + 1)
        day = moment(from_us).astimezone(NEW_YORK).date()
        last = moment(until_us).astimezone(NEW_YORK).date()
        while day <= last:
            session = session_of(day)
            day += timedelta(days=1)
            if session is None:
                continue
            first_us = max(from_us, micros(session.start))
            end_us = min(until_us + 1, micros(session.end))
            for minute_us in range(first_us - first_us % MINUTE_US, end_us, MINUTE_US):
                minute = walk.stock.minute(session, minute_us)
                for second, price in enumerate(minute.prices):
                    at_us = minute_us + walk.stock.phase_us + second * SECOND_US
                    if first_us <= at_us < end_us:
                        size, volume = minute.sizes[second], minute.volumes[second]
                        yield MarketTick(moment(at_us), name, last=price, last_size=size, volume=volume)

    def _tick(
        self, followed: _Followed, at: datetime, price: float, trade: MarketTick | None
    ) -> MarketTick | None:
        """The contract's tick when its carrier costs `price`; None when nothing about it has changed."""
        listing = followed.listing
        sides = sides_of(listing, price, self._base(listing.carrier), at, self._settings)
        last, size, volume = self._trade(followed, at, sides, trade)
        halted = None if trade is None else trade.halted
        if sides == followed.sides and last is None and halted is None:
            return None
        followed.sides = sides
        bid, bid_size, ask, ask_size, _ = sides
        return MarketTick(at, followed.key, bid, bid_size, ask, ask_size, last, size, volume, halted)

    def _trade(
        self, followed: _Followed, at: datetime, sides: Sides, trade: MarketTick | None
    ) -> tuple[float | None, int | None, int | None]:
        if trade is None:
            return None, None, None
        match followed.listing.terms:
            case FutureTerms():
                return sides.worth, trade.last_size, trade.volume
            case OptionTerms():
                minute = at.replace(second=0, microsecond=0)
                if minute == followed.minute or self._hours is None:
                    return None, None, None
                followed.minute = minute
                count = (minute - self._hours.start) // _MINUTE + 1
                return sides.worth, OPTION_TRADE, OPTION_TRADE * count
            case _:
                return None, None, None

    def _is_open(self, at: datetime) -> bool:
        if self._hours is None or not self._hours.contains(at):
            self._hours = session_at(at)
        return self._hours is not None

    # --- prints -----------------------------------------------------------------------------------

    def prints_of(self, listing: Listing, what: str, bar_s: int) -> Prints:
        """What traded (or what was bid, asked, or between the two) in a contract, for its bars."""
        coarse = isinstance(listing.terms, OptionTerms) and bar_s >= COARSE_FROM_S
        source = self._source(listing.carrier, COARSE_S if coarse else 60)
        base = self._base(listing.carrier)
        return _DerivedPrints(
            source, listing, what, base, self._settings, trades=COARSE_S // 60 if coarse else 1
        )

    def _source(self, carrier: str, step_s: int = 60) -> Prints:
        if self._market.knows(carrier):
            return _MarketPrints(self._market, carrier, step_s)
        return self._stock(carrier)

    def ticks_of(self, listing: Listing, session: Session, from_us: int, to_us: int) -> Iterator[MarketTick]:
        """The ticks of a contract in a stretch of a session, each second of its carrier."""
        carrier, key = listing.carrier, contract_key(listing.contract)
        followed = _Followed(listing, key)
        self._hours = session
        for step in self._source(carrier).prints(
            session, from_us - from_us % MINUTE_US, to_us, whole_minutes=False
        ):
            at = moment(step.at_us)
            trade = MarketTick(at, carrier, last=step.close, last_size=int(step.volume))
            tick = self._tick(followed, at, step.close, trade)
            if tick is not None and step.at_us >= from_us:
                yield tick

    def sessions_back_from(self, listing: Listing, end: datetime) -> Iterator[Session]:
        """The days for which there may be prints, the newest first."""
        carrier = listing.carrier
        if self._market.knows(carrier):
            yield from days_with_a_past(self._market, carrier, end)
            return
        session, first = _session_before(end), self._walk_start()
        while session.day >= first:
            yield session
            session = previous_trading_day(session.day)

    # --- carriers ---------------------------------------------------------------------------------

    def _stock(self, name: str) -> Stock:
        walk = self._walks.get(name)
        if walk is not None:
            return walk.stock
        return Stock(self._settings.contract_seed, name, first_day=self._walk_start())

    def _walk_start(self) -> date:
        return (self._market.start - timedelta(days=WALK_DAYS)).date()

    def _base(self, carrier: str) -> float:
        base = self._bases.get(carrier)
        if base is None:
            walked = not self._market.knows(carrier)
            base = self._bases[carrier] = self._stock(carrier).base if walked else 1.0
        return base

    def _walk_price(self, carrier: str, at: datetime) -> float | None:
        """Where a walk stands: its last step before the next whole minute that can be asked for."""
        session = session_at(at)
        stock = self._stock(carrier)
        if session is None:
            day = at.astimezone(NEW_YORK).date()
            earlier = session_of(day)
            closed = earlier if earlier is not None and earlier.end <= at else previous_trading_day(day)
            last_us = micros(closed.end) - MINUTE_US
            return stock.minute(closed, last_us).prices[-1]
        minute_us = micros(at) // MINUTE_US * MINUTE_US
        minute = stock.minute(session, minute_us)
        index = (micros(at) - minute_us - stock.phase_us) // SECOND_US
        return minute.before if index < 0 else minute.prices[min(index, len(minute.prices) - 1)]


def days_with_a_past(market: Market, symbol: str, end: datetime) -> Iterator[Session]:
    """The trading days on which there was already something to know of a stock, the newest first."""
    session = _session_before(end)
    while market.history(symbol, 60, min(session.end, end), 1):
        yield session
        session = previous_trading_day(session.day)


def _session_before(end: datetime) -> Session:
    day = end.astimezone(NEW_YORK).date()
    session = session_of(day)
    return session if session is not None and session.start < end else previous_trading_day(day)


class _MarketPrints:
    """A stock of the market, by its bars of `step_s` or, where whole minutes are too coarse, of a second."""

    def __init__(self, market: Market, symbol: str, step_s: int) -> None:
        self._market, self._symbol, self._step_s = market, symbol, step_s

    def prints(self, session: Session, from_us: int, to_us: int, *, whole_minutes: bool) -> Iterable[Print]:
        del session
        bar_s = self._step_s if whole_minutes else 1
        count = -(-(to_us - from_us) // (bar_s * SECOND_US))
        for bar in self._market.history(self._symbol, bar_s, moment(to_us), count, regular_only=True):
            at_us = micros(bar.start)
            if at_us >= from_us:
                yield Print(at_us, bar.open, bar.high, bar.low, bar.close, bar.volume)

    def close_before(self, at_us: int) -> float | None:
        bars = self._market.history(self._symbol, 60, moment(at_us), 1, regular_only=True)
        return bars[-1].close if bars else None


class _DerivedPrints:
    """`what`: TRADES, BID, ASK or MIDPOINT."""

    def __init__(
        self,
        source: Prints,
        listing: Listing,
        what: str,
        base: float,
        settings: MarketSettings,
        *,
        trades: int,
    ) -> None:
        """`trades`: how many trades of an option a step of the source stands for."""
        self._source, self._listing, self._what = source, listing, what
        self._base, self._settings, self._trades = base, settings, trades
        self._once_a_minute = what == "TRADES" and isinstance(listing.terms, OptionTerms)

    def prints(self, session: Session, from_us: int, to_us: int, *, whole_minutes: bool) -> Iterable[Print]:
        minute_us = -1
        for step in self._source.prints(session, from_us, to_us, whole_minutes=whole_minutes):
            at = moment(step.at_us)
            if self._once_a_minute:
                if step.volume and step.at_us // MINUTE_US != minute_us:
                    minute_us = step.at_us // MINUTE_US
                    price = self._price(step.open, at)
                    yield Print(step.at_us, price, price, price, price, OPTION_TRADE * self._trades)
                continue
            first, last = self._price(step.open, at), self._price(step.close, at)
            one, other = self._price(step.high, at), self._price(step.low, at)
            yield Print(step.at_us, first, max(one, other), min(one, other), last, step.volume)

    def close_before(self, at_us: int) -> float | None:
        price = self._source.close_before(at_us)
        return None if price is None else self._price(price, moment(at_us))

    def _price(self, carrier: float, at: datetime) -> float:
        sides = sides_of(self._listing, carrier, self._base, at, self._settings)
        match self._what:
            case "BID":
                return sides.bid
            case "ASK":
                return sides.ask
            case "MIDPOINT":
                return round((sides.bid + sides.ask) / 2, 8)
            case _:
                return sides.worth
