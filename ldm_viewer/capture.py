"""Opens the real window, forecasts, takes a picture, closes; and measures how fluid it stays.

python -m ldm_viewer.capture --out window.png --frames 60
python -m ldm_viewer.capture --out window.png --frames 200 --docks 3 --grid 32 --data li32.h5 --compare
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

from engine.samples import DEFAULT, shipped
from ldm_viewer.state import Status
from ldm_viewer.whereabouts import main_window

if TYPE_CHECKING:
    from qtpy.QtWidgets import QMainWindow

    from ldm_viewer.panel import MainPanel
    from ldm_viewer.session import Session

SIZE = (1280, 800)
SHOWN = ("Slices", "Histogram", "S(q)", "Drift")  # docks that can be seen, in this order
SETTLE_MS = 600  # the window is laid out; the docks compute and draw the last frame
MEASURED_S = 1.0  # of a live forecast, at least
LONG = 1000  # frames of a forecast that still runs when all docks have come and it was measured
ENDED = (Status.FINISHED, Status.FAILED, Status.STOPPED)


class _Watch:
    """Waits for the forecast in the event loop, then photographs and closes the window."""

    def __init__(
        self, viewer: Any, panel: MainPanel, path: Path, frames: int, docks: int, limit_s: float
    ) -> None:
        from qtpy.QtCore import QTimer

        from ldm_viewer.fluency import Pulse, Redraws

        self.viewer, self.stage, self.session, self.path = viewer, panel.stage, panel.session, path
        self.window, self.frames, self.docks, self.limit_s = main_window(panel), frames, docks, limit_s
        self.report: dict[str, Any] = {}
        self.pulse, self.began, self._whole_since = Pulse(), time.perf_counter(), 0.0
        self._first: tuple[float, int] | None = None  # moment and frame at which measuring began
        canvas = self.stage.canvas
        self._truth = Redraws(canvas, lambda: float(self.stage.triptych.truth is not None))
        self._frame = Redraws(canvas, lambda: float(self.session.state.ready > 0))
        self.redraws = Redraws(canvas, lambda: self.session.state.time_fs)
        self._timer = QTimer()
        self._timer.timeout.connect(self._look)
        self._timer.start(50)

    def _look(self) -> None:
        from ldm_viewer.arrange import all_open

        state, now = self.session.state, time.perf_counter()
        if not self._whole_since and all_open(self.window):
            self._whole_since = now
            _show_docks(self.window, self.docks)
        if self._first is None and self._frame.times and 0 < self._whole_since < now - 0.3:
            self._first = now, state.ready
            self.redraws.times.clear()
            self.pulse.start()
        measured = self._first is not None and now - self._first[0] > MEASURED_S
        if (measured and state.ready >= self.frames) or state.status in ENDED or self._over(now):
            self._timer.stop()
            self._end(now)

    def _over(self, now: float) -> bool:
        return now - self.began > self.limit_s

    def _end(self, now: float) -> None:
        from qtpy.QtCore import QTimer

        state = self.session.state
        if state.status is Status.RUNNING:
            self.session.pause()
        if state.ready:  # the picture is of this frame, however fast the machine
            self.session.look_at(state.film.time_at(min(self.frames, state.ready) - 1))
        self.report |= {"frames": state.ready, "status": state.status.value, "message": state.message}
        self.report["event_loop"] = self.pulse.stop()
        moments = {"truth": self._truth.times, "first_frame": self._frame.times, "docks": [self._whole_since]}
        for name, times in moments.items():
            if times and times[0]:
                self.report[f"{name}_s"] = round(times[0] - self.began, 2)
                self.report[f"{name}_at"] = time.time() - time.perf_counter() + times[0]
        if self._first is not None:
            began, ready = self._first
            self.report |= {
                "grid": list(state.film.grid),
                "frames_per_s": round((state.ready - ready) / (now - began), 2),
                "redraws_per_s": round(self.redraws.per_second(), 2),
            }
        QTimer.singleShot(SETTLE_MS, self._shoot)

    def _shoot(self) -> None:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        part = self.path.with_name(f".{self.path.stem}.part{self.path.suffix}")
        self.stage.hold.release()  # it may be held back between a frame's slicing and its drawing
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
    docks: int = 2,
    data: str | Path | None = None,
    emulator: str | Path | None = None,
    compare: bool = False,
) -> dict[str, Any]:
    """Forecast `data`, or the sample, in the real window until `frames` are shown or `limit_s` is over.

    So many `docks` can be seen, the others stand behind them. Writes the window's picture to `path`. Needs a
    display (Xvfb will do). Returns when truth and first forecast frame were on screen; then, from when the
    window stood, frames and redraws a second and event-loop gaps; with `compare` the rate of the same
    forecast without a window, taken afterwards.
    """
    import napari.viewer  # in this order, as `napari -w` does

    import ldm_viewer.opening  # noqa: F401
    from ldm_viewer.panel import AUTOSTART

    os.environ[AUTOSTART] = "1"
    viewer = napari.Viewer(ndisplay=ndisplay, show=False)  # as `napari -w`
    if data is not None:
        viewer.open(str(data), plugin="ldm_viewer")
    _, panel = viewer.window.add_plugin_dock_widget("ldm_viewer", "Forecast", tabify=True)
    if emulator is not None:
        panel.session.choose_emulator(emulator)
    panel.session.configure(frames=max(LONG, 2 * frames))
    viewer.window.resize(*size)
    viewer.show()
    watch = _Watch(viewer, panel, Path(path), frames, docks, limit_s)
    napari.run()
    if compare:
        watch.report |= _compared(panel.session, watch.report["frames_per_s"])
    return watch.report


def _show_docks(window: QMainWindow, number: int) -> None:
    """The first below the canvas, the second under the panel, the rest under that one."""
    from qtpy.QtCore import Qt
    from qtpy.QtWidgets import QDockWidget

    shown = {dock.windowTitle(): dock for dock in window.findChildren(QDockWidget)}
    for name in SHOWN[2:number]:
        window.addDockWidget(Qt.DockWidgetArea.RightDockWidgetArea, shown[name], Qt.Orientation.Vertical)


def _compared(session: Session, live: float) -> dict[str, float]:
    """The forecast once more without a window: same emulator, start, threads."""
    import torch

    from ldm_viewer.fit import start_of
    from ldm_viewer.fluency import alone

    torch.set_num_threads(session.threads)
    rate = alone(*start_of(session.state))
    return {"alone_frames_per_s": round(rate, 2), "share": round(live / rate, 2)}


@contextmanager
def on_grid(folder: Path, points: int) -> Iterator[Path]:
    """A copy of an emulator of plane waves, which draws them on any grid: here on points³."""
    from engine.emulator import write_card

    with tempfile.TemporaryDirectory() as kept:
        copy = Path(kept) / f"{folder.name}-{points}"
        shutil.copytree(folder, copy)
        card = json.loads((copy / "card.json").read_text())
        card["recipe"]["data"]["grid"] = [points] * 3
        write_card(copy, card)
        yield copy


def main(arguments: Sequence[str] | None = None) -> int:
    """Command line; 0 when the picture shows a forecast."""
    parser = argparse.ArgumentParser(prog="python -m ldm_viewer.capture", description=__doc__)
    parser.add_argument("--out", type=Path, required=True, help="PNG to write")
    parser.add_argument("--frames", type=int, default=40, help="forecast frames to wait for")
    parser.add_argument("--limit", type=float, default=40.0, help="seconds to wait at most")
    parser.add_argument("--docks", type=int, default=2, help="docks that can be seen")
    parser.add_argument("--data", type=Path, help="trajectory to forecast; default: the sample")
    parser.add_argument("--grid", type=int, help="draw the default emulator's waves on so many points³")
    parser.add_argument("--compare", action="store_true", help="time the forecast without a window, too")
    parser.add_argument("--3d", dest="volume", action="store_true", help="show volumes, not planes")
    options = parser.parse_args(arguments)
    if sys.platform == "linux" and not (os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")):
        print("there is no display: run this under `xvfb-run -a`", file=sys.stderr)
        return 2
    told = {"frames": options.frames, "limit_s": options.limit, "ndisplay": 3 if options.volume else 2}
    told |= {"docks": options.docks, "data": options.data, "compare": options.compare}
    default = shipped()[DEFAULT]
    with on_grid(default, options.grid) if options.grid else nullcontext() as emulator:
        report = window(options.out, **told, emulator=emulator)
    print(json.dumps(report))
    return 0 if report.get("frames") else 1


if __name__ == "__main__":
    sys.exit(main())
