"""The machine that Ringfence runs on, as far as it changes the way to TWS: WSL, containers, gateways.

Read from the texts that Linux offers about itself; who fetches them is `actors/doctor_machine`.
"""

from __future__ import annotations

import enum
import ipaddress
import re

import attrs

from protocol.doctor import Check, Finding, ok, warn
from protocol.doctor_advice import SETTINGS_PAGE, USUAL_PORTS

DOCKER_HOST = "host.docker.internal"


class MachineKind(enum.Enum):
    PLAIN = "no container and no WSL"
    WSL1 = "WSL 1"
    WSL2 = "WSL 2"
    CONTAINER = "a container"


@attrs.frozen(kw_only=True)
class MachineTexts:
    """What the system says about itself; empty where it says nothing."""

    version: str = ""
    """`/proc/version`."""
    cgroup: str = ""
    """`/proc/1/cgroup`."""
    routes: str = ""
    """`/proc/net/route`."""
    container_file: bool = False
    """`/.dockerenv` or `/run/.containerenv` is there."""
    wsl_distribution: str = ""
    """The variable `WSL_DISTRO_NAME`."""
    own_address: str = ""
    """The address that a connection out of here would come from."""


@attrs.frozen(kw_only=True)
class Machine:
    kind: MachineKind
    gateway: str = ""
    """The default gateway: in WSL 2 the Windows machine, in Docker the host."""
    docker_host_address: str = ""
    """What `host.docker.internal` resolves to; empty where the name is not known."""
    own_address: str = ""

    @property
    def host_address(self) -> str:
        """Where programs of the surrounding machine are reached from here; empty when it is this one."""
        match self.kind:
            case MachineKind.WSL2:
                return self.gateway
            case MachineKind.CONTAINER:
                return DOCKER_HOST if self.docker_host_address else self.gateway
            case MachineKind.PLAIN | MachineKind.WSL1:
                return ""


def read_machine(texts: MachineTexts) -> Machine:
    return Machine(
        kind=_kind(texts),
        gateway=default_gateway(texts.routes),
        own_address=texts.own_address,
    )


def _kind(texts: MachineTexts) -> MachineKind:
    # A container inside WSL has both signs, and the container is what lies nearer.
    if texts.container_file or re.search(r"docker|containerd|kubepods|libpod|lxc", texts.cgroup):
        return MachineKind.CONTAINER
    said = texts.version.lower()
    if "microsoft" in said or texts.wsl_distribution:
        # WSL 1 calls itself "Microsoft" with a Windows build number; WSL 2 is a kernel "microsoft-standard".
        return (
            MachineKind.WSL1
            if "microsoft" in said and "standard" not in said and "wsl2" not in said
            else MachineKind.WSL2
        )
    return MachineKind.PLAIN


def default_gateway(routes: str) -> str:
    """The gateway of the default route in `/proc/net/route`, whose addresses are little-endian hex."""
    for line in routes.splitlines()[1:]:
        fields = line.split()
        if len(fields) > 7 and fields[1] == "00000000" and fields[7] == "00000000":
            try:
                address = ipaddress.ip_address(bytes.fromhex(fields[2])[::-1])
            except ValueError:
                continue
            if int(address):
                return str(address)
    return ""


def is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def judge_machine(machine: Machine, host: str, port: int, *, port_open: bool) -> Finding:
    """Whether `host` can mean a TWS outside of here, and what TWS has to be told about us."""
    if machine.kind is MachineKind.PLAIN:
        return ok(Check.MACHINE, machine.kind.value)
    if machine.kind is MachineKind.WSL1:
        return ok(Check.MACHINE, "WSL 1: 127.0.0.1 is the Windows machine, too")
    where = machine.kind.value
    outside = machine.host_address
    if not is_loopback(host):
        return ok(Check.MACHINE, f"{where}; TWS is asked at {host}, as it has to be")
    if port_open:
        return ok(Check.MACHINE, f"{where}; what listens at {host}:{port} runs inside of it")
    text = f"this is {where}, and {host} means the inside of it, not the machine around it"
    return warn(Check.MACHINE, text, *outside_advice(machine, port), subject=outside)


def outside_advice(machine: Machine, port: int) -> tuple[str, ...]:
    """How TWS on the surrounding machine is reached from here."""
    outside = machine.host_address
    seen_as = machine.own_address or "the address that this machine has there"
    trusted = (
        f"TWS: {SETTINGS_PAGE}: “Allow connections from localhost only” off",
        f"TWS: Trusted IPs must hold {seen_as} (`hostname -I` says it again after a restart)",
        f"the firewall of that machine must let TCP port {port} in",
    )
    match machine.kind:
        case MachineKind.WSL2:
            return (
                f"TWS in Windows: --tws {outside or 'GATEWAY'}:{port} (`ip route show default` names it)",
                *trusted,
                "or set networkingMode=mirrored under [wsl2] in .wslconfig: then 127.0.0.1 is Windows, too",
            )
        case MachineKind.CONTAINER:
            started = (
                ()
                if machine.docker_host_address
                else (
                    f"start the container with --add-host={DOCKER_HOST}:host-gateway, or with --network host",
                )
            )
            return (f"TWS on the host: --tws {outside or DOCKER_HOST}:{port}", *started, *trusted)
        case MachineKind.PLAIN | MachineKind.WSL1:
            return ()


def others_listening(open_ports: tuple[int, ...], host: str) -> tuple[str, ...]:
    """Advice from the usual ports that are open at `host`."""
    return tuple(
        f"{host}:{port} is open: by default {USUAL_PORTS[port]}; --tws {host}:{port}" for port in open_ports
    )
