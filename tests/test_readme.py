"""The documents are true as far as a machine can tell: what they show is run, what they name exists."""

from __future__ import annotations

import doctest
import os
import re
import subprocess
import sys
from datetime import UTC, datetime
from functools import cache
from pathlib import Path

import orjson
import pytest

from actors import run_end, watchdog
from actors.config_files import load_settings
from actors.flow_api import load_predictions
from actors.market_folder import load_market
from protocol.events import PredictionSignalEvent
from protocol.portfolio import is_portfolio_rule
from protocol.predictions import read_prediction
from protocol.report import RunFacts, report
from protocol.values import Symbol
from tests.journals import fold

ROOT = Path(__file__).parent.parent
README = ROOT / "README.md"
FIDELITY = ROOT / "protocol" / "exchange" / "FIDELITY.md"
DOCUMENTS = (
    README,
    ROOT / "actors" / "README.md",
    ROOT / "protocol" / "README.md",
    FIDELITY,
    ROOT / "scripts" / "examples" / "README.md",
    ROOT / "tests" / "README.md",
)
PROGRAMS = {
    "scripts/run": "scripts/supervisor.py",
    "scripts/supervisor.py": "scripts/supervisor.py",
    "scripts/doctor.py": "scripts/doctor.py",
    "scripts/tws_simulator.py": "scripts/tws_simulator.py",
}
"""The program that a command of the documents starts, by its first word."""
SYMBOL = Symbol("SLV")


def name_of(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def blocks(document: Path, kind: str) -> tuple[str, ...]:
    """The fenced blocks of `document` that say they are `kind`."""
    text = document.read_text(encoding="utf-8")
    return tuple(re.findall(rf"^```{kind}\n(.*?)^```$", text, re.MULTILINE | re.DOTALL))


def shown_commands(document: Path) -> tuple[list[str], ...]:
    lines = "".join(blocks(document, "sh")).splitlines()
    split = (line.partition("#")[0].removeprefix(".venv/bin/python ").split() for line in lines)
    return tuple(words for words in split if words and words[0] in PROGRAMS)


SUB_COMMANDS = ("events", "show", "positions", "signals", "why")


def sub_command(words: list[str]) -> str:
    """The sub-command of a shown command, "" for a run."""
    return words[1] if len(words) > 1 and words[1] in SUB_COMMANDS else ""


@cache
def options_of(program: str, command: str = "") -> frozenset[str]:
    """The options that the program's own help names, or that of one of its sub-commands."""
    helped = subprocess.run(
        [sys.executable, program, *filter(None, [command]), "--help"],
        cwd=ROOT,
        env={**os.environ, "COLUMNS": "200"},
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    return frozenset(re.findall(r"(?<!\w)--?[a-z][a-z-]*", helped.stdout))


# --- commands -------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("document", DOCUMENTS, ids=name_of)
def test_every_option_of_a_shown_command_exists(document: Path) -> None:
    unknown = [
        f"{words[0]} {word}"
        for words in shown_commands(document)
        for word in words[1:]
        if word.startswith("-") and word not in options_of(PROGRAMS[words[0]], sub_command(words))
    ]
    assert unknown == []


@pytest.mark.slow
def test_every_option_that_the_readme_speaks_of_exists() -> None:
    spoken = set(re.findall(r"`(--[a-z][a-z-]*)", README.read_text(encoding="utf-8")))
    known = options_of("scripts/supervisor.py") | options_of("scripts/tws_simulator.py")
    known |= options_of("scripts/doctor.py")
    known |= frozenset().union(*(options_of("scripts/supervisor.py", each) for each in SUB_COMMANDS))
    assert spoken <= known


@pytest.mark.parametrize("document", DOCUMENTS, ids=name_of)
def test_every_file_of_ours_in_a_shown_command_exists(document: Path) -> None:
    shown = re.findall(r"(?:scripts|tests)/[\w./]+", "".join(blocks(document, "sh")))
    assert [word for word in shown if not (ROOT / word).exists()] == []


@pytest.mark.slow
def test_the_configuration_of_the_readme_passes_its_check() -> None:
    checked = subprocess.run(
        [sys.executable, "scripts/supervisor.py", "--broker", "tws", "--tws", "127.0.0.1:7497",
         "--config", "scripts/examples/paper.toml", "--check"],
        cwd=ROOT,
        env={**os.environ, "RINGFENCE_FLOW_API_KEY": "a key"},
        capture_output=True,
        text=True,
        timeout=60,
    )  # fmt: skip
    assert (checked.returncode, checked.stderr) == (0, "")
    assert "a key" not in checked.stdout


# --- configurations, market folders, the report ---------------------------------------------------


def test_the_configuration_of_the_readme_is_the_example_that_it_names(tmp_path: Path) -> None:
    shown, _ = blocks(README, "toml")
    copy = tmp_path / "shown.toml"
    copy.write_text(shown, encoding="utf-8")
    example = ROOT / "scripts" / "examples" / "paper.toml"
    assert example.read_text(encoding="utf-8").endswith(shown)
    assert load_settings([copy], environment={}) == load_settings([example], environment={})


def test_the_rules_of_the_readme_are_rules(tmp_path: Path) -> None:
    _, shown = blocks(README, "toml")
    copy = tmp_path / "rules.toml"
    copy.write_text(shown, encoding="utf-8")
    settings = load_settings([copy], environment={}, offered=(Symbol("SLV"), Symbol("GLD")))
    assert [rule.name for rule in settings.rules] == ["SLV long", "GLD long", "out of steam", "bad day"]
    assert [rule.name for rule in settings.rules if is_portfolio_rule(rule)] == ["bad day"]


def test_the_smallest_folder_of_the_readme_is_a_market_with_a_prediction_in_its_hours(tmp_path: Path) -> None:
    (bars,) = blocks(README, "csv")
    line = next(block for block in blocks(README, "json") if '"ticker"' in block)
    (tmp_path / "SLV.csv").write_text(bars, encoding="utf-8")
    (tmp_path / "signals.jsonl").write_text(line, encoding="utf-8")
    market = load_market(tmp_path)
    stored, faults = load_predictions(tmp_path / "signals.jsonl")
    assert (market.symbols, market.warnings, faults) == (("SLV",), (), ())
    (prediction,) = stored
    at = datetime.fromtimestamp(prediction.timestamp_ms / 1000, UTC)
    signal = read_prediction(orjson.loads(prediction.body), at=at, source="flow")
    assert isinstance(signal, PredictionSignalEvent)
    (session,) = market.sessions
    assert session.start < at < session.end


def keys(value: object) -> object:
    """The shape of a JSON value: its keys, all the way down."""
    if isinstance(value, dict):
        return {key: keys(inner) for key, inner in value.items()}
    return None


def test_the_report_of_the_readme_has_the_keys_of_a_report() -> None:
    shown = next(orjson.loads(block) for block in blocks(README, "json") if '"mode"' in block)
    nothing = report(fold((SYMBOL,), ()), RunFacts(mode="sim", exit="end of replay"))
    written = orjson.loads(orjson.dumps(nothing))
    # Abridged in the README: counts that stand there once, and what this report has nothing to say about.
    for part in ("signals", "orders"):
        shown["totals"][part] = written["totals"][part]
    shown["broker"], shown["latency_us"] = written["broker"], written["latency_us"]
    assert keys(shown) == keys(written)


def test_the_exit_codes_of_the_readme_are_those_of_the_programs() -> None:
    table = README.read_text(encoding="utf-8").partition("## Exit codes")[2].partition("\n## ")[0]
    known = {value for name, value in vars(run_end).items() if name.endswith("_EXIT")}
    known |= {watchdog.EXIT_CHILD_STUCK, watchdog.EXIT_LOOP_STUCK}
    assert {int(code) for code in re.findall(r"^\| (\d+) \|", table, re.MULTILINE)} == known


# --- Python, files, tests -------------------------------------------------------------------------


@pytest.mark.parametrize("document", DOCUMENTS, ids=name_of)
def test_the_python_of_the_documents_runs_as_shown(document: Path) -> None:
    failed, _ = doctest.testfile(str(document), module_relative=False, encoding="utf-8")
    assert failed == 0


@pytest.mark.parametrize("document", DOCUMENTS, ids=name_of)
def test_every_python_file_that_a_document_names_is_there(document: Path) -> None:
    named = re.findall(r"`((?:\w+/)*\w+\.(?:py|toml|md))`", document.read_text(encoding="utf-8"))
    places = (document.parent, ROOT, ROOT / "tests")
    assert [name for name in named if not any((place / name).is_file() for place in places)] == []


@pytest.mark.parametrize("document", DOCUMENTS, ids=name_of)
def test_every_link_leads_somewhere(document: Path) -> None:
    links = re.findall(r"\]\(([^)#:]+)\)", document.read_text(encoding="utf-8"))
    assert [link for link in links if not (document.parent / link).exists()] == []


def vouching_modules() -> dict[str, str]:
    """What the letters of FIDELITY.md mean: `x` `module.py` says which letter, or which two, mean which."""
    text = FIDELITY.read_text(encoding="utf-8")
    return dict(re.findall(r"`(\w\w?)` (?:is |the rule machine in |the rules in )?`(test_\w+\.py)`", text))


def vouching_rows() -> list[tuple[str, str, str]]:
    """Each row of the tables of FIDELITY.md: the behaviour, its source, its tests."""
    lines = FIDELITY.read_text(encoding="utf-8").splitlines()
    rows = [line.strip("| ").split(" | ") for line in lines if line.startswith("| ")]
    assert {len(row) for row in rows} == {3}
    return [(what, source, tests) for what, source, tests in rows if what != "behaviour"]


@cache
def names_in(module: str) -> tuple[str, ...]:
    source = (ROOT / "tests" / module).read_text(encoding="utf-8")
    return tuple(re.findall(r"^(?:async )?def (test_\w+)", source, re.MULTILINE))


def test_every_test_that_vouches_for_the_venue_exists() -> None:
    modules = vouching_modules()
    known = {test for module in modules.values() for test in names_in(module)}
    # A name that is cut short stands for any that begins like it.
    quoted = re.findall(r"`(test_\w+?)(…?)`", FIDELITY.read_text(encoding="utf-8"))
    assert len(quoted) > len(modules) > 0
    missing = [
        name
        for name, more in quoted
        if not (any(test.startswith(name) for test in known) if more else name in known)
    ]
    assert missing == []


def named_tests(cell: str, modules: dict[str, str]) -> tuple[int, list[str]]:
    """How many tests of their modules a cell names, and what in it is no such name: letters, then names."""
    known: tuple[str, ...] = ()
    named, wrong = 0, []
    for word in re.split(r"[,;]? ", cell):
        quoted = re.fullmatch(r"`(test_\w+)(…?)`", word)
        if quoted is None:
            if word in modules:
                known = names_in(modules[word])
            else:
                wrong.append(word)
        elif any(test == quoted[1] or (quoted[2] and test.startswith(quoted[1])) for test in known):
            named += 1
        else:
            wrong.append(word)
    return named, wrong


def test_every_row_about_the_venue_names_a_test_of_the_module_that_its_letter_means() -> None:
    modules, rows = vouching_modules(), vouching_rows()
    assert len(rows) > 100
    faults = []
    for what, source, tests in rows:
        named, wrong = named_tests(tests, modules)
        if source == "not imitated" and tests == "–":
            continue
        if wrong or not named:
            faults.append((what, wrong))
    assert faults == []


def test_a_row_that_names_no_test_of_its_module_is_found() -> None:
    modules = {"c": "test_replay_clock.py", "r": "test_venue_rules.py"}
    closed = "test_closed_hours…"
    assert named_tests(f"c `{closed}`; r", modules) == (1, [])
    assert named_tests("–", modules) == (0, ["–"])
    assert named_tests("c", modules) == (0, [])
    assert named_tests(f"r `{closed}`", modules) == (0, [f"`{closed}`"])
    assert named_tests("c `test_closed_hours`, `…closed…`", modules) == (
        0,
        ["`test_closed_hours`", "`…closed…`"],
    )
