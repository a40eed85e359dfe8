"""What a dock shows, as plain data: drawn in the dock, and saved as a table or a picture. No Qt."""

from __future__ import annotations

import csv
import os
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from engine.palette import DIFFERENCE_COLORMAP, FIELD_COLORMAP

if TYPE_CHECKING:
    from matplotlib.figure import Figure

PICTURES = (".pdf", ".png", ".svg")
SUFFIXES = (".csv", *PICTURES)
WIDTH, HEIGHT, DPI = 5.0, 3.6, 200  # inches: one column of a journal, enlarged


class SheetError(ValueError):
    """A file that a sheet cannot be saved as."""


@dataclass(frozen=True, eq=False)
class Line:
    """One curve; `thin` ones stand behind; a `dashed` one may leave the picture, which is not made for it."""

    name: str
    x: np.ndarray
    y: np.ndarray
    color: str
    thin: bool = False
    dashed: bool = False


@dataclass(frozen=True, eq=False)
class Band:
    """The space between two curves."""

    name: str
    x: np.ndarray
    low: np.ndarray
    high: np.ndarray
    color: str


@dataclass(frozen=True, eq=False)
class Sheet:
    """Curves over one axis, with labels that name their units; `mark` is the slider's x."""

    title: str
    x_label: str
    y_label: str
    lines: tuple[Line, ...] = ()
    band: Band | None = None
    mark: float | None = None

    def save(self, path: str | Path) -> Path:
        """Write CSV (curve, x, y), or PDF, PNG, SVG by the path's suffix; raises SheetError in words."""
        return _save(path, self._rows, self._figure)

    def _rows(self) -> Iterable[Sequence[object]]:
        yield "curve", self.x_label, self.y_label
        band = self.band
        extra = () if band is None else (("lower", band.low), ("upper", band.high))
        for name, x, y in (
            *((line.name, line.x, line.y) for line in self.lines),
            *((f"{band.name}, {end}", band.x, y) for end, y in extra),
        ):
            yield from ((name, f"{a:.9g}", f"{b:.9g}") for a, b in zip(x, y, strict=True))

    def _figure(self) -> Figure:
        from matplotlib.figure import Figure

        figure = Figure((WIDTH, HEIGHT), layout="constrained")
        axes = figure.subplots()
        if self.band is not None:
            band = self.band
            axes.fill_between(band.x, band.low, band.high, color=band.color, alpha=0.2, lw=0, label=band.name)
        for line in self.lines:
            axes.plot(
                line.x,
                line.y,
                color=line.color,
                lw=0.8 if line.thin else 1.8,
                ls="--" if line.dashed else "-",
                label=line.name,
            )
        if self.mark is not None:
            axes.axvline(self.mark, color="0.6", lw=0.8, zorder=0)
        shown = [line.y for line in self.lines if not line.dashed and len(line.y)]
        if shown and any(line.dashed for line in self.lines):
            values = np.concatenate(shown)
            margin = 0.05 * float(np.ptp(values) or 1.0)
            axes.set_ylim(values.min() - margin, values.max() + margin)
        axes.set(xlabel=self.x_label, ylabel=self.y_label, title=self.title)
        axes.legend(frameon=False, fontsize="small")
        return figure


@dataclass(frozen=True, eq=False)
class Pictures:
    """Flat cuts of one moment, (across, up) each on the same points, in Å⁻³.

    `edges` are left, right, bottom and top in Å; `limits` belong to all but the "difference", which is
    centred on zero.
    """

    title: str
    cuts: dict[str, np.ndarray]
    edges: tuple[float, float, float, float]
    labels: tuple[str, str]
    limits: tuple[float, float]
    reach: float

    def save(self, path: str | Path) -> Path:
        """Write CSV (a row per point), or PDF, PNG, SVG by the path's suffix; raises SheetError in words."""
        return _save(path, self._rows, self._figure)

    def _rows(self) -> Iterable[Sequence[object]]:
        yield *self.labels, *(f"{name} (Å⁻³)" for name in self.cuts)
        left, right, bottom, top = self.edges
        across, up = next(iter(self.cuts.values())).shape
        x = left + (np.arange(across) + 0.5) * (right - left) / across
        y = bottom + (np.arange(up) + 0.5) * (top - bottom) / up
        for i in range(across):
            for j in range(up):
                yield f"{x[i]:.6g}", f"{y[j]:.6g}", *(f"{cut[i, j]:.7g}" for cut in self.cuts.values())

    def _figure(self) -> Figure:
        from matplotlib.figure import Figure

        figure = Figure((3.2 * len(self.cuts), HEIGHT), layout="constrained")
        all_axes = figure.subplots(1, len(self.cuts), squeeze=False)[0]
        for axes, (name, cut) in zip(all_axes, self.cuts.items(), strict=True):
            signed = name == "difference"
            low, high = (-self.reach, self.reach) if signed else self.limits
            image = axes.imshow(
                cut.T,
                origin="lower",
                extent=self.edges,
                vmin=low,
                vmax=high,
                cmap=DIFFERENCE_COLORMAP if signed else FIELD_COLORMAP,
            )
            figure.colorbar(image, ax=axes, shrink=0.8, label="Δρ (Å⁻³)" if signed else "ρ (Å⁻³)")
            axes.set(xlabel=self.labels[0], ylabel=self.labels[1], title=name)
        figure.suptitle(self.title)
        return figure


def _save(path: str | Path, rows: Callable, figure: Callable) -> Path:
    """Aside and renamed: an interrupted export leaves no half a file."""
    path = Path(path)
    if path.suffix.lower() not in SUFFIXES:
        raise SheetError(f"{path.name}: save as one of {', '.join(SUFFIXES)}")
    part = path.with_name(f".{path.stem}.part{path.suffix}")
    if path.suffix.lower() == ".csv":
        with part.open("w", newline="", encoding="utf-8") as file:
            csv.writer(file).writerows(rows())
    else:
        figure().savefig(part, dpi=DPI)
    os.replace(part, path)
    return path
