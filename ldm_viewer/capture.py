"""Opens the real window, forecasts the sample, takes a picture, closes; and measures how fluid it stays.

python -m ldm_viewer.capture --out window.png --frames 60
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ldm_viewer.panel import AUTOSTART
from ldm_viewer.state import Status

if TYPE_CHECKING:
    from ldm_viewer.panel import MainPanel

SIZE = (1280, 800)
PULSE_MS = 5
SETTLE_MS = 600  # the docks compute and draw the last frame
ENDED = (Status.FINISHED, Status.FAILED, Status.STOPPED)


class Pulse:
    """A timer that should fire every 5 ms; how late it is tells how long the event loop was blocked.

    Beside the time between beats, the processor time that the GUI thread used in it: what is over and above
    was spent waiting, for the forecast's thread or for other programs.
    """

    def __init__(self) -> None:
        from qtpy.QtCore import QTimer

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


class _Watch:
    """Waits for the forecast in the event loop, then photographs and closes the window."""

    def __init__(self, viewer: Any, panel: MainPanel, path: Path, frames: int, limit_s: float) -> None:
        from qtpy.QtCore import QTimer

        self.viewer, self.session, self.path = viewer, panel.session, path
        self.frames, self.limit_s = frames, limit_s
        self.pulse, self.began = Pulse(), time.perf_counter()
        self.report: dict[str, Any] = {}
        self._timer = QTimer()
        self._timer.timeout.connect(self._look)
        self._timer.start(50)

    def _look(self) -> None:
        state, waited = self.session.state, time.perf_counter() - self.began
        if state.ready and "first_frame_s" not in self.report:
            self.report["first_frame_s"] = round(waited, 2)
            self.pulse.start()
        if state.ready >= self.frames or state.status in ENDED or waited > self.limit_s:
            from qtpy.QtCore import QTimer

            self._timer.stop()
            self.report["event_loop"] = self.pulse.stop()
            QTimer.singleShot(SETTLE_MS, self._shoot)

    def _shoot(self) -> None:
        state = self.session.state
        self.report |= {"frames": state.ready, "status": state.status.value, "message": state.message}
        self.report["frames_per_s"] = round(state.ready / state.seconds, 2) if state.seconds else 0.0
        self.path.parent.mkdir(parents=True, exist_ok=True)
        part = self.path.with_name(f".{self.path.stem}.part{self.path.suffix}")
        self.viewer.window.screenshot(str(part), flash=False, canvas_only=False)
        os.replace(part, self.path)
        self.viewer.close()


def window(
    path: str | Path,
    *,
    frames: int = 40,
    limit_s: float = 40.0,
    size: tuple[int, int] = SIZE,
    ndisplay: int = 2,
) -> dict[str, Any]:
    """Forecast the sample in the real window until `frames` are shown or `limit_s` is over.

    Writes its picture to `path`. Needs a display (Xvfb will do). Returns frames, speed, event-loop gaps.
    """
    import napari

    os.environ[AUTOSTART] = "1"
    viewer = napari.Viewer(ndisplay=ndisplay)
    _, panel = viewer.window.add_plugin_dock_widget("ldm_viewer", "Forecast", tabify=True)
    viewer.window.resize(*size)
    watch = _Watch(viewer, panel, Path(path), frames, limit_s)
    napari.run()
    return watch.report


def main(arguments: Sequence[str] | None = None) -> int:
    """Command line; 0 when the picture shows a forecast."""
    parser = argparse.ArgumentParser(prog="python -m ldm_viewer.capture", description=__doc__)
    parser.add_argument("--out", type=Path, required=True, help="PNG to write")
    parser.add_argument("--frames", type=int, default=40, help="forecast frames to wait for")
    parser.add_argument("--limit", type=float, default=40.0, help="seconds to wait at most")
    parser.add_argument("--3d", dest="volume", action="store_true", help="show volumes, not planes")
    options = parser.parse_args(arguments)
    if sys.platform == "linux" and not (os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")):
        print("there is no display: run this under `xvfb-run -a`", file=sys.stderr)
        return 2
    report = window(
        options.out, frames=options.frames, limit_s=options.limit, ndisplay=3 if options.volume else 2
    )
    print(json.dumps(report))
    return 0 if report.get("frames") else 1


if __name__ == "__main__":
    sys.exit(main())
