"""The examination: what each answer means, how it ends, what it says to do; and whole ones against a TWS."""

from __future__ import annotations

import stat
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from functools import partial
from pathlib import Path

import attrs
import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st
from trio_websocket import WebSocketRequest, serve_websocket

from actors.doctor import DoctorOptions, Examination
from actors.doctor_machine import examine_disk, examine_state, file_system
from actors.doctor_program import as_text
from actors.doctor_sources import examine_source
from actors.flow_api import flow_app, serve_flow_api
from actors.journal import Journal
from actors.simulated_tws import SimulatedTws
from actors.tws_desk import TwsDesk
from protocol.doctor import (
    Asked,
    Check,
    Finding,
    Outcome,
    exit_code,
    fail,
    in_order,
    next_command,
    not_asked,
    ok,
    skip,
    summary,
    warn,
)
from protocol.doctor_advice import API_SETTINGS, BY_CODE, click
from protocol.doctor_machine import (
    Machine,
    MachineKind,
    MachineTexts,
    default_gateway,
    judge_machine,
    read_machine,
)
from protocol.doctor_session import (
    DataHeard,
    OpenBooks,
    judge_account,
    judge_books,
    judge_clock,
    judge_contract,
    judge_data,
    judge_history,
    judge_money,
    judge_read_only,
    judge_upstream,
)
from protocol.exchange.fault_base import When
from protocol.exchange.faults import (
    ChangeAccounts,
    DropConnection,
    Fault,
    OrderNotice,
    RefuseRequest,
    RejectOrder,
    SwallowRequest,
)
from protocol.exchange.synthetic import SyntheticMarket
from protocol.exchange.tws_market_settings import DataPermission, MarketSettings
from protocol.exchange.tws_settings import TwsSettings
from protocol.exchange.venue_settings import VenueSettings
from protocol.flow_service import FlowLimits, FlowService
from protocol.settings import BrokerSettings, Mode
from protocol.source_settings import FileSource, HttpSource, WebhookSource, WebSocketSource
from protocol.tws import messages as tws
from protocol.values import Symbol
from tests.clients import ACCOUNT, HOST

NOW = datetime(2025, 1, 23, 15, 0, tzinfo=UTC)
SHORT_S = 0.4
"""For answers that do not come."""
SPY = Symbol("SPY")


def error(code: int, text: str = "text", about: int = -1) -> tws.ErrorMessage:
    return tws.ErrorMessage(about, code, text)


# --- how it ends ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("failed", "code"),
    [
        ((), 0),
        ((Check.CONFIGURATION,), 2),
        ((Check.SECRETS,), 2),
        ((Check.ACCOUNT,), 2),
        ((Check.PORT,), 3),
        ((Check.HANDSHAKE,), 3),
        ((Check.MARKET_DATA,), 1),
        ((Check.EXAMINATION,), 1),
        ((Check.PORT, Check.SIGNALS), 3),
        ((Check.SECRETS, Check.PORT), 2),
    ],
)
def test_what_has_to_be_changed_first_decides_the_exit_code(failed: tuple[Check, ...], code: int) -> None:
    assert exit_code([fail(check, "no") for check in failed]) == code


@given(st.lists(st.sampled_from(Check)))
def test_only_failures_count_for_the_exit_code(checks: list[Check]) -> None:
    assert exit_code([make(check, "said") for make in (ok, warn, skip) for check in checks]) == 0


@given(st.lists(st.sampled_from(Check)))
def test_findings_are_told_in_the_order_of_the_checks_and_then_as_found(checks: list[Check]) -> None:
    found = [ok(check, str(number)) for number, check in enumerate(checks)]
    told = in_order(found)
    assert sorted(map(id, told)) == sorted(map(id, found))
    places = [(list(Check).index(finding.check), int(finding.text)) for finding in told]
    assert places == sorted(places)


def test_what_was_not_asked_has_its_line_all_the_same() -> None:
    found = (ok(Check.PORT, "open"),)
    assert not_asked(found, (Check.PORT, Check.CLOCK), "why") == (skip(Check.CLOCK, "why"),)


def test_the_summary_counts_what_there_is() -> None:
    assert summary((ok(Check.PORT, ""), ok(Check.CLOCK, ""), fail(Check.MONEY, ""))) == "2 ok, 1 fail"


OPTIONS = ("--tws", "127.0.0.1:4002", "--symbols", "SLV,GLD")


def test_the_next_command_follows_from_what_was_found() -> None:
    asked = Asked(options=OPTIONS)
    typed = "--tws 127.0.0.1:4002 --symbols SLV,GLD"
    assert next_command((), asked).endswith(f"scripts/doctor.py {typed} --place-order")
    tried = attrs.evolve(asked, place_order=True)
    assert next_command((), tried) == f"trade: scripts/run --broker tws {typed}"
    live = Asked(options=OPTIONS, paper=False)
    assert next_command((), live) == f"trade: scripts/run --broker tws {typed} --live"
    assert "tws_simulator.py" in next_command((fail(Check.PORT, "closed"),), asked)
    assert next_command((fail(Check.SECRETS, "none"),), tried).endswith(f"doctor.py {typed} --place-order")


def test_options_with_blanks_can_be_typed_again_as_they_are() -> None:
    assert "--config 'my own.toml'" in next_command((), Asked(options=("--config", "my own.toml")))


def test_every_setting_that_an_advice_names_is_in_the_list() -> None:
    assert "Read-Only API" in click("Read-Only API")
    assert all(click(setting.name).startswith("TWS: ") for setting in API_SETTINGS)
    assert all(lines for lines in BY_CODE.values())


# --- the machine ------------------------------------------------------------------------------------

ROUTES = """Iface\tDestination\tGateway\tFlags\tRefCnt\tUse\tMetric\tMask\tMTU\tWindow\tIRTT
eth0\t000010AC\t00000000\t0001\t0\t0\t0\t0000F0FF\t0\t0\t0
eth0\t00000000\t01A01FAC\t0003\t0\t0\t0\t00000000\t0\t0\t0
"""
WSL1 = "Linux version 4.4.0-19041-Microsoft (Microsoft@Microsoft.com) (gcc 5.4.0)"
WSL2 = "Linux version 5.15.153.1-microsoft-standard-WSL2 (root@941d701f84f1) (gcc 11.2.0)"
PLAIN = "Linux version 6.8.0-45-generic (buildd@lcy02-amd64-115)"


def test_the_default_gateway_is_read_from_the_routes() -> None:
    assert default_gateway(ROUTES) == "172.31.160.1"
    assert default_gateway("") == default_gateway("Iface\nnonsense") == ""


@pytest.mark.parametrize(
    ("texts", "kind"),
    [
        (MachineTexts(version=PLAIN), MachineKind.PLAIN),
        (MachineTexts(), MachineKind.PLAIN),
        (MachineTexts(version=WSL1), MachineKind.WSL1),
        (MachineTexts(version=WSL2), MachineKind.WSL2),
        (MachineTexts(version=PLAIN, wsl_distribution="Ubuntu"), MachineKind.WSL2),
        (MachineTexts(version=PLAIN, container_file=True), MachineKind.CONTAINER),
        (MachineTexts(version=PLAIN, cgroup="12:cpu:/docker/6f1a"), MachineKind.CONTAINER),
        (MachineTexts(version=WSL2, cgroup="0::/kubepods/burstable"), MachineKind.CONTAINER),
    ],
)
def test_the_kind_of_machine_is_read_from_what_it_says(texts: MachineTexts, kind: MachineKind) -> None:
    assert read_machine(texts).kind is kind


@given(st.text(), st.text(), st.text())
def test_any_text_is_some_machine(version: str, cgroup: str, routes: str) -> None:
    assert read_machine(MachineTexts(version=version, cgroup=cgroup, routes=routes)).kind in MachineKind


def test_wsl_is_told_the_address_of_windows_and_which_address_windows_has_to_trust() -> None:
    machine = Machine(kind=MachineKind.WSL2, gateway="172.31.160.1", own_address="172.31.160.9")
    finding = judge_machine(machine, "127.0.0.1", 7497, port_open=False)
    assert finding.outcome is Outcome.WARN
    assert any("--tws 172.31.160.1:7497" in line for line in finding.advice)
    assert any("Trusted IPs must hold 172.31.160.9" in line for line in finding.advice)
    assert judge_machine(machine, "172.31.160.1", 7497, port_open=False).outcome is Outcome.OK


def test_a_container_is_told_the_name_of_its_host_or_how_to_get_one() -> None:
    named = Machine(kind=MachineKind.CONTAINER, gateway="172.17.0.1", docker_host_address="192.168.65.254")
    nameless = Machine(kind=MachineKind.CONTAINER, gateway="172.17.0.1")
    advice = judge_machine(named, "localhost", 4002, port_open=False).advice
    assert advice[0].endswith("--tws host.docker.internal:4002")
    advice = judge_machine(nameless, "localhost", 4002, port_open=False).advice
    assert advice[0].endswith("--tws 172.17.0.1:4002")
    assert "--add-host=host.docker.internal:host-gateway" in advice[1]


def test_what_listens_inside_a_container_needs_no_other_address() -> None:
    machine = Machine(kind=MachineKind.CONTAINER, gateway="172.17.0.1")
    assert judge_machine(machine, "127.0.0.1", 7497, port_open=True).outcome is Outcome.OK


def test_a_state_folder_says_who_uses_it(tmp_path: Path) -> None:
    folder = tmp_path / "state"
    assert examine_state(folder).outcome is Outcome.OK
    journal = Journal.open(folder, synchronous=True)
    used = examine_state(folder)
    assert used.outcome is Outcome.FAIL
    assert "in use by process" in used.text
    journal.close()
    assert examine_state(folder) == ok(Check.STATE, "usable, and nobody uses it", str(folder))
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700


def test_a_state_folder_that_cannot_be_one_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.touch()
    assert "is not a folder" in examine_state(file / "below").text
    folder = tmp_path / "open"
    folder.mkdir(mode=0o755)
    assert examine_state(folder).outcome is Outcome.WARN
    folder.chmod(0o700)
    (folder / "KILL").touch()
    assert "halted" in examine_state(folder).text


def test_the_file_system_of_a_path_is_that_of_the_longest_mount_point(tmp_path: Path) -> None:
    mounts = f"/dev/sda / ext4 rw 0 0\nC: {tmp_path} 9p rw 0 0\n{tmp_path}x nfs nfs rw 0 0\n"
    assert file_system(tmp_path / "a", mounts) == "9p"
    assert file_system(Path("/"), mounts) == "ext4"
    assert examine_disk(tmp_path).check is Check.DISK


# --- what TWS says ------------------------------------------------------------------------------------


def test_mode_and_account_have_to_mean_the_same() -> None:
    paper, live = BrokerSettings(), BrokerSettings(mode=Mode.LIVE, account="U1234567", port=7496)
    finding, account = judge_account(paper, ("DU1234567",))
    assert (finding.outcome, account) == (Outcome.OK, "DU1234567")
    assert "DU1234567" not in finding.text
    assert judge_account(live, ("U1234567",))[1] == "U1234567"
    for settings, accounts in (
        (paper, ("U1234567",)),
        (paper, ("DU1", "DU2")),
        (paper, ()),
        (live, ("DU1234567",)),
        (attrs.evolve(paper, account="DU9"), ("DU1",)),
    ):
        finding, account = judge_account(settings, accounts)
        assert (finding.outcome, account) == (Outcome.FAIL, "")
        assert exit_code([finding]) == 2


@pytest.mark.parametrize(
    ("behind_s", "outcome", "said"),
    [
        (0.9, Outcome.OK, "agree"),
        (-1.9, Outcome.OK, "agree"),
        (45, Outcome.WARN, "45 s behind"),
        (-45, Outcome.WARN, "45 s ahead of"),
        (400 * 86_400, Outcome.WARN, "a simulator or a replay"),
    ],
)
def test_clocks_that_differ_are_a_warning(behind_s: float, outcome: Outcome, said: str) -> None:
    finding = judge_clock(int(NOW.timestamp()), NOW + timedelta(seconds=behind_s))
    assert finding.outcome is outcome
    assert said in finding.text


def test_the_last_word_about_ibkr_and_each_farm_counts() -> None:
    farm_ok, farm_broken = error(2104, "is OK:usfarm"), error(2103, "is broken:usfarm")
    assert judge_upstream([farm_broken, farm_ok]).outcome is Outcome.OK
    assert "usfarm" in judge_upstream([farm_ok, farm_broken]).text
    assert judge_upstream([error(1100)]).outcome is Outcome.FAIL
    assert judge_upstream([error(1100), error(1102)]).outcome is Outcome.OK


def test_a_read_only_api_is_seen_before_anything_is_ordered() -> None:
    said = "Error validating request.-'bN' : cause - The API interface is currently in Read-Only mode."
    finding = judge_read_only([error(321, said)], answered=False)
    assert finding.outcome is Outcome.FAIL
    assert "“Read-Only API” off" in finding.advice[0]
    assert judge_read_only([error(321, "another cause")], answered=True).outcome is Outcome.OK
    assert judge_read_only([], answered=False).outcome is Outcome.WARN


def details(symbol: str, con_id: int = 1) -> tws.ContractDetails:
    contract = tws.Contract(con_id=con_id, symbol=symbol, sec_type="STK", currency="USD", exchange="SMART")
    return tws.ContractDetails(contract=contract, long_name="A FUND")


def test_a_symbol_is_one_stock_or_trouble() -> None:
    assert judge_contract("SPY", [details("SPY"), details("SPY")], None, example=False).outcome is Outcome.OK
    for answers, refusal in (([details("SPY"), details("SPY", 2)], None), ([], error(200)), ([], None)):
        assert judge_contract("SPY", answers, refusal, example=False).outcome is Outcome.FAIL
        assert judge_contract("SPY", answers, refusal, example=True).outcome is Outcome.WARN


QUOTED = DataHeard(kind=1, bid=10.0, ask=10.02)
SHUT = DataHeard(waited_s=5)


@pytest.mark.parametrize(
    ("live", "delayed", "outcome", "said"),
    [
        (QUOTED, None, Outcome.OK, "bid 10, ask 10.02"),
        (attrs.evolve(QUOTED, kind=None), None, Outcome.OK, "live"),
        (attrs.evolve(QUOTED, refusal=error(10090)), None, Outcome.OK, "live"),
        (SHUT, None, Outcome.WARN, "is the market closed?"),
        (DataHeard(kind=2, last=9.0), None, Outcome.WARN, "frozen"),
        (DataHeard(kind=3, bid=1.0, ask=1.1), None, Outcome.FAIL, "delayed only"),
        (DataHeard(refusal=error(354)), DataHeard(kind=3), Outcome.FAIL, "ever entered on that (354"),
        (DataHeard(refusal=error(354)), DataHeard(refusal=error(354)), Outcome.FAIL, "354"),
        (DataHeard(refusal=error(10197)), DataHeard(kind=3), Outcome.FAIL, "10197"),
    ],
)
def test_market_data_is_live_or_nothing_is_entered(
    live: DataHeard, delayed: DataHeard | None, outcome: Outcome, said: str
) -> None:
    finding = judge_data("SPY", live, delayed)
    assert finding.outcome is outcome
    assert said in finding.text
    assert finding.subject == "SPY"
    assert outcome is not Outcome.FAIL or finding.advice


def test_history_and_money_are_told_in_figures() -> None:
    assert judge_history("SPY", [], error(162, "no permission")).outcome is Outcome.WARN
    figures = {"NetLiquidation": ("1000.5", "USD"), "BuyingPower": ("4002", "USD")}
    assert judge_money(figures).text == "equity 1,000.50 USD, buying power 4,002.00"
    assert judge_money(figures | {"BuyingPower": ("0", "USD")}).outcome is Outcome.FAIL
    assert judge_money({"NetLiquidation": ("1000", "EUR")}).outcome is Outcome.WARN
    assert judge_money({"NetLiquidation": ("nonsense", "USD")}).outcome is Outcome.FAIL


def test_open_books_are_told_and_leftovers_of_an_examination_complained_about() -> None:
    held = tws.Position(ACCOUNT, details("SLV").contract, Decimal(-5), 20.0)
    told = judge_books(OpenBooks(positions=(held,), own=2, foreign=1), ACCOUNT)
    assert told.text == "positions SLV -5, 2 working orders of this client id, 1 of other programs or persons"
    assert judge_books(OpenBooks(leftovers=1), ACCOUNT).outcome is Outcome.WARN


# --- whole examinations ---------------------------------------------------------------------------------


@asynccontextmanager
async def tws_with(*faults: Fault, settings: TwsSettings | None = None) -> AsyncIterator[Served]:
    """A simulated TWS in this very loop, at a real port."""
    tws_ = SimulatedTws(SyntheticMarket(1), VenueSettings(), settings=settings, faults=faults)
    async with trio.open_nursery() as nursery:
        await nursery.start(tws_.run)
        yield Served(await tws_.listen(HOST, 0), tws_)
        nursery.cancel_scope.cancel()


@attrs.frozen
class Served:
    port: int
    tws: SimulatedTws

    @property
    def working(self) -> int:
        """Orders that work at the venue, which is the truth."""
        return len(self.tws.venue.open_orders())


async def plain_machine() -> Machine:
    return Machine(kind=MachineKind.PLAIN)


async def examined(
    folder: Path, port: int, *, config: str = "", **options: object
) -> dict[Check, list[Finding]]:
    """The findings of a whole examination, by check."""
    files: tuple[Path, ...] = ()
    if config:
        files = (folder / "doctor.toml",)
        files[0].write_text(config, encoding="utf-8")
    asked = DoctorOptions(
        **{
            "tws": (HOST, port),
            "symbols": (SPY,),
            "state": folder / "state",
            "timeout_loop_s": 5.0,
            "config": files,
        }
        | options  # type: ignore[arg-type]
    )
    heard: list[str] = []
    examination = Examination(asked, heard.append, plain_machine)
    await examination.run()
    assert heard
    found: dict[Check, list[Finding]] = {}
    for finding in examination.findings:
        found.setdefault(finding.check, []).append(finding)
    assert list(found) == [check for check in Check if check is not Check.EXAMINATION]
    return found


def all_of(found: dict[Check, list[Finding]]) -> list[Finding]:
    return [finding for findings in found.values() for finding in findings]


async def test_a_healthy_simulator_has_nothing_in_the_way_and_an_order_goes_there_and_back(
    tmp_path: Path,
) -> None:
    async with tws_with() as served:
        found = await examined(tmp_path, served.port, place_order=True)
        assert served.working == 0
        assert not any(held.quantity for held in served.tws.venue.positions(ACCOUNT))
    assert exit_code(all_of(found)) == 0, all_of(found)
    order = [finding.text for finding in found[Check.ORDER_PATH]]
    assert len(order) == 3
    assert order[1].endswith("Submitted, listed among open orders")
    assert order[2] == "cancelled, Cancelled, nothing left"
    assert [finding.outcome for finding in found[Check.MARKET_DATA]] == [Outcome.OK]


async def test_without_being_asked_to_it_orders_nothing(tmp_path: Path) -> None:
    async with tws_with() as served:
        found = await examined(tmp_path, served.port)
        assert served.working == 0
    assert [finding.outcome for finding in found[Check.ORDER_PATH]] == [Outcome.SKIP]


async def test_nobody_listening_is_exit_3_and_everything_else_is_told(tmp_path: Path) -> None:
    with trio.socket.socket() as closed:
        await closed.bind((HOST, 0))
        found = await examined(tmp_path, closed.getsockname()[1])
    assert exit_code(all_of(found)) == 3
    assert found[Check.PORT][0].text == "nothing listens there"
    assert any("Enable ActiveX and Socket Clients" in line for line in found[Check.PORT][0].advice)
    assert found[Check.CONFIGURATION][0].outcome is Outcome.OK


@asynccontextmanager
async def listener(answer: bytes | None) -> AsyncIterator[int]:
    """Something else at a port: it says `answer` and hangs up, or with None says nothing at all."""

    async def serve(stream: trio.SocketStream) -> None:
        async with stream:
            if answer is None:
                await trio.sleep_forever()
            await stream.receive_some(100)
            await stream.send_all(answer)

    async with trio.open_nursery() as nursery:
        listeners = await nursery.start(trio.serve_tcp, serve, 0)
        yield listeners[0].socket.getsockname()[1]
        nursery.cancel_scope.cancel()


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (None, "no answer to the handshake"),
        (b"", "was closed during"),
        (b"HTTP/1.1 400 Bad Request\r\n", "not TWS"),
    ],
)
async def test_what_listens_and_is_no_tws_is_exit_3(tmp_path: Path, answer: bytes | None, said: str) -> None:
    async with listener(answer) as port:
        found = await examined(tmp_path, port, timeout_loop_s=SHORT_S)
    assert exit_code(all_of(found)) == 3
    assert said in found[Check.HANDSHAKE][0].text
    assert found[Check.HANDSHAKE][0].advice


async def test_an_account_that_is_not_meant_is_exit_2_and_is_asked_nothing_more(tmp_path: Path) -> None:
    async with tws_with() as served:
        wrong = '[broker]\naccount = "DU7654321"\n'
        found = await examined(tmp_path, served.port, config=wrong, place_order=True)
    assert exit_code(all_of(found)) == 2
    assert "not the configured DU7654321" in found[Check.ACCOUNT][0].text
    assert found[Check.ORDER_PATH][0].outcome is Outcome.SKIP


async def test_a_live_account_in_paper_mode_is_exit_2_and_never_ordered_on(tmp_path: Path) -> None:
    async with tws_with(ChangeAccounts(accounts=("U1234567",))) as served:
        found = await examined(tmp_path, served.port, place_order=True)
        assert served.working == 0
    assert exit_code(all_of(found)) == 2
    assert found[Check.ORDER_PATH][0].outcome is Outcome.SKIP


async def test_wrong_configuration_is_exit_2_with_every_fault(tmp_path: Path) -> None:
    found = await examined(tmp_path, 1, config="[broker]\nmode = 'papr'\nprot = 1\n")
    assert exit_code(all_of(found)) == 2
    assert len(found[Check.CONFIGURATION]) >= 2


async def test_a_client_id_in_use_is_said_and_the_rest_is_asked_under_another(tmp_path: Path) -> None:
    async with tws_with() as served, await TwsDesk.open(HOST, served.port, 1):
        found = await examined(tmp_path, served.port, place_order=True)
    assert exit_code(all_of(found)) == 1
    assert "326" in found[Check.CLIENT_ID][0].text
    assert found[Check.MONEY][0].outcome is Outcome.OK
    assert found[Check.ORDER_PATH][0].outcome is Outcome.SKIP


@pytest.mark.parametrize(
    ("permission", "said"),
    [(DataPermission.NONE, "354"), (DataPermission.DELAYED, "delayed only")],
)
async def test_missing_market_data_is_said_for_the_symbol(
    tmp_path: Path, permission: DataPermission, said: str
) -> None:
    settings = TwsSettings(market=MarketSettings(permissions=(("SPY", permission),)))
    async with tws_with(settings=settings) as served:
        found = await examined(tmp_path, served.port, symbols=(SPY, Symbol("QQQ")))
    first, second = found[Check.MARKET_DATA]
    assert (first.outcome, second.outcome) == (Outcome.FAIL, Outcome.OK)
    assert said in first.text


async def test_a_refused_order_says_why_and_leaves_nothing(tmp_path: Path) -> None:
    reject = RejectOrder(reason="No trading permission.")
    async with tws_with(reject) as served:
        found = await examined(tmp_path, served.port, place_order=True)
        assert served.working == 0
    assert exit_code(all_of(found)) == 1
    assert any("No trading permission" in finding.text for finding in found[Check.ORDER_PATH])


async def test_a_read_only_tws_is_told_where_to_click_and_gets_no_order(tmp_path: Path) -> None:
    refusal = RefuseRequest(
        code=321,
        text="cause - The API interface is currently in Read-Only mode.",
        when=When(on=("req_all_open_orders", "req_completed_orders"), times=0),
    )
    async with tws_with(refusal) as served:
        found = await examined(tmp_path, served.port, place_order=True, timeout_loop_s=SHORT_S)
    assert found[Check.API_SETTINGS][0].outcome is Outcome.FAIL
    assert found[Check.ORDER_PATH][0].outcome is Outcome.SKIP


async def test_a_notice_about_the_order_is_a_warning_and_it_is_taken_back(tmp_path: Path) -> None:
    said = "Order Message:\nWarning: it will wait until 09:30."
    async with tws_with(OrderNotice(code=399, text=said, when=When(on=("place_order",), after=1))) as served:
        found = await examined(tmp_path, served.port, place_order=True)
        assert served.working == 0
    assert exit_code(all_of(found)) == 0


async def test_a_cancel_that_is_lost_leaves_an_order_and_says_so(tmp_path: Path) -> None:
    async with tws_with(SwallowRequest(when=When(on=("cancel_order",), times=0))) as served:
        found = await examined(tmp_path, served.port, place_order=True, timeout_loop_s=SHORT_S)
    last = found[Check.ORDER_PATH][-1]
    assert last.outcome is Outcome.FAIL
    assert "still works" in last.text
    assert last.advice == ("cancel it in TWS",)


async def test_a_session_that_ends_with_an_order_out_names_the_order(tmp_path: Path) -> None:
    async with tws_with(DropConnection(processed=True, when=When(on=("place_order",), after=1))) as served:
        found = await examined(tmp_path, served.port, place_order=True)
    assert exit_code(all_of(found)) == 3
    assert "may still work" in found[Check.ORDER_PATH][0].text


async def test_an_examination_that_is_ended_takes_its_order_back(tmp_path: Path) -> None:
    async with tws_with() as served:
        options = DoctorOptions(tws=(HOST, served.port), symbols=(SPY,), state=tmp_path, place_order=True)
        with trio.CancelScope() as scope:

            def say(text: str) -> None:
                if text.startswith("placing"):
                    scope.deadline = trio.current_time() + 0.2

            examination = Examination(options, say, plain_machine)
            await examination.run()
        examination.interrupted()
        assert served.working == 0


# --- sources ------------------------------------------------------------------------------------------


async def test_a_polled_source_is_asked_for_its_status_with_its_key(monkeypatch: pytest.MonkeyPatch) -> None:
    service = FlowService((), tickers=("SPY",), limits=FlowLimits.for_polling(1, 60.0))
    async with trio.open_nursery() as nursery:
        app = flow_app(service, api_key="right", now=lambda: NOW)
        url = await nursery.start(serve_flow_api, app)
        source = HttpSource(url=url, api_key_env="DOCTOR_TEST_KEY")
        monkeypatch.setenv("DOCTOR_TEST_KEY", "right")
        good = await examine_source(source, 5.0)
        monkeypatch.setenv("DOCTOR_TEST_KEY", "canary-secret")
        bad = await examine_source(source, 5.0)
        nursery.cancel_scope.cancel()
    assert good.outcome is Outcome.OK
    assert "1 tickers" in good.text or "1 ticker" in good.text
    assert bad.outcome is Outcome.FAIL
    assert "DOCTOR_TEST_KEY" in bad.advice[0]
    assert "canary-secret" not in as_text((good, bad), 1, "")


async def test_sources_that_are_not_there_are_said(tmp_path: Path) -> None:
    async with listener(b"") as port:
        assert (await examine_source(HttpSource(url=f"http://127.0.0.1:{port}"), 1.0)).outcome is Outcome.FAIL
        feed = await examine_source(WebSocketSource(url=f"ws://127.0.0.1:{port}/feed"), 0.2)
        assert feed.outcome is Outcome.FAIL
        assert (await examine_source(WebhookSource(port=port), 1.0)).outcome is Outcome.WARN
    async with listener(None) as port:
        silent = await examine_source(WebSocketSource(url=f"ws://127.0.0.1:{port}/feed"), 0.2)
        assert "no handshake within" in silent.text
    async with listener(b"220 mail\r\n\r\n") as port:
        mail = await examine_source(WebSocketSource(url=f"ws://127.0.0.1:{port}/feed"), 1.0)
        assert mail.text == "what listens there is no websocket"
    accepting = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n"
    async with listener(accepting) as port:
        forged = await examine_source(WebSocketSource(url=f"ws://127.0.0.1:{port}/feed"), 1.0)
        assert forged.outcome is Outcome.FAIL, "an answer without the key of the request is nobody's"
    refusing = b"HTTP/1.1 401 Unauthorized\r\nContent-Length: 0\r\n\r\n"
    async with listener(refusing) as port:
        source = WebSocketSource(url=f"ws://127.0.0.1:{port}/feed", token_env="FEED_TOKEN")
        refused = await examine_source(source, 1.0)
        assert (refused.outcome, refused.advice) == (Outcome.FAIL, ("renew FEED_TOKEN",))
    written = tmp_path / "signals.jsonl"
    assert (await examine_source(FileSource(path=str(written)), 1.0)).outcome is Outcome.WARN
    written.touch()
    assert (await examine_source(FileSource(path=str(written)), 1.0)).outcome is Outcome.OK
    assert (await examine_source(FileSource(path="/nowhere/at/all"), 1.0)).outcome is Outcome.FAIL


async def test_a_feed_that_shakes_hands_is_reached(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[str] = []

    async def serve(request: WebSocketRequest) -> None:
        seen.append(dict(request.headers)[b"authorization"].decode())
        await (await request.accept()).aclose()

    monkeypatch.setenv("FEED_TOKEN", "canary")
    async with trio.open_nursery() as nursery:
        server = await nursery.start(partial(serve_websocket, serve, HOST, 0, ssl_context=None))
        url = f"ws://127.0.0.1:{server.port}/feed?all=1"
        found = await examine_source(WebSocketSource(url=url, token_env="FEED_TOKEN"), 2.0)
        nursery.cancel_scope.cancel()
    assert found.outcome is Outcome.OK
    assert seen == ["Bearer canary"]


async def test_a_missing_secret_is_exit_2_and_its_source_is_not_asked(tmp_path: Path) -> None:
    config = '[signals.flow]\nurl = "http://127.0.0.1:1/api/v1"\napi_key_env = "DOCTOR_NO_SUCH_KEY"\n'
    found = await examined(tmp_path, 1, config=config)
    assert exit_code(all_of(found)) == 2
    assert found[Check.SECRETS][0].text == "DOCTOR_NO_SUCH_KEY is not set"
    assert found[Check.SIGNALS][0].outcome is Outcome.SKIP
