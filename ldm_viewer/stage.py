"""One viewer's stage: its session, the three layers that show it, the slider, and the clock that polls it.

The layers are made once and live as long as the viewer; only their data is swapped, because removing a layer
that was drawn in 3-D crashes (vispy deletes its program in the wrong OpenGL context).
"""

from __future__ import annotations

import weakref
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np
from napari.experimental import link_layers
from qtpy.compat import isalive
from qtpy.QtCore import QTimer
from qtpy.QtOpenGLWidgets import QOpenGLWidget
from qtpy.QtWidgets import QApplication, QWidget

from engine.palette import DIFFERENCE_COLORMAP, FORECAST, TRUTH
from ldm_viewer.frames import Series, shared_limits
from ldm_viewer.layers import AXES, ReversedFrames, image, placement
from ldm_viewer.scene import DIFFERENCE_SHARE
from ldm_viewer.session import Session
from ldm_viewer.state import Beside, State
from ldm_viewer.turns import Turns
from ldm_viewer.worker import background

if TYPE_CHECKING:
    from collections.abc import Iterator
    from concurrent.futures import Future

    import napari

CANVAS_MS = 2  # not 0: that would be an event, handled before the timers that wait
SPREAD_COLORMAP = "magma"
LINKED = (
    "contrast_limits",
    "gamma",
    "colormap",
    "rendering",
    "iso_threshold",
    "attenuation",
    "interpolation2d",
)

MARGIN = 0.08  # around the cells, as a share of the view
BESIDE_LOOK = {  # colours, and their lower end in units of that span
    Beside.DIFFERENCE: (DIFFERENCE_COLORMAP, -1),
    Beside.SPREAD: (SPREAD_COLORMAP, 0),
    Beside.NOTHING: (DIFFERENCE_COLORMAP, -1),
}
THIRD = "#8C8C8C"  # readable on black and on white

_stages: weakref.WeakKeyDictionary[Any, Stage] = weakref.WeakKeyDictionary()


def stage_of(viewer: napari.Viewer) -> Stage:
    """The stage of a viewer, made on first use; panel and docks of one window share it."""
    viewer = getattr(viewer, "__wrapped__", viewer)
    if viewer not in _stages:
        _stages[viewer] = Stage(viewer, Session())
    return _stages[viewer]


def existing_stage(viewer: napari.Viewer) -> Stage | None:
    """The stage of a viewer, or None if no widget of ours was opened in it."""
    return _stages.get(getattr(viewer, "__wrapped__", viewer))


def docked(widget: QWidget) -> bool:
    """Whether a widget is still in a window: napari takes a closed dock's widget out without deleting it."""
    return isalive(widget) and widget.parent() is not None


class Stage:
    """Keeps a viewer's layers and slider in step with a session."""

    def __init__(self, viewer: napari.Viewer, session: Session) -> None:
        self.session = session
        self._viewer = weakref.ref(viewer)  # the viewer keeps us; we must not keep the viewer
        self.truth: Any = None
        self.forecast: Any = None
        self.beside: Any = None  # difference or spread
        self.span = (0.0, 1.0)  # of the truth's values, Å⁻³
        self._moving = False
        self._widgets: list[QWidget] = []
        session.changed.connect(self._show)
        viewer.dims.events.current_step.connect(self._on_slider)
        viewer.layers.events.removed.connect(self._on_removed)
        self.turns = Turns()
        self.turns.add(self._poll)
        self.turns.add(self._read_ahead)
        self._reading: Future | None = None
        self._read: Series | None = None  # the truth that it is about
        QApplication.instance().aboutToQuit.connect(self.close)

    def attend(self, widget: QWidget) -> None:
        """Work as long as a widget of ours lives in the window."""
        self._widgets.append(widget)
        self.turns.start()

    @property
    def viewer(self) -> napari.Viewer | None:
        """The viewer while it lives."""
        return self._viewer()

    def view(self) -> dict[str, Any]:
        """How the window looks, as plain values: camera, limits, and the choices made in our docks."""
        viewer = self.viewer
        camera = viewer.camera
        return {
            "ndisplay": viewer.dims.ndisplay,
            "point": [float(value) for value in viewer.dims.point],
            "center": [float(value) for value in camera.center],
            "zoom": float(camera.zoom),
            "angles": [float(value) for value in camera.angles],
            "limits": [float(value) for value in self.limits],
            "docks": {type(dock).__name__: dock.choices() for dock in self._docks()},
        }

    def set_view(self, view: dict[str, Any]) -> None:
        """Make the window look as it did; what is missing stays as it is."""
        viewer = self.viewer
        viewer.dims.ndisplay = view.get("ndisplay", viewer.dims.ndisplay)
        for axis, value in list(enumerate(view.get("point", ())))[1:]:
            viewer.dims.set_point(axis, value)
        for name in ("center", "zoom", "angles"):
            if name in view:
                setattr(viewer.camera, name, view[name])
        if "limits" in view and self.truth is not None:
            self.truth.contrast_limits = view["limits"]
        for dock in self._docks():
            dock.choose(view.get("docks", {}).get(type(dock).__name__, {}))

    def _docks(self) -> list[Any]:
        return [widget for widget in self._widgets if docked(widget) and hasattr(widget, "choices")]

    @property
    def limits(self) -> tuple[float, float]:
        """Display limits in Å⁻³ that every view of a density shares: those of the layers."""
        return tuple(self.truth.contrast_limits) if self.truth is not None else self.span

    def close(self) -> None:
        """Stop clock and forecast; called when the window goes."""
        self.turns.stop()
        self.session.close()

    def _poll(self) -> bool:
        self._widgets = [widget for widget in self._widgets if docked(widget)]
        if not self._widgets:  # the window is gone, or the user closed all docks
            self.close()
            return False
        before = self.session.state
        if self.session.has_news:
            self._hold_canvas()
        self.session.poll()
        return self.session.state is not before

    def _hold_canvas(self) -> None:
        """Let the canvas paint in the next round of the event loop: slicing first, then drawing.

        Together they would take 40 ms at a stretch, apart 25 at most.
        """
        canvas = self._widgets[0].window().centralWidget().findChild(QOpenGLWidget)
        if canvas is not None and canvas.updatesEnabled():
            canvas.setUpdatesEnabled(False)
            QTimer.singleShot(CANVAS_MS, lambda: isalive(canvas) and canvas.setUpdatesEnabled(True))

    def _read_ahead(self) -> bool:
        """While no forecast runs, have the truth's observables ready for the docks; nothing is drawn."""
        state, reading = self.session.state, self._reading
        if state.truth is None or state.status.active or (reading is not None and not reading.done()):
            return False
        if reading is None or reading.exception() or reading.result().behind or self._read is not state.truth:
            self._read = state.truth
            self._reading = background.submit(self.session.ledger.read, state)
        return False

    # ------------------------------------------------------------------------------------ session → viewer

    def _show(self, state: State, old: State) -> None:
        if self.viewer is None:
            return
        with self._quietly():
            if state.truth is not old.truth and state.truth is not None:
                self._show_truth(state, new_file=state.trajectory is not old.trajectory)
            if state.film is not old.film or state.truth is not old.truth:
                self._show_film(state.film)
            if (state.film, state.truth, state.beside) != (old.film, old.truth, old.beside):
                self._show_beside(state)
            if state.truth is not None and (state.time_fs, state.film) != (old.time_fs, old.film):
                self.viewer.dims.set_point(0, state.time_fs)
            elif _came_up(state, old):
                for layer in (self.forecast, self.beside):
                    layer.refresh(extent=False, highlight=False)

    def _show_truth(self, state: State, new_file: bool) -> None:
        if new_file or self.truth is None:
            self.span = shared_limits(state.truth)
        if self.truth is None:
            self._add_layers(state.truth)
        else:
            _swap(self.truth, state.truth)
            if new_file:
                self.truth.contrast_limits_range = (0.0, 1.5 * self.span[1])
                self.truth.contrast_limits = self.span
                self.viewer.reset_view()
        if new_file:
            self.viewer.dims.set_point(1, float(self.truth.extent.world[:, 1].mean()))

    def _show_film(self, film: Series | None) -> None:
        if self.forecast is None:
            return
        if film is not None:
            _swap(self.forecast, film)
        self.forecast.visible = film is not None

    def _show_beside(self, state: State) -> None:
        if self.beside is None:
            return
        third = state.third()
        if third is not None:
            _swap(self.beside, third)
            self.beside.name = state.beside.value
            color, low = BESIDE_LOOK[state.beside]
            reach = DIFFERENCE_SHARE * (self.limits[1] - self.limits[0])
            self.beside.colormap = color
            self.beside.contrast_limits_range = (min(low, 0) * 3 * reach, 3 * reach)
            self.beside.contrast_limits = (low * reach, reach)
        self.beside.visible = third is not None
        shape = (1, 2 if third is None else 3)
        if tuple(self.viewer.canvas.grid.shape) != shape:
            self.viewer.canvas.grid.shape = shape
            self.viewer.reset_view(margin=MARGIN)

    def _add_layers(self, truth: Series) -> None:
        viewer = self.viewer
        empty = Series(np.zeros((1, *truth.grid), np.float32), truth.start_fs, truth.step_fs, truth.cell)
        self.truth = self._given_layer(truth) or viewer.add_image(**image(truth, "truth", self.span))
        self.forecast = viewer.add_image(**image(empty, "forecast", self.span, visible=False))
        self.beside = viewer.add_image(**image(empty, "difference", self.span, visible=False))
        for layer in (self.truth, self.forecast):
            layer.contrast_limits_range = (0.0, 1.5 * self.span[1])
        for layer in (self.truth, self.forecast, self.beside):
            layer.interpolation2d = "linear"
        link_layers([self.truth, self.forecast], LINKED)
        viewer.layers.selection.active = self.forecast
        dress(viewer, {self.truth: TRUTH, self.forecast: FORECAST, self.beside: THIRD})
        viewer.reset_view()

    def _given_layer(self, truth: Series) -> Any:
        """The layer that our reader made of a file on napari's command line; drawn already, so it stays."""
        for layer in self.viewer.layers:
            if "ldm_viewer" in layer.metadata:
                _swap(layer, truth)
                layer.name, layer.contrast_limits = "truth", self.span
                return layer
        return None

    # ------------------------------------------------------------------------------------ viewer → session

    def _on_slider(self) -> None:
        if not self._moving and self.truth is not None:
            self.session.look_at(float(self.viewer.dims.point[0]))

    def _on_removed(self, event: Any) -> None:
        """The user deleted a layer of ours: forget all, and make new ones with the next change."""
        if event.value in (self.truth, self.forecast, self.beside):
            self.truth = self.forecast = self.beside = None

    @contextmanager
    def _quietly(self) -> Iterator[None]:
        """Our own moves of the slider are not the user's."""
        before, self._moving = self._moving, True
        try:
            yield
        finally:
            self._moving = before


def _came_up(state: State, old: State) -> bool:
    """Whether the frame at the slider has become ready since."""
    index = None if state.film is None else state.film.index_at(state.time_fs)
    return index is not None and old.ready <= index < state.ready


def dress(viewer: napari.Viewer, colors: dict[Any, str]) -> None:
    """Side by side, named in their colours, y upwards, with axes and a scale bar in Å."""
    viewer.dims.axis_labels = AXES
    viewer.camera.orientation2d = ("up", "right")
    grid, overlays = viewer.canvas.grid, viewer.canvas.overlays
    grid.enabled, grid.shape, grid.stride, grid.spacing = True, (1, 2), 1, 4
    for layer, color in colors.items():
        layer.name_overlay.visible, layer.name_overlay.color = True, color
    overlays.axes.visible, overlays.axes.size = True, 60
    overlays.axes.box = overlays.text.box = overlays.scale_bar.box = False  # boxes would hide the density
    overlays.scale_bar.visible = True
    overlays.text.visible, overlays.text.position = True, "bottom_center"


def _swap(layer: Any, series: Series) -> None:
    """Give a layer other data; its place first where the number of frames or the grid differ."""
    layer.data = ReversedFrames(series.frames)
    for name, value in placement(series).items():
        if not np.allclose(np.asarray(getattr(layer, name)), value):
            setattr(layer, name, value)
