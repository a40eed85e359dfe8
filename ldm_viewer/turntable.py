"""Movies of isosurfaces: once round a moment, through time, or both; drawn by a process of its own. No Qt."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ldm_viewer.artist import Artist
from ldm_viewer.encoder import Progress, write_movie
from ldm_viewer.movie import SIZES
from ldm_viewer.scene import BOTH, View, scene_of

if TYPE_CHECKING:
    from ldm_viewer.state import State

TURN, TIME, TURN_AND_TIME = "turn once", "through time", "through time, turning"
MOTIONS = (TURN, TIME, TURN_AND_TIME)


@dataclass(frozen=True)
class Ride:
    """What a 3-D movie shows, and how it moves."""

    motion: str = TURN
    seconds: float = 8.0
    """Of one turn at a moment that stands still."""
    what: str = BOTH
    levels: str = ""
    """In e/Å³, as in the isosurface dock; by itself if empty."""
    atoms: bool = True
    view: View = View()
    """Where the camera begins."""
    limits: tuple[float, float] = (0.0, 0.1)
    title: str = ""
    size: tuple[int, int] = SIZES["1080p"]
    fps: float = 25

    def moments(self, times_fs: np.ndarray, now_fs: float) -> list[tuple[float, float]]:
        """Time in fs and degrees that the camera has turned by, of every picture."""
        if self.motion == TURN:
            count = max(2, round(self.seconds * self.fps))
            return [(now_fs, 360.0 * k / count) for k in range(count)]
        turned = 360.0 / len(times_fs) if self.motion == TURN_AND_TIME else 0.0
        return [(float(time_fs), turned * k) for k, time_fs in enumerate(times_fs)]


def surface_movie(
    path: str | Path,
    state: State,
    times_fs: np.ndarray,
    ride: Ride,
    zero_fs: float = 0.0,
    progress: Progress | None = None,
    artist: Artist | None = None,
) -> Path:
    """Film the state's isosurfaces as .mp4, .gif or a folder of PNGs; raises what `write_movie` does.

    `times_fs` (T,) are the moments of a movie through time; a turn is of the state's own moment.
    `artist` draws, and is closed afterwards; closing it earlier ends the movie at once.
    """
    moments = ride.moments(times_fs, state.time_fs)
    artist = artist or Artist()
    try:
        pictures = (surface_picture(artist, state, ride, *moment, zero_fs) for moment in moments)
        return write_movie(path, pictures, len(moments), ride.fps, progress)
    finally:
        artist.close()


def surface_picture(
    artist: Artist, state: State, ride: Ride, time_fs: float, turned: float, zero_fs: float = 0.0
) -> np.ndarray:
    """One picture, (H, W, 3) uint8. ValueError where there is nothing at this time."""
    scene = scene_of(
        replace(state, time_fs=time_fs),
        what=ride.what,
        levels=ride.levels,
        atoms=ride.atoms,
        view=replace(ride.view, azimuth=ride.view.azimuth + turned),
        size=ride.size,
        limits=ride.limits,
        background="white",
    )
    if scene is None:
        raise ValueError(
            f"there is no {ride.what} at {time_fs:g} fs; choose another time, or make a forecast"
        )
    return stamped(artist.paint(scene), ride.title, f"{time_fs - zero_fs:.0f} fs")


def stamped(picture: np.ndarray, title: str, clock: str, color: str = "#222222") -> np.ndarray:
    """The picture with a title and the time below; the names of the fields stand above."""
    from matplotlib import get_data_path
    from PIL import Image, ImageDraw, ImageFont

    drawn = Image.fromarray(picture[..., :3])
    pen, unit = ImageDraw.Draw(drawn), min(drawn.width / 1120, drawn.height / 720)
    for words, face, size, place in (
        (title, "DejaVuSans.ttf", 26, (drawn.width / 2, drawn.height - 54 * unit)),
        (clock, "DejaVuSans-Bold.ttf", 26, (drawn.width / 2, drawn.height - 22 * unit)),
    ):
        font = ImageFont.truetype(
            str(Path(get_data_path()) / "fonts" / "ttf" / face), max(8, round(size * unit))
        )
        pen.text(place, words, fill=color, font=font, anchor="mm")
    return np.asarray(drawn)
