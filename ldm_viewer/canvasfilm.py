"""Films napari's own canvas: the camera goes round, or time goes by; pictures are taken in the GUI thread.

Only that thread may draw with OpenGL, and a picture is one piece of work: in 3-D and without a graphics card
nearly all of it is casting rays through every pixel. So pictures are taken one per timer tick, and between
two of them the window has as long for itself as the last one took; the encoder waits for them, and writes
words on them, in a thread of its own. Camera and slider go back to where they were.
"""

from __future__ import annotations

import queue
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np
from qtpy.QtCore import QObject, QTimer

from ldm_viewer.encoder import MovieCancelled
from ldm_viewer.turntable import stamped

if TYPE_CHECKING:
    import napari

    from ldm_viewer.export import Export
    from ldm_viewer.turntable import Ride

AHEAD = 2  # pictures that may wait for the encoder
TICK_MS = 20
WAIT = 0.2  # seconds between two looks whether all is over
LIGHT = "#DDDDDD"  # of the words on napari's black canvas


class CanvasFilm(QObject):
    """Takes the pictures; `pictures()` gives them to the thread that writes the movie."""

    def __init__(
        self, viewer: napari.Viewer, ride: Ride, moments: list[tuple[float, float]], zero_fs: float
    ) -> None:
        super().__init__()
        self._viewer, self._ride, self._moments, self._zero = viewer, ride, moments, zero_fs
        self._taken: queue.Queue[np.ndarray | Exception] = queue.Queue(AHEAD)
        self._next = 0
        self._before = (viewer.camera.angles, viewer.dims.point[0])
        self._directions = np.array(viewer.camera.view_direction), np.array(viewer.camera.up_direction)
        self._export: Export | None = None
        self._timer = QTimer(self)
        self._timer.timeout.connect(self._take)

    def start(self, export: Export) -> None:
        """Begin taking pictures for an export, until it ends."""
        self._export = export
        self._timer.start(TICK_MS)

    def pictures(self) -> Iterator[np.ndarray]:
        """For the other thread: all pictures in turn."""
        for time_fs, _ in self._moments:
            yield stamped(self._await(), self._ride.title, f"{time_fs - self._zero:.0f} fs", LIGHT)

    def _await(self) -> np.ndarray:
        while True:
            try:
                picture = self._taken.get(timeout=WAIT)
            except queue.Empty:
                if self._export is not None and self._export.cancelled:
                    raise MovieCancelled("cancelled") from None
                continue
            if isinstance(picture, Exception):
                raise picture
            return picture

    def _take(self) -> None:
        if self._next >= len(self._moments) or not self._export.is_alive():
            self._end()
        elif not self._taken.full():
            began = time.monotonic()
            try:
                self._taken.put(self._picture(*self._moments[self._next]))
            except Exception as error:  # told in words by the export
                self._taken.put(error)
                self._end()
            self._next += 1
            took_ms = round(1000 * (time.monotonic() - began))
            self._timer.setInterval(max(TICK_MS, took_ms))  # half of the time is the user's

    def _picture(self, time_fs: float, turned: float) -> np.ndarray:
        viewer = self._viewer
        if turned:
            from scipy.spatial.transform import Rotation

            ahead, up = self._directions
            turn = Rotation.from_rotvec(np.deg2rad(turned) * up)
            viewer.camera.set_view_direction(tuple(turn.apply(ahead)), tuple(up))
        if time_fs != viewer.dims.point[0]:
            viewer.dims.set_point(0, time_fs)
        return viewer.screenshot(size=self._ride.size[::-1], flash=False)

    def _end(self) -> None:
        self._timer.stop()
        self._viewer.camera.angles, time_fs = self._before
        self._viewer.dims.set_point(0, time_fs)
        self.deleteLater()
