"""A run as one HTML file: slices with a slider, curves, an isosurface to turn; no network. No Qt.

Densities travel as bytes, as differences in time, compressed; the browser (any with WebGL 2) unpacks and
draws them with the JavaScript in `ldm_viewer/web`. A plotting library would be larger than the data.
"""

from __future__ import annotations

import base64
import gzip
import json
import os
from html import escape
from importlib.resources import files
from pathlib import Path
from string import Template
from typing import Any

import numpy as np

from engine.palette import DIFFERENCE_COLORMAP, FIELD_COLORMAP, FORECAST, TRUTH, color_table
from engine.resample import fourier_resample
from ldm_viewer.encoder import MovieCancelled, Progress, told
from ldm_viewer.footage import Footage
from ldm_viewer.frames import shared_limits
from ldm_viewer.pagecurves import Curves
from ldm_viewer.planes import is_box
from ldm_viewer.scene import DIFFERENCE_SHARE

MOST_FRAMES = 300
BUDGET = 4_000_000  # voxels of all frames and fields: 3 to 4 MB of file
SCRIPTS = ("data.js", "slices.js", "curves.js", "surface.js", "main.js")


def write_page(
    path: str | Path,
    footage: Footage,
    *,
    title: str = "",
    limits: tuple[float, float] | None = None,
    progress: Progress | None = None,
) -> Path:
    """Write the page, aside and renamed; of long runs every n-th frame, of large grids a coarser one.

    The page says so. `limits` of the colours in e/Å³. Raises MovieCancelled, and OSError in words.
    """
    path = Path(path)
    if path.suffix.lower() not in (".html", ".htm"):
        raise ValueError(f"a page is written as .html, not as {path.suffix or 'a name without suffix'}")
    every = -(-len(footage) // MOST_FRAMES)
    footage = Footage(footage.truth, footage.forecast, footage.times_fs[::every], footage.zero_fs)
    content = _content(footage, limits or shared_limits(footage.known), progress)
    text = _page(title or path.stem, _about(footage, every, content), content)
    part = path.with_name(f".{path.name}.part")
    with told(path):
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            part.write_text(text, encoding="utf-8")
            os.replace(part, path)
        finally:
            part.unlink(missing_ok=True)
    return path


def page_grid(grid: tuple[int, int, int], voxels: int) -> tuple[int, int, int]:
    """The grid itself where `voxels` allow it, else one coarser by the same factor in each direction."""
    shrink = min(1.0, (voxels / float(np.prod(grid))) ** (1 / 3))
    return tuple(max(4, int(n * shrink)) if shrink < 1 else n for n in grid)


def pack(numbers: np.ndarray) -> str:
    """Bytes of an array, gzip, base64; without a time stamp, so that equal runs make equal files."""
    return base64.b64encode(gzip.compress(np.ascontiguousarray(numbers).tobytes(), 6, mtime=0)).decode()


def _content(footage: Footage, limits: tuple[float, float], progress: Progress | None) -> dict[str, Any]:
    """Everything that the script reads."""
    names = [name for name in ("truth", "forecast") if getattr(footage, name) is not None]
    known = footage.known
    grid = page_grid(known.grid, BUDGET // (len(names) * len(footage)))
    curves, frames = Curves(footage, limits[1]), {name: [] for name in names}
    for number, time_fs in enumerate(footage.times_fs):
        for name in names:
            density = footage.at(name, time_fs)
            frames[name].append(None if density is None else fourier_resample(density, grid))
        curves.add(number)
        if progress is not None and progress(number + 1, len(footage)) is False:
            raise MovieCancelled(f"cancelled after {number + 1} of {len(footage)} frames")
    shown = [frame for name in names for frame in frames[name] if frame is not None]
    low, high = float(min(map(np.min, shown))), float(max(map(np.max, shown)))
    return {
        "times": footage.times_fs.tolist(),
        "zero": footage.zero_fs,
        "grid": grid,
        "cell": known.cell.tolist(),
        "axes": "xyz" if is_box(known.cell) else "abc",
        "limits": limits,
        "reach": DIFFERENCE_SHARE * (limits[1] - limits[0]),
        "low": low,
        "high": high,
        "known": {name: [frame is not None for frame in frames[name]] for name in names},
        "fields": {name: _packed(frames[name], grid, low, high) for name in names},
        "tables": {"field": _colors(FIELD_COLORMAP), "difference": _colors(DIFFERENCE_COLORMAP)},
        "colors": {"truth": TRUTH, "forecast": FORECAST},
        "plots": curves.plots(pack),
    }


def _packed(frames: list[np.ndarray | None], grid: tuple[int, ...], low: float, high: float) -> str:
    """Frames as bytes between `low` and `high`, each less the one before, modulo 256."""
    scaled = np.zeros((len(frames), *grid), np.uint8)
    for place, frame in zip(scaled, frames, strict=True):
        if frame is not None:
            place[...] = np.rint(255 * (frame - low) / (high - low))
    scaled[1:] = np.diff(scaled, axis=0)
    return pack(scaled)


def _colors(name: str) -> str:
    return pack(color_table(name)[:, :3])


def _about(footage: Footage, every: int, content: dict[str, Any]) -> str:
    """What the page shows and how exactly, for its foot."""
    step = (content["high"] - content["low"]) / 255
    full, shown = (" × ".join(map(str, grid)) for grid in (footage.known.grid, content["grid"]))
    told_grid = (
        f"grid {full}" if full == shown else f"grid {full}, here {shown} (the shortest waves left out)"
    )
    thinned = "" if every == 1 else f" (one in {every})"
    return (
        f"{len(footage)} frames{thinned}; {told_grid}; densities in steps of {step:.2g} e/Å³. "
        "Curves are of the full data. Made with ldm_viewer; the file needs no network."
    )


def _page(title: str, about: str, content: dict[str, Any]) -> str:
    web = files("ldm_viewer") / "web"
    return Template((web / "page.html").read_text(encoding="utf-8")).substitute(
        title=escape(title),
        about=escape(about),
        style=(web / "page.css").read_text(encoding="utf-8"),
        script="".join((web / name).read_text(encoding="utf-8") for name in SCRIPTS),
        data=json.dumps(content).replace("</", "<\\/"),
    )
