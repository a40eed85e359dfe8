"""The thread that computes a forecast: no Qt, so that it runs the same in the window and in a test.

It writes frames into a buffer made beforehand, which counts them. Nobody is called back: whoever shows the
frames looks when it has time, so a fast emulator cannot flood the event loop.
"""

from __future__ import annotations

import os
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from engine.rollout import Frame
    from ldm_viewer.frames import GrowingFrames

NICENESS = 10  # on two cores the window must win against the model


def step_aside() -> None:
    """Give this thread a lower priority than the GUI's (Linux only: elsewhere priority is per process)."""
    if sys.platform == "linux":
        with suppress(OSError):
            thread = threading.get_native_id()
            os.setpriority(os.PRIO_PROCESS, thread, os.getpriority(os.PRIO_PROCESS, thread) + NICENESS)


background = ThreadPoolExecutor(1, "docks", initializer=step_aside)
"""Where the docks' numbers are made: one thread, so that what they share needs no lock."""


class ForecastWorker(threading.Thread):
    """Drives a run's generator of frames into `film`; pause, step and stop act between frames.

    `make_frames` is called inside the thread: it may read files and build the first state.
    """

    def __init__(
        self,
        run: int,
        make_frames: Callable[[], Iterator[Frame]],
        film: GrowingFrames,
        *,
        paused: bool = False,
        threads: int = 1,
    ) -> None:
        super().__init__(name=f"forecast-{run}", daemon=True)
        self.number = run
        self.film = film
        self.seconds = 0.0  # spent computing them
        self.error: str | None = None
        self._make_frames, self._threads = make_frames, threads
        self._change = threading.Condition()
        self._allowance = 0.0 if paused else np.inf  # frames that may still be shown before the next pause
        self._stopped = False

    def run(self) -> None:
        """Thread body; use `start()`."""
        step_aside()
        try:
            self._take_threads()
            self._consume(self._make_frames())
        except Exception as error:  # the window reports it in words; a traceback in a thread reaches nobody
            self.error = str(error) or type(error).__name__

    def pause(self) -> None:
        """Hold after the frame under way."""
        self._set_allowance(0.0)

    def resume(self) -> None:
        """Go on until the end."""
        self._set_allowance(np.inf)

    def step(self) -> None:
        """Compute one more frame to show, then hold."""
        with self._change:
            self._allowance = 1.0 if np.isinf(self._allowance) else self._allowance + 1.0
            self._change.notify_all()

    def stop(self) -> None:
        """End after the frame under way; what is written stays."""
        with self._change:
            self._stopped = True
            self._change.notify_all()

    def _set_allowance(self, frames: float) -> None:
        with self._change:
            self._allowance = frames
            self._change.notify_all()

    def _may_go_on(self) -> bool:
        with self._change:
            self._change.wait_for(lambda: self._stopped or self._allowance > 0)
            return not self._stopped

    def _consume(self, frames: Iterator[Frame]) -> None:
        while self.film.ready < len(self.film) and self._may_go_on():
            began = time.perf_counter()
            frame = next(frames, None)
            if frame is None:
                return
            if frame.density is not None:
                self._publish(frame)
            self.seconds += time.perf_counter() - began

    def _publish(self, frame: Frame) -> None:
        if not np.isfinite(frame.density).all():
            raise FloatingPointError(
                f"frame {frame.index} of the forecast is not finite; the run ends before it"
            )
        self.film.append(frame.density, frame.latents)
        with self._change:
            self._allowance = max(0.0, self._allowance - 1.0)

    def _take_threads(self) -> None:
        import torch

        torch.set_num_threads(self._threads)
