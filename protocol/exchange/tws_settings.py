"""What is decided about the face of a simulated TWS before anyone connects."""

from __future__ import annotations

import enum
from datetime import time

import attrs
from attrs import validators

from protocol.exchange.tws_market_settings import MarketSettings


class PendingCancel(enum.Enum):
    """What comes before Cancelled when an order's owner has cancelled it; all three were seen live."""

    NONE = "none"
    STATUS = "status"
    """orderStatus PendingCancel."""
    ECHO = "echo"
    """openOrder and orderStatus PendingCancel."""


@attrs.frozen(kw_only=True)
class TwsSettings:
    """Seconds are market seconds unless a name says otherwise; 0 means at once.

    The first block chooses among the message sequences of live sessions: as they are set, the shortest
    one is spoken.
    """

    duplicate_echo: bool = False
    """Every openOrder and orderStatus comes twice, as TWS often does; clients must bear it."""
    presubmitted_first: bool = False
    """What begins to work is shown as PreSubmitted before it is shown as Submitted."""
    stop_price_echo: bool = False
    """The first echo of a stop or trailing order shows a limit price 0.03 beyond its stop."""
    status_before_execution: bool = False
    """openOrder and orderStatus come before the execDetails of their execution."""
    commission_echo: bool = False
    """Each commission report of a filled order follows one more echo, which has the commission in it."""
    commission_delay_s: float = attrs.field(default=0.0, validator=validators.ge(0))
    """From an execution to its commission report."""
    pending_cancel: PendingCancel = PendingCancel.STATUS
    error_before_inactive: bool = False
    """The error of a rejected order comes before the echo that shows it as Inactive."""
    repeat_rejection: bool = False
    """The error of a rejected order comes twice."""
    tif_preset_notice: bool = False
    """An order without a time in force hears 10349: that the order preset made it DAY."""
    band_ends_order: bool = False
    """A modify beyond the venue's price band ends its order, as the band of an exchange was seen to do;
    otherwise TWS refuses it (163) and the order stands."""
    reject_etrade_only: bool = False
    """Refuse orders with `eTradeOnly` or `firmQuoteOnly` (10268), as a modern TWS does; the client library
    of PyPI sets both unless told otherwise."""

    order_latency_s: float = attrs.field(default=0.0, validator=validators.ge(0))
    """From a request about orders to the venue."""
    report_latency_s: float = attrs.field(default=0.0, validator=validators.ge(0))
    """From what happens at the venue to the client's ear."""

    master_client_id: int | None = None
    """TWS's "Master API client ID": this client hears of the orders and executions of all."""
    negative_auto_ids: bool = False
    """TWS's "Use negative numbers to bind automatic orders"."""
    unset_manual_id: bool = False
    """Executions of manual orders carry order id 2147483647 instead of 0 (both were seen)."""
    execution_days: int = 7
    """Days that reqExecutions looks back, today included: what TWS's Trade Log is set to show (1 to 7)."""

    max_messages_per_s: int | None = None
    """Requests of one client in one second of the machine's clock: near it a warning, beyond it 100, and
    after some of those the end of the connection. None: any number (a modern TWS queues them instead)."""
    id_hold_s: float = attrs.field(default=0.0, validator=validators.ge(0))
    """For so long after a connection is gone, its client id is still in use (326)."""
    nightly_restart: time | None = None
    """New York's time of the daily restart: connections end without a word, DAY orders and orders that were
    not transmitted are gone, ids fall back to the largest that reached the venue."""
    tell_missed_executions: bool = True
    """What was executed while TWS had lost IBKR is told when they meet again; otherwise only to those who
    ask for executions."""

    market: MarketSettings = MarketSettings()
    """Market data and the contracts beside stocks."""

    def seeded(self, seed: int) -> TwsSettings:
        """With walks of currencies from this seed, unless they have one of their own."""
        own = self.market.contract_seed
        return attrs.evolve(self, market=attrs.evolve(self.market, contract_seed=own or seed))
