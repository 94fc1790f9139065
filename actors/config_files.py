"""Where the configuration comes from: TOML files, the environment, secrets.

`protocol/config.py` decides what it means; here it is only fetched.
"""

from __future__ import annotations

import os
import stat
import tomllib
from collections.abc import Mapping, Sequence
from decimal import Decimal
from pathlib import Path

from actors.known_secrets import KNOWN
from protocol.config import ConfigFaults, environment_layer, resolve
from protocol.settings import Settings
from protocol.values import Symbol

MAX_FILE_BYTES = 1_000_000
"""A configuration is written by a person; anything longer is another file by mistake."""
_SECRET_FILE_SUFFIX = "_FILE"  # noqa: S105 (the end of a variable's name, not a secret)


def load_settings(
    files: Sequence[Path] = (),
    *,
    environment: Mapping[str, str] | None = None,
    options: Mapping[str, object] | None = None,
    offered: Sequence[Symbol] = (),
    only: Sequence[Symbol] = (),
    live: bool = False,
) -> Settings:
    """The settings of this run. `environment` is the process's own unless given; `options` come last.

    Raises `ConfigFaults` with everything that is wrong: all files that cannot be read at once, then
    everything that they and the environment say wrong.
    """
    layers: list[Mapping[str, object]] = []
    faults: list[str] = []
    for file in files:
        try:
            layers.append(read_toml(file))
        except ConfigFaults as unreadable:
            faults.extend(unreadable.faults)
    try:
        layers.append(environment_layer(os.environ if environment is None else environment))
    except ConfigFaults as misnamed:
        faults.extend(misnamed.faults)
    if options:
        layers.append(options)
    try:
        settings = resolve(layers, offered=offered, only=only, live=live)
    except ConfigFaults as wrong:
        raise ConfigFaults((*faults, *wrong.faults)) from None
    if faults:
        raise ConfigFaults(tuple(faults))
    return settings


def read_toml(file: Path) -> Mapping[str, object]:
    """One file as plain values; numbers with a point stay as exact as they were written."""
    try:
        with file.open("rb") as stream:
            content = stream.read(MAX_FILE_BYTES + 1)
    except OSError as error:
        raise ConfigFaults((f"{file}: cannot be read: {error.strerror}",)) from None
    if len(content) > MAX_FILE_BYTES:
        raise ConfigFaults((f"{file}: longer than {MAX_FILE_BYTES} bytes, no configuration is",))
    try:
        return tomllib.loads(content.decode("utf-8"), parse_float=Decimal)
    except UnicodeDecodeError as error:
        raise ConfigFaults((f"{file}: not UTF-8 text (byte {error.start})",)) from None
    except tomllib.TOMLDecodeError as error:
        raise ConfigFaults((f"{file}: {error}",)) from None


def read_secret(variable: str, environment: Mapping[str, str] | None = None) -> str | None:
    """A secret from the environment, or from the file that `<variable>_FILE` names; None without either.

    The file must be the user's alone (mode 0600). Raises `ConfigFaults`, which never holds the secret. One
    from the process's own environment is from now on taken out of all text that the process writes.
    """
    secret = _secret_of(variable, os.environ if environment is None else environment)
    if secret is not None and environment is None:
        KNOWN.know(secret)
    return secret


def _secret_of(variable: str, variables: Mapping[str, str]) -> str | None:
    if variable in variables:
        return variables[variable].strip() or None
    named = variables.get(variable + _SECRET_FILE_SUFFIX)
    if not named:
        return None
    try:
        with Path(named).open("rb") as stream:
            mode = stat.S_IMODE(os.fstat(stream.fileno()).st_mode)
            if mode & 0o077:
                raise ConfigFaults((f"{named}: others may read this secret; chmod 600 it",))
            content = stream.read(MAX_FILE_BYTES)
    except OSError as error:
        raise ConfigFaults((f"{named}: cannot be read: {error.strerror}",)) from None
    try:
        return content.decode("utf-8").strip() or None
    except UnicodeDecodeError:
        raise ConfigFaults((f"{named}: not UTF-8 text",)) from None
