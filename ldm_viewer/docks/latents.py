"""Where truth and forecast go in the emulator's latent space: the two directions of largest variance."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pyqtgraph as pg

from engine.palette import FORECAST, TRUTH
from ldm_viewer.components import Encoder, Paths
from ldm_viewer.docks.curves import CurveDock
from ldm_viewer.docks.parts import TextLine
from ldm_viewer.sheet import Line, Sheet

if TYPE_CHECKING:
    import napari

    from ldm_viewer.state import State

NOW_SIZE = 10  # pixels


class LatentDock(CurveDock):
    """Paths of truth and forecast; a dot stands where the slider is."""

    def __init__(self, napari_viewer: napari.Viewer) -> None:
        self.told = TextLine("choose data and an emulator that fit", "told")
        super().__init__(napari_viewer, self.told)
        self.encoder = Encoder()
        self.now = pg.ScatterPlotItem(size=NOW_SIZE, pen=pg.mkPen("black"))
        self.now.setZValue(2)
        self.plot.addItem(self.now, ignoreBounds=True)
        self._points: list[dict[str, object]] = []

    def compute(self, state: State, request: None) -> tuple[Sheet, list[dict[str, object]], str]:
        """Both paths, the dots at the slider, a line of text."""
        paths = self.encoder.read(state)
        if paths is None:
            return Sheet("Latents", "component 1", "component 2"), [], "choose data and an emulator that fit"
        if paths.behind:
            self.refresh()
        first, second = 100 * paths.shares
        sheet = Sheet(
            "Latents of truth and forecast",
            f"principal component 1 ({first:.0f} % of the variance)",
            f"component 2 ({second:.0f} %)",
            (
                Line("truth", paths.truth[:, 0], paths.truth[:, 1], TRUTH, thin=True),
                Line("forecast", paths.forecast[:, 0], paths.forecast[:, 1], FORECAST),
            ),
        )
        words = f"{len(paths.truth)} frames of the truth encoded" + ("…" if paths.behind else "")
        return sheet, _dots(paths, state), words

    def draw(self, result: tuple[Sheet, list[dict[str, object]], str]) -> None:
        """Set curves, dots and text."""
        sheet, dots, words = result
        self.now.setData(dots)
        self.told.setText(words)
        super().draw(sheet)


def _dots(paths: Paths, state: State) -> list[dict[str, object]]:
    """Where the slider is, on either path."""
    dots = []
    if len(paths.truth):
        near = int(np.abs(paths.truth_times_fs - state.time_fs).argmin())
        dots.append({"pos": paths.truth[near], "brush": pg.mkBrush(TRUTH)})
    index = None if state.forecast is None else state.forecast.index_at(state.time_fs)
    if index is not None and index < len(paths.forecast):
        dots.append({"pos": paths.forecast[index], "brush": pg.mkBrush(FORECAST)})
    return dots
