"""What a line of an option says beside its quote: the computations of the model, its bid, ask and last."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import datetime

from protocol.exchange.black_scholes import implied_volatility
from protocol.exchange.derived_prices import option_greeks, option_model
from protocol.exchange.options import OptionTerms
from protocol.exchange.tws_market_data import ASK, BID, LAST, Changes
from protocol.exchange.tws_market_settings import MarketSettings
from protocol.exchange.tws_quotes import Quote
from protocol.tws.messages import ServerMessage, TickOptionComputation

BID_COMPUTATION, ASK_COMPUTATION, LAST_COMPUTATION, MODEL = 10, 11, 12, 13
CUSTOM = 53
FROM_PRICES = 1


class OptionTicks:
    """`spot`: what the underlying costs now."""

    def __init__(
        self, terms: OptionTerms, settings: MarketSettings, spot: Callable[[], float | None]
    ) -> None:
        self._terms, self._settings, self._spot = terms, settings, spot

    def say(
        self, req_id: int, quote: Quote, changes: Changes | None, at: datetime
    ) -> Iterator[ServerMessage]:
        spot = self._spot()
        if spot is None:
            return
        for kind, computation, price in (
            (BID, BID_COMPUTATION, quote.bid),
            (ASK, ASK_COMPUTATION, quote.ask),
            (LAST, LAST_COMPUTATION, quote.last),
        ):
            if price and (changes is None or changes.changed(kind)):
                volatility = implied_volatility(
                    price, spot, self._terms.strike, self._terms.years_left(at),
                    self._settings.interest_rate, call=self._terms.is_call,
                )  # fmt: skip
                yield self.computation(req_id, computation, volatility, price, spot, at)
        if changes is None or changes.changed(BID) or changes.changed(ASK):
            volatility = self._settings.volatility_of(self._terms.underlying)
            model = round(option_model(self._terms, spot, at, self._settings), 8)
            yield self.computation(req_id, MODEL, volatility, model, spot, at)

    def computation(
        self, req_id: int, kind: int, volatility: float | None, price: float, spot: float, at: datetime
    ) -> TickOptionComputation:
        """The greeks at a volatility; without one nothing but the prices is known."""
        if volatility is None:
            return TickOptionComputation(
                req_id, kind, FROM_PRICES, None, None, price, 0.0, None, None, None, spot
            )
        greeks = option_greeks(self._terms, spot, volatility, at, self._settings.interest_rate)
        return TickOptionComputation(
            req_id, kind, FROM_PRICES, round(volatility, 8), round(greeks.delta, 8), price, 0.0,
            round(greeks.gamma, 8), round(greeks.vega, 8), round(greeks.theta, 8), spot,
        )  # fmt: skip
