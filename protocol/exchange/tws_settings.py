"""What is decided about the face of a simulated TWS before anyone connects."""

from __future__ import annotations

import attrs


@attrs.frozen(kw_only=True)
class TwsSettings:
    """`duplicate_echo`: every openOrder and orderStatus comes twice, as TWS often does; clients must bear it.

    `reject_etrade_only`: refuse orders with `eTradeOnly` or `firmQuoteOnly` (10268), as a modern TWS
    does; the client library of PyPI sets both unless told otherwise.
    """

    duplicate_echo: bool = False
    reject_etrade_only: bool = False
    execution_days: int = 7
    """Days that reqExecutions looks back, today included: what TWS's Trade Log is set to show (1 to 7)."""
    max_messages_per_s: int | None = None
    """Requests of one client in one second of the machine's clock before it is told 100 and dropped;
    None: any number (a modern TWS queues them instead)."""
