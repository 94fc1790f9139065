"""What the whole account may come to: positions, gross, net, sectors, and what must stay free."""

from __future__ import annotations

from decimal import Decimal

from protocol.risk.question import Question
from protocol.risk.words import Refused
from protocol.values import Side, exact


def position_within(question: Question) -> Refused | None:
    """R2: the symbol with all its working orders filled, and with all that its trade has planned."""
    limits, wish = question.limits, question.wish
    largest = max(question.worst.largest, wish.worst_quantity)
    if limits.max_position_quantity is not None and largest > limits.max_position_quantity:
        text = f"{wish.symbol} could grow to {largest} shares, over {limits.max_position_quantity}"
        return Refused("R2", "position_quantity", text)
    dollars = largest * question.price
    if limits.max_position_notional is not None and dollars > limits.max_position_notional:
        text = f"{wish.symbol} could grow to ${dollars:.0f}, over ${limits.max_position_notional}"
        return Refused("R2", "position_notional", text)
    return None


def equity_is_known(question: Question) -> Refused | None:
    """What is a part of the equity cannot be judged without it."""
    limits = question.limits
    wanted = (limits.max_gross, limits.max_net, limits.max_sector, limits.min_excess_liquidity or None)
    known = question.money.equity is not None and question.money.equity > 0
    if known or all(limit is None for limit in wanted):
        return None
    return Refused("R3", "no_equity", "the account's equity is not known: nothing can be measured by it")


def account_within(question: Question) -> Refused | None:
    """R3: gross, net and number of positions, with all working orders filled."""
    exposure, limits, equity = question.exposure, question.limits, question.money.equity
    positions = len(exposure.symbols)
    if positions > limits.max_positions:
        text = f"{positions} symbols with a position or an entry, over the limit {limits.max_positions}"
        return Refused("R3", "positions", text)
    if equity is None:
        return None
    if limits.max_gross is not None:
        most = exact(limits.max_gross) * equity
        if exposure.worst_gross > most:
            return _over("gross", exposure.worst_gross, most, f"{limits.max_gross:g} times the equity")
    if limits.max_net is not None:
        most = exact(limits.max_net) * equity
        # Only the way that this entry leads: one that takes the account back is not in its own way.
        net = exposure.worst_long if question.wish.side is Side.BUY else -exposure.worst_short
        if net > most:
            return _over("net", net, most, f"{limits.max_net:g} times the equity")
    return None


def sector_within(question: Question) -> Refused | None:
    """R3: gross of the symbols of one sector."""
    limit, equity = question.limits.max_sector, question.money.equity
    sector = question.sectors.get(question.wish.symbol, "")
    if limit is None or equity is None or not sector:
        return None
    gross, most = question.exposure.worst_of_sector(sector), exact(limit) * equity
    if gross <= most:
        return None
    return _over("sector", gross, most, f"{limit:g} times the equity in {sector}")


def _over(what: str, dollars: Decimal, most: Decimal, meaning: str) -> Refused:
    text = f"{what} could come to ${dollars:.0f}, over the limit ${most:.0f} ({meaning})"
    return Refused("R3", what, text)


def enough_left(question: Question) -> Refused | None:
    """R18: excess liquidity after this entry and all that TWS's figure does not know of yet."""
    limits, money = question.limits, question.money
    if not limits.min_excess_liquidity or money.equity is None:
        return None
    if money.excess_liquidity is None:
        return Refused("R18", "no_excess_liquidity", "the account's excess liquidity is not known")
    floor = exact(limits.min_excess_liquidity) * money.equity
    left = money.excess_liquidity - exact(limits.initial_margin) * question.reserved
    if left >= floor:
        return None
    text = f"${left:.0f} of excess liquidity would be left, at least ${floor:.0f} must be"
    return Refused("R18", "excess_liquidity", text)
