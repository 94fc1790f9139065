"""Server versions: which field or rule came with which, and how two sides agree on one.

A session runs at the smaller of the two newest versions. Names follow the API's own
(`MIN_SERVER_VER_...`); each is the first version that has the thing.
"""

from __future__ import annotations

from typing import Final

REPLACE_FA_END: Final = 157
DURATION: Final = 158
MARKET_DATA_IN_SHARES: Final = 159
POST_TO_ATS: Final = 160
WSHE_CALENDAR: Final = 161
AUTO_CANCEL_PARENT: Final = 162
FRACTIONAL_SIZE_SUPPORT: Final = 163
SIZE_RULES: Final = 164
HISTORICAL_SCHEDULE: Final = 165
ADVANCED_ORDER_REJECT: Final = 166
USER_INFO: Final = 167
CRYPTO_AGGREGATED_TRADES: Final = 168
MANUAL_ORDER_TIME: Final = 169
PEGBEST_PEGMID_OFFSETS: Final = 170
WSH_EVENT_DATA_FILTERS: Final = 171
IPO_PRICES: Final = 172
WSH_EVENT_DATA_FILTERS_DATE: Final = 173
INSTRUMENT_TIMEZONE: Final = 174
HMDS_MARKET_DATA_IN_SHARES: Final = 175
BOND_ISSUERID: Final = 176
FA_PROFILE_DESUPPORT: Final = 177
PENDING_PRICE_REVISION: Final = 178
# Spoken only when asked for: see NEWEST.
FUND_DATA_FIELDS: Final = 179
MANUAL_ORDER_TIME_EXERCISE_OPTIONS: Final = 180
OPEN_ORDER_AD_STRATEGY: Final = 181
LAST_TRADE_DATE: Final = 182
CUSTOMER_ACCOUNT: Final = 183
PROFESSIONAL_CUSTOMER: Final = 184
BOND_ACCRUED_INTEREST: Final = 185
INELIGIBILITY_REASONS: Final = 186
RFQ_FIELDS: Final = 187
BOND_TRADING_HOURS: Final = 188
INCLUDE_OVERNIGHT: Final = 189
UNDO_RFQ_FIELDS: Final = 190
PERM_ID_AS_LONG: Final = 191
CME_TAGGING_FIELDS: Final = 192
CME_TAGGING_FIELDS_IN_OPEN_ORDER: Final = 193
ERROR_TIME: Final = 194
FULL_ORDER_PREVIEW_FIELDS: Final = 195
HISTORICAL_DATA_END: Final = 196
CURRENT_TIME_IN_MILLIS: Final = 197
SUBMITTER: Final = 198
IMBALANCE_ONLY: Final = 199
PARAMETRIZED_DAYS_OF_EXECUTIONS: Final = 200

OLDEST: Final = REPLACE_FA_END
"""The floor: the newest that the ibapi of PyPI speaks, and the oldest that the others accept."""
ADVERTISED: Final = PENDING_PRICE_REVISION
"""The newest that is offered or asked for unless one says otherwise: what all clients of today speak."""
NEWEST: Final = PARAMETRIZED_DAYS_OF_EXECUTIONS
"""The newest whose layouts are known here, and the last that is text: from 201 on some messages are not."""
FORBIDDEN: Final = frozenset({DURATION})
"""Never agreed on: at exactly 158, ib_insync and ib_async read openOrder without the `duration` TWS sends."""


def negotiate(server_max: int, client_min: int, client_max: int) -> int | None:
    """The version of a session, or None when the two sides have none in common."""
    version = min(server_max, client_max)
    while version in FORBIDDEN:
        version -= 1
    if version < client_min or version < OLDEST:
        return None
    return version


def spoken() -> tuple[int, ...]:
    """Every version that a session here can run at."""
    return tuple(version for version in range(OLDEST, NEWEST + 1) if version not in FORBIDDEN)
