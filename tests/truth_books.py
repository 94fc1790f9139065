"""Books rebuilt from nothing but the lines of a truth file."""

from __future__ import annotations

import json
from collections.abc import Iterable
from decimal import Decimal
from typing import Any

import attrs


@attrs.define
class RebuiltOrder:
    """As its lines say it is."""

    told: dict[str, Any]
    filled: int
    status: str


@attrs.define
class TruthBooks:
    """`orders` by permanent id, `executions` by the root of their id, `positions` by account and contract."""

    orders: dict[int, RebuiltOrder] = attrs.Factory(dict)
    executions: dict[str, dict[str, Any]] = attrs.Factory(dict)
    commissions: dict[str, Decimal] = attrs.Factory(dict)
    told_positions: dict[tuple[str, str], int] = attrs.Factory(dict)

    def take(self, lines: Iterable[bytes | str]) -> TruthBooks:
        for line in lines:
            self._take(json.loads(line, parse_float=Decimal))
        return self

    def _take(self, told: dict[str, Any]) -> None:
        match told["kind"]:
            case "order_accepted" | "order_modified" | "order_triggered" | "order_cancelled":
                self.orders[told["perm_id"]] = RebuiltOrder(told, told["filled"], told["status"])
            case "order_rejected" if told["perm_id"] is not None:
                self.orders[told["perm_id"]] = RebuiltOrder(told, told["filled"], told["status"])
            case "execution":
                self.executions[_root(told)] = told
                order = self.orders[told["perm_id"]]
                order.filled = told["cum_quantity"]
                if order.filled == order.told["quantity"]:
                    order.status = "Filled"
            case "correction":
                before = self.executions[_root(told)]
                self.executions[_root(told)] = told
                order = self.orders[told["perm_id"]]
                order.filled += told["quantity"] - before["quantity"]
                order.told["quantity"] = told["order_quantity"]
            case "commission":
                self.commissions[told["exec_id"]] = told["commission"]
            case "position":
                self.told_positions[told["account"], told["contract"]] = told["position"]
            case _:
                pass

    @property
    def positions(self) -> dict[tuple[str, str], int]:
        """By executions alone."""
        held: dict[tuple[str, str], int] = {}
        for execution in self.executions.values():
            key = (execution["account"], execution["contract"])
            held[key] = held.get(key, 0) + _signed(execution)
        return held

    def cash_moved(self, account: str) -> Decimal:
        """Dollars that executions and their commissions have moved."""
        return -sum(
            (
                _signed(e) * Decimal(e["price"]) * Decimal(e["multiplier"]) + self.commissions[e["exec_id"]]
                for e in self.executions.values()
                if e["account"] == account
            ),
            Decimal(0),
        )


def _root(told: dict[str, Any]) -> str:
    root: str = told["exec_id"].rpartition(".")[0]
    return root


def _signed(execution: dict[str, Any]) -> int:
    quantity: int = execution["quantity"]
    return quantity if execution["side"] == "BOT" else -quantity
