"""The examination: what each answer means, how it ends, what it says to do; and whole ones against a TWS."""

from __future__ import annotations

import stat
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from actors.doctor import DoctorOptions
from actors.doctor_machine import examine_disk, examine_state, file_system
from actors.journal import Journal
from protocol.control_events import KillLevelEvent
from protocol.doctor import (
    Asked,
    Check,
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
from protocol.settings import BrokerSettings, Mode
from protocol.tws import messages as tws
from protocol.values import Symbol
from tests.clients import ACCOUNT

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
    options = DoctorOptions(config=(Path("my own.toml"),))
    assert options.repeated((SPY,)) == ("--config", "'my own.toml'", "--symbols", "SPY")


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


def test_a_kill_level_that_holds_is_said_with_who_and_why(tmp_path: Path) -> None:
    journal = Journal.open(tmp_path, synchronous=True)
    raised = KillLevelEvent(at=NOW, level=2, before=0, who="mara", why="odd fills")
    journal.append("risk", [raised])
    journal.close()
    held = examine_state(tmp_path)
    assert held.outcome is Outcome.WARN
    assert "HALT" in held.text
    assert "by mara: odd fills" in held.text
    journal = Journal.open(tmp_path, synchronous=True)
    journal.append("risk", [attrs.evolve(raised, level=0, before=2, why="explained")])
    journal.close()
    assert examine_state(tmp_path).outcome is Outcome.OK


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
