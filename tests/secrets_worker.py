"""A program: the trading system with an actor at the edge that holds keys, tells them and dies of them."""

from __future__ import annotations

import logging
import ssl
import sys
from pathlib import Path
from typing import NoReturn

import attrs
import httpx2
import structlog
import trio

from actors.known_secrets import guard_process
from actors.logs import close_log, set_up_log
from actors.run import Run
from actors.run_options import Plan, RunOptions, resolve
from actors.system import Edge, TradingSystem

READY = "the leaks have been tried"


@attrs.frozen
class Keys:
    """All of them as plain texts, as careless code would hold them."""

    texts: tuple[str, ...]


async def leak(keys: Keys) -> None:
    """What careless code does with a key: log it, log what failed with it, die of it."""
    log = structlog.get_logger("run")
    async with httpx2.AsyncClient(verify=ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)) as client:
        for key in keys.texts:
            log.warning(f"using key {key}", headers={"X-API-Key": key}, bearer=f"Bearer {key}")
            logging.getLogger("careless").error("GET https://user:%s@host/x?api_key=%s", key, key)
            try:
                await client.get(f"http://127.0.0.1:9/bot{key}/x?key={key}", headers={"X-API-Key": key})
            except httpx2.HTTPError as error:
                log.error("request failed", request=repr(error.request.url), error=repr(error), exc_info=True)
    _crash(keys.texts)


def _crash(local_variable: tuple[str, ...]) -> NoReturn:
    raise ValueError(f"cannot use {local_variable!r}")


def main(config: Path, state: Path, report: Path, form: str) -> int:
    guard_process()
    options = RunOptions(config=(config,), state=state, report=report, duration_s=20.0)
    plan = resolve(options)
    set_up_log(form, verbose=True, settings=plan.settings.log)
    keys = Keys((*(secret.reveal() for _, secret in plan.sources + plan.channels), plan.service_key))
    tries = 0

    async def careless(_epoch: int, task_status: trio.TaskStatus[None]) -> None:
        nonlocal tries
        task_status.started()
        tries += 1
        if tries > 2:
            print(READY, flush=True)
            await trio.sleep_forever()
        await leak(keys)

    def add(system: TradingSystem) -> None:
        system.edges.append(Edge(id="careless", start=careless))
        system.alarm("CARELESS", f"an alarm that names {keys.texts}")

    run = Run(plan, prepare_system=add)
    trio.run(run.run)
    structlog.get_logger("run").error("the plan was", plan=repr(_without_rules(plan)))
    print(_without_rules(plan), flush=True)
    close_log()
    _crash(keys.texts)


def _without_rules(plan: Plan) -> Plan:
    return attrs.evolve(plan, settings=attrs.evolve(plan.settings, rules=()))


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), Path(sys.argv[3]), sys.argv[4])
