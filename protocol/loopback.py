"""Whether an address is this very machine, where nothing that is said can be overheard from outside."""

from __future__ import annotations

import ipaddress


def is_loopback(host: str) -> bool:
    """Whether `host` names the loopback interface. A name other than `localhost` could mean anything."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
