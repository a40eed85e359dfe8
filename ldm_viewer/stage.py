"""One viewer's stage: its session, the layers that show it, the slider, and the clock that polls it."""

from __future__ import annotations

import time
import weakref
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from qtpy.compat import isalive
from qtpy.QtCore import QTimer
from qtpy.QtOpenGLWidgets import QOpenGLWidget
from qtpy.QtWidgets import QApplication, QWidget
from vispy.scene.cameras import BaseCamera

from ldm_viewer import forecaster
from ldm_viewer.hold import Hold
from ldm_viewer.session import Session
from ldm_viewer.triptych import MARGIN, Triptych
from ldm_viewer.turns import Turns
from ldm_viewer.whereabouts import docked, main_window
from ldm_viewer.worker import background

if TYPE_CHECKING:
    from collections.abc import Iterator
    from concurrent.futures import Future

    import napari

    from ldm_viewer.frames import Series
    from ldm_viewer.state import State

FRAME_S = 0.09  # at least between frames of a forecast: a process makes more than a window can draw

_stages: weakref.WeakKeyDictionary[Any, Stage] = weakref.WeakKeyDictionary()


def stage_of(viewer: napari.Viewer) -> Stage:
    """The stage of a viewer, made on first use; panel and docks of one window share it."""
    viewer = getattr(viewer, "__wrapped__", viewer)
    if viewer not in _stages:
        forecaster.shared.prepare()
        _stages[viewer] = Stage(viewer, Session(forecaster.shared.rollout))
    return _stages[viewer]


def existing_stage(viewer: napari.Viewer) -> Stage | None:
    """The stage of a viewer, or None if no widget of ours was opened in it."""
    return _stages.get(getattr(viewer, "__wrapped__", viewer))


class Stage:
    """Keeps a viewer's layers and slider in step with a session."""

    def __init__(self, viewer: napari.Viewer, session: Session) -> None:
        self.session = session
        self._viewer = weakref.ref(viewer)  # the viewer keeps us; we must not keep the viewer
        self.triptych = Triptych(viewer)
        self.atoms_shown = False
        self._atoms_key: Any = None
        self._moving = False
        self._next_frame = 0.0  # the earliest moment for it
        self.hold = Hold()
        self._arriving: list[QWidget] = []  # made, but not in the window yet
        self._widgets: list[QWidget] = []
        session.changed.connect(self._show)
        viewer.dims.events.current_step.connect(self._on_slider)
        viewer.dims.events.ndisplay.connect(lambda: self.triptych.color_beside())
        viewer.layers.events.removed.connect(self._on_removed)
        viewer.canvas.grid.events.connect(lambda: QTimer.singleShot(0, self._drop_former_grids))
        self.turns = Turns()
        self.turns.add(self._poll, first=True)
        self.turns.when_quiet(lambda: self.turns.add(self._read_ahead))
        self._reading: Future | None = None
        self._read: Series | None = None  # the truth that it is about
        QApplication.instance().aboutToQuit.connect(self.close)

    def attend(self, widget: QWidget) -> None:
        """Work as long as a widget of ours lives in the window, where it is about to come."""
        self._arriving.append(widget)
        self.turns.start()

    def _docked(self) -> list[QWidget]:
        """Our widgets that are in the window, in the order in which they came."""
        return [widget for widget in (*self._widgets, *self._arriving) if docked(widget)]

    @property
    def viewer(self) -> napari.Viewer | None:
        """The viewer while it lives."""
        return self._viewer()

    @property
    def panel(self) -> Any:
        """The widget that can ask how a series of files becomes a trajectory, while it is in the window."""
        return next((widget for widget in self._docked() if hasattr(widget, "ask_series")), None)

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
            "cells": self.triptych.repeats,
            "atoms": self.atoms_shown,
            "docks": {type(dock).__name__: dock.choices() for dock in self._docks()},
        }

    def set_view(self, view: dict[str, Any]) -> None:
        """Make the window look as it did; what is missing stays as it is."""
        viewer = self.viewer
        self.show_atoms(view.get("atoms", self.atoms_shown))
        self.repeat(view.get("cells", self.triptych.repeats))
        viewer.dims.ndisplay = view.get("ndisplay", viewer.dims.ndisplay)
        for axis, value in list(enumerate(view.get("point", ())))[1:]:
            viewer.dims.set_point(axis, value)
        for name in ("center", "zoom", "angles"):
            if name in view:
                setattr(viewer.camera, name, view[name])
        if "limits" in view and self.triptych.truth is not None:
            self.triptych.truth.contrast_limits = view["limits"]
        for dock in self._docks():
            dock.choose(view.get("docks", {}).get(type(dock).__name__, {}))

    def _docks(self) -> list[Any]:
        return [widget for widget in self._docked() if hasattr(widget, "choices")]

    @property
    def limits(self) -> tuple[float, float]:
        """Display limits in Å⁻³ that every view of a density shares."""
        return self.triptych.limits

    @property
    def span(self) -> tuple[float, float]:
        """Of the truth's values, Å⁻³."""
        return self.triptych.span

    def show_atoms(self, shown: bool) -> None:
        """Draw atoms and the outline of the cell over the densities, or not."""
        self.atoms_shown = shown
        self.triptych.show_cell(shown)
        if self.triptych.truth is not None:
            self._show_atoms(self.session.state)

    def repeat(self, cells: int) -> None:
        """Show so many cells along each lattice vector: periodic images."""
        state, self.triptych.repeats, self._atoms_key = self.session.state, cells, None
        if state.truth is None:
            return
        with self._quietly():
            self.triptych.show_truth(state.truth, new_file=False)
            self.triptych.show_film(state.film)
            self.triptych.show_beside(state.third(), state.beside)
            self._show_atoms(state)
            self.viewer.dims.set_point(0, state.time_fs)
        self.viewer.reset_view(margin=MARGIN)

    def close(self) -> None:
        """Stop clock and forecast; called when the window goes."""
        self.turns.stop()
        self.session.close()

    def _poll(self) -> bool:
        self._widgets += [widget for widget in self._arriving if docked(widget)]
        self._arriving = [widget for widget in self._arriving if isalive(widget) and not docked(widget)]
        for widget in self._widgets:
            if isalive(widget) and not docked(widget):
                widget.deleteLater()  # napari only takes it out of the window
        self._widgets = [widget for widget in self._widgets if docked(widget)]
        if not (self._widgets or self._arriving):  # the window is gone, or the user closed all docks
            self.close()
            return False
        if self.hold.on:
            return True  # the canvas has this turn
        before, now = self.session.state, time.monotonic()
        if self.session.has_news:
            if now < self._next_frame:
                return False
            self._next_frame = now + FRAME_S
            self.hold.take(self.canvas)
        self.session.poll()
        return self.session.state is not before

    def _drop_former_grids(self) -> None:
        """For every shape of the grid there are new views; the former stay in the canvas, 1 MB each."""
        canvas = self.canvas
        central = getattr(getattr(canvas, "_vispy_canvas", None), "central_widget", None)
        for grid in [grid for grid in getattr(central, "_widgets", ()) if grid.parent is None]:
            left = [node for view in grid.children for node in view.scene.children]
            if all(isinstance(node, BaseCamera) for node in left):  # else a hidden layer waits there
                central.remove_widget(grid)

    @property
    def canvas(self) -> QOpenGLWidget | None:
        """What napari draws on, while a widget of ours is in its window."""
        shown = next(iter(self._docked()), None)
        return None if shown is None else main_window(shown).centralWidget().findChild(QOpenGLWidget)

    def _read_ahead(self) -> bool:
        """While no forecast runs, have the truth's observables ready for the docks; nothing is drawn."""
        state, reading = self.session.state, self._reading
        if state.truth is None or state.status.active or (reading is not None and not reading.done()):
            return False
        if reading is None or reading.exception() or reading.result().behind or self._read is not state.truth:
            self._read = state.truth
            self._reading = background.submit(lambda: self.session.ledger.read(state))
        return False

    # ------------------------------------------------------------------------------------ session → viewer

    def _show(self, state: State, old: State) -> None:
        if self.viewer is None:
            return
        shows = self.triptych
        with self._quietly():
            if state.truth is not old.truth and state.truth is not None:
                shows.show_truth(state.truth, state.trajectory is not old.trajectory)
                shows.truth.metadata["trajectory"] = state.trajectory
            if state.film is not old.film or state.truth is not old.truth:
                shows.show_film(state.film)
            if (state.film, state.truth, state.beside) != (old.film, old.truth, old.beside):
                shows.show_beside(state.third(), state.beside)
            if state.truth is not None and (state.time_fs, state.film) != (old.time_fs, old.film):
                self.viewer.dims.set_point(0, state.time_fs)
            elif _came_up(state, old) and shows.forecast is not None:
                shows.came_up()
            if shows.truth is not None:
                self._show_atoms(state)
                shows.tell(_missing(state))

    def _show_atoms(self, state: State) -> None:
        """Only where the stored frame at the slider is another one: placing points costs milliseconds."""
        positions = state.positions() if self.atoms_shown and state.truth is not None else None
        key = None if positions is None else (positions.tobytes(), self.triptych.shown)
        if key != self._atoms_key:
            self._atoms_key = key
            self.triptych.show_atoms(positions, None if state.truth is None else state.truth.cell)

    # ------------------------------------------------------------------------------------ viewer → session

    def _on_slider(self) -> None:
        if not self._moving and self.triptych.truth is not None:
            self.session.look_at(float(self.viewer.dims.point[0]))

    def _on_removed(self, event: Any) -> None:
        self.triptych.forget(event.value)
        self._atoms_key = None

    @contextmanager
    def _quietly(self) -> Iterator[None]:
        """Our own moves of the slider are not the user's."""
        before, self._moving = self._moving, True
        try:
            yield
        finally:
            self._moving = before


def _missing(state: State) -> str:
    """Why the truth's place is empty, if it is."""
    truth, time_fs = state.truth, state.time_fs
    if truth is None or truth.index_at(time_fs) is not None:
        return ""
    ends = time_fs > truth.end_fs
    return f"the truth ends at {truth.end_fs:g} fs" if ends else f"the truth begins at {truth.start_fs:g} fs"


def _came_up(state: State, old: State) -> bool:
    """Whether the frame at the slider has become ready since."""
    index = None if state.film is None else state.film.index_at(state.time_fs)
    return index is not None and old.ready <= index < state.ready
