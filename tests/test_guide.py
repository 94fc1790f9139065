"""The user guide and the runbook say what is so: commands, configurations, codes, links."""

from __future__ import annotations

import ast
import functools
import importlib.util
import re
import shlex
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest
from cyclopts import App, CycloptsError

from actors import run_end, watchdog, websocket_source
from protocol.alert_settings import AlertKind
from protocol.config import resolve
from protocol.health import HealthState
from protocol.risk.words import DataState, KillLevel, LockKind
from protocol.source_health import TroubleKind
from protocol.source_settings import FileSource, HttpSource, WebhookSource, WebSocketSource
from protocol.tws.codes import CODES
from protocol.values import Symbol

ROOT = Path(__file__).parent.parent
GUIDE, RUNBOOK, README = ROOT / "scripts" / "GUIDE.md", ROOT / "scripts" / "RUNBOOK.md", ROOT / "README.md"
PROGRAMS = {
    "scripts/run": "supervisor.py",
    "scripts/supervisor.py": "supervisor.py",
    "supervisor.py": "supervisor.py",
    "scripts/doctor.py": "doctor.py",
    "scripts/journal.py": "journal.py",
    "scripts/chaos.py": "chaos.py",
    "scripts/tws_simulator.py": "tws_simulator.py",
}
"""The program behind the first word of a command."""
OFFERED = (Symbol("SLV"), Symbol("GLD"))

WORDS_OF_AN_ALARM = {"AlarmEvent", "Alert", "alarm", "_alarm", "alarm_once", "_record", "_mismatch", "_tell"}
"""What makes an alarm, or hands the code of one on."""
NO_SOURCE_OF_OURS = ("exchange", "chaos", "simulated_tws")
"""Parts that stand for the outside world, or that try the system."""


def text_of(document: Path) -> str:
    return document.read_text(encoding="utf-8")


def blocks(document: Path, kind: str) -> tuple[str, ...]:
    return tuple(re.findall(rf"^```{kind}\n(.*?)^```$", text_of(document), re.MULTILINE | re.DOTALL))


def section(document: Path, title: str) -> str:
    text = text_of(document)
    assert f"\n## {title}\n" in text
    return text.partition(f"\n## {title}\n")[2].partition("\n## ")[0]


def first_cells(text: str) -> Iterator[str]:
    """The first cell of each row of the tables in `text`, without their heads."""
    for line in text.splitlines():
        if line.startswith("| ") and not line.startswith("|-"):
            yield line.split("|")[1].strip()


def quoted(cells: Iterator[str]) -> list[str]:
    return [word for cell in cells for word in re.findall(r"`([^`]+)`", cell)]


# --- commands -------------------------------------------------------------------------------------


@functools.cache
def program(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(f"program_{name[:-3]}", ROOT / "scripts" / name)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


def shown_commands(document: Path) -> Iterator[tuple[str, list[str]]]:
    """Each command of our programs: in the shell blocks, and in the text after `scripts/run`."""
    lines = "".join(blocks(document, "sh")).splitlines()
    lines += re.findall(r"`(scripts/run [^`]+|scripts/doctor\.py [^`]+)`", text_of(document))
    for line in lines:
        words = shlex.split(line.removeprefix(".venv/bin/python "), comments=True)
        if words and words[0] in PROGRAMS:
            yield PROGRAMS[words[0]], words[1:]


def fault_of(name: str, words: list[str]) -> str | None:
    """What the program's own command line would say against it."""
    app: App = program(name).app
    try:
        app.parse_args(words, print_error=False, exit_on_error=False)
    except CycloptsError as problem:
        return f"{name} {shlex.join(words)}: {problem}"
    return None


@pytest.mark.parametrize("document", [GUIDE, RUNBOOK, README], ids=lambda path: path.name)
def test_every_command_that_is_shown_can_be_given_like_that(document: Path) -> None:
    commands = list(shown_commands(document))
    assert len(commands) > 10
    assert [fault for each in commands if (fault := fault_of(*each)) is not None] == []


def test_a_command_that_does_not_exist_is_found() -> None:
    assert fault_of("supervisor.py", ["limits", "tighten", "max_gross", "1", "--why", "x"]) is None
    assert fault_of("supervisor.py", ["limits", "loosen", "max_gross", "1"]) is not None
    assert fault_of("supervisor.py", ["pause", "SLV", "--wy", "x"]) is not None


def test_the_guide_shows_each_command_of_the_program() -> None:
    offered = {name for name in program("supervisor.py").app if not name.startswith("-")}
    shown = {words[0] for name, words in shown_commands(GUIDE) if name == "supervisor.py" and words}
    assert offered - shown == set()


def test_the_commands_of_the_doctor_are_shown_too() -> None:
    assert {"doctor.py", "journal.py"} <= {name for name, _ in shown_commands(GUIDE)}
    assert "doctor.py" in {name for name, _ in shown_commands(RUNBOOK)}


# --- configurations -------------------------------------------------------------------------------


def test_every_configuration_of_the_guide_is_one() -> None:
    shown = blocks(GUIDE, "toml")
    kinds, channels = set(), set()
    for block in shown:
        settings = resolve([tomllib.loads(block)], offered=OFFERED, live='mode = "live"' in block)
        kinds |= {type(source) for source in settings.sources}
        channels |= {channel.kind for channel in settings.alerts}
    assert kinds == {HttpSource, WebSocketSource, WebhookSource, FileSource}
    assert channels == set(AlertKind)
    heads = set(re.findall(r"^\[+(\w+)", "\n".join(shown), re.MULTILINE))
    # Everything that a configuration may hold, but for the place of the journal, which is an option.
    assert heads == {
        "broker", "symbols", "schedule", "indicators", "rules", "risk", "signals", "thresholds", "alerts",
        "log",
    }  # fmt: skip


def test_each_kind_of_protection_is_shown() -> None:
    found = [resolve([tomllib.loads(block)], offered=OFFERED).risk for block in blocks(GUIDE, "toml")
             if "[risk]" in block]  # fmt: skip
    assert len({type(each) for risk in found for each in risk.protections}) == 4


# --- alarms ---------------------------------------------------------------------------------------


@functools.cache
def trees() -> tuple[ast.Module, ...]:
    paths = sorted([*ROOT.glob("protocol/**/*.py"), *ROOT.glob("actors/*.py")])
    names = [path.relative_to(ROOT).as_posix() for path in paths]
    return tuple(
        ast.parse((ROOT / name).read_text(encoding="utf-8"))
        for name in names
        if not any(word in name for word in NO_SOURCE_OF_OURS)
    )


def constants(tree: ast.Module) -> dict[str, str]:
    """The texts that a module names in capitals."""
    found = {}
    for node in tree.body:
        target = node.targets[0] if isinstance(node, ast.Assign) else getattr(node, "target", None)
        value = getattr(node, "value", None)
        pairs = [(target, value)]
        if isinstance(target, ast.Tuple) and isinstance(value, ast.Tuple):
            pairs = list(zip(target.elts, value.elts, strict=True))
        for name, text in pairs:
            if isinstance(name, ast.Name) and isinstance(text, ast.Constant) and isinstance(text.value, str):
                found[name.id] = text.value
    return found


def codes_in(tree: ast.Module) -> Iterator[str]:
    """The codes of the alarms that a module raises; what is put together ends in an ellipsis."""
    known = constants(tree)
    for node in ast.walk(tree):
        if not isinstance(node, ast.Call):
            continue
        called = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
        if called not in WORDS_OF_AN_ALARM:
            continue
        keyword = [each.value for each in node.keywords if each.arg == "code"]
        # The code comes first, or second after what it is about.
        for argument in keyword or node.args[:2]:
            match argument:
                case ast.Constant(value=str(code)):
                    yield code
                case ast.JoinedStr(values=[ast.Constant(value=str(start)), *_]) if start.endswith("_"):
                    yield f"{start}…"
                case ast.Name(id=name) if name.isupper():
                    yield known.get(name, name)
                case _:
                    continue
            break


@functools.cache
def alarm_codes() -> frozenset[str]:
    found = {code for tree in trees() for code in codes_in(tree)}
    assert found >= {"signals_…", "MARKET_DATA_…"}
    found |= {f"signals_{kind.value}" for kind in TroubleKind}
    found |= {code for code, _ in websocket_source._ODD_NUMBERS.values()}
    return frozenset(found - {"signals_…"})


@pytest.mark.slow
def test_every_alarm_has_a_row_in_the_runbook_and_every_row_its_alarm() -> None:
    rows = quoted(first_cells(section(RUNBOOK, "Every alarm")))
    assert len(rows) == len(set(rows)) > 60
    assert alarm_codes() - set(rows) == set()
    assert set(rows) - alarm_codes() == set()


def test_an_alarm_of_a_constant_of_a_text_and_of_a_part_is_found() -> None:
    source = """
A, B = "LATE", "LOST"
self._alarm(sent, "TWICE", x)
AlarmEvent(at=at, code=B)
out.alarm(f"DATA_{n}", text)
out.alarm(FROM_ELSEWHERE, text)
self._alarm(code, text)
"""
    assert list(codes_in(ast.parse(source))) == ["TWICE", "LOST", "DATA_…", "FROM_ELSEWHERE"]


@functools.cache
def texts_of_the_source() -> frozenset[str]:
    """Every text of the source that a code can be."""
    return frozenset(
        node.value
        for tree in trees()
        for node in ast.walk(tree)
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and node.value.isidentifier()
    )


PLACE_OF_A_CODE = {"Refused": 1, "Refusal": 0, "Outcome": 1}
"""Where the code stands in what refuses a signal or an order."""


def refusal_codes() -> Iterator[str]:
    """The codes with which a signal or an order is refused, or a signal ignored."""
    for tree in trees():
        for node in ast.walk(tree):
            if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Name):
                continue
            place = PLACE_OF_A_CODE.get(node.func.id)
            code = node.args[place] if place is not None and len(node.args) > place else None
            if place == 1 and ast.unparse(node.args[0]) == "Verdict.ACCEPTED":
                continue
            if isinstance(code, ast.Constant) and isinstance(code.value, str):
                yield code.value
    yield from (f"data_{state.value}" for state in DataState if state is not DataState.LIVE)


@pytest.mark.slow
def test_every_refusal_is_explained_where_somebody_asks_why_it_does_not_trade() -> None:
    rows = quoted(first_cells(section(RUNBOOK, "It does not trade: why")))
    assert len(rows) == len(set(rows))
    assert set(refusal_codes()) - set(rows) == set()
    made_up = {row for row in rows if not row.startswith("data_")} - texts_of_the_source()
    assert made_up == set()


# --- words ----------------------------------------------------------------------------------------


def test_every_word_of_health_is_in_the_runbook() -> None:
    assert sorted(quoted(first_cells(section(RUNBOOK, "Health words")))) == sorted(
        state.value for state in HealthState
    )


def test_every_kind_of_lock_is_in_the_runbook() -> None:
    rows = quoted(first_cells(section(RUNBOOK, "Locks")))
    assert sorted(rows) == sorted(kind.value for kind in LockKind)


@pytest.mark.parametrize(("document", "title"), [(RUNBOOK, "Kill levels"), (GUIDE, "12. Kill levels")])
def test_every_kill_level_is_told(document: Path, title: str) -> None:
    told = " ".join(first_cells(section(document, title)))
    missing = [level.name for level in KillLevel if level and f"`{level.name.lower()}`" not in told]
    assert missing == []


def test_the_exit_codes_are_those_of_the_program() -> None:
    rows = {int(cell) for cell in first_cells(section(RUNBOOK, "Exit codes")) if cell.isdecimal()}
    known = {value for name, value in vars(run_end).items() if name.endswith("_EXIT")}
    assert rows == known | {watchdog.EXIT_CHILD_STUCK, watchdog.EXIT_LOOP_STUCK}


def test_every_code_of_tws_in_the_runbook_is_in_the_table_of_codes() -> None:
    cells = [cell for cell in first_cells(section(RUNBOOK, "The link")) if re.match(r"\d", cell)]
    named = {int(code) for cell in cells for code in re.findall(r"\d+", cell)}
    assert len(named) > 40
    assert named - set(CODES) == set()


# --- links ----------------------------------------------------------------------------------------


def anchors(document: Path) -> set[str]:
    """The anchors of a document's headings, as the usual sites make them."""
    heads = re.findall(r"^#+ (.+)$", text_of(document), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", head.lower()).replace(" ", "-") for head in heads}


@pytest.mark.parametrize("document", [GUIDE, RUNBOOK, README], ids=lambda path: path.name)
def test_every_link_leads_to_a_file_and_to_a_heading_of_it(document: Path) -> None:
    wrong = []
    for link in re.findall(r"\]\(([^):]+)\)", text_of(document)):
        file, _, anchor = link.partition("#")
        target = (document.parent / file).resolve() if file else document
        if not target.exists() or (anchor and anchor not in anchors(target)):
            wrong.append(link)
    assert wrong == []


@pytest.mark.parametrize("document", [GUIDE, RUNBOOK], ids=lambda path: path.name)
def test_every_file_that_is_named_is_there(document: Path) -> None:
    named = re.findall(r"`((?:scripts|protocol|actors|tests)/[\w./]+)`", text_of(document))
    assert [name for name in named if not (ROOT / name).exists()] == []
