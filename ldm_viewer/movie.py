"""A movie of flat cuts, truth | forecast | difference, composed in numpy: no window, no OpenGL.

The page (axes, titles, colour bars) is drawn once; each frame colours three pictures and stamps the time.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from engine.palette import DIFFERENCE_COLORMAP, FIELD_COLORMAP, FORECAST, TRUTH
from ldm_viewer.planes import Plane

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Progress = Callable[[int, int], bool | None]
DPI = 100
ENCODING = {  # codec, pixel format and options of ffmpeg
    ".mp4": ("libx264", "yuv420p", "-crf 18 -preset fast -movflags +faststart"),
    ".gif": ("gif", "pal8", "-filter_complex split[a][b];[a]palettegen[p];[b][p]paletteuse=dither=none"),
}
SAMPLED = 12  # frames that the colour limits are taken from


class MovieCancelled(Exception):  # noqa: N818 (nothing went wrong)
    """The progress callback asked to stop; no file is left."""


@dataclass(frozen=True)
class _Page:
    """What does not change: the background (H, W, 3) uint8 and where the three pictures and the time go."""

    background: np.ndarray
    boxes: tuple[tuple[int, int, int, int], ...]  # left, top, width, height in pixels
    limits: tuple[float, float]
    reach: float
    clock: tuple[int, int]


def slice_movie(
    path: str | Path,
    truth: np.ndarray,
    forecast: np.ndarray,
    *,
    cell: np.ndarray,
    times_fs: np.ndarray,
    plane: str = "x",
    position: float = 0.5,
    fps: int = 25,
    size: tuple[int, int] = (1280, 720),
    title: str = "",
    progress: Progress | None = None,
) -> Path:
    """Film truth, forecast and forecast − truth, (T, Nx, Ny, Nz) in Å⁻³, as .mp4 (H.264) or .gif.

    `times_fs` (T,) is stamped on the frames; `position` is a fraction of the cell along the plane's normal.
    `progress(done, total)` is called after each frame; if it returns False, MovieCancelled is raised. Written
    aside and renamed: a whole file or none. ValueError names a shape, plane or size that will not do.
    """
    path, times_fs = Path(path), np.asarray(times_fs, dtype=float)
    _check(truth, forecast, times_fs, size, path)
    cut = Plane.named(plane)
    index = cut.index(truth.shape[1:], position)
    page = _draw_page(cut, index, truth, forecast, cell, size, title)
    pictures = _frames(page, cut, index, truth, forecast, times_fs)
    return _write(path, pictures, len(times_fs), size, fps, progress)


def _check(
    truth: np.ndarray, forecast: np.ndarray, times: np.ndarray, size: tuple[int, int], path: Path
) -> None:
    if truth.shape != forecast.shape or truth.ndim != 4 or not len(truth):
        raise ValueError(
            "a movie needs truth and forecast of one shape (T, Nx, Ny, Nz), "
            f"not {truth.shape} and {forecast.shape}"
        )
    if times.shape != (len(truth),):
        raise ValueError(f"{len(truth)} frames need as many times, not {times.size}")
    if any(side % 2 or side < 160 for side in size):
        raise ValueError(
            f"size {size[0]}×{size[1]} will not do: H.264 needs even sides, and text needs 160 pixels"
        )
    if path.suffix.lower() not in ENCODING:
        kinds = " or ".join(ENCODING)
        raise ValueError(f"a movie is written as {kinds}, not {path.suffix or 'without suffix'}")


def _limits(
    cut: Plane, index: int, truth: np.ndarray, forecast: np.ndarray
) -> tuple[tuple[float, float], float]:
    """Shared limits of the density, and how far the difference's colours reach, Å⁻³."""
    picks = np.unique(np.linspace(0, len(truth) - 1, SAMPLED).astype(int))
    real = np.stack([cut.cut(np.asarray(truth[pick]), index) for pick in picks])
    made = np.stack([cut.cut(np.asarray(forecast[pick]), index) for pick in picks])
    low, high = (float(value) for value in np.percentile(real, (0.2, 99.8)))
    reach = float(np.percentile(np.abs(made - real), 99.0))
    return (low, high if high > low else low + 1e-6), reach or 1e-6


def _draw_page(
    cut: Plane,
    index: int,
    truth: np.ndarray,
    forecast: np.ndarray,
    cell: np.ndarray,
    size: tuple[int, int],
    title: str,
) -> _Page:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    grid = truth.shape[1:]
    limits, reach = _limits(cut, index, truth, forecast)
    edges = cut.edges(cell, grid)
    figure = Figure(figsize=(size[0] / DPI, size[1] / DPI), dpi=DPI, facecolor="white")
    canvas = FigureCanvasAgg(figure)
    axes = _panels(figure, size, (edges[1] - edges[0]) / (edges[3] - edges[2]))
    where = index / grid[cut.normal] * np.linalg.norm(cell[cut.normal])
    figure.text(0.5, 0.955, title, ha="center", va="center", fontsize=_points(size, 17))
    figure.text(
        0.04,
        0.045,
        f"plane {'xyz'[cut.normal]} = {where:.2f} Å",
        va="center",
        fontsize=_points(size, 12),
        color="0.3",
    )
    _label(axes, cut, cell, edges, size)
    _bars(figure, axes, limits, reach, size)
    canvas.draw()
    background = np.asarray(canvas.buffer_rgba())[..., :3].copy()
    height = background.shape[0]
    boxes = tuple(_pixels(ax, height) for ax in axes)
    return _Page(background, boxes, limits, reach, (size[0] // 2, round(0.955 * size[1])))


def _points(size: tuple[int, int], at_720: float) -> float:
    """Font size that keeps its share of the picture."""
    return at_720 * min(size[0] / 1280, size[1] / 720)


def _panels(figure: Figure, size: tuple[int, int], shape: float) -> list[Axes]:
    """Three axes with the cell's proportions, as large as the page allows."""
    width, height = size
    wide = min(0.252 * width, 0.66 * height * shape)
    tall = wide / shape
    bottom = (height - tall) / 2
    lefts = (0.052, 0.320, 0.656)
    return [figure.add_axes((left, bottom / height, wide / width, tall / height)) for left in lefts]


def _label(
    axes: list[Axes], cut: Plane, cell: np.ndarray, edges: tuple[float, ...], size: tuple[int, int]
) -> None:
    across, up = cut.labels(cell)
    small = _points(size, 12)
    for ax, name, color in zip(
        axes, ("truth", "forecast", "forecast − truth"), (TRUTH, FORECAST, "0.2"), strict=True
    ):
        ax.set(xlim=edges[:2], ylim=edges[2:], xlabel=across)
        ax.set_title(name, color=color, fontsize=_points(size, 15), pad=8)
        ax.tick_params(labelsize=_points(size, 11))
        ax.xaxis.label.set_size(small)
    axes[0].set_ylabel(up, fontsize=small)
    for ax in axes[1:]:
        ax.set_yticklabels([])


def _bars(
    figure: Figure, axes: list[Axes], limits: tuple[float, float], reach: float, size: tuple[int, int]
) -> None:
    from matplotlib.cm import ScalarMappable
    from matplotlib.colors import Normalize

    for ax, low, high, colors, label in (
        (axes[1], *limits, FIELD_COLORMAP, "ρ (Å⁻³)"),
        (axes[2], -reach, reach, DIFFERENCE_COLORMAP, "Δρ (Å⁻³)"),
    ):
        box = ax.get_position()
        bar_axes = figure.add_axes((box.x1 + 0.006, box.y0, 0.009, box.height))
        bar = figure.colorbar(
            ScalarMappable(Normalize(low, high), colors), cax=bar_axes, extend="both", extendfrac=0.02
        )
        bar.set_label(label, fontsize=_points(size, 11), labelpad=2)
        bar.locator = _few_ticks()
        bar.ax.tick_params(labelsize=_points(size, 9), pad=2)


def _few_ticks() -> Any:
    from matplotlib.ticker import MaxNLocator

    return MaxNLocator(5)


def _pixels(ax: Axes, page_height: int) -> tuple[int, int, int, int]:
    """Left, top, width and height of the inside of an axes' frame."""
    box = ax.get_window_extent()
    left, right = round(box.x0) + 1, round(box.x1)
    top, bottom = page_height - round(box.y1) + 1, page_height - round(box.y0)
    return left, top, right - left, bottom - top


def _frames(
    page: _Page, cut: Plane, index: int, truth: np.ndarray, forecast: np.ndarray, times_fs: np.ndarray
) -> Iterator[np.ndarray]:
    """Finished pictures (H, W, 3) uint8, one after the other."""
    import matplotlib
    from PIL import Image, ImageDraw

    field = _table(matplotlib.colormaps[FIELD_COLORMAP])
    change = _table(matplotlib.colormaps[DIFFERENCE_COLORMAP])
    font = _font(page.background.shape)
    for real, made, time_fs in zip(truth, forecast, times_fs, strict=True):
        picture = Image.fromarray(page.background)
        cuts = [cut.picture(np.asarray(frame, dtype=np.float32), index) for frame in (real, made)]
        ranges = (page.limits, page.limits, (-page.reach, page.reach))
        for values, box, table, limits in zip(
            (*cuts, cuts[1] - cuts[0]), page.boxes, (field, field, change), ranges, strict=True
        ):
            colored = Image.fromarray(_colored(values, table, limits))
            picture.paste(colored.resize(box[2:], Image.Resampling.BICUBIC), box[:2])
        ImageDraw.Draw(picture).text(
            page.clock, f"{time_fs:.0f} fs", fill=(40, 40, 40), font=font, anchor="mm"
        )
        yield np.asarray(picture)


def _table(colormap: Any) -> np.ndarray:
    return (255 * colormap(np.linspace(0, 1, 256))[:, :3] + 0.5).astype(np.uint8)


def _colored(values: np.ndarray, table: np.ndarray, limits: tuple[float, float]) -> np.ndarray:
    """Colours (up, across, 3) of a picture (across, up), first row on top."""
    low, high = limits
    shade = np.clip((values - low) / (high - low), 0, 1)
    return table[np.rint(255 * shade).astype(np.uint8)].transpose(1, 0, 2)[::-1].copy()


def _font(shape: tuple[int, ...]) -> Any:
    from matplotlib import get_data_path
    from PIL import ImageFont

    size = round(0.036 * min(shape[0], shape[1] * 720 / 1280))
    return ImageFont.truetype(str(Path(get_data_path()) / "fonts" / "ttf" / "DejaVuSans-Bold.ttf"), size)


def _write(
    path: Path,
    pictures: Iterable[np.ndarray],
    total: int,
    size: tuple[int, int],
    fps: int,
    progress: Progress | None,
) -> Path:
    import imageio_ffmpeg

    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".{path.stem}.part{path.suffix}")
    codec, pixels, options = ENCODING[path.suffix.lower()]
    writer = imageio_ffmpeg.write_frames(
        str(part),
        size,
        fps=fps,
        codec=codec,
        quality=None,
        bitrate=None,
        macro_block_size=2,
        pix_fmt_out=pixels,
        output_params=options.split(),
    )
    try:
        writer.send(None)
        for done, picture in enumerate(pictures, start=1):
            writer.send(np.ascontiguousarray(picture))
            if progress is not None and progress(done, total) is False:
                raise MovieCancelled(f"cancelled after {done} of {total} frames")
        writer.close()
        os.replace(part, path)
    finally:
        writer.close()
        part.unlink(missing_ok=True)
    return path
