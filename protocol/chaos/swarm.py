"""The faults of one episode. Each episode draws its own probabilities over all kinds, as a swarm does:
some see one kind often and most of the others never, so that rare mixtures come about that an even
mixture would hardly ever make.

Every fault begins and ends within the safety phase; what still waits for its opportunity at its end is
disarmed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from decimal import Decimal
from random import Random
from typing import Final

import attrs

from protocol.exchange import faults as f
from protocol.values import Symbol

OTHER_CLIENT: Final = 7
"""A second API program on the account, which trades by itself."""
EARLIEST_S: Final = 15.0
"""After the beginning of an episode: the link is up by then."""
CALM_S: Final = 5.0
"""Before the healing in which no fault may still last."""
ORDER_NEWS: Final = ("open_order", "order_status", "exec_details", "commission_report", "position")
HARMLESS_CODES: Final = (399, 404, 10349, 2109)
UNKNOWN_CODES: Final = (9999, 23456)
CUT_OFF, RESTORED = 2110, 1102
MODIFY_REFUSALS: Final = (104, 105, 135, 10326, 321)
PLACE_REFUSALS: Final = (201, 203, 460, 110)


@attrs.define
class Draw:
    """What a drawer may use: chance, the names of the stocks, and the time that is left."""

    random: Random
    symbols: tuple[Symbol, ...]
    start: datetime
    safety_s: float

    def at(self, lasts_s: float = 0.0) -> datetime:
        """Some moment from which on `lasts_s` fit into the safety phase."""
        latest_s = max(EARLIEST_S + 1, self.safety_s - lasts_s - CALM_S)
        return self.start + timedelta(seconds=round(self.random.uniform(EARLIEST_S, latest_s), 3))

    def some_s(self, least: float, most: float) -> float:
        return round(self.random.uniform(least, min(most, self.safety_s / 4)), 2)

    def symbol(self) -> Symbol:
        return self.random.choice(self.symbols)

    def when(
        self, *on: str, lasts_s: float = 0.0, times: int = 1, symbol: str = "", delay_s: float = 0.0
    ) -> f.When:
        return f.When(at=self.at(lasts_s), on=on, times=times, symbol=symbol, delay_s=delay_s)

    def leg(self) -> f.Leg:
        return self.random.choice(tuple(f.Leg))


Drawer = Callable[[Draw], tuple[f.Fault, ...]]


# --- the link ---------------------------------------------------------------------------------------


def _drop(draw: Draw) -> tuple[f.Fault, ...]:
    on = draw.random.choice(
        (("place_order",), ("modify_order",), ("cancel_order",), ("exec_details",), ("execution",), ())
    )
    return (f.DropConnection(
        when=draw.when(*on), processed=draw.random.random() < 0.5, flush=draw.random.random() < 0.3
    ),)  # fmt: skip


def _then_drop(fault: f.Fault) -> tuple[f.Fault, ...]:
    """A fault that only a new connection meets, and the reason for a new connection."""
    assert isinstance(fault.when.at, datetime)
    return (fault, f.DropConnection(when=f.When(at=fault.when.at + timedelta(seconds=0.5))))


def _silence(draw: Draw) -> tuple[f.Fault, ...]:
    lasts = draw.some_s(1, 40)
    return (f.Silence(when=draw.when(lasts_s=lasts), duration_loop_s=lasts, lost=draw.random.random() < 0.3),)


def _freeze(draw: Draw) -> tuple[f.Fault, ...]:
    lasts = draw.some_s(1, 60)
    return (f.Freeze(when=draw.when(lasts_s=lasts), duration_loop_s=lasts),)


def _stop_reading(draw: Draw) -> tuple[f.Fault, ...]:
    lasts = draw.some_s(1, 40)
    return (f.StopReading(when=draw.when(lasts_s=lasts), duration_loop_s=lasts),)


def _split(draw: Draw) -> tuple[f.Fault, ...]:
    return (f.SplitBytes(
        when=draw.when(lasts_s=4), size=draw.random.choice((1, 3, 50, 511)),
        pause_loop_s=draw.random.choice((0.0, 0.002)), duration_loop_s=draw.some_s(0.5, 3),
    ),)  # fmt: skip


def _glue(draw: Draw) -> tuple[f.Fault, ...]:
    return (
        f.GlueBytes(
            when=draw.when(lasts_s=10), hold_loop_s=draw.some_s(0.1, 2), duration_loop_s=draw.some_s(2, 10)
        ),
    )


def _burst(draw: Draw) -> tuple[f.Fault, ...]:
    return (
        f.BurstBytes(
            when=draw.when(lasts_s=15),
            block=draw.random.choice((512, 4096)),
            duration_loop_s=draw.some_s(3, 15),
        ),
    )


def _refuse(draw: Draw) -> tuple[f.Fault, ...]:
    lasts = draw.some_s(2, 90)
    accepts = draw.random.random() < 0.3
    return _then_drop(
        f.RefuseConnections(when=draw.when(lasts_s=lasts), accepts=accepts, duration_loop_s=lasts)
    )


def _silent_handshake(draw: Draw) -> tuple[f.Fault, ...]:
    lasts = draw.some_s(2, 40)
    return _then_drop(f.SilentHandshake(when=draw.when(lasts_s=lasts), duration_loop_s=lasts))


def _garbage(draw: Draw) -> tuple[f.Fault, ...]:
    return (f.GarbageFrame(when=draw.when(), what=draw.random.choice(tuple(f.Garbage))),)


def _busy_id(draw: Draw) -> tuple[f.Fault, ...]:
    when = draw.when("start_api", lasts_s=60, times=draw.random.randint(1, 3))
    return _then_drop(f.ClientIdBusy(when=when))


def _rate(draw: Draw) -> tuple[f.Fault, ...]:
    return (f.RateExceeded(when=draw.when(), warnings=draw.random.randint(1, 3)),)


def _cut_off(draw: Draw) -> tuple[f.Fault, ...]:
    lasts = draw.some_s(2, 70)
    return (f.ConnectivityLost(
        when=draw.when(lasts_s=lasts), duration_s=lasts, data_lost=draw.random.random() < 0.5,
        told=draw.random.random() < 0.5,
    ),)  # fmt: skip


def _farm(draw: Draw) -> tuple[f.Fault, ...]:
    lasts = draw.some_s(0.5, 20)
    return (
        f.FarmBroken(when=draw.when(lasts_s=lasts), farm=draw.random.choice(tuple(f.Farm)), duration_s=lasts),
    )


def _notice(draw: Draw) -> tuple[f.Fault, ...]:
    code = draw.random.choice((*HARMLESS_CODES, *UNKNOWN_CODES, 2100, CUT_OFF))
    lasts = draw.some_s(1, 30) if code == CUT_OFF else 0.0
    notice = f.Notice(when=draw.when(lasts_s=lasts), code=code, text="The simulated TWS was told to say so.")
    if not lasts:
        return (notice,)
    # TWS says so when it has lost its server, and what follows when it has it back.
    assert isinstance(notice.when.at, datetime)
    back = f.When(at=notice.when.at + timedelta(seconds=lasts))
    return notice, f.Notice(when=back, code=RESTORED, text="Connectivity has been restored.")


def _restart(draw: Draw) -> tuple[f.Fault, ...]:
    lasts = draw.some_s(3, 60)
    rolls_back = draw.random.choice((0, 0, 1, 25))
    return (f.Restart(when=draw.when(lasts_s=lasts), down_loop_s=lasts, rolls_back=rolls_back),)


# --- requests ---------------------------------------------------------------------------------------

REQUESTS: Final = ("new_order", "modify_order", "cancel_order")


def _swallow(draw: Draw) -> tuple[f.Fault, ...]:
    return (
        f.SwallowRequest(
            when=draw.when(draw.random.choice((*REQUESTS, "req_executions", "req_all_open_orders")))
        ),
    )


def _refuse_request(draw: Draw) -> tuple[f.Fault, ...]:
    on = draw.random.choice(REQUESTS)
    codes = {
        "new_order": PLACE_REFUSALS,
        "modify_order": MODIFY_REFUSALS,
        "cancel_order": (10147, 10148, 161),
    }[on]
    return (f.RefuseRequest(when=draw.when(on), code=draw.random.choice(codes)),)


def _delay_request(draw: Draw) -> tuple[f.Fault, ...]:
    return (f.DelayRequest(when=draw.when(draw.random.choice(REQUESTS)), by_s=draw.some_s(0.05, 4)),)


def _unanswered(draw: Draw) -> tuple[f.Fault, ...]:
    lasts = draw.some_s(2, 40)
    on = draw.random.choice(("new_order", "modify_order"))
    return (f.UnansweredOrder(when=draw.when(on, lasts_s=lasts), duration_s=lasts),)


def _order_notice(draw: Draw) -> tuple[f.Fault, ...]:
    code = draw.random.choice((*HARMLESS_CODES, *UNKNOWN_CODES))
    return (f.OrderNotice(when=draw.when("place_order"), code=code),)


def _double_modify(draw: Draw) -> tuple[f.Fault, ...]:
    return (f.DoubleModify(when=draw.when("modify_order")),)


def _fill_after_cancel(draw: Draw) -> tuple[f.Fault, ...]:
    quantity = draw.random.choice((0, 10))
    return (
        f.FillAfterCancel(when=draw.when("cancel_order"), quantity=quantity, after_s=draw.some_s(0.0, 3)),
    )


# --- orders -----------------------------------------------------------------------------------------


def _reject(draw: Draw) -> tuple[f.Fault, ...]:
    form = draw.random.choice(tuple(f.Form))
    return (f.RejectOrder(when=draw.when("order_accepted"), leg=draw.leg(), form=form),)


def _manual_cancel(draw: Draw) -> tuple[f.Fault, ...]:
    return (f.ManualCancel(when=draw.when(), leg=draw.leg()),)


def _manual_modify(draw: Draw) -> tuple[f.Fault, ...]:
    price, quantity = draw.random.choice(
        ((Decimal("0.05"), 0), (Decimal("-0.05"), 0), (Decimal(0), 10), (Decimal(0), -5))
    )
    leg = draw.random.choice((f.Leg.STOP, f.Leg.TARGET))
    return (f.ManualModify(when=draw.when(), leg=leg, price_change=price, quantity_change=quantity),)


def _suspend(draw: Draw) -> tuple[f.Fault, ...]:
    lasts = draw.some_s(0.5, 15)
    return (
        f.SuspendOrder(when=draw.when("order_accepted", lasts_s=lasts), leg=draw.leg(), duration_s=lasts),
    )


def _oca_race(draw: Draw) -> tuple[f.Fault, ...]:
    return (f.OcaRace(when=draw.when("order_accepted"), leg=f.Leg.CHILD),)


def _global_cancel(draw: Draw) -> tuple[f.Fault, ...]:
    return (f.ManualGlobalCancel(when=draw.when()),)


# --- fills ------------------------------------------------------------------------------------------


def _withhold(draw: Draw) -> tuple[f.Fault, ...]:
    return (f.WithholdExecution(when=draw.when(), nth=draw.random.randint(1, 8)),)


def _bust(draw: Draw) -> tuple[f.Fault, ...]:
    return (f.BustExecution(when=draw.when("execution", delay_s=draw.some_s(0.0, 20))),)


def _correct(draw: Draw) -> tuple[f.Fault, ...]:
    price, quantity = draw.random.choice(
        ((Decimal("0.03"), 0), (Decimal("-0.02"), 0), (Decimal(0), -1), (Decimal(0), 2))
    )
    when = draw.when("execution", delay_s=draw.some_s(0.0, 20))
    return (f.CorrectExecution(when=when, price_change=price, quantity_change=quantity),)


def _manual_trade(draw: Draw) -> tuple[f.Fault, ...]:
    return (f.ManualTrade(
        when=draw.when(symbol=draw.symbol()), action=draw.random.choice(("BUY", "SELL")),
        quantity=draw.random.choice((10, 50, 100)), as_client=draw.random.choice((0, OTHER_CLIENT)),
    ),)  # fmt: skip


def _liquidation(draw: Draw) -> tuple[f.Fault, ...]:
    return (f.Liquidation(when=draw.when(symbol=draw.symbol())),)


def _shredded(draw: Draw) -> tuple[f.Fault, ...]:
    symbol = draw.symbol()
    return (f.ShreddedFills(
        when=draw.when("order_accepted", symbol=symbol), parts=draw.random.choice((20, 100)),
        size=draw.random.choice((1, 5)),
    ),)  # fmt: skip


def _replay(draw: Draw) -> tuple[f.Fault, ...]:
    return (f.ReplayExecutions(when=draw.when(), copies=draw.random.randint(1, 3)),)


# --- what TWS says ----------------------------------------------------------------------------------


def _delay_messages(draw: Draw) -> tuple[f.Fault, ...]:
    lasts = draw.some_s(0.2, 6)
    when = draw.when(draw.random.choice(ORDER_NEWS), lasts_s=lasts, times=draw.random.randint(1, 4))
    return (f.DelayMessages(when=when, by_s=lasts),)


def _duplicate(draw: Draw) -> tuple[f.Fault, ...]:
    when = draw.when(draw.random.choice(ORDER_NEWS), times=draw.random.randint(1, 8))
    return (f.DuplicateMessages(when=when, copies=draw.random.randint(2, 3)),)


def _drop_messages(draw: Draw) -> tuple[f.Fault, ...]:
    on = draw.random.choice((*ORDER_NEWS, "current_time", "open_order_end", "next_valid_id"))
    return (f.DropMessages(when=draw.when(on, times=draw.random.randint(1, 3))),)


def _reorder(draw: Draw) -> tuple[f.Fault, ...]:
    when = draw.when(draw.random.choice(ORDER_NEWS), times=draw.random.randint(1, 4))
    return (f.ReorderMessages(when=when, past=draw.random.randint(1, 4)),)


def _shift_id(draw: Draw) -> tuple[f.Fault, ...]:
    by = draw.random.choice((-1, -40, 3, 10_000))
    return _then_drop(f.ShiftNextId(when=draw.when("next_valid_id"), by=by))


def _zero_perm(draw: Draw) -> tuple[f.Fault, ...]:
    return (f.ZeroPermId(when=draw.when("order_status", times=draw.random.randint(1, 6))),)


def _stale_status(draw: Draw) -> tuple[f.Fault, ...]:
    return (f.StaleStatus(when=draw.when("order_filled", times=draw.random.randint(1, 3))),)


def _change_accounts(draw: Draw) -> tuple[f.Fault, ...]:
    return _then_drop(f.ChangeAccounts(when=draw.when("managed_accounts"), accounts=("DU7654321",)))


# --- market data ------------------------------------------------------------------------------------


def _halt(draw: Draw) -> tuple[f.Fault, ...]:
    lasts = draw.some_s(5, 120)
    return (f.Halt(when=draw.when(lasts_s=lasts, symbol=draw.symbol()), duration_s=lasts),)


def _silent_feed(draw: Draw) -> tuple[f.Fault, ...]:
    lasts, symbol = draw.some_s(3, 60), draw.random.choice(("", draw.symbol()))
    return (f.SilentFeed(when=draw.when(lasts_s=lasts, symbol=symbol), duration_s=lasts),)


def _old_ticks(draw: Draw) -> tuple[f.Fault, ...]:
    lasts = draw.some_s(1, 12)
    return (f.OldTicks(when=draw.when(lasts_s=lasts, symbol=draw.symbol()), hold_s=lasts),)


def _bad_tick(draw: Draw) -> tuple[f.Fault, ...]:
    return (f.BadTick(when=draw.when(symbol=draw.symbol()), what=draw.random.choice(tuple(f.Nonsense))),)


def _data_error(draw: Draw) -> tuple[f.Fault, ...]:
    lasts = draw.some_s(1, 40)
    code = draw.random.choice((10197, 354, 10089, 10182, 10225, 101))
    return (
        f.MarketDataError(when=draw.when(lasts_s=lasts, symbol=draw.symbol()), code=code, duration_s=lasts),
    )


def _delayed(draw: Draw) -> tuple[f.Fault, ...]:
    lasts = draw.some_s(3, 60)
    return (f.DelayedData(when=draw.when(lasts_s=lasts, symbol=draw.symbol()), duration_s=lasts),)


DRAWERS: Final[dict[type[f.Fault], Drawer]] = {
    f.DropConnection: _drop, f.Silence: _silence, f.Freeze: _freeze, f.StopReading: _stop_reading,
    f.SplitBytes: _split, f.GlueBytes: _glue, f.BurstBytes: _burst, f.RefuseConnections: _refuse,
    f.SilentHandshake: _silent_handshake, f.GarbageFrame: _garbage, f.ClientIdBusy: _busy_id,
    f.RateExceeded: _rate, f.ConnectivityLost: _cut_off, f.FarmBroken: _farm, f.Notice: _notice,
    f.Restart: _restart, f.SwallowRequest: _swallow, f.RefuseRequest: _refuse_request,
    f.DelayRequest: _delay_request, f.UnansweredOrder: _unanswered, f.OrderNotice: _order_notice,
    f.DoubleModify: _double_modify, f.FillAfterCancel: _fill_after_cancel, f.RejectOrder: _reject,
    f.ManualCancel: _manual_cancel, f.ManualModify: _manual_modify, f.SuspendOrder: _suspend,
    f.OcaRace: _oca_race, f.ManualGlobalCancel: _global_cancel, f.WithholdExecution: _withhold,
    f.BustExecution: _bust, f.CorrectExecution: _correct, f.ManualTrade: _manual_trade,
    f.Liquidation: _liquidation, f.ShreddedFills: _shredded, f.ReplayExecutions: _replay,
    f.DelayMessages: _delay_messages, f.DuplicateMessages: _duplicate, f.DropMessages: _drop_messages,
    f.ReorderMessages: _reorder, f.ShiftNextId: _shift_id, f.ZeroPermId: _zero_perm,
    f.StaleStatus: _stale_status, f.ChangeAccounts: _change_accounts, f.Halt: _halt,
    f.SilentFeed: _silent_feed, f.OldTicks: _old_ticks, f.BadTick: _bad_tick,
    f.MarketDataError: _data_error, f.DelayedData: _delayed,
}  # fmt: skip
"""Every kind of fault that the simulated TWS knows; a test holds this against the union."""


def draw_faults(draw: Draw) -> tuple[f.Fault, ...]:
    """The swarm of one episode."""
    return tuple(_swarm(draw))


def _swarm(draw: Draw) -> Iterator[f.Fault]:
    random = draw.random
    chosen = random.choice((0.03, 0.08, 0.15, 0.25))
    """Which share of the kinds this episode knows at all."""
    for drawer in DRAWERS.values():
        if random.random() >= chosen:
            continue
        for _ in range(random.choice((1, 1, 2, 3))):
            yield from drawer(draw)
