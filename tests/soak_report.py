"""What a soak has shown: figures, and whatever must not be."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

import attrs
import orjson
from rich.console import Console
from rich.table import Table

from tests.soak_samples import FileSample, Sample, growth_kib_per_min, kinds_of
from tests.truth_checks import Bare, Line, differences, uncovered, while_anybody_was_there

WARM_UP_S: Final = 300.0
MAX_KIB_PER_ORDER: Final = 16.0
"""Every order and execution is known for good (about 1 KiB); at each link-up TWS lists those of the whole day
once more, and for a moment they are all there as messages. Nothing grows with time or with ticks."""
MAX_FDS_MORE: Final = 8.0
MAX_THREADS_MORE: Final = 2.0
"""In the mean, between the first and the last third of an incarnation: threads that look at the disk and
connections of the embedded service come and go, the more of them the slower the machine."""
MAX_BYTES_A_ROW: Final = 2_000.0
MAX_LOG_BYTES: Final = 4 * 1_000_000 + 100_000
"""Four generations of the size that the configuration names, and the line that crosses it."""
MAX_BARE_S: Final = 15.0
"""Covered or flat within so long (INV-01), while the line is in order."""
MAX_STOP_S: Final = 15.0


@attrs.define
class Outcome:
    """What was done and what was weighed. `apart`: spans in which the line was not in order."""

    minutes: float = 0.0
    supervisor: list[Sample] = attrs.field(factory=list)
    simulator: list[Sample] = attrs.field(factory=list)
    files: list[FileSample] = attrs.field(factory=list)
    deeds: Counter[str] = attrs.field(factory=Counter)
    operator: Counter[str] = attrs.field(factory=Counter)
    held: Counter[str] = attrs.field(factory=Counter)
    """Why symbols might not enter, as the operator found them."""
    apart: list[tuple[float, float]] = attrs.field(factory=list)
    kills: int = 0
    ended_by_itself: list[int] = attrs.field(factory=list)
    exit_code: int | None = None
    stop_s: float = 0.0


@attrs.frozen(kw_only=True)
class Figures:
    minutes: float
    kills: int
    deeds: dict[str, int]
    operator: dict[str, int]
    held: dict[str, int]
    orders: int
    executions: int
    supervisor_kib_per_min: float
    supervisor_watched_min: float
    supervisor_kib_per_order: float
    supervisor_rss_mib: tuple[float, float, float]
    """First after the warm-up, largest, last, of the incarnation that was watched longest."""
    simulator_kib_per_min: float
    simulator_rss_mib: tuple[float, float, float]
    supervisor_cpu: float
    """Of one core."""
    simulator_cpu: float
    threads: tuple[float, float, int]
    fds: tuple[float, float, int]
    """In the mean of the first and of the last third of that incarnation, and at most."""
    rows: int
    rows_per_min: float
    bytes_per_row: float
    most_wal_bytes: int
    kinds: dict[str, tuple[int, int]]
    most_log_bytes: int
    said_bytes: int
    bare: dict[str, Bare]
    """In connections whose line was in order."""
    bare_with_faults: dict[str, Bare]
    exit_code: int | None
    stop_s: float


@attrs.frozen
class Found:
    figures: Figures
    faults: tuple[str, ...]


def conclude(outcome: Outcome, all_lines: list[Line], state: Path) -> Found:
    lines = while_anybody_was_there(all_lines)
    figures = _figures(outcome, lines, state)
    faults = (*differences(lines, state), *_too_much(outcome, figures))
    return Found(figures, faults)


def _figures(outcome: Outcome, lines: Sequence[Line], state: Path) -> Figures:
    steady = longest_life(outcome.supervisor)
    growth, watched = growth_kib_per_min(outcome.supervisor, WARM_UP_S)
    files, last = outcome.files, outcome.files[-1]
    orders = len({line["order_ref"] for line in lines if line["kind"] == "order_accepted"})
    return Figures(
        minutes=outcome.minutes,
        kills=outcome.kills,
        deeds=dict(sorted(outcome.deeds.items())),
        operator=dict(sorted(outcome.operator.items())),
        held=dict(sorted(outcome.held.items())),
        orders=orders,
        executions=sum(line["kind"] == "execution" for line in lines),
        supervisor_kib_per_min=growth,
        supervisor_watched_min=watched,
        supervisor_kib_per_order=growth * outcome.minutes / max(1, orders),
        supervisor_rss_mib=_weights(steady),
        simulator_kib_per_min=growth_kib_per_min(outcome.simulator, WARM_UP_S)[0],
        simulator_rss_mib=_weights(outcome.simulator),
        supervisor_cpu=_cpu(steady),
        simulator_cpu=_cpu(outcome.simulator),
        threads=_thirds([sample.threads for sample in steady]),
        fds=_thirds([sample.fds for sample in steady]),
        rows=last.rows,
        rows_per_min=last.rows / outcome.minutes,
        bytes_per_row=last.journal_bytes / max(1, last.rows),
        most_wal_bytes=max(file.wal_bytes for file in files),
        kinds=kinds_of(state / "journal.sqlite3"),
        most_log_bytes=max(file.log_bytes for file in files),
        said_bytes=last.said_bytes,
        bare=uncovered(lines, merged(outcome.apart)),
        bare_with_faults=uncovered(lines),
        exit_code=outcome.exit_code,
        stop_s=outcome.stop_s,
    )


def longest_life(samples: Sequence[Sample]) -> list[Sample]:
    (life, _), *_ = Counter(sample.life for sample in samples).most_common(1)
    return [sample for sample in samples if sample.life == life]


def _warm(samples: Sequence[Sample]) -> list[Sample]:
    warm = [sample for sample in samples if sample.at_s - samples[0].at_s >= WARM_UP_S]
    return warm or list(samples)


def _weights(samples: Sequence[Sample]) -> tuple[float, float, float]:
    mib = [sample.rss_kib / 1024 for sample in _warm(samples)]
    return mib[0], max(mib), mib[-1]


def _thirds(counts: Sequence[int]) -> tuple[float, float, int]:
    third = max(1, len(counts) // 3)
    return sum(counts[:third]) / third, sum(counts[-third:]) / third, max(counts)


def _cpu(samples: Sequence[Sample]) -> float:
    first, last = samples[0], samples[-1]
    return (last.cpu_s - first.cpu_s) / max(1.0, last.at_s - first.at_s)


def merged(spans: Sequence[tuple[float, float]]) -> tuple[tuple[float, float], ...]:
    """In order, those that overlap as one."""
    found: list[tuple[float, float]] = []
    for first, last in sorted(spans):
        if found and first <= found[-1][1]:
            found[-1] = (found[-1][0], max(last, found[-1][1]))
        else:
            found.append((first, last))
    return tuple(found)


def _too_much(outcome: Outcome, figures: Figures) -> Iterator[str]:
    if figures.supervisor_kib_per_order > MAX_KIB_PER_ORDER:
        yield f"the supervisor grows by {figures.supervisor_kib_per_order:.1f} KiB an order"
    if figures.threads[1] > figures.threads[0] + MAX_THREADS_MORE:
        yield f"threads: {figures.threads[0]:.1f} in the mean, later {figures.threads[1]:.1f}"
    if figures.fds[1] > figures.fds[0] + MAX_FDS_MORE:
        yield f"descriptors: {figures.fds[0]:.1f} in the mean, later {figures.fds[1]:.1f}"
    if figures.bytes_per_row > MAX_BYTES_A_ROW:
        yield f"{figures.bytes_per_row:.0f} bytes of journal a row"
    if figures.most_log_bytes > MAX_LOG_BYTES:
        yield f"{figures.most_log_bytes} bytes of log"
    for symbol, bare in sorted(figures.bare.items()):
        if bare.in_all_s > MAX_BARE_S:
            yield f"{symbol} was {bare.in_all_s:.1f} s without its whole stop"
    for code in outcome.ended_by_itself:
        yield f"the supervisor ended by itself with {code}"
    if figures.exit_code != 0:
        yield f"the last life ended with exit code {figures.exit_code}"
    if figures.stop_s > MAX_STOP_S:
        yield f"the clean stop took {figures.stop_s:.1f} s"


# --- for a person ---------------------------------------------------------------------------------


def tell(out: Console, found: Found, file: Path) -> None:
    figures = found.figures
    file.write_bytes(
        orjson.dumps(
            {"faults": found.faults, **attrs.asdict(figures)},
            option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE,
        )
    )
    table = Table("what", "figure")
    for what, figure in _rows(figures):
        table.add_row(what, figure)
    out.print(table)
    for fault in found.faults:
        out.print(f"[red]{fault}[/red]")
    out.print(f"all of it: {file}")


def _rows(figures: Figures) -> Iterator[tuple[str, str]]:
    yield "minutes, kills, deeds", f"{figures.minutes:.1f}, {figures.kills}, {sum(figures.deeds.values())}"
    yield "orders, executions", f"{figures.orders}, {figures.executions}"
    first, most, last = figures.supervisor_rss_mib
    yield "supervisor MiB: warm, most, last", f"{first:.1f}, {most:.1f}, {last:.1f}"
    yield (
        "supervisor growth",
        f"{figures.supervisor_kib_per_min:+.1f} KiB/min over {figures.supervisor_watched_min:.0f} min, "
        f"{figures.supervisor_kib_per_order:+.1f} KiB/order",
    )
    first, most, last = figures.simulator_rss_mib
    yield "simulator MiB: warm, most, last", f"{first:.1f}, {most:.1f}, {last:.1f}"
    yield "simulator growth", f"{figures.simulator_kib_per_min:+.1f} KiB/min"
    yield (
        "CPU of one core: supervisor, simulator",
        f"{figures.supervisor_cpu:.1%}, {figures.simulator_cpu:.1%}",
    )
    for what, (first, last, most) in (("threads", figures.threads), ("descriptors", figures.fds)):
        yield f"{what}: first third, last third, most", f"{first:.1f}, {last:.1f}, {most}"
    yield "journal rows, a minute", f"{figures.rows}, {figures.rows_per_min:.0f}"
    yield "journal bytes a row, WAL at most", f"{figures.bytes_per_row:.0f}, {figures.most_wal_bytes}"
    yield "log bytes at most, said", f"{figures.most_log_bytes}, {figures.said_bytes}"
    in_order = max((bare.in_all_s for bare in figures.bare.values()), default=0.0)
    with_faults = max((bare.in_all_s for bare in figures.bare_with_faults.values()), default=0.0)
    yield "longest bare: line in order, any", f"{in_order:.1f} s, {with_faults:.1f} s"
    yield "clean stop", f"exit {figures.exit_code} after {figures.stop_s:.1f} s"
    for kind, count in sorted(figures.deeds.items()):
        yield f"  {kind}", str(count)
    for kind, count in figures.operator.items():
        yield f"  operator: {kind}", str(count)
    for kind, (count, size) in list(figures.kinds.items())[:8]:
        yield f"  journal: {kind}", f"{count} rows, {size} bytes"
