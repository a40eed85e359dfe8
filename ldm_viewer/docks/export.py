"""Movies and pages for talks: slices, isosurfaces, the 3-D canvas, a single-file HTML; with a preview."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from napari.utils.notifications import show_error, show_info
from qtpy.QtCore import QSize
from qtpy.QtGui import QResizeEvent
from qtpy.QtWidgets import QFileDialog, QHBoxLayout, QSizePolicy, QWidget

from ldm_viewer.artist import Artist
from ldm_viewer.canvasfilm import CanvasFilm
from ldm_viewer.docks.base import LiveDock
from ldm_viewer.docks.exportform import STEPS, ExportForm
from ldm_viewer.docks.screen import Preview, Screen
from ldm_viewer.docks.surface import SurfaceDock
from ldm_viewer.encoder import KINDS, Progress, write_movie
from ldm_viewer.export import Export
from ldm_viewer.movie import Film, Shot, slice_movie
from ldm_viewer.order import CANVAS, PAGE, SLICES, SURFACES, Order, about_page, fitted, footage_of, title_of
from ldm_viewer.page import write_page
from ldm_viewer.turntable import TIME, Ride, surface_movie, surface_picture
from ldm_viewer.whereabouts import docked, main_window
from ldm_viewer.worker import step_aside

if TYPE_CHECKING:
    import napari
    import pyqtgraph as pg

    from ldm_viewer.state import State

FORM_WIDTH = 470
CANVAS_WORDS = "The canvas above is filmed as it is: choose 3-D (Ctrl+Y), camera, layers and colours there."
PREVIEW = (1280, 960)  # pixels at most: it is the movie made small
FINER = 2  # than the screen is, and drawn smaller: some measures of a page do not shrink to a few pixels


class ExportDock(LiveDock):
    """Sets up, previews, and has movies and pages written beside the window."""

    def __init__(self, napari_viewer: napari.Viewer) -> None:
        super().__init__(napari_viewer)
        self.pool = ThreadPoolExecutor(1, "preview", initializer=step_aside)
        self.artist = self._painter = Artist()
        self.form, self.screen = ExportForm(), Screen()
        self.export.setParent(None)
        self.export = self.form.export
        self.export.clicked.connect(self._ask_where)
        self.form.cancel.clicked.connect(self.cancel)
        self.job: Export | None = None
        self._film: tuple[Any, Film] | None = None
        self._room = PREVIEW  # pixels for the preview
        self._lay_out()
        for widget, _ in self._controls():
            _changed(widget).connect(self.refresh)
        for box in (self.form.first, self.form.last, self.form.wide, self.form.high, self.form.fps):
            box.valueChanged.connect(self.refresh)
        self.stage.turns.add(self._watch)
        self.destroyed.connect(partial(_close, self.artist))

    def _lay_out(self) -> None:
        self.form.setFixedWidth(FORM_WIDTH)
        holder = QWidget()
        expanding = QSizePolicy.Policy.Expanding  # else napari puts a stretch below
        holder.setSizePolicy(expanding, expanding)
        layout = QHBoxLayout(holder)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(self.form)
        layout.addWidget(self.screen, 1)
        self.layout().addWidget(holder, 1)

    def sizeHint(self) -> QSize:  # noqa: N802 (Qt's name)
        """Wide and low, as the space under the canvas."""
        return QSize(800, 330)

    def resizeEvent(self, event: QResizeEvent) -> None:  # noqa: N802 (Qt's name)
        """The preview is made again, as large as it is shown."""
        super().resizeEvent(event)
        self.refresh()

    def plot_items(self) -> list[pg.PlotItem]:
        """There is no plot."""
        return []

    def turntable(self) -> None:
        """Set up for a movie that turns the isosurfaces, as the isosurface dock asks for."""
        self.form.what.setCurrentText(SURFACES)

    # ---------------------------------------------------------------------------------------- the preview

    def request(self) -> Order | str:
        """What is set up, or why that will not do."""
        ratio = FINER * self.screen.devicePixelRatioF()
        sides = self.screen.width(), self.screen.height()
        self._room = tuple(min(most, round(ratio * side)) for most, side in zip(PREVIEW, sides, strict=True))
        try:
            return self.order()
        except ValueError as error:
            return str(error)

    def order(self) -> Order:
        """What is set up; ValueError in words."""
        form, surface = self.form, self._surface_choices()
        common = {"title": form.title.text(), "size": form.pixels, "fps": form.fps.value()}
        position = form.position.value() / STEPS
        shot = Shot(
            form.chosen_views or ("",),
            form.plane.currentText(),
            position,
            form.strip.currentText(),
            limits=self.stage.limits,
            **common,
        )
        ride = Ride(
            form.motion.currentText(), form.seconds.value(), limits=self.stage.limits, **surface, **common
        )
        last = form.last.value() or np.inf
        span = (-np.inf if not form.first.value() else float(form.first.value()), float(last))
        return Order(form.what.currentText(), shot, ride, span, form.smooth.isChecked())

    def _surface_choices(self) -> dict[str, Any]:
        """Fields, levels, atoms and camera of the isosurface dock in this window."""
        window = main_window(self)
        dock = None if window is None else window.findChild(SurfaceDock)
        if dock is None:
            return {}
        self._painter = dock.artist  # it rests while this dock is in front
        return {
            "what": dock.what.currentText(),
            "levels": dock.levels.text(),
            "atoms": dock.atoms.isChecked(),
            "view": dock.canvas.view,
        }

    def compute(self, state: State, request: Order | str) -> Preview:
        """The picture at the slider, made small."""
        if isinstance(request, str):
            return Preview(None, request)
        if request.what == PAGE:
            return Preview(None, about_page(footage_of(state, request)))
        if request.what == CANVAS:
            return Preview(None, CANVAS_WORDS)
        small = fitted(request.shot.size, self._room)
        if request.what == SURFACES:
            ride = Ride(**{**vars(request.ride), "size": small})
            zero = footage_of(state, request).zero_fs
            return Preview(surface_picture(self._painter, state, ride, state.time_fs, 0.0, zero))
        return Preview(self._slice_preview(state, request, small))

    def _slice_preview(self, state: State, request: Order, small: tuple[int, int]) -> np.ndarray:
        """Drawn on a page that is kept as long as only the time changes."""
        footage = footage_of(state, request)
        shot = Shot(**{**vars(request.shot), "size": small})
        basis = (shot, state.trajectory, state.adapted, state.shown, footage.forecast is None)
        if self._film is None or self._film[0] != basis:
            self._film = basis, Film(footage, shot)
        film = self._film[1]
        film.footage = footage
        return film.picture(int(np.abs(footage.times_fs - state.time_fs).argmin())).copy()

    def draw(self, result: Preview) -> None:
        """Show it."""
        self.screen.show_preview(result)

    def _say(self, text: str) -> None:
        """What cannot be shown stands where the picture would."""
        if text:
            self.screen.show_preview(Preview(None, text.removeprefix("cannot show this: ")))
        self.note.setText(text)

    # ----------------------------------------------------------------------------------------- the export

    def save(self, path: str | Path) -> None:
        """Write what is set up to this path, beside the window."""
        if self.job is not None and self.job.is_alive():
            show_error("an export is under way: wait for it, or cancel it")
            return
        try:
            make, film, stop = self._maker(Path(path), self.order(), self.session.state)
        except ValueError as error:
            show_error(str(error))
            return
        self.job = Export(make, stop)
        self._show_job()
        self.job.start()
        if film is not None:
            film.start(self.job)

    def cancel(self) -> None:
        """Stop the export; nothing is left of it."""
        if self.job is not None:
            self.job.cancel()

    def _maker(
        self, path: Path, order: Order, state: State
    ) -> tuple[Callable[[Progress], Path], CanvasFilm | None, Callable[[], None] | None]:
        """What the export's thread calls, what takes pictures in this one, and what ends it at once."""
        footage, shot, ride = footage_of(state, order), order.shot, order.ride
        if order.what == PAGE:
            title = shot.title or title_of(state)
            return (
                lambda tell: write_page(path, footage, title=title, limits=shot.limits, progress=tell),
                None,
                None,
            )
        if order.what == SLICES:
            Film.check(footage, shot)
            return lambda tell: slice_movie(path, footage, shot, tell), None, None
        times, zero = footage.times_fs, footage.zero_fs
        if order.what == SURFACES:
            artist = Artist()
            return (
                lambda tell: surface_movie(path, state, times, ride, zero, tell, artist),
                None,
                artist.close,
            )
        if self.stage.viewer.dims.ndisplay == 2 and ride.motion != TIME:
            raise ValueError(f"a plane cannot turn: show the canvas in 3-D (Ctrl+Y), or choose {TIME!r}")
        moments = ride.moments(times, state.time_fs)
        film = CanvasFilm(self.stage.viewer, ride, moments, zero)
        return lambda tell: write_movie(path, film.pictures(), len(moments), ride.fps, tell), film, None

    def _watch(self) -> bool:
        """Show how far the export is, in turn with the other docks; a closed dock gives it up."""
        if not docked(self):
            self.cancel()
            self.artist.close()
            self.stage.turns.remove(self._watch)
            return False
        if self.job is None or not self.form.cancel.isVisibleTo(self.form):
            return False
        if not self.job.is_alive() and self.job.ident is not None:
            self._show_end(self.job)
            return True
        return self._show_progress(self.job)

    def _show_job(self) -> None:
        self.form.cancel.setVisible(True)
        self.export.setEnabled(False)
        self.form.status.setText("preparing…")

    def _show_progress(self, job: Export) -> bool:
        words = job.words()
        if words == self.form.status.text():
            return False
        self.form.status.setText(words)
        self.form.progress.setMaximum(max(1, job.total))
        self.form.progress.setValue(job.done)
        return True

    def _show_end(self, job: Export) -> None:
        self.form.cancel.setVisible(False)
        self.export.setEnabled(True)
        self.form.progress.setValue(0 if job.path is None else self.form.progress.maximum())
        self.form.status.setText(job.error or f"wrote {job.path.name}")
        if job.path is not None:
            show_info(f"wrote {job.path}")
        elif not job.cancelled:
            show_error(job.error)

    def _ask_where(self) -> None:
        page = self.form.what.currentText() == PAGE
        suffix = ".html" if page else KINDS[self.form.kind.currentText()]
        kinds = f"{suffix[1:].upper()} (*{suffix})" if suffix else "Folder of pictures (*)"
        stem = "run" if page else "movie"
        path, _ = QFileDialog.getSaveFileName(self, "Export", stem + suffix, kinds)
        if path:
            self.save(path if Path(path).suffix.lower() == suffix else path + suffix)


def _changed(widget: QWidget) -> Any:
    """The signal that tells of another choice."""
    for name in ("currentTextChanged", "valueChanged", "editingFinished", "toggled"):
        if hasattr(widget, name):
            return getattr(widget, name)
    raise TypeError(type(widget).__name__)


def _close(artist: Artist) -> None:
    artist.close()
