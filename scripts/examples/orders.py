#!/usr/bin/env python3
"""Orders: those of a trade, linked by type; a scale-in, a trailing stop beside the first; one that expires.

.venv/bin/python scripts/examples/orders.py
"""

from actors.simulation import Simulation, simulate
from protocol.events import CancelEvent, ModifyOrderEvent, OrderStatusEvent
from protocol.rules.actions import Enter, EntryOrder, Link, ScaleIn, Trailing
from protocol.rules.amounts import Percent, Shares
from protocol.rules.conditions import When, WhenSignal
from protocol.rules.rule import Rule
from protocol.values import OrderType, Side, Symbol

RULES = (
    Rule("long", WhenSignal(("BUY",)), Enter(Side.BUY, stop=Percent(0.01), target=Percent(0.02))),
    Rule("add", When.parse("state == 'open' and duration_s > 20"), ScaleIn(Shares(10)), max_per_day=1),
    Rule(
        "trail half of it",
        When.parse("state == 'open' and scale_ins == 1"),
        Link("trail", 0.5, trail=Trailing(Percent(0.01), native=True)),
        max_per_day=1,
    ),
    Rule(
        "wait for a better price",
        WhenSignal(("SHORT",)),
        Enter(Side.SELL, order=EntryOrder(OrderType.LIMIT, offset=Percent(0.01), expires_s=20)),
    ),
)


def show(simulation: Simulation, symbol: str) -> None:
    """The orders of the live trade by their link type, as the owner of the symbol has them."""
    trade = simulation.system.symbols[Symbol(symbol)].state.trade
    for order in trade.orders if trade is not None else ():
        spec = order.spec
        price = spec.stop_price or spec.limit_price or spec.trail_fraction or ""
        print(
            f"  {order.role:<9} {spec.side.value:<4} {spec.quantity:>3} {spec.type.value:<5} {price!s:<7} "
            f"{order.status.value}, {order.filled} filled"
        )


async def story(simulation: Simulation) -> None:
    simulation.signal("SPY", "BUY")
    await simulation.wait(5)
    print("A market entry, its stop and its target, which left as one native bracket:")
    show(simulation, "SPY")

    await simulation.wait(60)
    print("Ten more shares, and half of the position has a TRAIL stop of its own:")
    show(simulation, "SPY")
    changes = [event for event in simulation.events(ModifyOrderEvent) if event.symbol == "SPY"]
    print(
        "Changed in place, never cancelled and sent anew: "
        + ", ".join(f"{e.ref.role} ({e.why})" for e in changes)
    )

    simulation.signal("QQQ", "SHORT")
    await simulation.wait(10)
    print("A limit entry one percent above the market:")
    show(simulation, "QQQ")
    await simulation.wait(30)
    (cancel, *_) = [event for event in simulation.events(CancelEvent) if event.symbol == "QQQ"]
    print(f"It was cancelled ({cancel.why}); the life of that order:")
    told = [event for event in simulation.events(OrderStatusEvent) if event.ref == cancel.ref]
    print("  created -> " + " -> ".join(dict.fromkeys(event.status.value for event in told)))


if __name__ == "__main__":
    simulate(story, symbols=("SPY", "QQQ"), rules=RULES)
