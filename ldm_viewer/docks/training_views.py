"""What a training shows of itself: curves of its log, and pictures and scores of its best emulator."""

from __future__ import annotations

import csv
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyqtgraph as pg
from qtpy.QtCore import QRectF
from qtpy.QtWidgets import QComboBox, QHBoxLayout

from engine.palette import BASELINE, FIELD_COLORMAP, FORECAST, FORECASTS, TRUTH, color_table
from ldm_viewer.docks.base import LiveDock
from ldm_viewer.docks.curves import CurveDock
from ldm_viewer.docks.parts import TextLine, plot, row
from ldm_viewer.preview import Preview, best_step, preview
from ldm_viewer.sheet import Line, Sheet
from ldm_viewer.worker import step_aside

if TYPE_CHECKING:
    import napari

    from ldm_viewer.state import State

TERMS = {  # column of log.csv → colour; the validation loss is the one to watch
    "loss": BASELINE,
    "reconstruction": FORECASTS[2],
    "rate": FORECASTS[3],
    "denoising": FORECASTS[1],
    "sjsd": "#56B4E9",
    "training": TRUTH,
    "validation": FORECAST,
}
QUANTITIES = {
    "losses": ("Losses", "loss", tuple(TERMS)),
    "learning rate": ("Learning rate", "learning rate", ("lr",)),
    "speed": ("Speed of training", "samples per second", ("samples_per_s",)),
}
PICTURES = 78  # pixels wide


NAMES = {
    "truth": "The simulation, a plane through the middle of the cell",
    "forecast": "What the emulator says of that moment",
    "rebuilt": "The simulation's frame through encoder and decoder",
}


class TrainingCurves(CurveDock):
    """Curves of log.csv against the step, losses on a logarithmic scale."""

    def __init__(self, napari_viewer: napari.Viewer) -> None:
        self.quantity = QComboBox(objectName="training quantity")
        self.quantity.addItems(list(QUANTITIES))
        self.quantity.setToolTip("What the plot shows; validation is on frames the training does not use")
        super().__init__(napari_viewer, self.quantity)
        self.folder: Path | None = None
        self.session.changed.disconnect(self._on_changed)  # it follows the training, not the forecast
        self.quantity.currentTextChanged.connect(self.refresh)

    def watch(self, folder: Path | None) -> None:
        """Show this run."""
        self.folder = folder
        self.refresh()

    def request(self) -> tuple[Path | None, str]:
        """Folder and quantity."""
        return self.folder, self.quantity.currentText()

    def compute(self, state: State, request: tuple[Path | None, str]) -> Sheet:
        """Read the log."""
        folder, quantity = request
        title, label, columns = QUANTITIES[quantity]
        table = {} if folder is None else read_log(folder / "log.csv")
        lines = tuple(
            Line(
                "learning rate" if name == "lr" else name.replace("_per_s", "/s"),
                *table[name],
                TERMS.get(name, FORECAST),
                thin=name not in ("validation", "training", "lr", "samples_per_s"),
            )
            for name in columns
            if name in table and _tells(name, table)
        )
        return Sheet(title, "step", label, lines)

    def draw(self, result: Sheet) -> None:
        """Curves; only losses are logarithmic."""
        logarithmic = result.y_label == "loss"
        self.plot.setLogMode(y=logarithmic)
        self.plot.getViewBox().setLimits(minYRange=1.0 if logarithmic else None)  # of a decade two are named
        super().draw(result)


def _tells(name: str, table: dict[str, tuple[np.ndarray, np.ndarray]]) -> bool:
    """Whether a term is more than another name of the loss."""
    if name != "loss":
        return True
    return not any(
        len(table[other][1]) == len(table["loss"][1]) and np.allclose(table[other][1], table["loss"][1])
        for other in ("denoising", "reconstruction")
        if other in table
    )


def read_log(path: Path) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Column → steps and finite values of log.csv; empty without one. A row half written is left out."""
    try:
        with path.open(newline="") as file:
            rows = list(csv.DictReader(file))
    except OSError:
        return {}
    table = {}
    for name in (*TERMS, "lr", "samples_per_s"):
        points = [point for row_ in rows if (point := _point(row_, name)) is not None]
        if points:
            table[name] = tuple(np.array(points).T)
    return table


def _point(row_: dict[str, str], name: str) -> tuple[float, float] | None:
    try:
        point = float(row_["step"]), float(row_[name])
    except (KeyError, TypeError, ValueError):
        return None
    return point if np.isfinite(point[1]) else None


@dataclass(frozen=True)
class _Wanted:
    folder: Path
    data: Path
    step: int


class TrainingPreview(LiveDock):
    """Truth, forecast and rebuilt frame of the best emulator so far, and its error by lead time."""

    pool = ThreadPoolExecutor(1, "preview", initializer=step_aside)

    def __init__(self, napari_viewer: napari.Viewer) -> None:
        super().__init__(napari_viewer)
        self.session.changed.disconnect(self._on_changed)
        self.wanted: _Wanted | None = None
        self._made: tuple[_Wanted, Preview] | None = None
        self._shown: Preview | None = None
        self._live = False
        self.words = TextLine(name="preview words")
        self.words.setToolTip("Root mean square error over the truth's standard deviation, on unseen frames")
        self.view = pg.GraphicsLayoutWidget()
        self.view.setBackground(None)
        self.view.ci.layout.setContentsMargins(0, 0, 0, 0)
        self.view.setFixedWidth(PICTURES)
        self.labels: list[pg.TextItem] = []  # white, on pictures only
        self.images = {name: self._picture(place, name) for place, name in enumerate(NAMES)}
        self.plot = plot("lead time (fs)", "VRMSE")
        self.curves = {
            "forecast": self.plot.plot(
                pen=pg.mkPen(FORECAST, width=2),
                symbol="o",
                symbolSize=4,
                symbolBrush=FORECAST,
                symbolPen=None,
                name="forecast",
            ),
            "persistence": self.plot.plot(pen=pg.mkPen(BASELINE, width=1), name="no motion"),
        }
        self.layout().addWidget(row(self.words, self.export))
        beside = QHBoxLayout()
        beside.addWidget(self.view)
        beside.addWidget(self.plot, 1)
        self.layout().addLayout(beside, 1)

    def _picture(self, place: int, name: str) -> pg.ImageItem:
        cell = self.view.addPlot(row=place, col=0)
        cell.setAspectLocked(True)
        cell.setMenuEnabled(False)
        cell.hideButtons()
        cell.setDefaultPadding(0.0)
        for side in ("left", "bottom"):
            cell.hideAxis(side)
        colors = pg.ColorMap(None, color_table(FIELD_COLORMAP))
        image = pg.ImageItem(axisOrder="col-major", colorMap=colors)
        cell.addItem(image)
        cell.setToolTip(NAMES[name])
        label = pg.TextItem(name, color="w", anchor=(0, 0))
        label.setParentItem(image.getViewBox())
        label.setVisible(False)
        self.labels.append(label)
        return image

    def plot_items(self) -> list[pg.PlotItem]:
        """Curve and pictures."""
        return [
            self.plot.getPlotItem(),
            *(item for item in self.view.ci.items if isinstance(item, pg.PlotItem)),
        ]

    @property
    def seen(self) -> bool:
        """While a training runs its preview is kept ready; that of an earlier one is made when looked at."""
        return self._live or super().seen

    def watch(self, folder: Path | None, data: Path | None, live: bool) -> None:
        """Judge the emulator of this folder, again when a better one lies there."""
        self._live = live
        step = 0 if folder is None else best_step(folder)
        wanted = None if folder is None or data is None or not step else _Wanted(folder, data, step)
        if wanted != self.wanted:
            self.wanted = wanted
            self.refresh()

    def request(self) -> _Wanted | None:
        """Which emulator."""
        return self.wanted

    def compute(self, state: State, request: _Wanted | None) -> Preview | None:
        """Judge it, unless that is done."""
        if request is not None and (self._made is None or self._made[0] != request):
            self._made = request, preview(request.folder, request.data)
        return None if request is None or self._made is None else self._made[1]

    def draw(self, result: Preview | None) -> None:
        """Pictures, curves, and the scores in words."""
        self._shown = result
        for label in self.labels:
            label.setVisible(result is not None)
        if result is None:
            self._tell("no preview before a checkpoint", "Then: pictures and scores on unseen frames")
            for image in self.images.values():
                image.clear()
            for curve in self.curves.values():
                curve.setData([], [])
            return
        left, right, bottom, top = result.edges
        levels = float(result.cuts["truth"].min()), float(result.cuts["truth"].max())
        for name, image in self.images.items():
            image.setImage(result.cuts[name], levels=levels)
            image.setRect(QRectF(left, bottom, right - left, top - bottom))
        self.curves["forecast"].setData(result.leads_fs, result.forecast)
        self.curves["persistence"].setData(result.leads_fs, result.persistence)
        self.plot.setYRange(
            0.0, 1.05 * float(np.nanmax([result.persistence.max(), min(result.forecast.max(), 2.0)]))
        )
        self._tell(f"step {result.step}: VRMSE rebuilt {result.reconstruction:.3f}", result.words())

    def _tell(self, words: str, tip: str) -> None:
        self.words.setText(words)
        self.words.setToolTip(tip)

    def sheet(self) -> Sheet | None:
        """The curves."""
        shown = self._shown
        if shown is None:
            return None
        lines = (
            Line("forecast", shown.leads_fs, shown.forecast, FORECAST),
            Line("persistence", shown.leads_fs, shown.persistence, BASELINE, thin=True),
        )
        return Sheet(f"Emulator of step {shown.step}", "lead time (fs)", "VRMSE", lines)

    def _deliver(self, job: Any) -> None:
        """A preview that cannot be made is told in a line."""
        if job.exception() is not None:
            self._tell("no preview", f"{job.exception()}")
            return
        super()._deliver(job)
