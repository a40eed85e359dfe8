"""The slice movie: exact frames, the right cut in the right place, and a whole file or none."""

from __future__ import annotations

import resource
import subprocess
from pathlib import Path

import imageio_ffmpeg
import matplotlib
import numpy as np
import pytest
from PIL import Image
from waves import wave, write_wave

from engine.palette import FIELD_COLORMAP
from engine.samples import sample_path
from engine.trajectory import Trajectory
from ldm_viewer.footage import VIEWS, Footage, between
from ldm_viewer.frames import Series
from ldm_viewer.movie import MISSING, Film, MovieCancelled, Shot, slice_movie
from ldm_viewer.planes import Plane
from training.movie import run

CELL = np.diag([4.0, 5.0, 6.0])
SIZE = (640, 360)


def peak(grid: tuple[int, int, int], at: tuple[int, int, int]) -> np.ndarray:
    """A periodic bump around a grid point."""
    axes = np.meshgrid(*(np.arange(n) for n in grid), indexing="ij")
    squared = sum(np.sin(np.pi * (axis - p) / n) ** 2 for axis, p, n in zip(axes, at, grid, strict=True))
    return 0.02 + 0.1 * np.exp(-12 * squared)


def footage(frames: int = 7, **more: Series | None) -> Footage:
    truth = np.stack([peak((8, 10, 12), (2, 3 + k % 3, 9)) for k in range(frames)]).astype(np.float32)
    both = {"truth": Series(truth, 0.0, 2.0, CELL), "forecast": Series(np.roll(truth, 1, 3), 0.0, 2.0, CELL)}
    return Footage.of(*(both | more).values())


def film(path: Path, frames: int = 7, progress: object = None, **options: object) -> Path:
    return slice_movie(path, footage(frames), Shot(**{"size": SIZE} | options), progress)


def decode(path: Path) -> tuple[dict, list[np.ndarray]]:
    reader = imageio_ffmpeg.read_frames(str(path))
    about = next(reader)
    return about, [np.frombuffer(raw, np.uint8).reshape(*about["size"][::-1], 3) for raw in reader]


def test_every_frame_is_there_at_the_size_and_rate_asked_for(tmp_path: Path) -> None:
    about, frames = decode(film(tmp_path / "a.mp4", fps=10))
    assert (len(frames), about["size"], about["fps"], about["codec"]) == (7, SIZE, 10, "h264")
    assert about["pix_fmt"].startswith("yuv420p") and about["duration"] == pytest.approx(0.7, abs=0.05)
    assert list(tmp_path.iterdir()) == [tmp_path / "a.mp4"]
    bytes_ = (tmp_path / "a.mp4").read_bytes()
    assert bytes_.index(b"moov") < bytes_.index(b"mdat"), "the index first: it plays while it loads"


def test_a_gif_and_a_folder_of_pictures_hold_every_frame(tmp_path: Path) -> None:
    with Image.open(film(tmp_path / "a.gif", fps=10)) as gif:
        assert (gif.n_frames, gif.size, gif.info["duration"]) == (7, SIZE, 100)
    folder = film(tmp_path / "talk")
    assert [file.name for file in sorted(folder.iterdir())] == [f"frame_{k:04d}.png" for k in range(1, 8)]
    drawn = Film(footage(), Shot(size=SIZE)).picture(4)[..., :3]
    np.testing.assert_array_equal(np.asarray(Image.open(folder / "frame_0005.png")), drawn)
    film(tmp_path / "talk", frames=2)
    assert len(list(folder.iterdir())) == 2 and not list(tmp_path.glob(".*"))


def test_a_folder_with_other_files_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(OSError, match="other files"):
        film(tmp_path)
    assert [file.name for file in tmp_path.iterdir()] == ["notes.txt"]


@pytest.mark.parametrize("name", ["a.mp4", "a.gif", "pictures"])
def test_a_full_disk_is_said_in_words_and_leaves_nothing(tmp_path: Path, name: str) -> None:
    small = tmp_path / "small"
    small.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=8k", "none", str(small)]
    try:
        subprocess.run(mount, check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("a small disk can be mounted by root only")
    try:
        with pytest.raises(OSError, match="disk is full"):
            film(small / name)
        assert not list(small.iterdir())
    finally:
        subprocess.run(["umount", str(small)], check=True)


def test_a_path_through_a_file_is_said_in_words(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(OSError, match="a.mp4 was not written: .* file, not a folder"):
        film(tmp_path / "file" / "a.mp4")


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
    assert seen == [(k, 7) for k in range(4)] and not list(tmp_path.iterdir())


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
        ({"views": ("truth", "spread")}, "truth, spread"),
        ({"strip": "F(q,t)"}, "F\\(q,t\\)"),
        ({"fps": 0}, "0 frames per second"),
    ],
)
def test_what_will_not_do_is_named(tmp_path: Path, options: dict, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        film(tmp_path / "a.mp4", **options)
    with pytest.raises(ValueError, match="not as .avi"):
        film(tmp_path / "a.avi")
    assert not list(tmp_path.iterdir())


def test_nothing_to_film_is_said() -> None:
    with pytest.raises(ValueError, match="nothing to export yet"):
        Footage.of(None, None)
    with pytest.raises(ValueError, match="no forecast to film"):
        Film(footage(forecast=None), Shot(size=SIZE))
    assert Film(footage(forecast=None), Shot(("truth",), size=SIZE)).picture(0).shape == (360, 640, 4)


def test_a_preview_is_the_movie_made_small() -> None:
    """Every measure of the page grows with it: half the pixels, half of everything."""
    large, small = (
        Film(footage(), Shot(size=size, strip="histogram", title="both")).picture(3)[..., :3]
        for size in ((1280, 720), (640, 360))
    )
    shrunk = np.asarray(Image.fromarray(large).resize((640, 360), Image.Resampling.BOX), float)
    assert np.abs(shrunk - small).mean() < 4


@pytest.mark.parametrize("views", [("truth",), ("forecast", "difference"), VIEWS], ids=len)
@pytest.mark.parametrize("size", [(640, 360), (480, 480), (360, 640)], ids=str)
@pytest.mark.parametrize("strip", ["nothing", "S(q)"])
def test_panels_stay_on_the_page_and_apart(views: tuple, size: tuple, strip: str) -> None:
    film = Film(footage(), Shot(views, strip=strip, size=size))
    boxes = film._boxes
    covered = np.zeros(size[::-1], int)
    for box in boxes:
        assert box.left >= 0 and box.top >= 0 and box.width > 0.2 * min(size)
        assert box.left + box.width <= size[0] and box.top + box.height <= size[1]
        assert box.width / box.height == pytest.approx(5 / 6, rel=0.03), "the cell's shape"
        covered[box.rows, box.columns] += 1
    for box in film._moving:
        covered[box.rows, box.columns] += 1
    assert covered.max() == 1


def test_where_the_truth_ends_its_panel_says_so() -> None:
    short = footage(3).truth
    film = Film(footage(truth=short), Shot(size=SIZE))
    box = film._boxes[0]
    inside = [film.picture(k)[box.rows, box.columns, :3].copy() for k in (2, 3)]
    assert inside[0].std() > 20 and (inside[1] == MISSING).all(axis=-1).mean() > 0.7
    assert (inside[1] != MISSING).any(), "words"


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


def test_a_coarser_forecast_is_filmed_at_the_truths_times(tmp_path: Path) -> None:
    """Frames of 10 fs, splined, are the wave that moves once round in 100 fs, at every 2 fs."""
    every_2, every_10 = (
        write_wave(tmp_path / f"{step:g}.h5", frames=int(120 / step), step_fs=step) for step in (2.0, 10.0)
    )
    series = Series.of(Trajectory(every_10))
    splined = np.stack([between(series, t) for t in np.arange(20.0, 90.0, 2.0)])
    assert splined == pytest.approx(np.stack([wave(t) for t in np.arange(20.0, 90.0, 2.0)]), abs=2e-4)
    np.testing.assert_array_equal(between(series, 30.0), series.frames[3])
    assert between(series, -2.0) is None and between(series, 112.0) is None
    about, frames = decode(run(every_2, every_10, tmp_path / "both.mp4", Shot(size=SIZE)))
    assert len(frames) == 56  # 0 … 110 fs
    both = Series.of(Trajectory(every_2)), series
    assert len(Footage.of(*both, smooth=False)) == 12
    assert list(Footage.of(*both, span_fs=(20.0, 26.0), every=2).times_fs) == [20.0, 24.0]


def test_files_without_a_common_time_are_refused_in_words(tmp_path: Path) -> None:
    early = write_wave(tmp_path / "early.h5", frames=3)
    late = tmp_path / "late.h5"
    Trajectory(write_wave(tmp_path / "all.h5"))[20:].save(late)
    with pytest.raises(ValueError, match="no time in common"):
        run(early, late, tmp_path / "none.mp4")


@pytest.mark.slow
def test_300_frames_of_1080p_take_less_than_30_seconds_of_two_cores(tmp_path: Path) -> None:
    """Counted in processor time, so that other programs on the machine do not matter."""

    def spent() -> float:
        usage = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
        return sum(one.ru_utime + one.ru_stime for one in usage)

    real = Series.of(Trajectory(sample_path("li32_test.h5")))
    both = Footage.of(real, Series(np.roll(real.frames[:], 1, 1), real.start_fs, real.step_fs, real.cell))
    before = spent()
    path = slice_movie(tmp_path / "talk.mp4", both, Shot(strip="S(q)"))
    assert imageio_ffmpeg.count_frames_and_secs(str(path)) == (300, 12.0)
    assert spent() - before < 60
