#!/usr/bin/env python3
"""Positions: what is held, what it is worth, where its exits are, and what closed ones made.

.venv/bin/python scripts/examples/positions.py
"""

from actors.simulation import Simulation, simulate
from protocol.position_record import PositionRecord
from protocol.rules.actions import Enter
from protocol.rules.amounts import Percent
from protocol.rules.conditions import WhenSignal
from protocol.rules.rule import Rule
from protocol.values import Side

RULES = (
    Rule("long", WhenSignal(("BUY",)), Enter(Side.BUY, stop=Percent(0.004), target=Percent(0.002))),
    Rule("short", WhenSignal(("SHORT",)), Enter(Side.SELL, stop=Percent(0.004), target=Percent(0.002))),
)


def show(position: PositionRecord) -> None:
    worth = "?" if position.unrealized_pnl is None else f"{position.unrealized_pnl:+.2f}"
    print(
        f"  {position.position_id} {position.status.value:<9} {position.quantity:+4d} at "
        f"{position.average_entry:.2f}, stop {position.stop_price}, target {position.target_price}, "
        f"worth ${worth}"
    )


async def story(simulation: Simulation) -> None:
    book = simulation.positions
    for symbol, word in (("SPY", "BUY"), ("QQQ", "SHORT")):
        simulation.signal(symbol, word)
    await simulation.wait(5)
    spy = simulation.position("SPY")
    if spy is not None:
        atr = simulation.system.symbols[spy.symbol].view.atr or 0.5
        print(f"SPY's ATR is {atr:.2f}: a stop of two of them lies at {spy.optimal_stop(atr)};")
        print(f"a target that wins twice what the stop loses, at {spy.optimal_target()}.")

    print("Two positions, a minute apart:")
    for _ in range(3):
        for position in book.active():
            show(position)
        await simulation.wait(60)

    await simulation.until(lambda: not book.has_open())
    print("Both are closed:")
    for position in book.closed():
        print(f"  {position.position_id} closed by its {position.reason}: ${position.realized_pnl:+.2f}")
        moves = [f"{each.before} -> {each.after}" for each in position.changes if each.what == "status"]
        print(f"    {', '.join(moves)}")
    total = book.summary()
    print(
        f"{total.winners} of {total.trades} won; ${total.realized_pnl:+.2f}, "
        f"commissions ${total.commission:.2f}"
    )


if __name__ == "__main__":
    simulate(story, symbols=("SPY", "QQQ"), rules=RULES, seed=3)
