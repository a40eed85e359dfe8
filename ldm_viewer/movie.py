"""A slice movie: flat cuts of truth, forecast and their difference, drawn in memory: no window, no OpenGL.

The page is drawn once with matplotlib; for each frame only the cuts, the time and the strip's curves change.
Dock and command line draw with the same `Film`, and so does the preview.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy.ndimage import zoom

from engine.observables import FINE_SHELLS, histogram, structure_factor, value_edges
from engine.palette import DIFFERENCE_COLORMAP, FIELD_COLORMAP, color_table
from ldm_viewer import filmpage
from ldm_viewer.encoder import MovieCancelled, Progress, write_movie
from ldm_viewer.footage import DIFFERENCE, VIEWS, Footage
from ldm_viewer.frames import shared_limits
from ldm_viewer.planes import Plane
from ldm_viewer.scene import DIFFERENCE_SHARE

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.lines import Line2D
    from matplotlib.text import Text

__all__ = ["SIZES", "STRIPS", "Film", "MovieCancelled", "Shot", "parse_size", "slice_movie"]

SIZES = {"1080p": (1920, 1080), "4K": (3840, 2160), "square": (1080, 1080), "720p": (1280, 720)}
STRIPS = ("nothing", "S(q)", "histogram")
SMALLEST = 160  # pixels of a side, for text that can be read
EDGE = 4  # pixels that a clipped line may lie over its axes' frame
SAMPLED = 32  # frames that the strip's height is taken from
MISSING = np.uint8(235)  # grey of a panel without a frame


@dataclass(frozen=True)
class Shot:
    """What a slice movie shows, and how large and fast."""

    views: tuple[str, ...] = VIEWS
    """Any of truth, forecast, difference."""
    plane: str = "x"
    """Axis that the cut is normal to."""
    position: float = 0.5
    """Where along it, as a fraction of the cell."""
    strip: str = "nothing"
    """Curves below: nothing, S(q) or histogram."""
    title: str = ""
    limits: tuple[float, float] | None = None
    """Of the density's colours in e/Å³; by itself, percentiles of the data."""
    size: tuple[int, int] = SIZES["1080p"]
    fps: float = 25

    def __post_init__(self) -> None:
        if not self.views or not set(self.views) <= set(VIEWS):
            raise ValueError(f"views {', '.join(self.views) or '(none)'}: choose among {', '.join(VIEWS)}")
        if self.strip not in STRIPS:
            raise ValueError(f"strip {self.strip!r} is not one of {', '.join(STRIPS)}")
        if any(side % 2 or side < SMALLEST for side in self.size):
            raise ValueError(
                f"size {self.size[0]}×{self.size[1]} will not do: H.264 needs even sides, and text needs "
                f"{SMALLEST} pixels"
            )
        if not 1 <= self.fps <= 240:
            raise ValueError(f"{self.fps:g} frames per second will not do: choose 1 to 240")
        Plane.named(self.plane)


def parse_size(text: str) -> tuple[int, int]:
    """Width and height of a preset's name, or of "1280x720"; ValueError in words."""
    name = text.strip().lower()
    preset = next((size for known, size in SIZES.items() if known.lower() == name), None)
    try:
        width, height = preset or (int(side) for side in name.replace("×", "x").split("x"))
    except ValueError:
        raise ValueError(f"size {text!r}: say {', '.join(SIZES)}, or pixels such as 1280x720") from None
    return width, height


def slice_movie(path: str | Path, footage: Footage, shot: Shot, progress: Progress | None = None) -> Path:
    """Film the footage as .mp4, .gif or, without suffix, a folder of PNGs; raises what `write_movie` does."""
    film = Film(footage, shot)
    return write_movie(path, film.pictures(), len(footage), shot.fps, progress)


@dataclass
class _Strip:
    """The curves at the foot, and what computes them."""

    x: np.ndarray
    lines: dict[str, Line2D]
    kind: str
    edges: np.ndarray | None
    cell: np.ndarray
    axes: Axes

    def curve(self, density: np.ndarray) -> np.ndarray:
        """S(q) in e, or P(ρ) in Å³, of one frame."""
        if self.kind == "histogram":
            return histogram(density, self.edges)
        return structure_factor(density[None], self.cell, FINE_SHELLS).values[0]


@dataclass
class Film:
    """Draws any frame of the footage as a picture (H, W, 4) uint8."""

    footage: Footage
    shot: Shot
    _background: np.ndarray = field(init=False)

    def __post_init__(self) -> None:
        self.check(self.footage, self.shot)
        shot, series = self.shot, self.footage.known
        self._plane = Plane.named(shot.plane)
        self._index = self._plane.index(series.grid, shot.position)
        low, high = shot.limits or shared_limits(series)
        reach = DIFFERENCE_SHARE * (high - low)
        self.limits = {view: (-reach, reach) if view == DIFFERENCE else (low, high) for view in VIEWS}
        self._draw_page()

    @staticmethod
    def check(footage: Footage, shot: Shot) -> None:
        """ValueError names what the footage lacks."""
        for name in ("truth", "forecast"):
            if {name, DIFFERENCE} & set(shot.views) and getattr(footage, name) is None:
                raise ValueError(f"there is no {name} to film: make a forecast, or show something else")

    def pictures(self) -> Iterator[np.ndarray]:
        """All pictures in turn; each is overwritten by the next."""
        for number in range(len(self.footage)):
            yield self.picture(number)

    def picture(self, number: int) -> np.ndarray:
        """Picture of frame `number`, overwritten by the next call."""
        time_fs = self.footage.times_fs[number]
        for box in self._moving:
            self._buffer[box.rows, box.columns] = self._background[box.rows, box.columns]
        for view, box in zip(self.shot.views, self._boxes, strict=True):
            cut = self.footage.at(view, time_fs, self._cut)
            self._buffer[box.rows, box.columns] = MISSING if cut is None else self._colored(view, cut, box)
            if cut is None:
                self._say_missing(view, box)
        self._clock.set_text(f"{time_fs - self.footage.zero_fs:.0f} fs")
        self._figure.draw_artist(self._clock)
        if self._strip is not None:
            self._draw_strip(self._strip, time_fs)
        return self._buffer

    def _cut(self, density: np.ndarray) -> np.ndarray:
        return self._plane.cut(density, self._index)

    def _colored(self, view: str, cut: np.ndarray, box: filmpage.Box) -> np.ndarray:
        """Colours (height, width, 4) of a cut (across, up), first row on top; periodic cubic splines."""
        low, high = self.limits[view]
        across, up = (_enlarging(n, size) for n, size in zip(cut.shape, box[2:], strict=True))
        shade = up[::-1] @ (cut.T.astype(np.float32) @ across.T)
        np.clip((shade - low) * (255 / (high - low)) + 0.5, 0, 255, out=shade)
        return self._tables[view == DIFFERENCE][shade.astype(np.uint8)]

    def _say_missing(self, view: str, box: filmpage.Box) -> None:
        self._missing.set_text(f"no {'truth' if view != 'forecast' else view}\nat this time")
        height, width = self._buffer.shape[:2]
        x, y = box.left + box.width / 2, box.top + box.height / 2
        self._missing.set_position((x / width, 1 - y / height))
        self._figure.draw_artist(self._missing)

    def _draw_strip(self, strip: _Strip, time_fs: float) -> None:
        for name, line in strip.lines.items():
            series = getattr(self.footage, name)
            density = None if series is None else series.at(time_fs)
            if density is not None:
                curve = strip.curve(density)
                filled = np.isfinite(curve)  # small cells have no wave vector in some shells
                line.set_data(strip.x[filled], curve[filled])
                strip.axes.draw_artist(line)

    # ------------------------------------------------------------------------------------------- the page

    def _draw_page(self) -> None:
        """Everything that stands still, and where the rest goes."""
        shot, plane, series = self.shot, self._plane, self.footage.known
        cell, grid = series.cell, series.grid
        edges = plane.edges(cell, grid)
        self._figure = figure = filmpage.new_figure(shot.size)
        u, (width, height) = filmpage.unit(shot.size), shot.size
        shape = (edges[1] - edges[0]) / (edges[3] - edges[2])
        axes = filmpage.panels(figure, shot.views, shape, shot.strip != "nothing")
        filmpage.dress(axes, shot.views, edges, plane.labels(cell))
        for number, ax in enumerate(axes):
            if filmpage.has_bar(shot.views, number):
                filmpage.bar(ax, self.limits[shot.views[number]], shot.views[number])
        filmpage.text(figure, width / 2, 30 * u, shot.title, 26, ha="center")
        where = self._index / grid[plane.normal] * np.linalg.norm(cell[plane.normal])
        foot = height - 22 * u
        filmpage.text(figure, 20 * u, foot, f"plane {shot.plane} = {where:.2f} Å", 16, color="0.3", ha="left")
        self._strip = None if shot.strip == "nothing" else self._make_strip()
        self._clock = self._moving_text(width / 2, foot, 26, weight="bold")
        self._missing = self._moving_text(0, 0, 20, color="0.4")
        figure.canvas.draw()
        self._buffer = np.asarray(figure.canvas.buffer_rgba())
        self._background = self._buffer.copy()
        self._boxes = [filmpage.box_of(ax) for ax in axes]
        reach = round(110 * u)
        clock = filmpage.Box(width // 2 - reach, height - round(44 * u), 2 * reach, round(44 * u))
        self._moving = [clock]
        if self._strip is not None:
            left, top, wide, high = filmpage.box_of(self._strip.axes)
            self._moving.append(filmpage.Box(left, top - EDGE, wide + EDGE, high + EDGE))  # lines are thick
        self._tables = [color_table(name) for name in (FIELD_COLORMAP, DIFFERENCE_COLORMAP)]

    def _moving_text(self, x: float, y: float, height: float, **more: Any) -> Text:
        return filmpage.text(self._figure, x, y, "", height, ha="center", animated=True, **more)

    def _make_strip(self) -> _Strip:
        histograms = self.shot.strip == "histogram"
        labels = ("ρ (e/Å³)", "P(ρ) (Å³)") if histograms else ("q (Å⁻¹)", "⟨|F(q)|⟩ (e)")
        ax, u = filmpage.strip(self._figure, *labels), filmpage.unit(self.shot.size)
        edges = value_edges(self.limits["truth"][1]) if histograms else None
        cell = self.footage.known.cell
        borders = edges if histograms else FINE_SHELLS
        lines = {
            name: ax.plot([], [], color=filmpage.COLORS[name], lw=2 * u, label=name, animated=True)[0]
            for name in ("truth", "forecast")
            if getattr(self.footage, name) is not None
        }
        strip = _Strip((borders[1:] + borders[:-1]) / 2, lines, self.shot.strip, edges, cell, ax)
        picks = np.linspace(0, len(self.footage) - 1, SAMPLED).astype(int)
        series = [getattr(self.footage, name) for name in lines]
        sampled = (one.at(self.footage.times_fs[pick]) for one in series for pick in picks)
        curves = [strip.curve(density) for density in sampled if density is not None]
        top = max((float(np.nanmax(curve)) for curve in curves), default=1.0)
        right = 1.3 * self.limits["truth"][1] if histograms else borders[-1]
        ax.set(xlim=(borders[0], right), ylim=(0, 1.12 * top))
        ax.legend(loc="upper right", frameon=False, fontsize=14 * u * 72 / filmpage.DPI)
        return strip


@lru_cache(maxsize=32)
def _enlarging(points: int, pixels: int) -> np.ndarray:
    """(pixels, points): periodic cubic splines from grid points to pixels, voxel i over i − ½ … i + ½."""
    matrix = zoom(np.eye(points), (pixels / points, 1), order=3, mode="grid-wrap", grid_mode=True)
    return matrix.astype(np.float32)
