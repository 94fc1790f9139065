#!/usr/bin/env python3
"""A TWS client of your own, here with ib_async: buys a stock and prints the position. It is given a port.

.venv/bin/python scripts/examples/ib_async_client.py 7497
"""

import sys

from ib_async import IB, MarketOrder, Stock

ib = IB()
ib.connect("127.0.0.1", int(sys.argv[1]), clientId=1)
(stock,) = ib.qualifyContracts(Stock("SLV", "SMART", "USD"))
trade = ib.placeOrder(stock, MarketOrder("BUY", 100))
while not trade.isDone():
    ib.waitOnUpdate(timeout=1)
print(trade.orderStatus.status, "at", trade.orderStatus.avgFillPrice)
for held in ib.reqPositions():
    print(held.account, held.contract.symbol, held.position, held.avgCost)
ib.disconnect()
