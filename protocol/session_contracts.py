"""From a ticker to the one contract it means: its id and its price grid, or the reason why it is left out."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from decimal import Decimal

import attrs

from protocol.session_translation import stock
from protocol.session_words import Outbox
from protocol.tws import messages as tws
from protocol.values import PriceGrid, Symbol, exact


@attrs.frozen
class Qualified:
    contract: tws.Contract
    grid: PriceGrid


class Contracts:
    """What is known of each symbol. `symbols` is what is to be traded, in the order of the configuration."""

    def __init__(self, symbols: Iterable[Symbol]) -> None:
        self.symbols = tuple(symbols)
        self.qualified: dict[Symbol, Qualified] = {}
        self.left_out: dict[Symbol, str] = {}
        self._asked: dict[int, Symbol] = {}
        self._answers: dict[Symbol, list[tws.ContractDetails]] = {}
        self._rules: dict[int, PriceGrid] = {}
        self._want_rule: dict[Symbol, tuple[tws.ContractDetails, int]] = {}

    def contract(self, symbol: Symbol) -> tws.Contract | None:
        known = self.qualified.get(symbol)
        return None if known is None else known.contract

    @property
    def complete(self) -> bool:
        """Whether every symbol is either qualified or left out."""
        return len(self.qualified) + len(self.left_out) == len(self.symbols)

    def ask(self, fresh_id: Callable[[], int], out: Outbox) -> None:
        """Ask about every symbol that is not qualified yet, also about those that were left out before."""
        self.left_out.clear()
        self._asked.clear()
        self._answers.clear()
        self._want_rule.clear()
        for symbol in self.symbols:
            if symbol not in self.qualified:
                req_id = fresh_id()
                self._asked[req_id] = symbol
                out.ask(tws.ReqContractDetails(req_id, stock(symbol)))

    def knows_id(self, req_id: int) -> bool:
        return req_id in self._asked

    def data(self, message: tws.ContractData) -> None:
        symbol = self._asked.get(message.req_id)
        if symbol is not None:
            self._answers.setdefault(symbol, []).append(message.details)

    def end(self, message: tws.ContractDataEnd, out: Outbox) -> Symbol | None:
        """All answers about a symbol are in. The symbol, when this settles it."""
        symbol = self._asked.pop(message.req_id, None)
        if symbol is None:
            return None
        fitting = [details for details in self._answers.pop(symbol, []) if _fits(details.contract, symbol)]
        if len({details.contract.con_id for details in fitting}) != 1:
            self.left_out[symbol] = (
                "TWS knows no such stock" if not fitting else "TWS knows several such stocks"
            )
            return symbol
        rule_id = _rule_id(fitting[0])
        if rule_id is None:
            return self._qualify(symbol, fitting[0], None)
        if rule_id in self._rules:
            return self._qualify(symbol, fitting[0], self._rules[rule_id])
        if all(other != rule_id for _, other in self._want_rule.values()):
            out.ask(tws.ReqMarketRule(rule_id))
        self._want_rule[symbol] = (fitting[0], rule_id)
        return None

    def refused(self, req_id: int, text: str) -> Symbol | None:
        """TWS answered with an error instead."""
        symbol = self._asked.pop(req_id, None)
        if symbol is not None:
            self.left_out[symbol] = text
        return symbol

    def rule(self, message: tws.MarketRule) -> tuple[Symbol, ...]:
        """A market rule; the symbols that it settles."""
        grid = grid_of(message.increments)
        if grid is None:
            return ()
        self._rules[message.rule_id] = grid
        waiting = [symbol for symbol, (_, rule_id) in self._want_rule.items() if rule_id == message.rule_id]
        for symbol in waiting:
            self._qualify(symbol, self._want_rule.pop(symbol)[0], grid)
        return tuple(waiting)

    def give_up(self) -> tuple[Symbol, ...]:
        """No answer comes any more: without a rule the minimum tick holds, without a contract nothing."""
        settled = [*self._want_rule, *self._asked.values()]
        for symbol, (details, _) in tuple(self._want_rule.items()):
            self._qualify(symbol, details, None)
        for symbol in self._asked.values():
            self.left_out[symbol] = "TWS did not answer who it is"
        self._want_rule.clear()
        self._asked.clear()
        return tuple(settled)

    def _qualify(self, symbol: Symbol, details: tws.ContractDetails, grid: PriceGrid | None) -> Symbol:
        grid = grid or PriceGrid.of(exact(details.min_tick) if details.min_tick > 0 else Decimal("0.01"))
        self.qualified[symbol] = Qualified(stock(symbol, details.contract.con_id), grid)
        return symbol


def grid_of(increments: tuple[tuple[float, float], ...]) -> PriceGrid | None:
    """The steps of a market rule as a price grid; None when they make none."""
    steps = sorted((exact(edge), exact(step)) for edge, step in increments if step > 0)
    if not steps:
        return None
    return PriceGrid(((Decimal(0), steps[0][1]), *steps[1:]))


def _fits(contract: tws.Contract, symbol: Symbol) -> bool:
    return contract.symbol == symbol and contract.sec_type == "STK" and contract.currency == "USD"


def _rule_id(details: tws.ContractDetails) -> int | None:
    """The rule of SMART: rules are listed in the order of the exchanges."""
    rules = details.market_rule_ids.split(",")
    exchanges = details.valid_exchanges.split(",")
    at = exchanges.index("SMART") if "SMART" in exchanges else 0
    rule = rules[at] if at < len(rules) else rules[0]
    return int(rule) if rule.isdecimal() else None
