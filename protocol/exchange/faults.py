"""The faults that a simulated TWS can be told to have, as one closed union.

Each is something that a real TWS, its exchange or a person at its screen has been seen to do to an API
client. `kind_of` names it in snake_case, as configurations and the truth file do. `…_s` is market time,
`…_loop_s` the machine's. What each imitates, and how sure that is: `FIDELITY.md`.
"""

from __future__ import annotations

import re
from typing import TypeAlias, get_args

from protocol.exchange.fault_base import Family as Family
from protocol.exchange.fault_base import Leg as Leg
from protocol.exchange.fault_base import When as When
from protocol.exchange.faults_link import (
    BurstBytes as BurstBytes,
)
from protocol.exchange.faults_link import (
    ClientIdBusy as ClientIdBusy,
)
from protocol.exchange.faults_link import (
    ConnectivityLost as ConnectivityLost,
)
from protocol.exchange.faults_link import (
    DropConnection as DropConnection,
)
from protocol.exchange.faults_link import (
    FarmBroken as FarmBroken,
)
from protocol.exchange.faults_link import (
    Freeze as Freeze,
)
from protocol.exchange.faults_link import (
    Garbage as Garbage,
)
from protocol.exchange.faults_link import (
    GarbageFrame as GarbageFrame,
)
from protocol.exchange.faults_link import (
    GlueBytes as GlueBytes,
)
from protocol.exchange.faults_link import (
    Notice as Notice,
)
from protocol.exchange.faults_link import (
    RateExceeded as RateExceeded,
)
from protocol.exchange.faults_link import (
    RefuseConnections as RefuseConnections,
)
from protocol.exchange.faults_link import (
    Restart as Restart,
)
from protocol.exchange.faults_link import (
    Silence as Silence,
)
from protocol.exchange.faults_link import (
    SilentHandshake as SilentHandshake,
)
from protocol.exchange.faults_link import (
    SplitBytes as SplitBytes,
)
from protocol.exchange.faults_link import (
    StopReading as StopReading,
)
from protocol.exchange.faults_orders import (
    BustExecution as BustExecution,
)
from protocol.exchange.faults_orders import (
    CorrectExecution as CorrectExecution,
)
from protocol.exchange.faults_orders import (
    DelayRequest as DelayRequest,
)
from protocol.exchange.faults_orders import (
    DoubleModify as DoubleModify,
)
from protocol.exchange.faults_orders import (
    FillAfterCancel as FillAfterCancel,
)
from protocol.exchange.faults_orders import (
    Form as Form,
)
from protocol.exchange.faults_orders import (
    Liquidation as Liquidation,
)
from protocol.exchange.faults_orders import (
    ManualCancel as ManualCancel,
)
from protocol.exchange.faults_orders import (
    ManualGlobalCancel as ManualGlobalCancel,
)
from protocol.exchange.faults_orders import (
    ManualModify as ManualModify,
)
from protocol.exchange.faults_orders import (
    ManualTrade as ManualTrade,
)
from protocol.exchange.faults_orders import (
    OcaRace as OcaRace,
)
from protocol.exchange.faults_orders import (
    OrderNotice as OrderNotice,
)
from protocol.exchange.faults_orders import (
    RefuseRequest as RefuseRequest,
)
from protocol.exchange.faults_orders import (
    RejectOrder as RejectOrder,
)
from protocol.exchange.faults_orders import (
    ReplayExecutions as ReplayExecutions,
)
from protocol.exchange.faults_orders import (
    ShreddedFills as ShreddedFills,
)
from protocol.exchange.faults_orders import (
    SuspendOrder as SuspendOrder,
)
from protocol.exchange.faults_orders import (
    SwallowRequest as SwallowRequest,
)
from protocol.exchange.faults_orders import (
    UnansweredOrder as UnansweredOrder,
)
from protocol.exchange.faults_orders import (
    WithholdExecution as WithholdExecution,
)
from protocol.exchange.faults_said import (
    BadTick as BadTick,
)
from protocol.exchange.faults_said import (
    ChangeAccounts as ChangeAccounts,
)
from protocol.exchange.faults_said import (
    DelayedData as DelayedData,
)
from protocol.exchange.faults_said import (
    DelayMessages as DelayMessages,
)
from protocol.exchange.faults_said import (
    DropMessages as DropMessages,
)
from protocol.exchange.faults_said import (
    DuplicateMessages as DuplicateMessages,
)
from protocol.exchange.faults_said import (
    Halt as Halt,
)
from protocol.exchange.faults_said import (
    MarketDataError as MarketDataError,
)
from protocol.exchange.faults_said import (
    Nonsense as Nonsense,
)
from protocol.exchange.faults_said import (
    OldTicks as OldTicks,
)
from protocol.exchange.faults_said import (
    ReorderMessages as ReorderMessages,
)
from protocol.exchange.faults_said import (
    ShiftNextId as ShiftNextId,
)
from protocol.exchange.faults_said import (
    SilentFeed as SilentFeed,
)
from protocol.exchange.faults_said import (
    StaleStatus as StaleStatus,
)
from protocol.exchange.faults_said import (
    ZeroPermId as ZeroPermId,
)
from protocol.exchange.tws_session import Farm as Farm

Fault: TypeAlias = (
    DropConnection | Silence | Freeze | StopReading | SplitBytes | GlueBytes | BurstBytes
    | RefuseConnections | SilentHandshake | GarbageFrame | ClientIdBusy | RateExceeded
    | ConnectivityLost | FarmBroken | Notice | Restart
    | SwallowRequest | RefuseRequest | DelayRequest | UnansweredOrder | OrderNotice | DoubleModify
    | FillAfterCancel
    | RejectOrder | ManualCancel | ManualModify | SuspendOrder | OcaRace | ManualGlobalCancel
    | WithholdExecution | BustExecution | CorrectExecution | ManualTrade | Liquidation | ShreddedFills
    | ReplayExecutions
    | DelayMessages | DuplicateMessages | DropMessages | ReorderMessages | ShiftNextId | ZeroPermId
    | StaleStatus | ChangeAccounts
    | Halt | SilentFeed | OldTicks | BadTick | MarketDataError | DelayedData
)  # fmt: skip


def kind_of(fault: type[Fault] | Fault) -> str:
    """`drop_connection` for DropConnection."""
    name = (fault if isinstance(fault, type) else type(fault)).__name__
    return re.sub(r"(?<=.)([A-Z])", r"_\1", name).lower()


KINDS: dict[str, type[Fault]] = {kind_of(kind): kind for kind in get_args(Fault)}
