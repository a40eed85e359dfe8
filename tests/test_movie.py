"""The slice movie: exact frames, the right cut in the right place, and a whole file or none."""

from __future__ import annotations

from pathlib import Path

import imageio_ffmpeg
import matplotlib
import numpy as np
import pytest
from waves import wave, write_wave

from engine.palette import FIELD_COLORMAP
from engine.trajectory import Trajectory
from ldm_viewer.movie import MovieCancelled, slice_movie
from ldm_viewer.planes import Plane
from training.movie import _at, run

CELL = np.diag([4.0, 5.0, 6.0])
SIZE = (640, 360)


def peak(grid: tuple[int, int, int], at: tuple[int, int, int]) -> np.ndarray:
    """A periodic bump around a grid point."""
    axes = np.meshgrid(*(np.arange(n) for n in grid), indexing="ij")
    squared = sum(np.sin(np.pi * (axis - p) / n) ** 2 for axis, p, n in zip(axes, at, grid, strict=True))
    return 0.02 + 0.1 * np.exp(-12 * squared)


def film(path: Path, frames: int = 7, **options: object) -> Path:
    truth = np.stack([peak((8, 10, 12), (2, 3 + k % 3, 9)) for k in range(frames)]).astype(np.float32)
    times = 2.0 * np.arange(frames)
    return slice_movie(path, truth, np.roll(truth, 1, 3), cell=CELL, times_fs=times, size=SIZE, **options)


def decode(path: Path) -> tuple[dict, list[np.ndarray]]:
    reader = imageio_ffmpeg.read_frames(str(path))
    about = next(reader)
    return about, [np.frombuffer(raw, np.uint8).reshape(*about["size"][::-1], 3) for raw in reader]


def test_every_frame_is_there_at_the_size_and_rate_asked_for(tmp_path: Path) -> None:
    about, frames = decode(film(tmp_path / "a.mp4", fps=10))
    assert (len(frames), about["size"], about["fps"], about["codec"]) == (7, SIZE, 10, "h264")
    assert about["pix_fmt"].startswith("yuv420p") and about["duration"] == pytest.approx(0.7, abs=0.05)
    assert list(tmp_path.iterdir()) == [tmp_path / "a.mp4"]


def test_the_peak_is_bright_where_the_density_has_it(tmp_path: Path) -> None:
    _, frames = decode(film(tmp_path / "a.mp4", frames=1, plane="x", position=2 / 8))
    page = frames[0].astype(float)
    brightest = 255 * np.array(matplotlib.colormaps[FIELD_COLORMAP](1.0)[:3])
    left = page[:, : SIZE[0] * 3 // 10]
    row, column = np.argwhere(np.abs(left - brightest).sum(-1) < 60).mean(0)
    dark = np.abs(left - 255 * np.array(matplotlib.colormaps[FIELD_COLORMAP](0.0)[:3])).sum(-1) < 60
    rows, columns = np.flatnonzero(dark.any(1)), np.flatnonzero(dark.any(0))
    across = (column - columns[0]) / (columns[-1] - columns[0])
    upwards = (rows[-1] - row) / (rows[-1] - rows[0])
    assert across == pytest.approx((3 + 0.5) / 10, abs=0.05) and upwards == pytest.approx(
        (9 + 0.5) / 12, abs=0.05
    )


def test_a_cancelled_movie_leaves_nothing(tmp_path: Path) -> None:
    seen = []
    with pytest.raises(MovieCancelled, match="3 of 7"):
        film(tmp_path / "a.mp4", progress=lambda done, total: seen.append((done, total)) or done < 3)
    assert seen == [(1, 7), (2, 7), (3, 7)] and not list(tmp_path.iterdir())


def test_a_failing_movie_leaves_the_former_file(tmp_path: Path) -> None:
    before = film(tmp_path / "a.mp4", frames=2).read_bytes()

    def fail(done: int, total: int) -> None:
        raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        film(tmp_path / "a.mp4", progress=fail)
    assert (tmp_path / "a.mp4").read_bytes() == before and len(list(tmp_path.iterdir())) == 1


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"plane": "w"}, "plane 'w'"),
        ({"size": (641, 360)}, "641×360"),
        ({"times_fs": [1.0]}, "many times"),
    ],
)
def test_what_will_not_do_is_named(tmp_path: Path, options: dict, words: str) -> None:
    arguments = {"cell": CELL, "times_fs": [0.0, 2.0], "size": SIZE} | options
    truth = np.ones((2, 8, 8, 8))
    with pytest.raises(ValueError, match=words):
        slice_movie(tmp_path / "a.mp4", truth, truth, **arguments)
    assert not list(tmp_path.iterdir())


def test_cuts_and_pictures_agree_on_the_grid_points() -> None:
    rng = np.random.default_rng(0)
    density = rng.random((6, 8, 10))
    for name, expected in (("x", density[2]), ("y", density[:, 3]), ("z", density[:, :, 4])):
        plane = Plane.named(name)
        index = {"x": 2, "y": 3, "z": 4}[name]
        np.testing.assert_array_equal(plane.cut(density, index), expected)
        assert plane.picture(density, index).shape == (4 * expected.shape[0], 4 * expected.shape[1])
    wave = np.cos(2 * np.pi * np.arange(16) / 16)[:, None, None] * np.ones((16, 16, 16))
    fine = Plane.named("z").picture(wave, 0)[:, 0]
    centres = (np.arange(64) + 0.5) / 4 - 0.5  # voxel i covers i − ½ … i + ½
    np.testing.assert_allclose(fine, np.cos(2 * np.pi * centres / 16), atol=5e-3)


def test_a_gif_holds_every_frame(tmp_path):
    from PIL import Image

    with Image.open(film(tmp_path / "a.gif", frames=7)) as picture:
        assert (picture.format, picture.n_frames) == ("GIF", 7)


def test_a_forecast_with_a_coarser_step_is_filmed_at_the_truths_times(tmp_path: Path) -> None:
    """Frames of 10 fs, splined, are the wave that moves once round in 100 fs, at every 2 fs."""
    every_2, every_10 = (
        write_wave(tmp_path / f"{step:g}.h5", frames=int(120 / step), step_fs=step) for step in (2.0, 10.0)
    )
    times = np.arange(20.0, 90.0, 2.0)
    splined = _at(Trajectory(every_10), times)
    assert splined == pytest.approx(np.stack([wave(t) for t in times]), abs=2e-4)
    assert np.array_equal(_at(Trajectory(every_10), np.array([30.0])), Trajectory(every_10).density([3]))
    about, frames = decode(run(every_2, every_10, tmp_path / "both.mp4", size=SIZE))
    assert len(frames) == 56  # 0 … 110 fs


def test_files_without_a_common_time_are_refused_in_words(tmp_path: Path) -> None:
    early = write_wave(tmp_path / "early.h5", frames=3)
    late = tmp_path / "late.h5"
    Trajectory(write_wave(tmp_path / "all.h5"))[20:].save(late)
    with pytest.raises(ValueError, match="no time in common"):
        run(early, late, tmp_path / "none.mp4")
