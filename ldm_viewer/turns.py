"""One clock for a window, on which its parts take turns.

Every repaint of any widget makes Qt compose the whole window with OpenGL, 10 to 20 ms in software.
Parts that repaint in the same moment block the event loop for the sum; in turns, for the largest.
"""

from __future__ import annotations

from collections.abc import Callable

from qtpy.QtCore import Qt, QTimer

TURN_MS = 40


class Turns:
    """Calls its members one after the other, one per tick."""

    def __init__(self) -> None:
        self._members: list[Callable[[], bool]] = []
        self._next = 0
        self._timer = QTimer()
        self._timer.setTimerType(Qt.TimerType.PreciseTimer)  # coarse timers bunch together
        self._timer.timeout.connect(self._tick)

    def start(self) -> None:
        """Begin, or go on after a stop."""
        if not self._timer.isActive():
            self._timer.start(TURN_MS)

    def add(self, member: Callable[[], bool]) -> None:
        """A member returns whether it had something to do; if not, the next one takes its turn."""
        self._members.append(member)

    def remove(self, member: Callable[[], bool]) -> None:
        """Forget a member."""
        self._members = [other for other in self._members if other != member]

    def stop(self) -> None:
        """No more turns."""
        self._timer.stop()

    def _tick(self) -> None:
        for _ in range(len(self._members)):
            member = self._members[self._next % len(self._members)]
            self._next += 1
            if member():
                return
