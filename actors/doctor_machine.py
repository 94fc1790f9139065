"""What the examination asks of this machine: files, ports, and what kind of machine it is."""

from __future__ import annotations

import fcntl
import os
import shutil
import socket
import sqlite3
import stat
from collections.abc import Iterable
from pathlib import Path

import attrs
import trio

from actors.config_files import read_secret
from actors.event_log import EventLog, NoJournal
from actors.journal import LOCK
from protocol.alert_settings import AlertChannel
from protocol.config import ConfigFaults
from protocol.control_events import KillLevelEvent
from protocol.doctor import Check, Finding, fail, ok, skip, warn
from protocol.doctor_advice import USUAL_PORTS
from protocol.doctor_machine import DOCKER_HOST, Machine, MachineKind, MachineTexts, read_machine
from protocol.journal import UnreadableRow
from protocol.risk.words import KillLevel
from protocol.settings import Settings
from protocol.source_settings import FileSource, HttpSource, Source, WebhookSource, WebSocketSource

LOOK_LOOP_S = 0.5
"""For a port that may be filtered; one that is open or closed says so at once."""
RESOLVE_LOOP_S = 2.0
MIN_DISK_BYTES, LOW_DISK_BYTES = 100_000_000, 1_000_000_000
KILL_FILE = "KILL"

_NETWORK_FILE_SYSTEMS = frozenset(
    {"9p", "cifs", "drvfs", "fuse.sshfs", "nfs", "nfs4", "smb3", "smbfs", "v9fs"}
)


# --- secrets ----------------------------------------------------------------------------------------


def secret_variables(settings: Settings) -> tuple[tuple[str, str], ...]:
    """(who needs it, variable) of every secret that the configuration names."""
    named = [(f"signals.{source.name}", variable) for source in settings.sources for variable in _of(source)]
    for channel in settings.alerts:
        named += [(f"alerts.{channel.name}", variable) for variable in _of_channel(channel)]
    return tuple(named)


def _of(source: Source) -> tuple[str, ...]:
    match source:
        case HttpSource(url=url, api_key_env=variable):
            return (variable,) if url else ()
        case WebSocketSource(token_env=variable) | WebhookSource(secret_env=variable):
            return (variable,) if variable else ()
        case FileSource():
            return ()


def _of_channel(channel: AlertChannel) -> tuple[str, ...]:
    return tuple(filter(None, (channel.url_env, channel.token_env)))


def examine_secrets(settings: Settings) -> tuple[Finding, ...]:
    """Whether each secret is there. None of them is ever said."""
    findings = []
    for owner, variable in secret_variables(settings):
        try:
            found = read_secret(variable)
        except ConfigFaults as faults:
            findings.append(fail(Check.SECRETS, "; ".join(faults.faults), subject=owner))
            continue
        if found is None:
            findings.append(
                fail(
                    Check.SECRETS,
                    f"{variable} is not set",
                    f"export {variable}=…, or {variable}_FILE=PATH of a file with mode 0600",
                    subject=owner,
                )
            )
        else:
            where = variable if variable in os.environ else f"the file of {variable}_FILE"
            findings.append(ok(Check.SECRETS, f"{where} is set", owner))
    return tuple(findings) or (skip(Check.SECRETS, "the configuration names none"),)


# --- state folder -----------------------------------------------------------------------------------


def examine_state(folder: Path) -> Finding:
    """Whether a run could keep its journal there, now."""
    subject = str(folder)
    standing = _standing(folder)
    if not standing.is_dir():
        return fail(
            Check.STATE, f"{standing} is not a folder", "choose another one with --state", subject=subject
        )
    if not os.access(standing, os.W_OK | os.X_OK):
        return fail(
            Check.STATE, f"{standing} may not be written", "choose another one with --state", subject=subject
        )
    kind = file_system(standing)
    if kind in _NETWORK_FILE_SYSTEMS:
        return fail(
            Check.STATE,
            f"{standing} is on {kind}: the journal needs a file system of this machine",
            "choose a folder under your home with --state",
            subject=subject,
        )
    if not folder.exists():
        return ok(Check.STATE, "not there yet; a run makes it", subject)
    owner = holder(folder)
    if owner is not None:
        return fail(
            Check.STATE,
            f"in use by process {owner}: a run is trading on it",
            "stop that run before another one starts; to ask it something: scripts/supervisor.py status",
            subject=subject,
        )
    if (folder / KILL_FILE).exists():
        return warn(
            Check.STATE,
            f"the file {KILL_FILE} lies there: a run is halted by it",
            "remove it when its reason is gone, and lower the kill level with a reason",
            subject=subject,
        )
    held = kill_level(folder)
    if held is not None and held.level >= KillLevel.REDUCE:
        named = KillLevel(held.level).name
        return warn(
            Check.STATE,
            f"kill level {named} holds since {held.at:%Y-%m-%d %H:%M} UTC, by {held.who}: {held.why}",
            "a run that starts here enters nothing until a person lowers it, with a reason",
            subject=subject,
        )
    if stat.S_IMODE(folder.stat().st_mode) & 0o077:
        return warn(
            Check.STATE,
            "others may look into it; a run makes it yours alone",
            f"chmod 700 {folder}",
            subject=subject,
        )
    return ok(Check.STATE, "usable, and nobody uses it", subject)


def holder(folder: Path) -> str | None:
    """Who holds the lock of a state folder; None for nobody."""
    try:
        descriptor = os.open(folder / LOCK, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
    except OSError:
        return None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return os.pread(descriptor, 32, 0).decode("ascii", "replace").strip() or "unknown"
    finally:
        os.close(descriptor)
    return None


def kill_level(folder: Path) -> KillLevelEvent | None:
    """The last word on the kill level in a folder's journal; None where there is none to read."""
    try:
        with EventLog.open(folder) as log:
            events = [row.event for row in log.rows(kinds=(KillLevelEvent.__name__,))]
    except (NoJournal, UnreadableRow, sqlite3.Error):
        # What is wrong with a journal is said when a run opens it.
        return None
    last = events[-1] if events else None
    return last if isinstance(last, KillLevelEvent) else None


def _standing(path: Path) -> Path:
    """The path itself, or what there is of it."""
    return next(above for above in (path.absolute(), *path.absolute().parents) if above.exists())


def file_system(path: Path, mounts: str | None = None) -> str:
    """The type of the file system that holds `path`; "" where the system does not say."""
    text = _text("/proc/self/mounts") if mounts is None else mounts
    real = str(path.resolve())
    best = ("", "")
    for line in text.splitlines():
        fields = line.split()
        if len(fields) < 3:
            continue
        point = fields[1].replace("\\040", " ")
        within = real == point or real.startswith(point.rstrip("/") + "/")
        if within and len(point) >= len(best[0]):
            best = (point, fields[2])
    return best[1]


def examine_disk(folder: Path) -> Finding:
    free = shutil.disk_usage(_standing(folder)).free
    text = f"{free / 1e9:.1f} GB free"
    if free < MIN_DISK_BYTES:
        return fail(Check.DISK, text, "make room: a full disk halts trading", subject=str(folder))
    if free < LOW_DISK_BYTES:
        return warn(Check.DISK, text, "a busy day writes some hundred MB of journal", subject=str(folder))
    return ok(Check.DISK, text)


# --- the machine --------------------------------------------------------------------------------------


async def look_at_machine() -> Machine:
    machine = read_machine(
        MachineTexts(
            version=_text("/proc/version"),
            cgroup=_text("/proc/1/cgroup"),
            routes=_text("/proc/net/route"),
            container_file=Path("/.dockerenv").exists() or Path("/run/.containerenv").exists(),
            wsl_distribution=os.environ.get("WSL_DISTRO_NAME", ""),
            own_address=_own_address(),
        )
    )
    if machine.kind is MachineKind.CONTAINER:
        machine = attrs.evolve(machine, docker_host_address=await _resolve(DOCKER_HOST))
    return machine


def _text(path: str) -> str:
    try:
        return Path(path).read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""


async def _resolve(name: str) -> str:
    with trio.move_on_after(RESOLVE_LOOP_S):
        try:
            found = await trio.socket.getaddrinfo(name, None, family=socket.AF_INET, type=socket.SOCK_STREAM)
        except OSError:
            return ""
        return str(found[0][4][0]) if found else ""
    return ""


def _own_address() -> str:
    """The address of the way out. A connected datagram socket sends nothing."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as out:
        try:
            out.connect(("192.0.2.1", 9))
        except OSError:
            return ""
        return str(out.getsockname()[0])


# --- ports --------------------------------------------------------------------------------------------


@attrs.frozen
class PortSeen:
    """`problem` empty: something listens."""

    problem: str = ""

    @property
    def open(self) -> bool:
        return not self.problem


async def look_at_port(host: str, port: int, within_loop_s: float) -> PortSeen:
    with trio.move_on_after(within_loop_s):
        try:
            stream = await trio.open_tcp_stream(host, port)
        except socket.gaierror as problem:
            return PortSeen(f"{host} is no known name: {problem.strerror}")
        except OSError as problem:
            return PortSeen(_reason(problem))
        await trio.aclose_forcefully(stream)
        return PortSeen()
    return PortSeen(f"no answer within {within_loop_s:g} s: a firewall, or no such machine")


def _reason(problem: OSError) -> str:
    """The first cause; trio puts those of several addresses together."""
    cause: BaseException = problem
    while cause.__cause__ is not None or isinstance(cause, BaseExceptionGroup):
        cause = cause.exceptions[0] if isinstance(cause, BaseExceptionGroup) else cause.__cause__  # type: ignore[assignment]
    if isinstance(cause, ConnectionRefusedError):
        return "nothing listens there"
    return cause.strerror or str(cause) if isinstance(cause, OSError) else str(cause)


async def open_usual_ports(host: str, besides: Iterable[int] = ()) -> tuple[int, ...]:
    """Which of TWS's usual ports are open at `host`."""
    skipped = set(besides)
    return tuple(
        [
            port
            for port in USUAL_PORTS
            if port not in skipped and (await look_at_port(host, port, LOOK_LOOP_S)).open
        ]
    )
