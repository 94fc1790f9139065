"""What expressions and conditions are asked about: one symbol, as its owner sees it at one moment."""

from __future__ import annotations

import enum
from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from decimal import Decimal
from types import MappingProxyType
from typing import TYPE_CHECKING, Final
from zoneinfo import ZoneInfo

from protocol.events import BaseEvent, PredictionSignalEvent
from protocol.exchange.calendar import is_half_day
from protocol.linked_orders import LinkedOrders
from protocol.position_status import nearest_target, status_of, working_stop
from protocol.rules.fact_names import ACCOUNT_FACTS, EVENT_PREFIX, VALUE_PREFIX, WEEKDAYS
from protocol.rules.indicator_names import IndicatorName
from protocol.rules.three_valued import Value
from protocol.schedule import day_of
from protocol.values import DOUBLEDOWN, SCALE, Side

if TYPE_CHECKING:
    from protocol.market_view import MarketView
    from protocol.symbol_plan import SymbolPlan
    from protocol.symbol_state import SymbolState

_MINUTE: Final = timedelta(minutes=1)


class SymbolFacts:
    """Reads only what it is asked for, and each thing once: it speaks of one moment, and is used in that.

    `event` is what a rule answers: a signal, a fill, …
    """

    __slots__ = ("_at", "_event", "_known", "_plan", "_state", "_view")

    def __init__(
        self,
        state: SymbolState,
        view: MarketView,
        plan: SymbolPlan,
        at: datetime,
        event: BaseEvent | None = None,
    ) -> None:
        self._state, self._view, self._plan, self._at, self._event = state, view, plan, at, event
        self._known: dict[str, Value] = {}

    def fact(self, name: str) -> Value:
        known = self._known
        if name in known:
            return known[name]
        value = known[name] = self._read(name)
        return value

    def _read(self, name: str) -> Value:
        read = _READERS.get(name)
        if read is not None:
            return read(self)
        if name.startswith(VALUE_PREFIX):
            return self._state.values.get(name.removeprefix(VALUE_PREFIX))
        if name.startswith(EVENT_PREFIX) and self._event is not None:
            return _field(self._event, name.removeprefix(EVENT_PREFIX))
        return None

    def indicator(self, name: IndicatorName) -> float | None:
        return self._view.indicator(name)

    # --- the signal -----------------------------------------------------------------------------------

    @property
    def _signal(self) -> PredictionSignalEvent | None:
        return self._event if isinstance(self._event, PredictionSignalEvent) else None

    def _said(self) -> Value:
        return self._signal.signal if self._signal else None

    def _confidence(self) -> Value:
        return self._signal.confidence if self._signal else None

    def _source(self) -> Value:
        return self._signal.source if self._signal else None

    def _signal_price(self) -> Value:
        return self._signal.stock_price if self._signal else None

    # --- the market -----------------------------------------------------------------------------------

    def _mid(self) -> float | None:
        bid, ask = _price(self._view.bid), _price(self._view.ask)
        return None if bid is None or ask is None else (bid + ask) / 2

    def _spread(self) -> float | None:
        bid, ask = _price(self._view.bid), _price(self._view.ask)
        return None if bid is None or ask is None else ask - bid

    def _volatility(self) -> Value:
        return _ratio(self._view.atr, _price(self._view.last))

    def _change(self) -> Value:
        close, last = _price(self._view.previous_close), _price(self._view.last)
        return None if close is None or last is None else last / close - 1

    # --- the trade ------------------------------------------------------------------------------------

    @property
    def _open_trade(self) -> LinkedOrders | None:
        """The trade, while it holds a position."""
        return self._state.trade if self._state.position.quantity else None

    def _phase(self) -> str:
        status = status_of(self._state)
        return "flat" if status is None else status.value

    def _side(self) -> str:
        trade = self._state.trade
        if trade is None:
            return ""
        return "long" if trade.side is Side.BUY else "short"

    def _average(self) -> float | None:
        position = self._state.position
        return float(position.average_price) if position.quantity else None

    def _gain(self) -> float | None:
        """Dollars per share, at the price at which the trade could be closed."""
        trade, average = self._open_trade, self._average()
        if trade is None or average is None:
            return None
        mark = self._view.mark(trade.side)
        return None if mark is None else (mark - average) * trade.side.sign

    def _pnl(self) -> Value:
        gain = self._gain()
        return None if gain is None else gain * abs(self._state.position.quantity)

    def _pnl_pct(self) -> Value:
        return _ratio(self._gain(), self._average())

    def _excursion(self) -> tuple[float, float] | None:
        """Best and worst, dollars per share."""
        trade = self._open_trade
        if trade is None:
            return None
        best, worst = self._view.excursion(trade.side, self._state.position.average_price)
        return None if best is None or worst is None else (float(best), float(worst))

    def _best_pct(self) -> Value:
        seen = self._excursion()
        return _ratio(seen[0], self._average()) if seen else None

    def _worst_pct(self) -> Value:
        seen = self._excursion()
        return _ratio(abs(seen[1]), self._average()) if seen else None

    def _drawdown_pct(self) -> Value:
        seen, gain = self._excursion(), self._gain()
        return None if seen is None or gain is None else _ratio(max(seen[0] - gain, 0.0), self._average())

    def _duration_s(self) -> Value:
        trade = self._state.trade
        return None if trade is None else (self._at - trade.opened_at).total_seconds()

    def _stop_price(self) -> Value:
        trade = self._state.trade
        price = None if trade is None else working_stop(trade)
        return None if price is None else float(price)

    def _target_price(self) -> Value:
        """The nearest one: the lowest of a long trade, the highest of a short one."""
        trade = self._state.trade
        price = None if trade is None else nearest_target(trade)
        return None if price is None else float(price)

    def _additions(self, link: str) -> float:
        """Additions that have executed or are about to; a double-down that rests at its limit is none yet."""
        trade = self._state.trade
        orders = () if trade is None else trade.orders
        return float(
            sum(
                1
                for order in orders
                if order.role.partition(".")[0] == link and (order.filled or (order.live and link == SCALE))
            )
        )

    # --- the day --------------------------------------------------------------------------------------

    def _realized_today(self) -> Value:
        total = sum((made for ended, made in self._state.results if self._today(ended)), Decimal(0))
        trade = self._state.trade
        if trade is not None:
            total += self._state.position.realized_pnl - trade.realized_before
        return float(total)

    def _trades_today(self) -> Value:
        return float(sum(self._today(at) for times in self._state.entries.values() for at in times))

    def _losses_today(self) -> Value:
        return float(sum(made < 0 and self._today(ended) for ended, made in self._state.results))

    def _today(self, at: datetime) -> bool:
        zone = ZoneInfo(self._plan.schedule.zone)
        return at.astimezone(zone).date() == self._at.astimezone(zone).date()

    def _since_stop_out_s(self) -> Value:
        stopped = self._state.stopped_out_at
        return None if stopped is None else (self._at - stopped).total_seconds()

    def _to_close(self) -> Value:
        day = day_of(self._plan.schedule, self._at)
        return None if day is None else (day.close - self._at) / _MINUTE

    def _since_open(self) -> Value:
        day = day_of(self._plan.schedule, self._at)
        return None if day is None else (self._at - day.open) / _MINUTE

    def _market_open(self) -> Value:
        day = day_of(self._plan.schedule, self._at)
        return day is not None and day.open <= self._at < day.close

    @property
    def _local(self) -> datetime:
        return self._at.astimezone(ZoneInfo(self._plan.schedule.zone))

    def _time_of_day(self) -> Value:
        local = self._local
        return f"{local.hour:02}:{local.minute:02}"

    def _equity(self) -> Value:
        return None if self._view.equity is None else float(self._view.equity)


_READERS: Final[Mapping[str, Callable[[SymbolFacts], Value]]] = MappingProxyType(
    {
        "signal": SymbolFacts._said,
        "confidence": SymbolFacts._confidence,
        "source": SymbolFacts._source,
        "signal_price": SymbolFacts._signal_price,
        "symbol": lambda facts: str(facts._plan.symbol),
        "price": lambda facts: _price(facts._view.last),
        "bid": lambda facts: _price(facts._view.bid),
        "ask": lambda facts: _price(facts._view.ask),
        "mid": SymbolFacts._mid,
        "spread": SymbolFacts._spread,
        "spread_pct": lambda facts: _ratio(facts._spread(), facts._mid()),
        "volume": lambda facts: facts._view.volume,
        "volatility": SymbolFacts._volatility,
        "change_pct": SymbolFacts._change,
        "state": SymbolFacts._phase,
        "side": SymbolFacts._side,
        "quantity": lambda facts: float(facts._state.position.quantity),
        "average_price": SymbolFacts._average,
        "pnl": SymbolFacts._pnl,
        "pnl_pct": SymbolFacts._pnl_pct,
        "realized_today": SymbolFacts._realized_today,
        "mfe_pct": SymbolFacts._best_pct,
        "mae_pct": SymbolFacts._worst_pct,
        "drawdown_pct": SymbolFacts._drawdown_pct,
        "duration_s": SymbolFacts._duration_s,
        "stop_price": SymbolFacts._stop_price,
        "target_price": SymbolFacts._target_price,
        "scale_ins": lambda facts: facts._additions(SCALE),
        "double_downs": lambda facts: facts._additions(DOUBLEDOWN),
        "trades_today": SymbolFacts._trades_today,
        "losses_today": SymbolFacts._losses_today,
        "seconds_since_stop_out": SymbolFacts._since_stop_out_s,
        "minutes_to_close": SymbolFacts._to_close,
        "minutes_since_open": SymbolFacts._since_open,
        "time": SymbolFacts._time_of_day,
        "weekday": lambda facts: WEEKDAYS[facts._local.weekday()],
        "market_open": SymbolFacts._market_open,
        "half_day": lambda facts: is_half_day(facts._local.date()),
        "equity": SymbolFacts._equity,
        # Sums over all symbols, which one symbol's owner does not see.
        **dict.fromkeys(sorted(ACCOUNT_FACTS), lambda _: None),
    }
)


def _price(price: float | None) -> float | None:
    """TWS says -1 or 0 where there is no price."""
    return price if price is not None and price > 0 else None


def _ratio(part: float | None, whole: float | None) -> float | None:
    return None if part is None or not whole else part / whole


def _field(event: BaseEvent, path: str) -> Value:
    """A field of an event, or one inside it (`ref.role`), as a number, a text or a truth."""
    found: object = event
    for part in path.split("."):
        found = getattr(found, part, None)
    match found:
        case Decimal() | int() | float() if not isinstance(found, bool):
            return float(found)
        case bool() | str() | None:
            return found
        case enum.Enum():
            return str(found.value)
        case _:
            return None
