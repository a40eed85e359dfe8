"""How fluid a window stays: pauses of its event loop, frames that reach the canvas; the forecast alone."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np
from qtpy.QtCore import QEvent, QObject, QTimer

from engine.rollout import rollout

if TYPE_CHECKING:
    from qtpy.QtOpenGLWidgets import QOpenGLWidget

    from engine.emulator import Emulator
    from engine.trajectory import Trajectory

PULSE_MS = 5
ALONE_S = 5.0  # of forecast without a window, to compare with
WARM_UP = 3  # frames of it that are not counted


class Pulse:
    """A timer that should fire every 5 ms; how late it is tells how long the event loop was blocked.

    Beside the time between beats, the processor time that the GUI thread used in it: what is over and above
    was spent waiting, for the forecast's thread or for other programs.
    """

    def __init__(self) -> None:
        self.gaps: list[tuple[float, float]] = []
        self._last: tuple[float, float] | None = None
        self._timer = QTimer()
        self._timer.timeout.connect(self._beat)

    def start(self) -> None:
        """Begin to listen."""
        self._last = None
        self._timer.start(PULSE_MS)

    def stop(self) -> dict[str, float]:
        """Milliseconds between beats: median, 99th percentile and longest; longest of the thread's own."""
        self._timer.stop()
        gaps, own = 1e3 * np.asarray(self.gaps or [(0.0, 0.0)]).T
        found = {
            "median_ms": np.median(gaps),
            "p99_ms": np.percentile(gaps, 99),
            "max_ms": gaps.max(),
            "max_own_ms": own.max(),
        }
        return {name: round(float(value), 1) for name, value in found.items()}

    def _beat(self) -> None:
        now = time.perf_counter(), time.thread_time()
        if self._last is not None:
            self.gaps.append((now[0] - self._last[0], now[1] - self._last[1]))
        self._last = now


class Redraws(QObject):
    """When a canvas came on screen with another moment than before: painted, and the window swapped."""

    def __init__(self, canvas: QOpenGLWidget, moment: Callable[[], float]) -> None:
        super().__init__(canvas)
        self._moment, self._last, self._painted = moment, moment(), False
        self.times: list[float] = []
        canvas.installEventFilter(self)
        canvas.frameSwapped.connect(self._on_swapped)

    def eventFilter(self, watched: QObject, event: QEvent) -> bool:  # noqa: N802 (Qt's name)
        """Look on, and leave everything alone."""
        if event.type() == QEvent.Type.Paint and self._moment() != self._last:
            self._last, self._painted = self._moment(), True
        return False

    def _on_swapped(self) -> None:
        if self._painted:
            self._painted = False
            self.times.append(time.perf_counter())

    def per_second(self) -> float:
        """From the first to the last."""
        return (len(self.times) - 1) / (self.times[-1] - self.times[0]) if len(self.times) > 1 else 0.0


def alone(emulator: Emulator, adapted: Trajectory, start: int) -> float:
    """Frames a second of the same forecast without a window, each decoded."""
    frames = rollout(emulator, emulator.initial_state(adapted, start))
    for _ in range(WARM_UP):
        next(frames)
    began, number = time.perf_counter(), 0
    while time.perf_counter() - began < ALONE_S:
        next(frames)
        number += 1
    return number / (time.perf_counter() - began)
