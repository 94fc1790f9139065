"""The laws of the house, read from the source: who may import what, catch what, and how large a room is.

Each test names every place that breaks its law, as `file:line: what`.
"""

from __future__ import annotations

import ast
import functools
import re
import typing
from collections.abc import Iterable, Iterator
from pathlib import Path

import attrs
import pytest

from protocol import commands, events, reports

ROOT = Path(__file__).parent.parent
FOLDERS = ("actors", "protocol", "scripts", "tests")

TOP_LEVEL = frozenset({"actors", "protocol", "scripts", "tests", "pyproject.toml", "README.md", "LICENSE"})
MADE_BY_TOOLS = re.compile(r"\..*|__pycache__|build|dist|.*\.egg-info")

PURE_MODULES = frozenset(
    {
        "__future__",
        "abc",
        "array",
        "ast",
        "attrs",
        "bisect",
        "cattrs",
        "collections",
        "datetime",
        "decimal",
        "difflib",
        "enum",
        "fractions",
        "functools",
        "hashlib",
        "heapq",
        "hmac",
        "holidays",
        "ipaddress",
        "itertools",
        "math",
        "operator",
        "orjson",
        "protocol",
        "random",
        "re",
        "statistics",
        "string",
        "struct",
        "talipp",
        "types",
        "typing",
        "urllib.parse",
        "zoneinfo",
    }
)
"""What `protocol/` may import: data and arithmetic; nothing that waits, reads a clock or does IO.

talipp is arithmetic, too: indicators in pure Python, without a dependency.
"""

CATCHES_EVERYTHING = frozenset({"actors/supervisor.py", "actors/tws_codec.py"})
"""The supervisor turns deaths into decisions; what ibapi cannot decode becomes an event."""
IMPORTS_IBAPI = frozenset({"actors/tws_codec.py", "actors/tws_thread.py"})
OPENS_NURSERIES = {
    "actors/supervisor.py": "the actors",
    "actors/flow_api.py": "the requests of the embedded server, beside its shutdown",
    "actors/simulated_tws.py": "the clients of the simulated TWS",
    "actors/signals.py": "requests in flight of one poll",
    "actors/websocket_connection.py": "the reader of one connection and its watches, which end together",
    "actors/webhook_source.py": "the connections of the receiver, beside the one task that judges",
    "actors/broker.py": "reading and writing of one link, which end together",
    "actors/simulation.py": "the tree and the simulator beside it, while a story is told",
    "scripts/tws_simulator.py": "the simulated TWS, until a signal ends it",
    "scripts/bench.py": "the actors that are measured",
    "scripts/bench_load.py": "the clients that load the simulated TWS",
    "actors/custodian.py": "its mail, beside its watch",
    "actors/alerts.py": "the last words of all channels at an end, so that none waits for another",
    "actors/chaos_episode.py": "the simulator, one life of the tree after another, and what is done to them",
    "actors/run.py": "the tree and the simulator beside it, until something ends the run",
    "actors/doctor_program.py": "the examination, and the signals that end it",
}

MAX_FILE_LINES = 500
MAX_FUNCTION_LINES = 70
# Spelled in two parts, so that this file does not break the laws it states.
MARKS = re.compile("|".join((r"\bTO" + "DO", r"\bFIX" + "ME", r"\bXX" + r"X\b", r"\bHA" + r"CK\b")))
FOREIGN_PATH = "/wo" + "rk/"
EMOJI = re.compile("[\U0001f000-\U0001faff☀-⛿✅✨❌❗️]")
WEAK_NAMES = re.compile(r"(Manager|Handler|Utils?|Helpers?|Unified|Enhanced|V2)($|[A-Z])")


# --- the source -----------------------------------------------------------------------------------


@functools.cache
def sources() -> tuple[tuple[str, str, ast.Module], ...]:
    """(path from the root, text, tree) of every Python file."""
    found = []
    for folder in FOLDERS:
        for path in sorted((ROOT / folder).rglob("*.py")):
            text = path.read_text(encoding="utf-8")
            found.append((path.relative_to(ROOT).as_posix(), text, ast.parse(text)))
    return tuple(found)


def trees(*folders: str) -> Iterator[tuple[str, ast.Module]]:
    for name, _, tree in sources():
        if name.split("/")[0] in folders:
            yield name, tree


@functools.cache
def written_files() -> tuple[tuple[str, str], ...]:
    """(path, text) of everything that a person reads: code, documents, configurations, shell."""
    found = [(name, text) for name, text, _ in sources()]
    others = [ROOT / name for name in ("README.md", "pyproject.toml", ".ci/run")]
    for folder in FOLDERS:
        others += [
            path for path in sorted((ROOT / folder).rglob("*")) if path.suffix in (".md", ".toml", ".sh")
        ]
    others += [ROOT / "scripts" / name for name in ("run", "test")]
    found += [
        (path.relative_to(ROOT).as_posix(), path.read_text(encoding="utf-8"))
        for path in others
        if path.is_file()
    ]
    return tuple(found)


def imports(tree: ast.Module) -> Iterator[tuple[int, str]]:
    for node in ast.walk(tree):
        match node:
            case ast.Import(names=names):
                yield from ((node.lineno, alias.name) for alias in names)
            case ast.ImportFrom(module=module, level=level):
                yield node.lineno, "." * level + (module or "")
            case _:
                pass


def root_of(module: str) -> str:
    return module if module == "urllib.parse" else module.split(".")[0]


def named(node: ast.expr | None) -> Iterator[str]:
    """The dotted names in an expression: one, or those of a tuple."""
    match node:
        case ast.Name(id=name):
            yield name
        case ast.Attribute(value=value, attr=attribute):
            yield from (f"{before}.{attribute}" for before in named(value))
        case ast.Tuple(elts=elements):
            for element in elements:
                yield from named(element)
        case _:
            pass


def calls(tree: ast.Module) -> Iterator[tuple[int, str]]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            yield from ((node.lineno, name) for name in named(node.func))


def hold(faults: Iterable[str]) -> None:
    """The law that these places break does not hold; without any it does."""
    found = list(faults)
    assert not found, "\n" + "\n".join(found)


# --- two storeys ----------------------------------------------------------------------------------


def test_the_protocol_imports_only_what_is_pure() -> None:
    hold(
        f"{name}:{line}: imports {module}"
        for name, tree in trees("protocol")
        for line, module in imports(tree)
        if root_of(module) not in PURE_MODULES
    )


CLOCKS = re.compile(r"(datetime\.|date\.|time\.)*(datetime|date)\.(now|utcnow|today)")
READS_OR_WRITES = frozenset({"open", "print", "input"})


def chances(tree: ast.Module) -> Iterator[tuple[int, str]]:
    """Uses of the one generator that all modules share, instead of a seeded `Random` that was handed in."""
    shared = any(module == "random" for node in ast.walk(tree) for module in plainly_imported(node))
    for node in ast.walk(tree):
        match node:
            case ast.ImportFrom(module="random", names=names):
                yield from ((node.lineno, alias.name) for alias in names if alias.name != "Random")
            case ast.Attribute(value=ast.Name(id="random"), attr=used) if shared and used != "Random":
                yield node.lineno, f"random.{used}"
            case _:
                pass


def plainly_imported(node: ast.AST) -> tuple[str, ...]:
    return tuple(alias.name for alias in node.names) if isinstance(node, ast.Import) else ()


def test_the_protocol_reads_no_clock_no_chance_and_no_file() -> None:
    hold(
        f"{name}:{line}: calls {called}"
        for name, tree in trees("protocol")
        for line, called in calls(tree)
        if CLOCKS.fullmatch(called) or called in READS_OR_WRITES
    )
    hold(f"{name}:{line}: uses {used}" for name, tree in trees("protocol") for line, used in chances(tree))


def test_imports_point_one_way() -> None:
    above = {
        "protocol": ("actors", "scripts", "tests"),
        "actors": ("scripts", "tests"),
        "scripts": ("tests",),
    }
    hold(
        f"{name}:{line}: imports {module}"
        for folder, forbidden in above.items()
        for name, tree in trees(folder)
        for line, module in imports(tree)
        if root_of(module) in forbidden
    )


def test_only_the_files_of_the_tws_thread_import_ibapi() -> None:
    hold(
        f"{name}:{line}: imports {module}"
        for name, tree in trees("actors", "protocol", "scripts")
        for line, module in imports(tree)
        if root_of(module) == "ibapi" and name not in IMPORTS_IBAPI
    )


def test_nobody_uses_asyncio() -> None:
    hold(
        f"{name}:{line}: imports {module}"
        for name, tree in trees(*FOLDERS)
        for line, module in imports(tree)
        if root_of(module) == "asyncio"
    )


# --- life and death -------------------------------------------------------------------------------


def broad_catches(tree: ast.Module) -> Iterator[int]:
    broad = {"Exception", "BaseException", "ExceptionGroup", "BaseExceptionGroup"}
    for node in ast.walk(tree):
        match node:
            case ast.ExceptHandler(body=[*_, ast.Raise(exc=None)]):
                pass  # Cleans up and lets it go on: nothing is swallowed.
            case ast.ExceptHandler(type=caught):
                if caught is None or broad & set(named(caught)):
                    yield node.lineno
            case ast.Call(func=function, args=arguments):
                suppressed = {name for argument in arguments for name in named(argument)}
                if "contextlib.suppress" in named(function) and broad & suppressed:
                    yield node.lineno
            case _:
                pass


def test_only_the_supervisor_and_the_decode_call_catch_everything() -> None:
    hold(
        f"{name}:{line}: catches everything"
        for name, tree in trees("actors", "protocol", "scripts")
        for line in broad_catches(tree)
        if name not in CATCHES_EVERYTHING
    )


def test_nurseries_are_opened_only_where_this_list_says_what_for() -> None:
    hold(
        f"{name}:{line}: opens a nursery"
        for name, tree in trees("actors", "protocol", "scripts")
        for line, called in calls(tree)
        if called.split(".")[-1] == "open_nursery" and name not in OPENS_NURSERIES
    )


# --- what travels ---------------------------------------------------------------------------------


def is_frozen(node: ast.ClassDef) -> bool:
    decorators = [
        decorator.func if isinstance(decorator, ast.Call) else decorator for decorator in node.decorator_list
    ]
    return "attrs.frozen" in {name for decorator in decorators for name in named(decorator)}


def is_enumeration(node: ast.ClassDef) -> bool:
    return any(name.startswith("enum.") for base in node.bases for name in named(base))


def is_face(node: ast.ClassDef) -> bool:
    """What somebody has to offer, not a message."""
    return "Protocol" in {name for base in node.bases for name in named(base)}


def test_everything_that_travels_is_a_frozen_attrs_class() -> None:
    travelling = {
        "protocol/events.py", "protocol/control_events.py", "protocol/control_requests.py",
        "protocol/control_answers.py", "protocol/source_settings.py",
        "protocol/alert_settings.py", "protocol/risk/words.py", "protocol/risk/settings.py",
        "protocol/reports.py", "protocol/commands.py", "protocol/settings.py",
    }  # fmt: skip
    hold(
        f"{name}:{node.lineno}: {node.name} is not frozen"
        for name, tree in trees("protocol")
        if name in travelling
        for node in tree.body
        if isinstance(node, ast.ClassDef)
        if not is_enumeration(node) and not is_face(node) and not is_frozen(node)
    )


def classes_of(module: object) -> set[type]:
    return {
        found
        for found in vars(module).values()
        if isinstance(found, type)
        and attrs.has(found)
        and found.__module__ == getattr(module, "__name__", "")
    }


def test_the_unions_of_reports_and_commands_are_closed() -> None:
    assert set(typing.get_args(reports.Report)) == classes_of(reports)
    said = {*typing.get_args(commands.BrokerCommand), *typing.get_args(commands.SymbolCommand)}
    assert said == classes_of(commands)


def test_every_event_belongs_to_the_one_hierarchy() -> None:
    assert [found for found in classes_of(events) if not issubclass(found, events.BaseEvent)] == []


# --- small rooms ----------------------------------------------------------------------------------


def test_no_file_is_longer_than_a_person_reads_at_once() -> None:
    lengths = [(name, len(text.splitlines())) for name, text, _ in sources()]
    hold(f"{name}: {length} lines" for name, length in lengths if length > MAX_FILE_LINES)


def test_no_function_is_longer_than_a_screen() -> None:
    hold(
        f"{name}:{node.lineno}: {node.name} has {node.end_lineno - node.lineno + 1} lines"
        for name, tree in trees(*FOLDERS)
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        if node.end_lineno is not None and node.end_lineno - node.lineno >= MAX_FUNCTION_LINES
    )


def test_names_say_what_a_thing_is() -> None:
    hold(
        f"{name}:{node.lineno}: {node.name}"
        for name, tree in trees(*FOLDERS)
        for node in ast.walk(tree)
        if isinstance(node, ast.ClassDef) and WEAK_NAMES.search(node.name)
    )


# --- what is written ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "law", [MARKS, EMOJI, re.compile(FOREIGN_PATH)], ids=["unfinished", "emoji", "somebody's machine"]
)
def test_nothing_written_holds(law: re.Pattern[str]) -> None:
    hold(
        f"{name}:{number}: {found.group()}"
        for name, text in written_files()
        for number, line in enumerate(text.splitlines(), 1)
        if (found := law.search(line)) and not (name == "tests/test_house.py" and "re.compile" in line)
    )


def test_the_top_level_stays_as_it_is() -> None:
    hold(
        path.name
        for path in sorted(ROOT.iterdir())
        if path.name not in TOP_LEVEL and not MADE_BY_TOOLS.fullmatch(path.name)
    )


def test_documents_name_only_files_that_exist() -> None:
    readme = ROOT / "README.md"
    if not readme.exists():
        pytest.skip("there is no README yet")
    path = re.compile(r"`((?:actors|protocol|scripts|tests|\.ci)/[\w./*-]*)")
    documents = [readme, *(file for folder in FOLDERS for file in sorted((ROOT / folder).rglob("*.md")))]
    hold(
        f"{document.relative_to(ROOT)}:{number}: {found}"
        for document in documents
        for number, line in enumerate(document.read_text(encoding="utf-8").splitlines(), 1)
        for found in path.findall(line)
        if not any(ROOT.glob(found.rstrip("/.")))
    )
