"""The page that a slice movie is drawn on: panels, colour bars, title, strip; drawn once, with matplotlib.

All measures grow with the picture, so that a preview is the movie made small.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from engine.palette import DIFFERENCE_COLORMAP, FIELD_COLORMAP, FORECAST, NEUTRAL, TRUTH

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.text import Text

DPI = 100
COLORS = {"truth": TRUTH, "forecast": FORECAST, "difference": NEUTRAL}
NAMES = {"difference": "forecast − truth"}
# in units of a page 1280 × 720
TOP, BOTTOM, SIDE = 62, 46, 66  # title above; time below; numbers of the first axis at the left
HEAD, FOOT = 30, 42  # of a panel: its name, its axis
GAP, BAR = 26, 72  # between panels; a colour bar with its numbers
STRIP = 0.27  # of the height


class Box(NamedTuple):
    """Left, top, width and height in pixels."""

    left: int
    top: int
    width: int
    height: int

    @property
    def rows(self) -> slice:
        """Of an array."""
        return slice(self.top, self.top + self.height)

    @property
    def columns(self) -> slice:
        """Of an array."""
        return slice(self.left, self.left + self.width)


class Arrangement(NamedTuple):
    """Columns of panels, and the width and height of each in pixels."""

    columns: int
    width: float
    height: float


def unit(size: tuple[int, int]) -> float:
    """Pixels of the page per pixel of a page 1280 × 720, whatever the shape."""
    return min(size[0] / 1120, size[1] / 720)


def new_figure(size: tuple[int, int]) -> Figure:
    """An empty white figure of this many pixels, with a canvas in memory."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(size[0] / DPI, size[1] / DPI), dpi=DPI, facecolor="white")
    FigureCanvasAgg(figure)
    return figure


def text(figure: Figure, x: float, y: float, words: str, height: float, **more: object) -> Text:
    """Words at a place in pixels from the left and the top; `height` in pixels of the page 1280 × 720."""
    size = _size(figure)
    points = height * unit(size) * 72 / DPI
    return figure.text(x / size[0], 1 - y / size[1], words, va="center", fontsize=points, **more)


def arrange(size: tuple[int, int], views: tuple[str, ...], shape: float, room: float) -> Arrangement:
    """The number of columns that makes panels, `shape` times as wide as high, largest in `room` pixels."""
    u, best = unit(size), Arrangement(1, 0.0, 0.0)
    for columns in range(1, len(views) + 1):
        rows = -(-len(views) // columns)
        bars = sum(any(has_bar(views, i) for i in range(c, len(views), columns)) for c in range(columns))
        wide = (size[0] - u * (SIDE + GAP * columns + BAR * bars)) / columns
        high = room / rows - u * (HEAD + FOOT)
        width = min(wide, high * shape)
        if width > best.width * 1.02:
            best = Arrangement(columns, width, width / shape)
    return best


def has_bar(views: tuple[str, ...], number: int) -> bool:
    """Whether a colour bar stands beside a panel: the last density, and the difference."""
    densities = [i for i, view in enumerate(views) if view != "difference"]
    return views[number] == "difference" or number == densities[-1]


def panels(figure: Figure, views: tuple[str, ...], shape: float, strip: bool) -> list[Axes]:
    """Axes in rows, centred on the page; a square page folds three panels into two rows."""
    size = _size(figure)
    u = unit(size)
    room = size[1] * (1 - STRIP * strip) - u * (TOP + BOTTOM)
    columns, width, height = arrange(size, views, shape, room)
    wants = [any(has_bar(views, i) for i in range(c, len(views), columns)) for c in range(columns)]
    lefts = np.concatenate([[0.0], np.cumsum([width + u * (GAP + BAR * bar) for bar in wants])])
    left = u * SIDE + max(0.0, size[0] - u * SIDE - lefts[-1]) / 2
    rows = -(-len(views) // columns)
    spare = max(0.0, room - rows * (height + u * (HEAD + FOOT))) / 2
    axes = []
    for number in range(len(views)):
        row, column = divmod(number, columns)
        top = u * TOP + spare + row * (height + u * (HEAD + FOOT)) + u * HEAD
        axes.append(_axes(figure, left + lefts[column], top, width, height))
    return axes


def _axes(figure: Figure, left: float, top: float, width: float, height: float) -> Axes:
    size = _size(figure)
    ax = figure.add_axes((left / size[0], 1 - (top + height) / size[1], width / size[0], height / size[1]))
    small = 14 * unit(size) * 72 / DPI
    ax.tick_params(labelsize=small, pad=2 * unit(size), length=4 * unit(size), width=0.8 * unit(size))
    ax.xaxis.label.set_size(1.1 * small)
    ax.yaxis.label.set_size(1.1 * small)
    for spine in ax.spines.values():
        spine.set_linewidth(0.8 * unit(size))
    return ax


def dress(
    axes: list[Axes], views: tuple[str, ...], edges: tuple[float, ...], labels: tuple[str, str]
) -> None:
    """Names in the house colours, axes in Å."""
    figure = axes[0].figure
    u = unit(_size(figure))
    lefts = [ax.get_position().x0 for ax in axes]
    for ax, view in zip(axes, views, strict=True):
        ax.set(xlim=edges[:2], ylim=edges[2:], xlabel=labels[0])
        name = NAMES.get(view, view)
        ax.set_title(name, color=COLORS[view], fontsize=19 * u * 72 / DPI, pad=6 * u * 72 / DPI)
        if ax.get_position().x0 > min(lefts) + 1e-6:
            ax.set_yticklabels([])
        else:
            ax.set_ylabel(labels[1], labelpad=2 * u)


def bar(ax: Axes, limits: tuple[float, float], view: str) -> None:
    """A colour bar at the right of a panel, with its unit."""
    from matplotlib.cm import ScalarMappable
    from matplotlib.colors import Normalize
    from matplotlib.ticker import MaxNLocator

    figure, u = ax.figure, unit(_size(ax.figure))
    box = ax.get_position()
    signed = view == "difference"
    place = figure.add_axes(
        (box.x1 + 8 * u / _size(figure)[0], box.y0, 14 * u / _size(figure)[0], box.height)
    )
    colors = DIFFERENCE_COLORMAP if signed else FIELD_COLORMAP
    drawn = figure.colorbar(
        ScalarMappable(Normalize(*limits), colors), cax=place, extend="both", extendfrac=0.02
    )
    drawn.locator = MaxNLocator(5)
    drawn.update_ticks()
    place.tick_params(labelsize=12 * u * 72 / DPI, pad=2 * u, length=3 * u, width=0.8 * u)
    place.set_title("Δρ (e/Å³)" if signed else "ρ (e/Å³)", fontsize=13 * u * 72 / DPI, pad=7 * u, loc="left")


def strip(figure: Figure, x_label: str, y_label: str) -> Axes:
    """Axes over the whole width at the foot of the page."""
    size = _size(figure)
    u = unit(size)
    high = STRIP * size[1] - 56 * u
    ax = _axes(figure, 92 * u, size[1] - u * BOTTOM - 42 * u - high, size[0] - 130 * u, high)
    ax.set(xlabel=x_label, ylabel=y_label)
    ax.spines[["top", "right"]].set_visible(False)
    return ax


def box_of(ax: Axes) -> Box:
    """The inside of an axes' frame, in pixels from the top."""
    extent, height = ax.get_window_extent(), _size(ax.figure)[1]
    left, right = round(extent.x0) + 1, round(extent.x1)
    top, bottom = height - round(extent.y1) + 1, height - round(extent.y0)
    return Box(left, top, right - left, bottom - top)


def _size(figure: Figure) -> tuple[int, int]:
    return tuple(round(inches * DPI) for inches in figure.get_size_inches())
