"""A process that draws isosurfaces, and the end of the line to it. No Qt.

VTK renders while it holds Python's lock, and with an OpenGL context of its own: beside napari it would stop
the window, and can take it down. In another process it can do neither.
"""

from __future__ import annotations

import atexit
import os
import pickle
import subprocess
import sys
import threading
import weakref
from contextlib import suppress
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pathlib import Path

    import numpy as np

    from ldm_viewer.surfaces import Scene

NICENESS = 5  # on two cores the window must win


class ArtistError(RuntimeError):
    """What could not be drawn or saved, in words."""


class Artist:
    """Starts the process when there is something to draw, and again when it died. One request at a time."""

    def __init__(self) -> None:
        self._process: subprocess.Popen | None = None
        self._lock = threading.Lock()
        _artists.add(self)

    def paint(self, scene: Scene) -> np.ndarray:
        """A picture, (height, width, 3) uint8. Raises ArtistError."""
        return self._ask("paint", scene)

    def export(self, scene: Scene, path: str | Path) -> Path:
        """Write surfaces as .gltf, .stl or .ply. Raises ArtistError."""
        return self._ask("export", scene, path)

    def close(self) -> None:
        """End the process."""
        process, self._process = self._process, None
        if process is not None:
            process.kill()  # it holds nothing that could be lost
            process.wait()

    def _ask(self, *request: Any) -> Any:
        with self._lock:
            if self._process is None or self._process.poll() is not None:
                self._process = _start()
            try:
                pickle.dump(request, self._process.stdin)
                self._process.stdin.flush()
                answer = pickle.load(self._process.stdout)  # noqa: S301 (our own process)
            except (OSError, EOFError, pickle.UnpicklingError) as error:
                code = self._process.poll()
                raise ArtistError(f"the process that draws surfaces ended (code {code}): {error}") from error
        result, mistake = answer
        if mistake:
            raise ArtistError(mistake)
        return result


_artists: weakref.WeakSet[Artist] = weakref.WeakSet()


@atexit.register
def _close_all() -> None:
    for artist in list(_artists):
        artist.close()


def _start() -> subprocess.Popen:
    environment = dict(os.environ)
    if sys.platform == "linux":
        environment.pop("DISPLAY", None)  # off-screen through EGL: no X server needed
    return subprocess.Popen(
        [sys.executable, "-m", "ldm_viewer.artist"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env=environment,
    )


def _serve() -> None:
    """Answer requests until the other end is closed."""
    with suppress(AttributeError, OSError):
        os.nice(NICENESS)
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what libraries print must not get between the answers
    from vtkmodules.vtkCommonCore import vtkLogger

    from ldm_viewer.surfaces import Painter, export

    vtkLogger.SetStderrVerbosity(vtkLogger.VERBOSITY_OFF)  # that it tries X11 before EGL is nobody's worry
    painter = Painter()
    does = {"paint": painter.paint, "export": export}
    while True:
        try:
            name, *arguments = pickle.load(sys.stdin.buffer)  # noqa: S301 (our own window)
        except EOFError:
            return
        try:
            answer = does[name](*arguments), ""
        except Exception as error:  # everything is told in words at the other end
            answer = None, str(error) or type(error).__name__
        pickle.dump(answer, answers, protocol=pickle.HIGHEST_PROTOCOL)
        answers.flush()


if __name__ == "__main__":
    _serve()
