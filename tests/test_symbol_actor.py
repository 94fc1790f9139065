"""The symbol actor before its books agree: what waits, and what does not."""

from __future__ import annotations

from datetime import UTC, datetime

import trio
import trio.testing

from actors.journal import Journal
from actors.kills import Kills
from actors.mailbox import SIGNALS_LIMIT, Lane, Mailbox
from actors.market_clock import MarketClock
from actors.symbol import SymbolActor
from actors.timers import Timers
from protocol.commands import BrokerCommand
from protocol.events import SignalVerdictEvent
from protocol.symbol import SymbolMessage
from tests.symbol_desk import PLAN, signal

AT = datetime(2025, 1, 23, 15, 0, tzinfo=UTC)


async def test_signals_wait_in_the_mailbox_until_the_books_agree_and_one_too_many_is_refused_there(
    autojump_clock: trio.testing.MockClock,
) -> None:
    clock, journal = MarketClock(), Journal.memory()
    clock.set(AT)
    mailbox: Mailbox[SymbolMessage] = Mailbox()
    broker: Mailbox[BrokerCommand] = Mailbox()
    actor = SymbolActor(
        PLAN,
        mailbox=mailbox,
        broker=broker,
        journal=journal,
        clock=clock,
        timers=Timers(clock, lambda _symbol, _at: None),
        set_epoch=lambda _symbol, _epoch: None,
        ask_peer=lambda _asked: None,
        probe=Kills((), clock).probe,
    )
    async with trio.open_nursery() as nursery:
        await nursery.start(actor.run, 1)
        await trio.testing.wait_all_tasks_blocked()
        taken = [
            mailbox.put(Lane.SIGNALS, signal("BUY", AT, f"s{number}")) for number in range(SIGNALS_LIMIT + 2)
        ]
        await trio.testing.wait_all_tasks_blocked()
        assert taken == [True] * SIGNALS_LIMIT + [False] * 2
        assert mailbox.depth == SIGNALS_LIMIT
        nursery.cancel_scope.cancel()
    assert not [event for event in journal.read() if isinstance(event, SignalVerdictEvent)]
    journal.close()
