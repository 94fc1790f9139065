"""The verdicts of many episodes added up, and what is to be said of them all."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from statistics import median
from typing import Final

import attrs

from protocol.chaos.defects import DefectKind
from protocol.chaos.plan import CrashPoint, DiskFault, Victim
from protocol.chaos.signals import SignalKind
from protocol.chaos.verdict import EpisodeVerdict
from protocol.exchange.faults import KINDS
from protocol.journal_checks import Violation
from protocol.risk.words import KillLevel

ENOUGH_SEEDS: Final = 200
"""From so many on, a run in which some kind of fault never fired proves less than it seems to."""
PAUSED: Final = "machine_paused"
ALL_KINDS: Final = (
    *sorted(KINDS), *(point.value for point in CrashPoint), *(victim.value for victim in Victim),
    *(fault.value for fault in DiskFault), PAUSED, *(kind.value for kind in DefectKind),
    *(f"kill_level_{level.name.lower()}" for level in tuple(KillLevel)[1:]),
    *(kind.value for kind in SignalKind if kind is not SignalKind.GENUINE),
)  # fmt: skip
"""Everything that is done to the system. A victim that the tree does not have cannot be killed, and counts
as absent once nobody has seen it."""


@attrs.frozen(kw_only=True)
class EpisodeResult:
    """One seed's. `failed`: the episode itself broke off, with these words."""

    seed: int
    verdict: EpisodeVerdict
    trace_hash: str
    entries: int
    wall_s: float
    failed: str = ""


class Tally:
    """Add results in any order; everything that is told of them is in the order of seeds."""

    def __init__(self) -> None:
        self._results: dict[int, EpisodeResult] = {}

    def add(self, result: EpisodeResult) -> None:
        self._results[result.seed] = result

    @property
    def results(self) -> tuple[EpisodeResult, ...]:
        return tuple(self._results[seed] for seed in sorted(self._results))

    @property
    def violations(self) -> tuple[tuple[int, Violation], ...]:
        return tuple((one.seed, each) for one in self.results for each in one.verdict.violations)

    @property
    def never_fired(self) -> tuple[str, ...]:
        """Kinds that a run of this length must have seen, and has not; also those seen only while flat."""
        if len(self._results) < ENOUGH_SEEDS:
            return ()
        fired = self.sums("faults")
        return tuple(kind for kind in ALL_KINDS if not fired.get(kind))

    def sums(self, name: str) -> dict[str, int]:
        """One of the counts of the verdicts, by kind, over all seeds."""
        return _sums(getattr(one.verdict, name) for one in self.results)

    def to_dict(self, elapsed_s: float) -> dict[str, object]:
        """What the script writes as JSON; `elapsed_s` is what the whole run took."""
        results = self.results
        verdicts = [one.verdict for one in results]
        faults = self.sums("faults")
        return {
            "seeds": len(results),
            "violations": [
                {"seed": seed, "invariant": each.invariant, "at": each.at.isoformat(), "what": each.what}
                for seed, each in self.violations
            ],
            "faults": {kind: faults.get(kind, 0) for kind in dict.fromkeys((*ALL_KINDS, *faults))},
            "faults_while_open": self.sums("faults_open"),
            "invariants": self.sums("invariants"),
            "worst_uncovered_s": round(max((one.worst_uncovered_s for one in verdicts), default=0.0), 3),
            "worst_ready_s": round(max((one.slowest_ready_s for one in verdicts), default=0.0), 3),
            "worst_convergence_s": max((one.converged_s or 0.0 for one in verdicts), default=0.0),
            "kills": sum(one.kills for one in verdicts),
            "crashes": sum(one.crashes for one in verdicts),
            "restarts": sum(one.restarts for one in verdicts),
            "trades": sum(one.trades for one in verdicts),
            "median_trades": median([one.trades for one in verdicts] or [0]),
            "median_faults": median([sum(one.faults.values()) for one in verdicts] or [0]),
            "never_fired": list(self.never_fired),
            "trace_hash": {str(one.seed): one.trace_hash for one in results},
            "events_per_s": round(sum(one.entries for one in results) / max(elapsed_s, 1e-9), 1),
            "seeds_per_min": round(60 * len(results) / max(elapsed_s, 1e-9), 1),
            "elapsed_s": round(elapsed_s, 1),
        }


def _sums(counts: Iterable[Mapping[str, int]]) -> dict[str, int]:
    total: dict[str, int] = {}
    for count in counts:
        for kind, number in count.items():
            total[kind] = total.get(kind, 0) + number
    return dict(sorted(total.items()))
