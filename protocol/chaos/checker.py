"""What a checker is: it sees every entry of an episode, counts how often its law was put to the test, and
says where the law did not hold.

For each entry: first `pass_time`, with everything as it was until then; then the scene takes the entry;
then `see`. At the end `finish`.
"""

from __future__ import annotations

from typing import ClassVar, Final

from protocol.chaos.scene import Scene
from protocol.chaos.timeline import Blow, Entry, ProcessBegan, ProcessEnded, Struck
from protocol.journal_checks import Violation

MAX_VIOLATIONS: Final = 20
"""Of one checker in one episode: more of the same tell no more."""


class Checker:
    """One law. Subclasses say which, and look."""

    invariant: ClassVar[str]

    def __init__(self, scene: Scene) -> None:
        self.scene = scene
        self.checked = 0
        self.violations: list[Violation] = []

    def pass_time(self) -> None:
        """Time has come to the next entry; nothing has changed since the last one."""

    def see(self, entry: Entry) -> None:
        """The scene has taken this entry."""

    def finish(self) -> None:
        """There are no more entries."""

    def hold(self, holds: bool, what: str) -> None:
        """The law was put to the test."""
        self.checked += 1
        if not holds:
            self.violate(what)

    def violate(self, what: str) -> None:
        if len(self.violations) < MAX_VIOLATIONS:
            self.violations.append(Violation(self.invariant, self.scene.at, what))


class Stretch:
    """For how long something has been so, in seconds in which the system could act; told once."""

    def __init__(self, scene: Scene) -> None:
        self._scene = scene
        self._since: float | None = None
        self.began_at = 0.0
        """When it began, by the machine's clock."""
        self._disturbed = self._told = False

    @property
    def lasts(self) -> bool:
        return self._since is not None

    @property
    def lasted_s(self) -> float:
        return 0.0 if self._since is None else self._scene.able_s - self._since

    def set(self, so: bool) -> bool:
        """It is so now, or not; True when it has just begun."""
        if not so:
            self._since = None
            return False
        if self._since is not None:
            return False
        self._since, self._told = self._scene.able_s, False
        self.began_at = self._scene.loop_s
        self._disturbed = self._scene.disturbed
        return True

    def too_long(self, calm_s: float, disturbed_s: float) -> bool:
        """Whether it has now lasted longer than it may: `calm_s` where nothing was done to the system."""
        if self._since is None or self._told:
            return False
        self._disturbed = self._disturbed or self._scene.disturbed
        bound_s = disturbed_s if self._disturbed else calm_s
        self._told = self.lasted_s > bound_s + self._scene.answer_s
        return self._told


class Bounds(Checker):
    """Laws with a bound of the loop's clock: what is due, by name, and until when. `met` is to be called."""

    def __init__(self, scene: Scene) -> None:
        super().__init__(scene)
        self.due: dict[str, float] = {}

    def pass_time(self) -> None:
        late = [name for name, until in self.due.items() if self.scene.loop_s > until]
        for name in late:
            del self.due[name]
            self.hold(False, self.describe(name))

    def see(self, entry: Entry) -> None:
        match entry:
            case ProcessBegan() | ProcessEnded() | Struck(blow=Blow.PROCESS | Blow.DISK):
                self.due.clear()
            case Struck(blow=Blow.PAUSE, what=what):
                # Nothing runs meanwhile, and the clock goes on.
                lasts_s = float(what.split()[1])
                self.due = {name: until + lasts_s for name, until in self.due.items()}
            case _:
                pass

    def met(self, name: str) -> None:
        if self.due.pop(name, None) is not None:
            self.checked += 1

    def describe(self, name: str) -> str:
        raise NotImplementedError
