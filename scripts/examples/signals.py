#!/usr/bin/env python3
"""Signals: each prediction gets exactly one verdict, with its reason; an opposite one turns the trade around.

.venv/bin/python scripts/examples/signals.py
"""

from actors.simulation import Simulation, simulate
from protocol.causes import depth, why
from protocol.event_text import what
from protocol.events import SignalVerdictEvent
from protocol.journal import JournalRow

PREDICTIONS = (
    ("SPY", "BUY", 0.9, "nothing is held: it enters"),
    ("SPY", "BUY", 0.9, "already long: nothing to do"),
    ("QQQ", "BUY", 0.4, "not sure enough for any rule"),
    ("QQQ", "HOLD", 0.9, "no rule asks for this word"),
    ("SPY", "SELL", 0.9, "against the trade, but within the cooldown"),
    ("QQQ", "SHORT", 0.8, "SHORT and SELL both mean the short side"),
)


async def story(simulation: Simulation) -> None:
    verdicts: dict[str, SignalVerdictEvent] = {}
    simulation.subscribe(SignalVerdictEvent, lambda event: verdicts.update({event.signal_id: event}))

    async def predict(symbol: str, word: str, confidence: float, remark: str) -> str:
        signal_id = simulation.signal(symbol, word, confidence)
        await simulation.until(lambda: signal_id in verdicts)
        verdict = verdicts[signal_id]
        print(
            f"{symbol} {word:<5} {confidence:.1f}  {verdict.verdict.value:<8} {verdict.code:<10} ({remark})"
        )
        print(f"    {verdict.reason}")
        await simulation.wait(3)
        return signal_id

    for prediction in PREDICTIONS:
        await predict(*prediction)
    await simulation.wait(180)
    turned = await predict("SPY", "SHORT", 0.9, "the cooldown is over: close, then enter short")
    await simulation.wait(10)
    position = simulation.position("SPY")
    print(f"SPY is now {'flat' if position is None else f'{position.quantity:+d}'}")

    print("Why, from the signal to the fills, as `scripts/run why SIGNAL_ID` tells it:")

    def rows() -> list[JournalRow]:
        return list(simulation.journal.rows())

    for row in why(rows, turned):
        print(f"  {'  ' * depth(row.event)}{row.kind}: {what(row.event)}")


if __name__ == "__main__":
    simulate(story, symbols=("SPY", "QQQ"))
