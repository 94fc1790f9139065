"""Whose account this is: the configuration and the broker must mean the same one before anything is sent."""

from __future__ import annotations

from protocol.session_words import RefuseBroker
from protocol.settings import BrokerSettings, Mode


def choose_account(
    settings: BrokerSettings, accounts: tuple[str, ...], known: str = ""
) -> str | RefuseBroker:
    """The account to trade, or why none of these may be: mode and account must agree.

    Paper accounts of IBKR begin with D (DU, or DF for advisors), live ones do not. `known` is the account
    that the journal's orders belong to: they are nowhere else.
    """
    listed = ", ".join(accounts) or "none"
    if settings.account:
        if settings.account not in accounts:
            return RefuseBroker(f"the broker manages {listed}, not the configured {settings.account}")
        chosen = settings.account
    elif settings.mode is Mode.LIVE:
        return RefuseBroker("live trading needs the account in the configuration")
    elif len(accounts) != 1:
        return RefuseBroker(f"the broker manages {listed}: say in the configuration which account to trade")
    else:
        chosen = accounts[0]
    if known and chosen != known:
        return RefuseBroker(f"the journal's trades are those of {known}, and the broker says {listed}")
    if chosen.startswith("D") != (settings.mode is Mode.PAPER):
        return RefuseBroker(f"the mode is {settings.mode.value}, and {chosen} is not such an account")
    return chosen
