"""The symbol actor asks for history once for each size of bars, and again for a bar it heard in part."""

from __future__ import annotations

from datetime import timedelta

import attrs
import trio
import trio.testing

from actors.journal import Journal
from actors.kills import Kills
from actors.mailbox import Lane, Mailbox
from actors.market_clock import MarketClock
from actors.symbol import SymbolActor
from actors.timers import Timers
from protocol.commands import AskHistory, BrokerCommand
from protocol.reports import HistoryLoaded, LinkChanged, LinkState, SymbolSnapshot
from protocol.symbol import SymbolMessage
from protocol.values import Tick, TickKind
from tests.bars_batch import market, named
from tests.symbol_desk import PLAN, SLV, TEN

RSI = named("rsi", 14, bar_s=300)


def asked(broker: Mailbox[BrokerCommand]) -> list[tuple[int, int]]:
    """Bar sizes and counts that the broker was asked for, since the last look."""
    found = []
    while (command := broker.take()) is not None:
        broker.done()
        if isinstance(command, AskHistory):
            found.append((command.bar_s, command.count))
    return found


async def test_history_warms_up_each_size_and_mends_the_bar_that_was_heard_in_part(
    autojump_clock: trio.testing.MockClock,
) -> None:
    clock, journal = MarketClock(), Journal.memory()
    clock.set(TEN)
    mailbox: Mailbox[SymbolMessage] = Mailbox()
    broker: Mailbox[BrokerCommand] = Mailbox()
    actor = SymbolActor(
        attrs.evolve(PLAN, indicators=(RSI,)),
        mailbox=mailbox,
        broker=broker,
        journal=journal,
        clock=clock,
        timers=Timers(clock, lambda _symbol, _at: None),
        set_epoch=lambda _symbol, _epoch: None,
        ask_peer=lambda _asked: None,
        probe=Kills((), clock).probe,
    )
    snapshot = SymbolSnapshot(TEN, SLV, 1, 0, (), (), 0, True)
    async with trio.open_nursery() as nursery:
        await nursery.start(actor.run, 1)
        await trio.testing.wait_all_tasks_blocked()
        for report in (LinkChanged(TEN, LinkState.UP, 1), snapshot, snapshot):
            mailbox.put(Lane.BROKER, report)
        assert asked(broker) == [(60, 141), (300, 141)]
        bars = tuple(market(141, bar_s=300))
        mailbox.put(Lane.BROKER, HistoryLoaded(TEN, SLV, 300, bars))
        assert actor.view.indicator(RSI) is not None
        for second in (20, 70, 71):
            at = TEN + timedelta(seconds=second)
            mailbox.put_tick(Tick(SLV, TickKind.LAST, 9.0, 1.0, at, 9.0, 9.0))
        assert asked(broker) == [(60, 141)]
        nursery.cancel_scope.cancel()
    journal.close()
