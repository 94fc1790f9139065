#!/usr/bin/env python3
"""What things cost here: each figure beside a peer measured in the same run, in turn, as a ratio."""

from __future__ import annotations

import sqlite3
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Annotated

import attrs
import orjson
import trio
import trio.testing
from cyclopts import App, CycloptsError, Parameter

from actors.journal import Journal
from actors.kills import Kills
from actors.mailbox import Mailbox
from actors.market_clock import MarketClock
from actors.router import Router
from actors.symbol import SymbolActor
from actors.timers import Timers
from actors.tws_codec import TwsCodec
from protocol.commands import BrokerCommand
from protocol.events import BaseEvent, CommissionEvent
from protocol.market_view import MarketView
from protocol.risk.settings import RiskLimits
from protocol.rules.actions import Log
from protocol.rules.amounts import Shares
from protocol.rules.conditions import When
from protocol.rules.indicator_names import IndicatorName, indicator_name, split_suffix
from protocol.rules.rule import Rule
from protocol.rules.watching import turned
from protocol.settings import Atr, Schedule
from protocol.symbol import SymbolMessage
from protocol.symbol_plan import SymbolPlan
from protocol.symbol_state import SymbolState
from protocol.tws.codec import encode_client, encode_server
from protocol.tws.framing import frame
from protocol.tws.messages import Contract, Order, PlaceOrder, TickPrice, TickSize
from protocol.tws.tick_bursts import LineTicks, TickBurst
from protocol.tws.ticks import decode_tick
from protocol.values import Symbol, Tick, TickKind

AT = datetime(2025, 1, 23, 15, 0, tzinfo=UTC)
ROUNDS = 7
"""Interleaved rounds of each pair; medians are quoted."""

HELP = """Measure Ringfence on this machine, against a peer in the same run.

Absolute figures say what this machine did today; the ratios travel.
Exit codes: 0 measured, 1 the simulator did not bear the load, 2 wrong option."""

app = App(name="bench.py", help=HELP, help_format="plaintext", version_flags=[])


@attrs.frozen
class Figure:
    """Microseconds for one operation, ours and the peer's; `ratio` is ours over the peer's."""

    name: str
    ours_us: float
    peer: str
    peer_us: float

    @property
    def ratio(self) -> float:
        return self.ours_us / self.peer_us


def timed_us(work: Callable[[int], None], count: int) -> float:
    start = time.perf_counter()
    work(count)
    return (time.perf_counter() - start) / count * 1e6


def compare(
    name: str, ours: Callable[[int], None], peer_name: str, peer: Callable[[int], None], count: int
) -> Figure:
    pairs = [(timed_us(ours, count), timed_us(peer, count)) for _ in range(ROUNDS)]
    mine, theirs = (statistics.median(column) for column in zip(*pairs, strict=True))
    return Figure(name, mine, peer_name, theirs)


def decode_ticks() -> Figure:
    """One tickPrice frame: ours against ibapi's own decoder."""
    payload = encode_server(157, TickPrice(7, 1, 172.35, Decimal(300)))
    codec = TwsCodec(157, 1)

    def ours(count: int) -> None:
        for _ in range(count):
            decode_tick(payload)

    def peer(count: int) -> None:
        for _ in range(count):
            codec._interpret(payload)

    return compare("decode tickPrice", ours, "ibapi decoder", peer, 3_000)


def encode_orders() -> Figure:
    """One placeOrder: our layout against ibapi's encoder, which the system itself uses."""
    contract = Contract(con_id=1, symbol="SLV", sec_type="STK", exchange="SMART", currency="USD")
    order = Order(
        action="BUY", total_quantity=Decimal(100), order_type="LMT", lmt_price=21.5, tif="DAY", order_ref="x"
    )
    request = PlaceOrder(5, contract, order)
    codec = TwsCodec(157, 1)

    def ours(count: int) -> None:
        for _ in range(count):
            encode_client(157, request)

    def peer(count: int) -> None:
        for _ in range(count):
            codec.encode(request)

    return compare("encode placeOrder", ours, "ibapi encoder", peer, 500)


def journal_rows() -> Figure:
    """One event committed alone, against a bare SQLite commit of the same size."""
    with tempfile.TemporaryDirectory() as folder:
        journal = Journal.open(Path(folder) / "journal")
        event = CommissionEvent(at=AT, symbol=Symbol("SLV"), exec_id="1.1", commission=Decimal("1.00"))
        batch: tuple[BaseEvent, ...] = (event,)
        bare = sqlite3.connect(Path(folder) / "bare.db", isolation_level=None)
        bare.execute("PRAGMA journal_mode=WAL")
        bare.execute("PRAGMA synchronous=NORMAL")
        bare.execute("PRAGMA wal_autocheckpoint=0")
        bare.execute("CREATE TABLE row (seq INTEGER PRIMARY KEY, body BLOB)")

        def ours(count: int) -> None:
            for _ in range(count):
                journal.append("bench", batch)

        def peer(count: int) -> None:
            for _ in range(count):
                bare.execute("INSERT INTO row (body) VALUES (?)", (b"x" * 200,))

        figure = compare("journal one event", ours, "bare SQLite insert", peer, 500)
        bare.close()
        journal.close()
    return figure


def route_ticks(symbols: int) -> Figure:
    """A tick from the router into a symbol actor at rest, against a plain method call."""
    return trio.run(_route_ticks, symbols)


async def _route_ticks(symbols: int) -> Figure:
    names = [Symbol(f"S{number}") for number in range(symbols)]
    clock = MarketClock(start=AT)
    clock.set(AT)
    mailboxes: dict[Symbol, Mailbox[SymbolMessage]] = {name: Mailbox() for name in names}
    router = Router(mailboxes, on_refused=lambda _: None)
    timers = Timers(clock, lambda _symbol, _at: None)
    broker: Mailbox[BrokerCommand] = Mailbox()
    journal = Journal.memory()
    kills = Kills((), clock)
    ticks = [
        Tick(name, kind, 100.0, 100.0, AT, 100.0, 100.0)
        for name in names
        for kind in (TickKind.BID, TickKind.ASK)
    ]
    batches = [[(tick.symbol, tick)] for tick in ticks]

    class Plain:
        def take(self, tick: Tick) -> None:
            self.bid = tick.price

    plain = {name: Plain() for name in names}

    def ours(count: int) -> None:
        for number in range(count):
            router.deliver(batches[number % len(batches)])

    def peer(count: int) -> None:
        for number in range(count):
            tick = ticks[number % len(ticks)]
            plain[tick.symbol].take(tick)

    async with trio.open_nursery() as nursery:
        await nursery.start(router.run, 1)
        for name in names:
            plan = SymbolPlan(name, "bench", Shares(1), (), Schedule(), RiskLimits())
            actor = SymbolActor(
                plan,
                mailbox=mailboxes[name],
                broker=broker,
                journal=journal,
                clock=clock,
                timers=timers,
                set_epoch=lambda _symbol, _epoch: None,
                ask_peer=lambda _asked: None,
                probe=kills.probe,
            )
            await nursery.start(actor.run, 1)
        await trio.testing.wait_all_tasks_blocked()
        figure = compare(f"tick to 1 of {symbols} symbol actors", ours, "a plain call", peer, 20_000)
        nursery.cancel_scope.cancel()
    journal.close()
    return figure


INDICATORS = (
    "sma20", "ema50", "rsi14", "adx14", "macd.signal", "bollinger.upper", "stochastic.d", "vwap",
    "relative_volume", "opening_range.high",
)  # fmt: skip
"""What the view of the benchmark follows: on bars of ten seconds, and the last three on larger ones."""


def indicator_ticks() -> Figure:
    """Quotes and trades into the view of one symbol with ten indicators, against one with its ATR alone.

    Four changes a second of market time, so that bars complete as often as in a busy market.
    """
    names = tuple(_indicator(text) for text in INDICATORS)
    kinds = (TickKind.BID, TickKind.LAST, TickKind.ASK, TickKind.LAST)
    ticks = [
        Tick(Symbol("S"), kinds[number % 4], price, 100.0, AT + timedelta(seconds=number / 4), price, price)
        for number in range(40_000)
        for price in (100.0 + number * 7 % 13 / 100,)
    ]

    def feed(followed: tuple[IndicatorName, ...]) -> Callable[[int], None]:
        def work(count: int) -> None:
            view = MarketView(Atr(bar_s=10), followed)
            for tick in ticks[:count]:
                view.tick(tick)

        return work

    return compare("tick to view, 10 indicators", feed(names), "its ATR alone", feed(()), len(ticks))


CONDITIONS = (
    "price > sma20", "price < ema50", "rsi14 < 30", "rsi14 > 70 and price > bollinger.upper", "adx14 > 25",
    "macd.signal > 0", "price > opening_range.high and relative_volume > 2", "abs(price - vwap) > 0.5",
    "pnl_pct >= 0.02", "pnl_pct <= -0.01", "mfe_pct - pnl_pct > 0.02", "pnl < -500 and minutes_to_close < 60",
    "state == 'open' and duration_s > 3600", "spread_pct > 0.005", "change_pct < -0.05",
    "bid > 105 and time >= '10:30'", "volatility > 0.02", "drawdown_pct > 0.03", "weekday == 'fri'",
    "stochastic.d < 20 and quantity == 0",
)  # fmt: skip
"""The rules of the benchmark: indicators, profit of the trade, the hour, the quote."""


def rule_ticks() -> Figure:
    """The same ticks into a symbol with ten indicators and twenty rules, none of which comes true, flat."""
    names = tuple(_indicator(text) for text in INDICATORS)
    rules = tuple(Rule(text, When.parse(f"({text}) and price < 0"), Log("")) for text in CONDITIONS)
    symbol = Symbol("S")
    plan = SymbolPlan(symbol, "bench", Shares(1), rules, Schedule(), RiskLimits(), indicators=names)
    state = SymbolState.begin(symbol)
    kinds = (TickKind.BID, TickKind.LAST, TickKind.ASK, TickKind.LAST)
    ticks = [
        Tick(symbol, kinds[number % 4], price, 100.0, AT + timedelta(seconds=number / 4), price, price)
        for number in range(10_000)
        for price in (100.0 + number * 7 % 13 / 100,)
    ]

    def feed(followed: SymbolPlan) -> Callable[[int], None]:
        def work(count: int) -> None:
            view = MarketView(Atr(bar_s=10), names)
            view.reconciled = True
            for tick in ticks[:count]:
                view.tick(tick)
                if followed.follows_rules:
                    turned(state, view, followed, tick)

        return work

    plain = attrs.evolve(plan, rules=())
    return compare("tick to 20 rules, 10 indicators", feed(plan), "no rules", feed(plain), len(ticks))


def _indicator(text: str) -> IndicatorName:
    word, _, field = text.partition(".")
    kind, parameters = split_suffix(word) or (word, ())
    return indicator_name(kind, parameters, None, field)


def say_ticks_to_many() -> Figure:
    """One instant of a symbol, eight ticks, to thirty clients: written once, against each client's own."""
    ticks: tuple[TickPrice | TickSize, ...] = tuple(
        TickPrice(0, kind, 172.35, Decimal(300)) if kind in (1, 2, 4) else TickSize(0, kind, Decimal(300))
        for kind in (1, 0, 2, 3, 4, 5, 8, 8)
    )
    lines = range(1, 31)
    messages = [tuple(LineTicks(req_id, TickBurst(ticks)).messages()) for req_id in lines]

    def ours(count: int) -> None:
        for _ in range(count):
            burst = TickBurst(ticks)
            for req_id in lines:
                burst.frames(178, req_id)

    def peer(count: int) -> None:
        for _ in range(count):
            for own in messages:
                b"".join([frame(encode_server(178, tick)) for tick in own])

    return compare("8 ticks to 30 clients", ours, "each encoded", peer, 20)


def measure_load() -> list[dict[str, object]]:
    """The simulated TWS under load: another program, whose rows it prints itself."""
    with tempfile.TemporaryDirectory() as folder:
        told = Path(folder) / "load.json"
        program = Path(__file__).with_name("bench_load.py")
        done = subprocess.run([sys.executable, str(program), "--json", str(told)], check=False)  # noqa: S603
        if done.returncode:
            sys.exit(1)
        return [{"name": name, "value": value} for name, value in orjson.loads(told.read_bytes()).items()]


@app.default
def main(
    *,
    json: Annotated[Path | None, Parameter(help="Write the figures there, too.")] = None,
    load: Annotated[bool, Parameter(help="Also load the simulated TWS with 30 clients: a minute.")] = True,
) -> int:
    """Measure and print; a row each."""
    figures = []
    for measure in (
        decode_ticks,
        encode_orders,
        journal_rows,
        indicator_ticks,
        rule_ticks,
        lambda: route_ticks(10),
        lambda: route_ticks(500),
        say_ticks_to_many,
    ):
        figure = measure()
        figures.append(figure)
        print(
            f"{figure.name:32} {figure.ours_us:8.2f} us   {figure.peer:20} {figure.peer_us:8.2f} us"
            f"   ratio {figure.ratio:6.2f}",
            flush=True,
        )
    rows: list[dict[str, object]] = [{**attrs.asdict(figure), "ratio": figure.ratio} for figure in figures]
    if load:
        rows += measure_load()
    if json is not None:
        json.write_bytes(orjson.dumps(rows, option=orjson.OPT_INDENT_2))
    print("next: scripts/run --market DIR --speed 600 --until-end --report report.json has latencies, too")
    return 0


if __name__ == "__main__":
    try:
        sys.exit(app(print_error=False, exit_on_error=False, result_action="return_value") or 0)
    except CycloptsError as error:
        print(f"bench.py: {error}", file=sys.stderr)
        sys.exit(2)
