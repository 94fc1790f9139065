"""What a contract is called in the books of the venue: one key for orders, ticks, quotes and positions.

A stock is its ticker, so `SLV` means the same to the market and to the books. Anything else is its local
symbol (`AAPL  250221C00230000`, `ESH5`, `EUR.USD`), which IBKR makes unique; a contract that names none is
spelled from its parts. `MarketTick.symbol` carries this key.
"""

from __future__ import annotations

from decimal import Decimal

from protocol.tws.messages import Contract

STOCK, OPTION, FUTURE, FUTURE_OPTION, CASH = "STK", "OPT", "FUT", "FOP", "CASH"
STOCK_TYPES = frozenset({"", STOCK})


def contract_key(contract: Contract) -> str:
    """The key of a contract; the same for every contract that says the same, whatever its exchange."""
    if contract.sec_type in STOCK_TYPES:
        return contract.symbol or contract.local_symbol
    if contract.local_symbol:
        return contract.local_symbol
    if contract.sec_type == CASH:
        return f"{contract.symbol}.{contract.currency}"
    parts = (
        contract.symbol,
        contract.sec_type,
        contract.last_trade_date_or_contract_month.split(" ")[0],
        f"{Decimal(repr(contract.strike)).normalize():f}" if contract.strike else "",
        contract.right[:1],
        contract.currency,
    )
    return " ".join(part for part in parts if part)


def multiplier_of(contract: Contract) -> Decimal:
    """Units of the underlying behind one of the contract's: 1 for a stock, 100 for most US options.

    An option that says nothing is one of a hundred; what is no positive number counts as 1.
    """
    text = contract.multiplier.strip()
    if not text:
        return Decimal(100) if contract.sec_type == OPTION else Decimal(1)
    plain = text.replace(".", "", 1)
    if not (plain.isascii() and plain.isdigit()):
        return Decimal(1)
    return Decimal(text) or Decimal(1)
