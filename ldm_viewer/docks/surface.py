"""Isosurfaces in 3-D at the slider: truth and forecast by one camera, or their difference, ± in two."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from napari.utils.theme import get_theme
from qtpy.QtCore import QPointF, Signal
from qtpy.QtGui import QImage, QMouseEvent, QPainter, QPaintEvent, QWheelEvent
from qtpy.QtWidgets import QCheckBox, QComboBox, QLabel, QLineEdit, QSizePolicy, QToolButton, QWidget

from ldm_viewer.artist import Artist
from ldm_viewer.docks.base import LiveDock
from ldm_viewer.docks.parts import row
from ldm_viewer.scene import BOTH, DIFFERENCE, Scene, View, scene_of

if TYPE_CHECKING:
    import napari
    import pyqtgraph as pg

    from ldm_viewer.state import State

MODEL_SUFFIXES = (".gltf", ".stl", ".ply", ".png")
TURN, ZOOM = 0.5, 1.001  # degrees per pixel; per unit of the wheel


@dataclass(frozen=True, eq=False)
class Drawing:
    """A scene and its picture, (height, width, 3) uint8."""

    scene: Scene
    picture: np.ndarray
    artist: Artist

    def save(self, path: str | Path) -> Path:
        """Write the surfaces as glTF, STL or PLY, or the picture as PNG."""
        path = Path(path)
        if path.suffix.lower() not in MODEL_SUFFIXES:
            raise ValueError(f"{path.name}: save as one of {', '.join(MODEL_SUFFIXES)}")
        if path.suffix.lower() == ".png":
            from PIL import Image

            Image.fromarray(self.picture).save(path)
            return path
        return self.artist.export(self.scene, path)


class Canvas(QWidget):
    """Shows the picture; dragging turns the camera, the wheel magnifies, a double click turns it back."""

    moved = Signal()

    def __init__(self) -> None:
        super().__init__()
        self.view = View()
        self._image: QImage | None = None
        self._held: QPointF | None = None
        self.setMinimumSize(160, 100)
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Expanding)

    def show_picture(self, picture: np.ndarray) -> None:
        """Show (height, width, 3) uint8."""
        height, width, _ = picture.shape
        kept = np.ascontiguousarray(picture)
        self._image = QImage(kept.data, width, height, 3 * width, QImage.Format.Format_RGB888).copy()
        self.update()

    def paintEvent(self, event: QPaintEvent) -> None:  # noqa: N802 (Qt's name)
        """The picture, stretched until the next one fits."""
        if self._image is not None:
            QPainter(self).drawImage(self.rect(), self._image)

    def mousePressEvent(self, event: QMouseEvent) -> None:  # noqa: N802
        """Take hold."""
        self._held = event.position()

    def mouseMoveEvent(self, event: QMouseEvent) -> None:  # noqa: N802
        """Turn by the way since."""
        if self._held is not None:
            way = event.position() - self._held
            self._held = event.position()
            tilt = self.view.elevation + TURN * way.y()
            self._look(azimuth=self.view.azimuth - TURN * way.x(), elevation=min(max(tilt, -89.0), 89.0))

    def mouseReleaseEvent(self, event: QMouseEvent) -> None:  # noqa: N802
        """Let go."""
        self._held = None

    def mouseDoubleClickEvent(self, event: QMouseEvent) -> None:  # noqa: N802
        """Back to where it began."""
        self._look(**vars(View()))

    def wheelEvent(self, event: QWheelEvent) -> None:  # noqa: N802
        """Magnify."""
        self._look(zoom=min(max(self.view.zoom * ZOOM ** event.angleDelta().y(), 0.2), 8.0))

    def _look(self, **changes: float) -> None:
        self.view = replace(self.view, **changes)
        self.moved.emit()


class SurfaceDock(LiveDock):
    """Surfaces of equal density with atoms and cell."""

    suffixes = MODEL_SUFFIXES

    def __init__(self, napari_viewer: napari.Viewer) -> None:
        super().__init__(napari_viewer)
        self.pool = ThreadPoolExecutor(1, "surfaces")
        self.artist = Artist()
        self.what = QComboBox(objectName="what")
        self.what.addItems([BOTH, DIFFERENCE])
        self.levels = QLineEdit(objectName="levels", placeholderText="by itself")
        self.levels.setToolTip("Levels in Å⁻³, for example 0.06 0.10; of a difference, drawn with both signs")
        self.levels.setMaximumWidth(110)
        self.atoms = QCheckBox("atoms", checked=True, objectName="atoms")
        self.film = QToolButton(
            text="Movie…", toolTip="Set up a movie that turns the camera, or plays in time"
        )
        self.film.setAutoRaise(True)
        self.film.clicked.connect(self._ask_movie)
        self.canvas = Canvas()
        self.layout().addWidget(
            row(self.what, QLabel("at"), self.levels, QLabel("Å⁻³"), self.atoms, None, self.film, self.export)
        )
        self.layout().addWidget(self.canvas, 1)
        self.what.currentTextChanged.connect(self.refresh)
        self.levels.editingFinished.connect(self.refresh)
        self.atoms.toggled.connect(self.refresh)
        self.canvas.moved.connect(self.refresh)
        self.destroyed.connect(self.artist.close)  # also when the whole window goes
        self._drawing: Drawing | None = None

    def _ask_movie(self) -> None:
        """The export dock takes these surfaces, levels and camera."""
        dock, export = self.stage.viewer.window.add_plugin_dock_widget("ldm_viewer", "Export")
        dock.show()
        dock.raise_()
        export.turntable()

    def plot_items(self) -> list[pg.PlotItem]:
        """There is no plot."""
        return []

    def sheet(self) -> Drawing | None:
        """What is shown."""
        return self._drawing

    def request(self) -> dict[str, Any]:
        """Everything a scene needs beside the state."""
        ratio = self.canvas.devicePixelRatioF()
        size = int(self.canvas.width() * ratio), int(self.canvas.height() * ratio)
        viewer = self.stage.viewer
        return {
            "what": self.what.currentText(),
            "levels": self.levels.text(),
            "atoms": self.atoms.isChecked(),
            "view": self.canvas.view,
            "size": size,
            "limits": self.stage.limits,
            "background": "black" if viewer is None else get_theme(viewer.theme).background.as_hex(),
        }

    def compute(self, state: State, request: dict[str, Any]) -> Drawing | None:
        """Have the scene drawn by the process."""
        scene = scene_of(state, **request)
        return None if scene is None else Drawing(scene, self.artist.paint(scene), self.artist)

    def draw(self, result: Drawing | None) -> None:
        """Show the picture."""
        if result is not None:
            self._drawing = result
            self.canvas.show_picture(result.picture)
