#!/usr/bin/env python3
"""Events: handlers of one's own, plain and async, by type with inheritance; events of one's own.

.venv/bin/python scripts/examples/events.py
"""

import trio

from actors.simulation import Simulation, simulate
from protocol.events import (
    ActorExitedEvent,
    BaseEvent,
    FillEvent,
    OrderEvent,
    PositionEvent,
    PriceEvent,
    UserEvent,
)


async def story(simulation: Simulation) -> None:
    counted: dict[str, int] = {}

    def count(event: OrderEvent) -> None:
        """A handler of OrderEvent hears of everything that is one."""
        counted[event.event_type] = counted.get(event.event_type, 0) + 1

    async def report(fill: FillEvent) -> None:
        """A handler may take its time: nothing that trades waits for it."""
        await trio.sleep(2)
        print(f"  {fill.symbol}: {fill.side.value} {fill.quantity} at {fill.price}, told two seconds later")
        simulation.emit("big fill" if fill.quantity > 5 else "small fill", f"{fill.exec_id}", fill.symbol)

    def hear(event: UserEvent) -> None:
        print(f"  {event.name}: {event.text}")

    def fail(event: PositionEvent) -> None:
        raise RuntimeError(f"a fault in a handler of {event.event_type}")

    orders = simulation.subscribe(OrderEvent, count)
    simulation.subscribe(FillEvent, report)
    simulation.subscribe(UserEvent, hear)
    simulation.subscribe(PositionEvent, fail, name="faulty")
    prices: list[float] = []
    simulation.subscribe(PriceEvent, lambda event: prices.append(event.price), symbol="QQQ")
    print("Handlers by the type they asked for:", simulation.system.subscriptions.counts())

    simulation.signal("SPY", "BUY")
    await simulation.wait(10)
    print("Order events of one entry:", counted)
    print(f"{len(prices)} prices of QQQ and none of SPY")
    ends = [event for event in simulation.events(ActorExitedEvent) if event.actor == "handler:faulty"]
    print("The handler that failed:", ", ".join(f"{event.reason}, {event.decision}" for event in ends))

    bus = simulation.system.subscriptions
    bus.unsubscribe(orders)
    bus.disable()
    before = sum(counted.values()), len(simulation.events(BaseEvent))
    simulation.signal("QQQ", "SHORT")
    await simulation.wait(10)
    told, written = sum(counted.values()) - before[0], len(simulation.events(BaseEvent)) - before[1]
    print(f"Switched off: {told} events told, {written} written; QQQ trades all the same:")
    position = simulation.position("QQQ")
    print(f"  {position.quantity:+d} shares, stop at {position.stop_price}" if position else "  it is flat")
    bus.enable()
    print("An event as a dictionary:", simulation.events(FillEvent)[0].to_dict())


if __name__ == "__main__":
    simulate(story, symbols=("SPY", "QQQ"))
