"""A scripted TWS over a memory stream, and the broker actor's neighbours, for its tests.

The fake answers what a link-up asks from plain lists, keeps every request it gets, and says nothing about
orders unless a test makes it: real wire bytes both ways, no socket, no thread, no market.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from decimal import Decimal
from typing import TypeVar

import attrs
import trio
import trio.testing

from actors.broker import Broker
from actors.market_clock import MarketClock
from actors.tws_link import LinkDown, StreamLink
from protocol.commands import BrokerCommand
from protocol.events import AlarmEvent, BaseEvent
from protocol.reports import LinkState, Report
from protocol.session_words import Delivery
from protocol.settings import BrokerSettings
from protocol.tws import messages as tws
from protocol.tws.handshake import Negotiated, Refused, ServerConnection
from protocol.values import OrderRef, OrderSpec, OrderType, Side, Symbol, Tick, TimeInForce

T = TypeVar("T")

SLV, GLD = Symbol("SLV"), Symbol("GLD")
START = datetime(2025, 1, 23, 15, 0, tzinfo=UTC)
ACCOUNT = "DU1234567"
CON_IDS = {SLV: 11, GLD: 22}


def contract(symbol: Symbol = SLV) -> tws.Contract:
    return tws.Contract(
        con_id=CON_IDS[symbol], symbol=symbol, sec_type="STK", exchange="SMART", currency="USD",
        local_symbol=symbol, trading_class=symbol,
    )  # fmt: skip


def details(symbol: Symbol, con_id: int | None = None) -> tws.ContractDetails:
    known = tws.Contract(
        con_id=con_id or CON_IDS[symbol], symbol=symbol, sec_type="STK", exchange="SMART", currency="USD"
    )
    return tws.ContractDetails(contract=known, valid_exchanges="SMART,ARCA", market_rule_ids="26,26")


class FakeTws:
    """One TWS; each connection is one link. Requests are kept in `requests`, over all links."""

    def __init__(self, *, version: int = 178) -> None:
        self.version = version
        self.accounts: tuple[str, ...] = (ACCOUNT,)
        self.next_id = 1
        self.contracts: dict[Symbol, tuple[tws.ContractDetails, ...]] = {
            symbol: (details(symbol),) for symbol in CON_IDS
        }
        self.open_orders: list[tuple[tws.OpenOrder, tws.OrderStatus]] = []
        self.executions: list[tuple[tws.Contract, tws.Execution]] = []
        self.positions: dict[Symbol, int] = {}
        self.positions_behind_their_end = False
        self.completed: list[tws.CompletedOrder] = []
        self.bars: tuple[tws.HistoricalBar, ...] = ()
        self.silent: set[type] = set()
        """Requests that get no answer."""
        self.requests: list[tws.ClientRequest] = []
        self.on_request: Callable[[tws.ClientRequest], None] = lambda _: None
        self.links = 0
        self.refuse_links = 0
        """How many connections to refuse from now on."""
        self.busy_links = 0
        """How many connections to answer with 326."""
        self._server: ServerConnection | None = None
        self._stream: trio.StapledStream[trio.testing.MemorySendStream, trio.testing.MemoryReceiveStream]
        self._wake = trio.Event()
        self._out = bytearray()
        self._nursery: trio.Nursery | None = None
        self.lines: dict[Symbol, int] = {}

    async def connect(self) -> StreamLink:
        if self.refuse_links:
            self.refuse_links -= 1
            raise LinkDown("connection refused")
        assert self._nursery is not None
        ours, theirs = trio.testing.memory_stream_pair()
        self._nursery.start_soon(self._serve, theirs)
        return await StreamLink.open(ours, 1)

    async def run(self, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        async with trio.open_nursery() as nursery:
            self._nursery = nursery
            task_status.started()
            await trio.sleep_forever()

    async def _serve(self, stream: trio.StapledStream) -> None:  # type: ignore[type-arg]
        self.links += 1
        self._stream = stream
        server = self._server = ServerConnection(self.version, "20250123 10:00:00 EST")
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._write, stream)
            while True:
                try:
                    data = await stream.receive_some(65536)
                except (trio.ClosedResourceError, trio.BrokenResourceError):
                    break
                if not data:
                    break
                for event in server.receive_data(bytes(data)):
                    match event:
                        case Negotiated():
                            self._put(event.reply)
                        case Refused():
                            raise AssertionError(event.reason)
                        case _:
                            self.requests.append(event)
                            if type(event) not in self.silent:
                                self._answer(event)
                            self.on_request(event)
            nursery.cancel_scope.cancel()

    async def _write(self, stream: trio.abc.SendStream) -> None:
        while True:
            await self._wake.wait()
            self._wake = trio.Event()
            data, self._out = bytes(self._out), bytearray()
            try:
                await stream.send_all(data)
            except (trio.ClosedResourceError, trio.BrokenResourceError):
                return

    def _put(self, data: bytes) -> None:
        self._out += data
        self._wake.set()

    def say(self, *messages: tws.ServerMessage) -> None:
        assert self._server is not None
        self._put(b"".join(self._server.send(message) for message in messages))

    def say_bytes(self, payload: bytes) -> None:
        self._put(len(payload).to_bytes(4, "big") + payload)

    def hang_up(self) -> None:
        self._stream.send_stream.close()
        self._stream.receive_stream.close()

    def _answer(self, request: tws.ClientRequest) -> None:
        match request:
            case tws.StartApi():
                if self.busy_links:
                    self.busy_links -= 1
                    self.say(
                        tws.ErrorMessage(-1, 326, "Unable to connect as the client id is already in use.")
                    )
                    return
                for order, status in self.open_orders:
                    self.say(order, status)
                self.say(tws.ManagedAccounts(self.accounts), tws.NextValidId(self.next_id))
                self.say(tws.ErrorMessage(-1, 2104, "Market data farm connection is OK:usfarm"))
            case tws.ReqCurrentTime():
                now = START.timestamp() + trio.current_time()
                self.say(tws.CurrentTime(int(now)))
            case tws.ReqContractDetails(req_id, asked):
                known = self.contracts.get(Symbol(asked.symbol), ())
                if not known:
                    self.say(tws.ErrorMessage(req_id, 200, "No security definition has been found"))
                    return
                self.say(*(tws.ContractData(req_id, each) for each in known), tws.ContractDataEnd(req_id))
            case tws.ReqMarketRule(rule_id):
                self.say(tws.MarketRule(rule_id, ((0.0, 0.01),)))
            case tws.ReqMktData(req_id, asked):
                self.lines[Symbol(asked.symbol)] = req_id
            case tws.ReqAllOpenOrders():
                for order, status in self.open_orders:
                    self.say(order, status)
                self.say(tws.OpenOrderEnd())
            case tws.ReqExecutions(req_id, _):
                for which, execution in self.executions:
                    self.say(tws.ExecDetails(req_id, which, execution))
                self.say(tws.ExecDetailsEnd(req_id))
            case tws.ReqPositions():
                told: list[tws.ServerMessage] = [
                    tws.Position(ACCOUNT, contract(symbol), Decimal(shares), 30.0)
                    for symbol, shares in self.positions.items()
                ]
                end = 0 if self.positions_behind_their_end else len(told)
                self.say(*told[:end], tws.PositionEnd(), *told[end:])
            case tws.ReqCompletedOrders():
                self.say(*self.completed, tws.CompletedOrdersEnd())
            case tws.ReqHistoricalData(req_id):
                if self.bars:
                    self.say(tws.HistoricalData(req_id, "", "", self.bars))
                else:
                    self.say(tws.ErrorMessage(req_id, 162, "HMDS query returned no data"))
            case _:
                pass

    def asked(self, kind: type[T]) -> list[T]:
        return [request for request in self.requests if isinstance(request, kind)]

    @property
    def placed(self) -> list[tws.PlaceOrder]:
        return [request for request in self.requests if isinstance(request, tws.PlaceOrder)]


class OpenGate:
    """A gate that lets everything pass: what these tests are about lies behind it."""

    def judge(self, *_: object, **__: object) -> None:
        return None


@attrs.define
class ListJournal:
    """A journal that is a list; `log` also shows what the wire had seen when an event was written."""

    rows: list[tuple[str, BaseEvent]] = attrs.field(factory=list)

    def append(self, stream: str, events: Sequence[BaseEvent]) -> None:
        self.rows += [(stream, event) for event in events]

    def read(self, stream: str | None = None) -> Iterator[BaseEvent]:
        return iter([event for name, event in self.rows if stream in (None, name)])

    def of(self, kind: type[T]) -> list[T]:
        return [event for _, event in self.rows if isinstance(event, kind)]

    @property
    def alarms(self) -> list[str]:
        return [event.code for _, event in self.rows if isinstance(event, AlarmEvent)]


class CommandBox:
    """The part of a mailbox that the broker uses."""

    def __init__(self) -> None:
        self._send, self._receive = trio.open_memory_channel[BrokerCommand](1000)

    def put(self, command: BrokerCommand) -> None:
        self._send.send_nowait(command)

    async def serve(self, handle: Callable[[BrokerCommand], None]) -> None:
        while True:
            handle(await self._receive.receive())


@attrs.define
class World:
    """A broker with everything around it."""

    tws: FakeTws
    broker: Broker
    journal: ListJournal
    commands: CommandBox
    clock: MarketClock
    deliveries: list[Delivery]
    sent: list[OrderRef]

    def reports(self, *kinds: type[T]) -> list[T]:
        return [message for _, message in self.deliveries if isinstance(message, kinds)]

    @property
    def told(self) -> list[Report]:
        """Every report, of whatever kind."""
        return [message for _, message in self.deliveries if not isinstance(message, Tick)]

    @property
    def ticks(self) -> list[Tick]:
        return [message for _, message in self.deliveries if isinstance(message, Tick)]

    async def settle(self, loop_s: float = 0.01) -> None:
        """Let everything happen that happens at once."""
        await trio.sleep(loop_s)

    async def wait_state(self, state: LinkState, within_loop_s: float = 120.0) -> None:
        with trio.fail_after(within_loop_s):
            while self.broker.state is not state:
                await trio.sleep(0.05)


@asynccontextmanager
async def broker_world(
    *,
    fake: FakeTws | None = None,
    journal: ListJournal | None = None,
    symbols: Sequence[Symbol] = (SLV, GLD),
    settings: BrokerSettings | None = None,
    up: bool = True,
    speed: float = 1.0,
) -> AsyncIterator[World]:
    """A running broker, its link up unless `up` is False."""
    fake = fake or FakeTws()
    journal = journal or ListJournal()
    commands, clock = CommandBox(), MarketClock(speed=speed)
    deliveries: list[Delivery] = []
    sent: list[OrderRef] = []
    broker = Broker(
        settings or BrokerSettings(),
        symbols,
        instance="a7",
        connect=fake.connect,
        journal=journal,
        mailbox=commands,
        deliver=deliveries.extend,
        clock=clock,
        on_sent=sent.append,
        gate=OpenGate(),
    )
    world = World(fake, broker, journal, commands, clock, deliveries, sent)
    async with trio.open_nursery() as nursery:
        await nursery.start(fake.run)
        await nursery.start(broker.run, 1)
        if up:
            await world.wait_state(LinkState.UP)
            await world.settle()
        yield world
        nursery.cancel_scope.cancel()


def spec(
    role: str = "main", *, trade: int = 1, side: Side = Side.BUY, quantity: int = 100, revision: int = 0,
    kind: OrderType = OrderType.LIMIT, limit: str | None = "30.00", stop: str | None = None,
    parent: OrderRef | None = None, symbol: Symbol = SLV, oca_group: str = "", instance: str = "a7",
) -> OrderSpec:  # fmt: skip
    return OrderSpec(
        ref=OrderRef(instance, symbol, trade, role, revision),
        side=side,
        quantity=quantity,
        type=kind,
        tif=TimeInForce.GTC if parent else TimeInForce.DAY,
        limit_price=None if limit is None else Decimal(limit),
        stop_price=None if stop is None else Decimal(stop),
        parent=parent,
        oca_group=oca_group,
        oca_type=2 if oca_group else 0,
    )


def bracket(trade: int = 1, quantity: int = 100) -> tuple[OrderSpec, OrderSpec, OrderSpec]:
    main = spec(trade=trade, quantity=quantity)
    stop = spec(
        "stop", trade=trade, side=Side.SELL, quantity=quantity, kind=OrderType.STOP, limit=None, stop="29.10",
        parent=main.ref, oca_group=f"exits {trade}",
    )  # fmt: skip
    target = spec(
        "target", trade=trade, side=Side.SELL, quantity=quantity, limit="32.40", parent=main.ref,
        oca_group=f"exits {trade}",
    )  # fmt: skip
    return main, stop, target


def echo(
    request: tws.PlaceOrder,
    status: str = "Submitted",
    *,
    perm_id: int = 0,
    filled: int = 0,
    why_held: str = "",
) -> tuple[tws.OpenOrder, tws.OrderStatus]:
    """What TWS says about an order that it has: openOrder and orderStatus."""
    perm_id = perm_id or 9000 + request.order_id
    order = attrs.evolve(
        request.order,
        client_id=1,
        perm_id=perm_id,
        lmt_price=request.order.lmt_price or 0.0,
        aux_price=request.order.aux_price or 0.0,
    )
    quantity = int(request.order.total_quantity)
    return (
        tws.OpenOrder(request.order_id, request.contract, order, tws.OrderState(status=status)),
        status_of(request, status, perm_id=perm_id, filled=filled, quantity=quantity, why_held=why_held),
    )


def status_of(
    request: tws.PlaceOrder, status: str, *, perm_id: int = 0, filled: int = 0, quantity: int = 100,
    why_held: str = "",
) -> tws.OrderStatus:  # fmt: skip
    return tws.OrderStatus(
        request.order_id, status, Decimal(filled), Decimal(quantity - filled), 30.0 if filled else 0.0,
        perm_id or 9000 + request.order_id, request.order.parent_id, 30.0 if filled else 0.0, 1, why_held,
    )  # fmt: skip


def execution_of(
    request: tws.PlaceOrder, quantity: int, *, exec_id: str = "0000e0d5.69dd7411.01.01", price: float = 30.0,
    order_ref: str | None = None, perm_id: int | None = None, client_id: int = 1,
) -> tws.Execution:  # fmt: skip
    return tws.Execution(
        exec_id=exec_id, time="20250123 10:00:01 US/Eastern", acct_number=ACCOUNT, exchange="IEX",
        side="BOT" if request.order.action == "BUY" else "SLD", shares=Decimal(quantity), price=price,
        perm_id=9000 + request.order_id if perm_id is None else perm_id, client_id=client_id,
        order_id=request.order_id, cum_qty=Decimal(quantity), avg_price=price,
        order_ref=request.order.order_ref if order_ref is None else order_ref,
    )  # fmt: skip
