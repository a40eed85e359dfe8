"""Without a window: series made into trajectories, layers saved, periodic images, preferences."""

from __future__ import annotations

import json
import time
from pathlib import Path

import numpy as np
import pytest
from waves import CELL, wave

from engine.formats import Volume, write_volume
from engine.series import find_series
from engine.trajectory import Trajectory, TrajectoryError, TrajectoryWriter
from ldm_viewer import preferences
from ldm_viewer.frames import FileFrames, RepeatedFrames, Series
from ldm_viewer.gather import Gathering, Order, free_name
from ldm_viewer.layers import cell_of, image, placement, scattered
from ldm_viewer.preferences import Preferences
from ldm_viewer.reader import get_reader, read_series, series_of
from ldm_viewer.writer import write_cubes, write_trajectory, write_xsfs

SLANTED = np.array([[4.0, 0.0, 0.0], [1.0, 3.5, 0.0], [0.5, 0.3, 4.5]])


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Five CHGCARs of the wave, and what a VASP run leaves beside them."""
    run = tmp_path / "run"
    run.mkdir()
    for index in range(5):
        volume = Volume(wave(2.0 * index), CELL, np.array([4]), np.array([[0.0, 0.1 * index, 0.0]]))
        write_volume(run / f"CHGCAR_{index}", volume, "chgcar")
    (run / "OUTCAR").write_text("not a density")
    return run


def ended(work: Gathering, seconds: float = 120.0) -> Gathering:
    end = time.monotonic() + seconds
    while not work.over:
        assert time.monotonic() < end
        time.sleep(0.02)
    return work


def test_a_folder_becomes_a_trajectory_in_another_process(folder: Path) -> None:
    files = series_of([folder])
    assert [file.name for file in files] == [f"CHGCAR_{index}" for index in range(5)]
    output = free_name(files)
    assert output == folder.with_name("run.h5")
    work = ended(Gathering(Order(tuple(map(str, files)), str(output), dt_fs=2.0)))
    assert work.error == "" and work.done == work.total == 5
    with Trajectory(output) as made:
        assert made.dt_fs == 2.0 and made.formula == "Be"
        np.testing.assert_allclose(made.density(3), wave(6.0), rtol=1e-4)
    assert free_name(files).name == "run-2.h5", "nothing is overwritten"


def test_a_damaged_file_is_named_and_leaves_nothing(folder: Path) -> None:
    (folder / "CHGCAR_2").write_text("cut off")
    output = folder.with_name("run.h5")
    work = ended(Gathering(Order(tuple(map(str, series_of([folder]))), str(output))))
    assert "CHGCAR_2" in work.error
    assert sorted(path.name for path in folder.parent.iterdir()) == ["run"]


def test_cancelling_leaves_nothing(folder: Path) -> None:
    work = Gathering(Order(tuple(map(str, series_of([folder]))) * 200, str(folder.with_name("run.h5"))))
    work.cancel()
    assert work.over and work.error
    assert sorted(path.name for path in folder.parent.iterdir()) == ["run"]


def test_reader_takes_folders_and_several_files_and_leaves_others(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    assert get_reader(str(tmp_path / "empty")) is None
    assert get_reader(str(folder)) is read_series
    files = [str(file) for file in find_series([folder])]
    assert get_reader(files) is read_series
    ((data, described, kind),) = read_series(str(folder))
    assert kind == "image" and data.shape == (5, 8, 8, 8)
    np.testing.assert_allclose(data[4], wave(8.0).transpose(2, 1, 0), rtol=1e-4)
    assert described["metadata"]["ldm_viewer_series"] == files


def test_files_are_read_when_asked_for(folder: Path) -> None:
    files = find_series([folder])
    frames = FileFrames(files, wave(0.0))
    files[3].unlink()
    np.testing.assert_allclose(frames[2], wave(4.0), rtol=1e-4)
    with pytest.raises(TrajectoryError, match="CHGCAR_3"):
        frames[3]


def test_a_layer_saved_reads_back_with_cell_and_atoms(tmp_path: Path) -> None:
    with TrajectoryWriter(
        tmp_path / "run.h5", grid=(8, 8, 8), cell=CELL, species=[4], dtype="float32"
    ) as out:
        for time_fs in 2.0 * np.arange(5):
            out.append(wave(time_fs), time_fs=time_fs, positions=np.array([[0.0, 0.1 * time_fs, 0.0]]))
    trajectory = Trajectory(tmp_path / "run.h5")
    described = image(Series.of(trajectory), "truth", (0, 1), metadata={"trajectory": trajectory})
    data = described.pop("data")
    (path,) = write_trajectory(str(tmp_path / "saved.h5"), data, described)
    with Trajectory(path) as saved:
        np.testing.assert_allclose(saved.density(), trajectory.density(), rtol=1e-6)
        np.testing.assert_allclose(saved.cell, CELL, atol=1e-12)
        np.testing.assert_allclose(saved.positions(), trajectory.positions(), atol=1e-6)
        np.testing.assert_allclose(saved.times_fs, trajectory.times_fs)
    for write, suffix in ((write_cubes, ".cube"), (write_xsfs, ".xsf")):
        written = write(str(tmp_path / f"series{suffix[1:]}{suffix}"), data, described)
        assert len(written) == 5 and all(Path(file).is_file() for file in written)
        again = FileFrames(series_of([Path(written[0]).parent]), wave(0.0))
        np.testing.assert_allclose(again[4], wave(8.0), rtol=1e-3)
    with pytest.raises(TrajectoryError, match="is there already"):
        write_cubes(str(tmp_path / "seriescube.cube"), data, described)


def test_frames_that_are_not_ready_are_not_saved(tmp_path: Path) -> None:
    film = np.stack([wave(0.0), wave(2.0), np.full((8, 8, 8), np.nan)]).astype(np.float32)
    described = image(Series(film, 20.0, 2.0, SLANTED), "forecast", (0, 1))
    data = described.pop("data")
    (path,) = write_trajectory(str(tmp_path / "some.h5"), data, described)
    with Trajectory(path) as saved:
        np.testing.assert_allclose(saved.times_fs, [20.0, 22.0])
        np.testing.assert_allclose(saved.cell, SLANTED, atol=1e-12)
    with pytest.raises(TrajectoryError, match="needs ions"):
        write_xsfs(str(tmp_path / "some.xsf"), data, described)


@pytest.mark.parametrize("cell", [CELL, SLANTED])
def test_a_layer_tells_its_cell(cell: np.ndarray) -> None:
    place = placement(Series(np.zeros((2, 4, 6, 10)), 7.0, 2.0, cell))
    np.testing.assert_allclose(cell_of((4, 6, 10), place["scale"], place["affine"]), cell, atol=1e-12)


def test_periodic_images_repeat_density_and_atoms() -> None:
    series = Series(np.random.default_rng(0).random((2, 4, 5, 6)), 0.0, 2.0, SLANTED)
    twice = series.repeated(2)
    assert isinstance(twice.frames, RepeatedFrames) and twice.grid == (8, 10, 12)
    for shift in ((0, 0, 0), (4, 0, 0), (4, 5, 6)):
        part = twice.frames[1][tuple(slice(s, s + n) for s, n in zip(shift, (4, 5, 6), strict=True))]
        np.testing.assert_allclose(part, series.frames[1], rtol=1e-6)
    np.testing.assert_allclose(twice.cell, 2 * SLANTED)
    atom = np.array([0.3, 0.4, -0.2]) @ SLANTED
    points = scattered(atom[None], SLANTED, 2)[:, ::-1]
    assert len(points) == 8
    np.testing.assert_allclose(points[0], np.array([0.3, 0.4, 0.8]) @ SLANTED)
    np.testing.assert_allclose(points[-1] - points[0], SLANTED.sum(axis=0))


def test_preferences_are_kept_and_nonsense_is_not(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(preferences.FOLDER, str(tmp_path / "config"))
    assert preferences.load() == Preferences()
    wanted = Preferences(redraws=10, threads=3)
    path = preferences.save(wanted)
    assert preferences.load() == wanted and wanted.threads_to_use == 3
    assert [file.name for file in path.parent.iterdir()] == ["preferences.json"]
    path.write_text(json.dumps({"redraws": 1000}))
    assert preferences.load() == Preferences()
    path.write_text("[")
    assert preferences.load() == Preferences()
    with pytest.raises(ValueError, match="1 to 60 a second, not 0"):
        Preferences(redraws=0)
