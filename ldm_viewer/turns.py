"""One clock for a window, on which its parts take turns.

Every repaint of any widget makes Qt compose the whole window with OpenGL, 10 to 20 ms in software.
Parts that repaint in the same moment block the event loop for the sum; in turns, for the largest.
"""

from __future__ import annotations

from collections.abc import Callable

from qtpy.QtCore import Qt, QTimer

TURN_MS = 33
QUIET_TURNS = 8  # in a row with nothing to do: layout, first paints and their shaders are behind us


class Turns:
    """Calls its members one after the other, one per tick."""

    def __init__(self) -> None:
        self._before: list[Callable[[], bool]] = []
        self._members: list[Callable[[], bool]] = []
        self._next = 0
        self._idle = 0  # turns in a row
        self._waiting: list[Callable[[], None]] = []
        self._pause_ms = TURN_MS
        self._timer = QTimer()
        self._timer.setTimerType(Qt.TimerType.PreciseTimer)  # coarse timers bunch together
        self._timer.timeout.connect(self._tick)

    def start(self) -> None:
        """Begin, or go on after a stop."""
        if not self._timer.isActive():
            self._timer.start(self._pause_ms)

    def set_rate(self, per_second: int) -> None:
        """Give so many turns a second."""
        self._pause_ms = round(1000 / per_second)
        self._timer.setInterval(self._pause_ms)

    def add(self, member: Callable[[], bool], first: bool = False) -> None:
        """A member returns whether it had something to do; if not, the next one takes its turn.

        Those that come `first` are asked at every turn before the others.
        """
        (self._before if first else self._members).append(member)

    def remove(self, member: Callable[[], bool]) -> None:
        """Forget a member."""
        self._members = [other for other in self._members if other != member]

    def when_quiet(self, call: Callable[[], None]) -> None:
        """Call once, when all members have had nothing to do for a while: a new window has settled."""
        self._idle = 0
        self._waiting.append(call)

    def stop(self) -> None:
        """No more turns."""
        self._timer.stop()

    def _tick(self) -> None:
        self._idle = 0 if self._one_draws() else self._idle + 1
        if self._idle >= QUIET_TURNS and self._waiting:
            waiting, self._waiting = self._waiting, []
            for call in waiting:
                call()

    def _one_draws(self) -> bool:
        if any(member() for member in self._before):
            return True
        for _ in range(len(self._members)):
            member = self._members[self._next % len(self._members)]
            self._next += 1
            if member():
                return True
        return False
