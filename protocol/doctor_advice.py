"""What to do about what the examination finds: where to click in TWS, and what its error codes want.

The names of settings are those of TWS 10.x; IB Gateway has the same ones under Configure → Settings.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

import attrs

SETTINGS_PAGE: Final = "File → Global Configuration → API → Settings"
PRECAUTIONS_PAGE: Final = "File → Global Configuration → API → Precautions"

USUAL_PORTS: Final[Mapping[int, str]] = MappingProxyType(
    {
        7497: "TWS with a paper account",
        7496: "TWS with a live account",
        4002: "IB Gateway with a paper account",
        4001: "IB Gateway with a live account",
    }
)
"""As installed; users change them."""


@attrs.frozen
class ApiSetting:
    """One setting of TWS that an API client depends on. Most of them no request can read."""

    page: str
    name: str
    wanted: str
    why: str

    def to_dict(self) -> dict[str, str]:
        return attrs.asdict(self)


API_SETTINGS: Final = (
    ApiSetting(
        SETTINGS_PAGE, "Enable ActiveX and Socket Clients", "on", "else nothing listens (Gateway: always on)"
    ),
    ApiSetting(SETTINGS_PAGE, "Read-Only API", "off", "else every order is refused with 321"),
    ApiSetting(
        SETTINGS_PAGE, "Socket port", "as in [broker] port", "7497 for a paper TWS, 4002 for a paper Gateway"
    ),
    ApiSetting(
        SETTINGS_PAGE,
        "Allow connections from localhost only",
        "on, unless TWS runs on another machine than Ringfence",
        "WSL and containers are other machines",
    ),
    ApiSetting(
        SETTINGS_PAGE,
        "Trusted IPs",
        "127.0.0.1, or the address that Ringfence connects from",
        "others wait for a person to click a dialog away",
    ),
    ApiSetting(
        SETTINGS_PAGE,
        "Download open orders on connection",
        "on",
        "orders of before are known from the first moment",
    ),
    ApiSetting(
        SETTINGS_PAGE,
        "Send market data in lots for US stocks for dual-mode API clients",
        "off",
        "sizes are read as shares",
    ),
    ApiSetting(
        SETTINGS_PAGE,
        "Use Account Groups with Allocation Methods",
        "off, unless you are an advisor",
        "orders name one account",
    ),
    ApiSetting(SETTINGS_PAGE, "Master API client ID", "empty", "else one client hears the orders of all"),
    ApiSetting(
        PRECAUTIONS_PAGE,
        "Bypass Order Precautions for API Orders",
        "on",
        "else an order can wait behind a dialog that nobody sees; Ringfence has limits of its own",
    ),
    ApiSetting(
        "File → Global Configuration → Lock and Exit",
        "Auto restart",
        "on",
        "else TWS logs off every night and stays so",
    ),
)
"""What to look at, in the order in which it matters."""


def click(name: str) -> str:
    """Where in TWS a setting is, and what it should be."""
    setting = next(each for each in API_SETTINGS if each.name == name)
    return f"TWS: {setting.page}: “{setting.name}” {setting.wanted}"


_DATA: Final = (
    "subscribe in Client Portal: Settings → Market Data Subscriptions (US Securities Snapshot and Futures "
    "Value Bundle, US Equity and Options Add-On Streaming Bundle), and sign the API agreement there",
    "a paper account shares the live account's data: Client Portal → Settings → Paper Trading Account → "
    "share market data",
)

BY_CODE: Final[Mapping[int, tuple[str, ...]]] = MappingProxyType(
    {
        100: ("another program sends too fast on this session",),
        110: ("the price is off the contract's grid: report this, Ringfence should know the grid",),
        162: ("the data service refused; wait 15 s if it says pacing, else it needs a subscription", *_DATA),
        163: (click("Bypass Order Precautions for API Orders"),),
        200: ("check the ticker: stocks are asked for as SYMBOL on SMART in USD",),
        201: ("the reason is TWS's own: permissions, funds or the exchange's hours",),
        321: (click("Read-Only API"),),
        326: (
            "stop the other program that uses this client id (another run?), or give one of its own: "
            "--client-id N, always the same one for the same trades",
            "after a crash TWS may hold the id for a minute: wait and try again",
        ),
        354: _DATA,
        383: (click("Bypass Order Precautions for API Orders"),),
        420: _DATA,
        460: ("Client Portal → Settings → Trading Permissions",),
        10089: _DATA,
        10090: _DATA,
        10167: _DATA,
        10168: _DATA,
        10186: _DATA,
        10197: (
            "this user is logged in elsewhere, with market data on: end that session, or give the paper user "
            "data of its own",
        ),
        10285: (
            "install a newer client library: the official ibapi 10.x from IBKR instead of PyPI's 9.81.1",
        ),
        1100: ("TWS has lost IBKR: look at its connection lamp; it comes back by itself, or needs a login",),
        2110: ("TWS has lost IBKR: look at its connection lamp; it comes back by itself, or needs a login",),
    }
)


def advice_for(code: int) -> tuple[str, ...]:
    """What to do about an error code; empty when only its text helps."""
    return BY_CODE.get(code, ())


SILENT: Final = (
    "look for a dialog in TWS: “Accept incoming connection attempt?” waits there for a click",
    click("Trusted IPs"),
    "while TWS is logging in, or shows a login or update window, it listens and says nothing",
    "if something else listens there, give TWS's own port: --tws HOST:PORT",
)
"""Something accepts the connection and does not answer."""

CLOSED_AT_ONCE: Final = (
    click("Trusted IPs"),
    click("Allow connections from localhost only"),
    "just after a start TWS takes a connection and drops it: try again in some seconds",
)
"""The connection is taken and ended without an answer."""

NOT_TWS: Final = ("another program listens there; give TWS's own port: --tws HOST:PORT",)

NOTHING_LISTENS: Final = (
    "start TWS or IB Gateway and log in",
    click("Enable ActiveX and Socket Clients"),
    click("Socket port"),
)
