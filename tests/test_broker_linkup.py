"""How a link comes up: who we are, what time it is, what we trade, what stands in the books."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal

import attrs
import pytest
import trio

from actors.broker import Broker, BrokerRefused, NoBroker
from actors.market_clock import MarketClock
from protocol.commands import AskHistory, AskSnapshot
from protocol.events import LinkEvent
from protocol.reports import (
    ContractQualified,
    ExecutionReport,
    HistoryLoaded,
    LinkChanged,
    LinkState,
    OrderReport,
    SymbolSnapshot,
)
from protocol.settings import BrokerSettings, Mode
from protocol.tws import messages as tws
from protocol.values import Bar, OrderStatus, PriceGrid, Side, Symbol, TickKind
from tests.broker_fakes import (
    ACCOUNT,
    GLD,
    SLV,
    START,
    CommandBox,
    FakeTws,
    ListJournal,
    OpenGate,
    broker_world,
    contract,
    details,
    echo,
    execution_of,
    spec,
)


async def test_a_link_comes_up_in_this_order_of_questions(autojump_clock: object) -> None:
    async with broker_world() as world:
        assert [type(request) for request in world.tws.requests] == [
            tws.StartApi,
            tws.ReqCurrentTime,
            tws.ReqContractDetails,
            tws.ReqContractDetails,
            tws.ReqMarketRule,
            tws.ReqAllOpenOrders,
            tws.ReqExecutions,
            tws.ReqPositions,
            tws.ReqCompletedOrders,
            tws.ReqMktData,
            tws.ReqMktData,
        ]
        assert world.broker.account == ACCOUNT


async def test_a_symbol_hears_its_contract_then_its_books_and_only_then_that_the_link_is_up(
    autojump_clock: object,
) -> None:
    async with broker_world(symbols=(SLV,)) as world:
        cents = PriceGrid.of(Decimal("0.01"))
        assert world.deliveries == [
            (None, LinkChanged(START, LinkState.HELD, 1, "a session, not reconciled yet")),
            (SLV, ContractQualified(START, SLV, 11, cents)),
            (SLV, SymbolSnapshot(START, SLV, 1, 0, (), (), 0, tradable=True)),
            (None, LinkChanged(START, LinkState.UP, 1, "reconciled")),
        ]
        assert [event.state for event in world.journal.of(LinkEvent)] == ["held", "up"]


async def test_market_time_is_the_brokers_and_goes_on_with_the_loop(autojump_clock: object) -> None:
    async with broker_world() as world:
        begun = world.clock.now()
        assert timedelta(0) <= begun - START < timedelta(seconds=1)
        await trio.sleep(100.5)
        # Twenty heartbeats have said the time in whole seconds: none of them stopped the clock.
        assert world.clock.now() - begun == timedelta(seconds=100.5)


async def test_the_books_of_the_broker_are_told_to_each_symbol(autojump_clock: object) -> None:
    fake = FakeTws()
    entry = tws.PlaceOrder(
        7, contract(), tws.Order(action="BUY", total_quantity=Decimal(100), order_type="MKT")
    )
    stop_spec = spec("stop", side=Side.SELL, limit=None, stop="29.10", kind=spec("stop").type)
    stop = tws.PlaceOrder(
        8,
        contract(),
        tws.Order(
            action="SELL",
            total_quantity=Decimal(100),
            order_type="STP",
            aux_price=29.1,
            order_ref=str(stop_spec.ref),
        ),
    )
    fake.open_orders = [echo(stop, "PreSubmitted", why_held="trigger")]
    fake.executions = [(contract(), execution_of(entry, 100, order_ref="a7:SLV:000001:main:r0"))]
    fake.positions = {SLV: 100}
    async with broker_world(fake=fake) as world:
        (snapshot,) = [each for each in world.reports(SymbolSnapshot) if each.symbol == SLV]
        assert snapshot.position == 100
        assert [(order.ref, order.status, order.stop_price, order.why_held) for order in snapshot.orders] == [
            (stop_spec.ref, OrderStatus.ACCEPTED, Decimal("29.1"), "trigger")
        ]
        assert [(fill.ref, fill.quantity, fill.price) for fill in snapshot.executions] == [
            (spec().ref, 100, Decimal("30.0"))
        ]
        # An order of ours that the journal has never heard of is taken over, and a person is told.
        assert world.journal.alarms == ["ORDER_ADOPTED"]
        assert len(world.reports(ExecutionReport)) == 1
        assert len(world.reports(OrderReport)) == 2


async def test_somebody_elses_orders_and_fills_are_counted_and_told_without_a_reference(
    autojump_clock: object,
) -> None:
    fake = FakeTws()
    other = tws.PlaceOrder(
        0,
        contract(),
        tws.Order(action="BUY", total_quantity=Decimal(5), order_type="LMT", lmt_price=1.0, order_ref="b2:x"),
    )
    order, status = echo(other, "Submitted", perm_id=555)
    fake.open_orders = [(order, attrs.evolve(status, client_id=0))]
    fake.executions = [(contract(), execution_of(other, 5, perm_id=555, client_id=0))]
    async with broker_world(fake=fake, symbols=(SLV,)) as world:
        (snapshot,) = world.reports(SymbolSnapshot)
        assert (snapshot.orders, snapshot.foreign_orders) == ((), 1)
        assert [fill.ref for fill in snapshot.executions] == [None]


async def test_an_unknown_symbol_is_named_and_left_out_and_the_others_trade(autojump_clock: object) -> None:
    async with broker_world(symbols=(SLV, Symbol("NOPE"))) as world:
        assert world.journal.alarms == ["SYMBOL_LEFT_OUT"]
        tradable = {each.symbol: each.tradable for each in world.reports(SymbolSnapshot)}
        assert tradable == {SLV: True, Symbol("NOPE"): False}
        assert world.broker.state is LinkState.UP


async def test_an_ambiguous_symbol_is_left_out(autojump_clock: object) -> None:
    fake = FakeTws()
    fake.contracts[SLV] = (details(SLV, 11), details(SLV, 12))
    async with broker_world(fake=fake) as world:
        assert "TWS knows several such stocks" in world.reports(SymbolSnapshot)[0].why_not


async def test_a_contract_that_tws_never_answers_about_is_left_out_after_a_while(
    autojump_clock: object,
) -> None:
    fake = FakeTws()
    fake.silent = {tws.ReqMarketRule}
    async with broker_world(fake=fake) as world:
        # Without the market rule the minimum tick of the contract is the grid.
        assert world.reports(ContractQualified)[0].grid == PriceGrid.of(Decimal("0.01"))


async def fails_with(
    settings: BrokerSettings, accounts: tuple[str, ...], fake: FakeTws | None = None
) -> Exception:
    fake = fake or FakeTws()
    fake.accounts = accounts
    broker = Broker(
        settings,
        (SLV,),
        instance="a7",
        connect=fake.connect,
        journal=ListJournal(),
        mailbox=CommandBox(),
        deliver=lambda _: None,
        clock=MarketClock(),
        gate=OpenGate(),
    )
    async with trio.open_nursery() as nursery:
        await nursery.start(fake.run)
        with pytest.raises((BrokerRefused, NoBroker)) as caught:
            await broker.run(1)
        nursery.cancel_scope.cancel()
    return caught.value


@pytest.mark.parametrize(
    ("settings", "accounts", "reason"),
    [
        (BrokerSettings(account="DU9"), ("DU1",), "not the configured DU9"),
        (BrokerSettings(), ("DU1", "DU2"), "say in the configuration which"),
        (BrokerSettings(), ("U1234567",), "the mode is paper"),
        (BrokerSettings(account="U1"), ("U1",), "the mode is paper"),
        (BrokerSettings(mode=Mode.LIVE), ("U1",), "live trading needs the account"),
        (BrokerSettings(mode=Mode.LIVE, account="DU1"), ("DU1",), "the mode is live"),
        (BrokerSettings(), (), "the broker manages none"),
    ],
)
async def test_an_account_that_is_not_the_configured_one_is_refused(
    settings: BrokerSettings, accounts: tuple[str, ...], reason: str, autojump_clock: object
) -> None:
    problem = await fails_with(settings, accounts)
    assert isinstance(problem, BrokerRefused)
    assert reason in str(problem)


async def test_no_session_within_the_first_time_out_ends_the_actor(autojump_clock: object) -> None:
    fake = FakeTws()
    fake.refuse_links = 10_000
    began = trio.current_time()
    problem = await fails_with(BrokerSettings(connect_timeout_loop_s=7.0), ("DU1",), fake)
    assert isinstance(problem, NoBroker)
    assert str(problem) == "no broker session within 7 s: connection refused"
    assert trio.current_time() - began == pytest.approx(7.0)


async def test_a_symbol_that_asks_gets_its_contract_and_books_alone(autojump_clock: object) -> None:
    async with broker_world() as world:
        world.tws.positions = {GLD: 5}
        world.tws.say(
            tws.ExecDetails(
                -1,
                contract(GLD),
                execution_of(
                    tws.PlaceOrder(0, contract(GLD), tws.Order(action="BUY")), 5, client_id=0, perm_id=3
                ),
            )
        )
        await world.settle()
        world.deliveries.clear()
        world.commands.put(AskSnapshot(GLD, 1))
        await world.settle()
        assert [(to, type(report)) for to, report in world.deliveries] == [
            (GLD, ContractQualified),
            (GLD, SymbolSnapshot),
        ]
        assert world.reports(SymbolSnapshot)[0].position == 5


async def test_history_comes_as_complete_bars_oldest_first(autojump_clock: object) -> None:
    fake = FakeTws()
    stamps = [int(START.timestamp()) - 60 * back for back in (3, 2, 1, 0)]
    fake.bars = tuple(
        tws.HistoricalBar(
            date=str(stamp), open=1.0, high=2.0, low=0.5, close=1.5, volume=Decimal(9), wap=1.0, count=1
        )
        for stamp in stamps
    )
    async with broker_world(fake=fake) as world:
        world.commands.put(AskHistory(SLV, 1, 60, 2))
        await world.settle()
        (loaded,) = world.reports(HistoryLoaded)
        # The minute that began just now is not complete, and two were asked for.
        assert loaded == HistoryLoaded(
            loaded.at,
            SLV,
            60,
            tuple(Bar(START - timedelta(minutes=back), 1.0, 2.0, 0.5, 1.5, 9.0) for back in (2, 1)),
        )
        (asked,) = world.tws.asked(tws.ReqHistoricalData)
        assert isinstance(asked, tws.ReqHistoricalData)
        assert (asked.bar_size, asked.duration, asked.what, asked.end) == ("1 min", "2 D", "TRADES", "")


async def test_no_history_is_an_answer_too(autojump_clock: object) -> None:
    async with broker_world() as world:
        for bar_s in (60, 7):
            world.commands.put(AskHistory(SLV, 1, bar_s, 10))
        await world.settle()
        assert [(each.bar_s, each.bars) for each in world.reports(HistoryLoaded)] == [(7, ()), (60, ())]


async def test_ticks_are_told_once_each_and_stamped_with_market_time(autojump_clock: object) -> None:
    async with broker_world() as world:
        line = world.tws.lines[SLV]
        later = START + timedelta(minutes=10)
        world.tws.say(
            tws.TickReqParams(line, 0.01, "", 3),
            tws.TickString(line, 45, str(int(later.timestamp()))),
            tws.TickPrice(line, 1, 30.0, Decimal(100)),
            tws.TickSize(line, 0, Decimal(100)),
            tws.TickPrice(line, 2, 30.02, Decimal(200)),
            tws.TickSize(line, 3, Decimal(300)),
            tws.TickPrice(line, 4, 30.01, Decimal(10)),
            tws.TickSize(line, 5, Decimal(10)),
            tws.TickSize(line, 5, Decimal(10)),
            tws.TickPrice(line, 1, -1.0, Decimal(0)),
            tws.TickPrice(line, 6, 31.0, Decimal(0)),
            tws.TickGeneric(line, 49, 1.0),
            tws.TickPrice(999, 1, 30.0, Decimal(100)),
        )
        await world.settle()
        assert [(tick.kind, tick.price, tick.size) for tick in world.ticks] == [
            (TickKind.BID, 30.0, 100.0),
            (TickKind.ASK, 30.02, 200.0),
            (TickKind.ASK, 30.02, 300.0),
            (TickKind.LAST, 30.01, 10.0),
            (TickKind.LAST, 30.01, 10.0),  # the echo of a size once, then another trade at the price
            (TickKind.HALTED, 1.0, 0.0),
        ]
        # The replay has skipped closed hours: a trade's time moves the clock forward.
        assert {tick.at for tick in world.ticks} == {later}
        assert world.broker.latencies.received_to_delivered.count > 0


async def test_a_link_with_many_symbols_comes_up_within_the_pace_of_the_wire(autojump_clock: object) -> None:
    fake = FakeTws()
    symbols = tuple(Symbol(f"S{number}") for number in range(400))
    for con_id, symbol in enumerate(symbols, 1000):
        known = attrs.evolve(details(SLV).contract, symbol=symbol, con_id=con_id)
        fake.contracts[symbol] = (attrs.evolve(details(SLV), contract=known),)
    times: list[float] = []
    fake.on_request = lambda _: times.append(trio.current_time())
    async with broker_world(fake=fake, symbols=symbols) as world:
        await world.settle(60)
        assert world.tws.links == 1
        assert world.broker.state is LinkState.UP
        assert len(fake.lines) == 400
        assert all(times[i + 45] - times[i] >= 0.99 for i in range(len(times) - 45))
