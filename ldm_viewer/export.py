"""A film or page that is being made beside the window: progress, time left, cancel. No Qt."""

from __future__ import annotations

import atexit
import threading
import time
import weakref
from collections.abc import Callable
from pathlib import Path

from ldm_viewer.encoder import MovieCancelled, Progress
from ldm_viewer.worker import step_aside

CANCELLED = "cancelled; nothing was written"
LONGEST_GOODBYE = 5.0  # seconds to wait at the program's end, so that nothing half-made stays


class Export(threading.Thread):
    """Runs `make(progress)`, which returns the path that it has written; look at the fields at any time."""

    def __init__(self, make: Callable[[Progress], Path], stop: Callable[[], None] | None = None) -> None:
        """`stop`, if given, ends at once what a cancel would have to wait for."""
        super().__init__(name="export", daemon=True)
        self._make, self._end = make, stop
        self._cancelled = threading.Event()
        self._began = time.monotonic()
        self.done, self.total = 0, 0
        self.path: Path | None = None
        self.error = ""
        _exports.add(self)

    def run(self) -> None:
        """Thread body; use `start()`."""
        step_aside()
        try:
            self.path = self._make(self._progress)
        except MovieCancelled:
            self.error = CANCELLED
        except Exception as error:  # the window says it in words; a traceback in a thread reaches nobody
            said = f"not exported: {str(error) or type(error).__name__}"
            self.error = CANCELLED if self.cancelled else said

    def cancel(self) -> None:
        """Stop after the picture under way, or at once where there is a `stop`; no file is left."""
        self._cancelled.set()
        if self._end is not None:
            self._end()

    @property
    def cancelled(self) -> bool:
        """Whether it was told to stop."""
        return self._cancelled.is_set()

    def words(self) -> str:
        """How far it is: 120 of 300, 12 s left."""
        if self.cancelled:
            return "cancelling…"
        if not self.total:
            return "preparing…"
        passed = time.monotonic() - self._began
        left = passed / (self.done - 1) * (self.total - self.done) if self.done > 1 else None
        return f"{self.done} of {self.total}" + ("" if left is None else f", {left:.0f} s left")

    def _progress(self, done: int, total: int) -> bool:
        if not self.done:
            self._began = time.monotonic()  # the first picture tells nothing of the others
        self.done, self.total = done, total
        return not self._cancelled.is_set()


_exports: weakref.WeakSet[Export] = weakref.WeakSet()


@atexit.register
def _end_all() -> None:
    for export in list(_exports):
        export.cancel()
        if export.is_alive():
            export.join(LONGEST_GOODBYE)
