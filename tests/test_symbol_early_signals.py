"""Signals that are there before the symbol can judge them: after a start, or a restart of its actor."""

from __future__ import annotations

import pytest
import trio
import trio.testing

from actors.journal import Journal
from actors.kills import Kills
from actors.mailbox import Lane, Mailbox
from actors.market_clock import MarketClock
from actors.symbol import SymbolActor
from actors.timers import Timers
from protocol.commands import BrokerCommand
from protocol.events import SignalVerdictEvent
from protocol.reports import ContractQualified, LinkChanged, LinkState, SymbolSnapshot
from protocol.symbol import SymbolMessage
from protocol.values import CENT_GRID, Tick, TickKind
from tests.symbol_desk import PLAN, SLV, TEN, signal


@pytest.mark.parametrize("tradable", [True, False])
async def test_a_signal_waits_until_the_symbol_has_heard_that_the_link_is_up(
    autojump_clock: trio.testing.MockClock, tradable: bool
) -> None:
    """The broker tells the books first and only then that the link is up; between the two a signal would be
    refused for nothing. Books that nobody may trade on are no reason to wait."""
    clock, journal = MarketClock(), Journal.memory()
    clock.set(TEN)
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

    def verdicts() -> list[tuple[str, str]]:
        told = [event for event in journal.read() if isinstance(event, SignalVerdictEvent)]
        return [(event.verdict.value, event.code) for event in told]

    async with trio.open_nursery() as nursery:
        await nursery.start(actor.run, 1)
        await trio.testing.wait_all_tasks_blocked()
        mailbox.put(Lane.SIGNALS, signal("BUY", TEN))
        mailbox.put(Lane.BROKER, LinkChanged(TEN, LinkState.HELD, 1))
        mailbox.put(Lane.BROKER, ContractQualified(TEN, SLV, 1, CENT_GRID))
        for kind, price in ((TickKind.BID, 99.98), (TickKind.ASK, 100.0)):
            mailbox.put_tick(Tick(SLV, kind, price, 500.0, TEN, price, price))
        books = SymbolSnapshot(TEN, SLV, 1, 0, (), (), 0, tradable=tradable)
        mailbox.put(Lane.BROKER, books)
        assert verdicts() == ([] if tradable else [("refused", "not_reconciled")])
        mailbox.put(Lane.BROKER, LinkChanged(TEN, LinkState.UP, 1))
        await trio.testing.wait_all_tasks_blocked()
        assert verdicts() == [("accepted", "entry") if tradable else ("refused", "not_reconciled")]
        nursery.cancel_scope.cancel()
    journal.close()
