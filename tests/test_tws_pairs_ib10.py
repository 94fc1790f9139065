"""A current official client (10.x) as second opinion, at every version that is text.

It runs in a process of its own (`ib10_worker`), which takes whole batches.
"""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal
from random import Random
from typing import Any, Final

import attrs
import pytest

from protocol.tws import messages as m
from protocol.tws.codec import decode_client, encode_server
from protocol.tws.framing import Deframer
from protocol.tws.kinds import UNSET_DOUBLE, UNSET_INTEGER
from protocol.tws.versions import ADVERTISED, NEWEST, OLDEST
from protocol.tws.versions import spoken as spoken_versions
from tests.ib10 import Worker
from tests.pair_orders import (
    ALL_CONDITIONS,
    completed_order,
    contract_of,
    exec_details,
    instance,
    open_order,
    placement,
    telling_placements,
)
from tests.pair_words import Tree, differences, spoken, unexpected
from tests.tws_strategies import (
    CONTRACT_OF_A_HOLDING,
    CONTRACT_OF_AN_EXECUTION,
    CONTRACT_OF_AN_ORDER_ECHO,
    NOT_COMPLETED,
    PREVIEW,
    echoed,
    only,
    telling_contract,
    telling_orders,
    without,
)

NAMES: Final[dict[tuple[type, str], str]] = {
    (m.OrderState, "commission"): "commissionAndFees",
    (m.OrderState, "min_commission"): "minCommissionAndFees",
    (m.OrderState, "max_commission"): "maxCommissionAndFees",
    (m.OrderState, "commission_currency"): "commissionAndFeesCurrency",
    (m.CommissionReport, "commission"): "commissionAndFees",
    (m.HistoricalBar, "count"): "barCount",
    (m.ExecutionFilter, "account"): "acctCode",
    (m.ExecutionFilter, "last_n_days"): "lastNDays",
    **{
        (m.OrderState, name): "".join((first, *(word.capitalize() for word in rest), "OutsideRTH"))
        for name in PREVIEW
        if name.endswith("_outside_rth")
        for first, *rest in [name.removesuffix("_outside_rth").split("_")]
    },
}
VERSIONS: Final = spoken_versions()
FEW_QUICKLY: Final = [
    pytest.param(version, marks=[] if version in {OLDEST, ADVERTISED, NEWEST} else pytest.mark.slow)
    for version in VERSIONS
]
UNKNOWN: Final = ("e_trade_only", "firm_quote_only", "nbbo_price_cap", "fa_profile")
"""Fields of an order that this client neither sends nor keeps."""
KINDS: Final = ("Contract", "Order", "OrderState", "Execution", "ContractDetails")


@pytest.fixture(scope="module")
def worker() -> Iterator[Worker]:
    with Worker() as asked:
        yield asked


@pytest.fixture(scope="module")
def fresh(worker: Worker) -> dict[str, Tree]:
    """The client's objects as they are by default, by class."""
    return dict(zip(KINDS, worker.ask([{"fresh": [name]} for name in KINDS]), strict=True))


# --- what it sends ------------------------------------------------------------------------------------


def tree_of_order(order: m.Order) -> Tree:
    tree: Tree = spoken(attrs.evolve(order, order_misc_options=""), NAMES)
    pairs = [pair.split("=", 1) for pair in order.order_misc_options.split(";") if pair]
    tree["orderMiscOptions"] = [{"is": "TagValue", "tag": tag, "value": value} for tag, value in pairs]
    if order.display_size is None:
        tree["displaySize"] = UNSET_INTEGER
    return tree


def sent(worker: Worker, version: int, calls: list[tuple[str, list[Any]]]) -> list[m.ClientRequest]:
    """What we understand when the client's methods are called so, each of which sends one message."""
    answers = worker.ask([{"call": [version, method, args]} for method, args in calls])
    requests = []
    for answer in answers:
        assert answer["errors"] == []
        (frame,) = answer["frames"]
        (payload,) = Deframer().feed(bytes.fromhex(frame))
        requests.append(decode_client(version, payload))
    return requests


def check_placements(worker: Worker, version: int, placed: list[m.PlaceOrder]) -> None:
    placed = [attrs.evolve(one, order=without(one.order, UNKNOWN)) for one in placed]
    calls = [
        ("placeOrder", [one.order_id, spoken(one.contract, NAMES), tree_of_order(one.order)])
        for one in placed
    ]
    for understood, meant in zip(sent(worker, version, calls), placed, strict=True):
        assert understood == meant


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.slow
def test_many_orders_of_a_current_ibapi_are_understood(worker: Worker, version: int) -> None:
    dice = Random(version)
    check_placements(worker, version, [placement(version, dice) for _ in range(4)])


@pytest.mark.slow
@pytest.mark.parametrize("version", VERSIONS)
def test_very_many_orders_of_a_current_ibapi_are_understood(worker: Worker, version: int) -> None:
    dice = Random(1000 + version)
    check_placements(worker, version, [placement(version, dice) for _ in range(25)])


@pytest.mark.parametrize("version", FEW_QUICKLY)
def test_no_two_attributes_of_an_order_of_a_current_ibapi_change_places(worker: Worker, version: int) -> None:
    check_placements(worker, version, telling_placements(version))


def test_an_order_of_a_current_ibapi_as_it_comes_is_understood_at_every_version(worker: Worker) -> None:
    contract = {"is": "Contract", "symbol": "SLV", "secType": "STK", "exchange": "SMART", "currency": "USD"}
    order = {"is": "Order", "action": "BUY", "totalQuantity": 100, "orderType": "LMT", "lmtPrice": 20.5}
    meant = m.PlaceOrder(
        7,
        m.Contract(symbol="SLV", sec_type="STK", exchange="SMART", currency="USD"),
        m.Order(action="BUY", total_quantity=Decimal(100), order_type="LMT", lmt_price=20.5),
    )
    for version in VERSIONS:
        assert sent(worker, version, [("placeOrder", [7, contract, order])]) == [meant]


@pytest.mark.parametrize("version", VERSIONS)
def test_cancels_and_requests_of_a_current_ibapi_are_understood(worker: Worker, version: int) -> None:
    cancel: Tree = {"is": "OrderCancel"}
    meant_cancel, meant_global = m.CancelOrder(7), m.GlobalCancel()
    if version >= 169:
        cancel["manualOrderCancelTime"] = "20250123-15:00:00"
        meant_cancel = attrs.evolve(meant_cancel, manual_cancel_time="20250123-15:00:00")
    if version >= 192:
        cancel |= {"extOperator": "me", "manualOrderIndicator": 1}
        meant_cancel = attrs.evolve(meant_cancel, ext_operator="me", manual_order_indicator=1)
        meant_global = m.GlobalCancel(ext_operator="me", manual_order_indicator=1)
    without_time = {name: value for name, value in cancel.items() if name != "manualOrderCancelTime"}
    wanted = m.ExecutionFilter(client_id=1, account="DU1", time="t", symbol="SLV", side="BUY")
    asked = spoken(wanted, NAMES) | {"specificDates": None}
    if version >= 200:
        wanted = attrs.evolve(wanted, last_n_days=3, specific_dates=("20250122", "20250123"))
        asked |= {"lastNDays": 3, "specificDates": ["20250122", "20250123"]}
    contract = attrs.evolve(only(telling_contract(), CONTRACT_OF_AN_EXECUTION), sec_type="STK")
    about = attrs.evolve(contract, issuer_id="issuer" if version >= 176 else "")
    said = spoken(contract, NAMES)
    bars = ["", "2 D", "1 min", "TRADES", 1, 2, True, []]
    assert sent(
        worker,
        version,
        [
            ("cancelOrder", [7, cancel]),
            ("reqGlobalCancel", [without_time]),
            ("reqExecutions", [9, asked]),
            ("reqContractDetails", [9, spoken(about, NAMES)]),
            ("reqMktData", [9, said, "233", False, False, []]),
            ("reqHistoricalData", [9, said, *bars]),
        ],
    ) == [
        meant_cancel,
        meant_global,
        m.ReqExecutions(9, wanted),
        m.ReqContractDetails(9, about),
        m.ReqMktData(9, contract, "233"),
        m.ReqHistoricalData(9, contract, "", "1 min", "2 D", True, "TRADES", 2, True),
    ]


# --- what it reads ------------------------------------------------------------------------------------

Calls = list[list[Any]]


def heard(worker: Worker, version: int, messages: list[Any]) -> list[Calls]:
    """What the client's decoder calls for each of our messages, having read every field of it."""
    answers = worker.ask([{"hear": [version, encode_server(version, message).hex()]} for message in messages])
    for answer, message in zip(answers, messages, strict=True):
        assert answer["left"] == 0, message
    return [answer["calls"] for answer in answers]


def as_read(order: m.Order) -> m.Order:
    """These three read as nothing when they are empty; the unknown ones are not kept."""
    return attrs.evolve(
        without(order, UNKNOWN),
        use_price_mgmt_algo=bool(order.use_price_mgmt_algo),
        volatility_type=order.volatility_type or 0,
        reference_price_type=order.reference_price_type or 0,
    )


def check(ours: Any, theirs: Tree, fresh: dict[str, Tree], besides: frozenset[str] = frozenset()) -> None:
    """Equal in every attribute, and theirs as new in all that ours does not have but for `besides`."""
    assert differences(ours, theirs, NAMES) == {}
    of = type(ours)
    assert set(unexpected(theirs, fresh[of.__name__], of, NAMES)) <= besides


def check_order_echo(message: m.OpenOrder | m.CompletedOrder, calls: Calls, fresh: dict[str, Tree]) -> None:
    ((name, args),) = calls
    if isinstance(message, m.OpenOrder):
        order_id, contract, order, state = args
        assert (name, order_id, order["orderId"]) == ("openOrder", message.order_id, message.order_id)
        check(as_read(message.order), order, fresh, frozenset({"orderId"}))
    else:
        contract, order, state = args
        assert (name, order["filledQuantity"]) == ("completedOrder", message.filled_quantity)
        said = attrs.evolve(as_read(message.order), use_price_mgmt_algo=None)
        check(said, order, fresh, frozenset({"filledQuantity"}))
    check(message.contract, contract, fresh)
    check(message.state, state, fresh)


def check_execution(message: m.ExecDetails, calls: Calls, fresh: dict[str, Tree]) -> None:
    ((name, (req_id, contract, execution)),) = calls
    assert (name, req_id) == ("execDetails", message.req_id)
    check(message.contract, contract, fresh)
    multiplier = message.execution.ev_multiplier or 0.0
    check(attrs.evolve(message.execution, ev_multiplier=multiplier), execution, fresh)


def hear_many(worker: Worker, fresh: dict[str, Tree], version: int, dice: Random, rounds: int) -> None:
    echoes = [make(version, dice) for _ in range(rounds) for make in (open_order, completed_order)]
    for message, calls in zip(echoes, heard(worker, version, echoes), strict=True):
        check_order_echo(message, calls, fresh)
    executions = [exec_details(version, dice) for _ in range(rounds)]
    for execution, calls in zip(executions, heard(worker, version, executions), strict=True):
        check_execution(execution, calls, fresh)


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.slow
def test_many_orders_and_executions_are_heard_by_a_current_ibapi(
    worker: Worker, fresh: dict[str, Tree], version: int
) -> None:
    hear_many(worker, fresh, version, Random(version), 2)


@pytest.mark.slow
@pytest.mark.parametrize("version", VERSIONS)
def test_very_many_orders_and_executions_are_heard_by_a_current_ibapi(
    worker: Worker, fresh: dict[str, Tree], version: int
) -> None:
    hear_many(worker, fresh, version, Random(1000 + version), 8)


@pytest.mark.parametrize("version", FEW_QUICKLY)
def test_no_two_attributes_of_an_order_change_places_on_the_way_to_a_current_ibapi(
    worker: Worker, fresh: dict[str, Tree], version: int
) -> None:
    contract = only(telling_contract(), CONTRACT_OF_AN_ORDER_ECHO)
    echoes: list[Any] = []
    for order in telling_orders(version):
        order = attrs.evolve(order, conditions=ALL_CONDITIONS)
        state = m.OrderState(status="Filled")
        echoes.append(m.OpenOrder(7, contract, echoed(order, version), state))
        echoes.append(m.CompletedOrder(contract, without(order, NOT_COMPLETED), state, Decimal(5)))
    for message, calls in zip(echoes, heard(worker, version, echoes), strict=True):
        check_order_echo(message, calls, fresh)


PLAIN_CALLS: Final[dict[type, str]] = {
    m.NextValidId: "nextValidId",
    m.CurrentTime: "currentTime",
    m.UserInfo: "userInfo",
    m.OpenOrderEnd: "openOrderEnd",
    m.OrderStatus: "orderStatus",
    m.OrderBound: "orderBound",
    m.ExecDetailsEnd: "execDetailsEnd",
    m.CompletedOrdersEnd: "completedOrdersEnd",
    m.PositionEnd: "positionEnd",
    m.PositionMultiEnd: "positionMultiEnd",
    m.AccountValue: "updateAccountValue",
    m.AccountUpdateTime: "updateAccountTime",
    m.AccountDownloadEnd: "accountDownloadEnd",
    m.AccountSummary: "accountSummary",
    m.AccountSummaryEnd: "accountSummaryEnd",
    m.AccountUpdateMulti: "accountUpdateMulti",
    m.AccountUpdateMultiEnd: "accountUpdateMultiEnd",
    m.PnL: "pnl",
    m.PnLSingle: "pnlSingle",
    m.ContractDataEnd: "contractDetailsEnd",
    m.MarketDataType: "marketDataType",
    m.TickReqParams: "tickReqParams",
    m.TickSize: "tickSize",
    m.TickGeneric: "tickGeneric",
    m.TickString: "tickString",
    m.TickSnapshotEnd: "tickSnapshotEnd",
    m.MarketDepth: "updateMktDepth",
    m.MarketDepthL2: "updateMktDepthL2",
    m.RealTimeBar: "realtimeBar",
    m.HeadTimestamp: "headTimestamp",
    m.OptionParametersEnd: "securityDefinitionOptionParameterEnd",
    m.HistoricalNewsEnd: "historicalNewsEnd",
    m.ScannerParameters: "scannerParameters",
}
"""Messages whose fields this client hands over one by one, in our order."""


def plain(value: Any) -> Any:
    if value is None:
        return UNSET_DOUBLE
    return float(value) if isinstance(value, int | Decimal) and not isinstance(value, bool) else value


def values_of(message: Any) -> list[Any]:
    return [plain(getattr(message, field.name)) for field in attrs.fields(type(message))]


def drawn(of: Any, version: int, dice: Random) -> Any:
    """A random message; with whole sizes where fractions do not travel."""
    message = instance(of, dice)
    whole = {
        field.name: Decimal(int(getattr(message, field.name)))
        for field in attrs.fields(of)
        if isinstance(getattr(message, field.name), Decimal) and field.name not in {"filled", "remaining"}
    }
    return attrs.evolve(message, **whole) if version < 163 else message


@pytest.mark.parametrize("version", VERSIONS)
def test_a_current_ibapi_hears_what_plain_messages_say(worker: Worker, version: int) -> None:
    dice = Random(version)
    messages = [drawn(of, version, dice) for of in PLAIN_CALLS]
    for message, calls in zip(messages, heard(worker, version, messages), strict=True):
        ((name, args),) = calls
        assert (name, [plain(one) for one in args]) == (PLAIN_CALLS[type(message)], values_of(message))


@pytest.mark.parametrize("version", VERSIONS)
def test_a_current_ibapi_hears_errors_accounts_and_their_lines(
    worker: Worker, fresh: dict[str, Tree], version: int
) -> None:
    dice = Random(version)
    error: m.ErrorMessage = instance(m.ErrorMessage, dice)
    error = without(error, ["advanced_json"] * (version < 166) + ["time_ms"] * (version < 194))
    position = attrs.evolve(instance(m.Position, dice), contract=contract_of(CONTRACT_OF_AN_EXECUTION, dice))
    line = attrs.evolve(instance(m.PortfolioValue, dice), contract=contract_of(CONTRACT_OF_A_HOLDING, dice))
    report: m.CommissionReport = instance(m.CommissionReport, dice)
    accounts = m.ManagedAccounts(("DU1", "DU2"))
    messages = [error, position, line, report, accounts]
    of_error, of_position, of_line, of_report, of_accounts = heard(worker, version, messages)

    ((name, (req_id, at_ms, *said)),) = of_error
    assert (name, req_id, said) == ("error", error.id, [error.code, error.text, error.advanced_json])
    if version >= 194:
        assert at_ms == error.time_ms
    ((name, (account, contract, *numbers)),) = of_position
    assert (name, account, numbers) == (
        "position",
        position.account,
        [position.position, position.avg_cost],
    )
    check(position.contract, contract, fresh)
    ((name, (contract, *numbers)),) = of_line
    assert (name, [plain(one) for one in numbers]) == ("updatePortfolio", values_of(line)[1:])
    check(line.contract, contract, fresh)
    ((name, (theirs,)),) = of_report
    assert name == "commissionAndFeesReport"
    assert differences(report, theirs, NAMES) == {}
    assert of_accounts == [["managedAccounts", ["DU1,DU2"]]]


FUND_NAMES: Final = {
    field.name: "fund" + "".join(word.capitalize() for word in field.name.split("_"))
    for field in attrs.fields(m.FundDetails)
}


@pytest.mark.parametrize("version", VERSIONS)
def test_a_current_ibapi_hears_contracts_as_they_were_said(
    worker: Worker, fresh: dict[str, Tree], version: int
) -> None:
    dice = Random(version)
    messages = [contract_data(version, kind, dice) for kind in ("STK", "FUND", "OPT") for _ in range(3)]
    for message, calls in zip(messages, heard(worker, version, messages), strict=True):
        ((name, (req_id, theirs)),) = calls
        assert (name, req_id) == ("contractDetails", message.req_id)
        details = attrs.evolve(
            message.details, md_size_multiplier=1, fund=m.FundDetails(), ineligibility_reasons=()
        )
        found = differences(details, theirs, NAMES)
        if version < 164:
            # Below, the sizes are not kept.
            found = {at: pair for at, pair in found.items() if not at.lower().endswith(("size", "increment"))}
        assert found == {}
        reasons = [(one["id_"], one["description"]) for one in theirs["ineligibilityReasonList"] or []]
        assert tuple(reasons) == message.details.ineligibility_reasons
        if message.details.fund != m.FundDetails():
            fund = {name: theirs[their_name] for name, their_name in FUND_NAMES.items()}
            for name in ("distribution_policy_indicator", "asset_type"):
                fund[name] = fund[name][0]
            assert m.FundDetails(**fund) == message.details.fund


def contract_data(version: int, kind: str, dice: Random) -> m.ContractData:
    """contractData that says only what travels."""
    details: m.ContractDetails = instance(m.ContractDetails, dice)
    expiry = dice.choice(("", "20260320"))
    contract = attrs.evolve(
        only(details.contract, CONTRACT_OF_AN_EXECUTION | {"primary_exchange"}),
        sec_type=kind,
        last_trade_date_or_contract_month=expiry,
        last_trade_date="20260319" if version >= 182 else "",
    )
    fund = attrs.evolve(details.fund, distribution_policy_indicator="N", asset_type="004")
    details = attrs.evolve(
        details,
        contract=contract,
        last_trade_time=dice.choice(("", "16:00:00")) if expiry else "",
        fund=fund if version >= 179 and kind == "FUND" else m.FundDetails(),
    )
    return m.ContractData(7, without(details, ["ineligibility_reasons"] * (version < 186)))


@pytest.mark.parametrize("version", VERSIONS)
def test_a_current_ibapi_hears_history_and_ticks_as_they_were_said(worker: Worker, version: int) -> None:
    dice = Random(version)
    bars = tuple(drawn(m.HistoricalBar, version, dice) for _ in range(3))
    start, end = ("", "") if version >= 196 else ("s", "e")
    history = m.HistoricalData(7, start, end, bars)
    update = m.HistoricalDataUpdate(8, bars[0])
    price = attrs.evolve(drawn(m.TickPrice, version, dice), tick_type=1, attr_mask=5)
    of_history, of_update, of_price = heard(worker, version, [history, update, price])
    if version < 196:
        assert of_history.pop() == ["historicalDataEnd", [7, "s", "e"]]
    else:
        assert heard(worker, version, [m.HistoricalDataEnd(7, "s", "e")]) == [
            [["historicalDataEnd", [7, "s", "e"]]]
        ]
    assert [(name, req_id) for name, (req_id, _) in of_history] == [("historicalData", 7)] * 3
    assert differences(bars, [bar for _, (_, bar) in of_history], NAMES) == {}
    ((name, (req_id, bar)),) = of_update
    assert (name, req_id) == ("historicalDataUpdate", 8)
    assert differences(bars[0], bar, NAMES) == {}
    (name, (req_id, tick_type, said, marks)), *sizes = of_price
    assert (name, req_id, tick_type, said) == ("tickPrice", price.req_id, 1, price.price)
    assert marks == {"canAutoExecute": True, "pastLimit": False, "preOpen": True}
    assert sizes == [["tickSize", [price.req_id, 0, price.size]]]
