"""`ldm info` and `ldm convert`: series in and out, in order, streamed, with words for what does not fit."""

import tracemalloc
from pathlib import Path

import numpy as np
import pytest

from engine.formats import FILE_NAMES, Volume, write_volume
from engine.series import export_series, find_series, import_series
from engine.trajectory import Trajectory, TrajectoryError, TrajectoryWriter
from training.convert import convert, info

CELL = np.array([[5.0, 0.3, -0.2], [1.1, 6.0, 0.4], [-0.7, 0.9, 7.0]])
GRID = (4, 6, 7)
SPECIES = np.array([3, 1, 3])
EPSILON = np.finfo(np.float32).eps


def frame(i, grid=GRID):
    x, y, z = np.meshgrid(*(np.arange(n) / n for n in grid), indexing="ij")
    return 0.01 * np.exp(0.4 * np.cos(2 * np.pi * (x + 2 * y - z - 0.05 * i)))


def positions(i):
    return np.random.default_rng(i).random((3, 3)) @ CELL


@pytest.fixture
def path(tmp_path):
    with TrajectoryWriter(
        tmp_path / "small.h5", grid=GRID, cell=CELL, species=SPECIES, dtype="float32"
    ) as writer:
        for i in range(12):
            writer.append(
                frame(i), time_fs=4.0 * i, positions=positions(i), scalars={"temperature": 700.0 + i}
            )
    return tmp_path / "small.h5"


def cubes(folder, frames=3, **changes):
    for i in range(frames):
        settings = {
            "density": frame(i),
            "cell": CELL,
            "species": SPECIES,
            "positions": positions(i),
            **changes,
        }
        write_volume(folder / f"step{i}.cube", Volume(**settings), "cube")
    return folder


@pytest.mark.parametrize("kind", tuple(FILE_NAMES))
def test_there_and_back_keeps_units_cell_and_ions(path, tmp_path, kind):
    convert([path], tmp_path / "series", to=kind, progress=False)
    assert len(list((tmp_path / "series").iterdir())) == 12
    convert([tmp_path / "series"], tmp_path / "back.h5", dt_fs=4.0, progress=False)
    bohr_digit = 0.53 * 0.51e-6 if kind == "cube" else 0.0  # CUBE prints lengths to 6 decimals of a Bohr
    with Trajectory(path) as there, Trajectory(tmp_path / "back.h5") as back:
        rounding = 0.51e-6 * 10 if kind == "cube" else EPSILON
        np.testing.assert_allclose(back.density(), there.density(), rtol=rounding)
        np.testing.assert_allclose(back.positions(), there.positions(), atol=bohr_digit + 8 * EPSILON)
        np.testing.assert_allclose(back.cell, there.cell, atol=bohr_digit * max(GRID) + 1e-13)
        np.testing.assert_array_equal(back.times_fs, there.times_fs)
        np.testing.assert_array_equal(back.species, there.species)
        assert back.storage == "float32"
        assert back.parameters["dt_fs"] == 4.0


def test_cut_of_a_trajectory_equals_the_view(path, tmp_path):
    cut = {"start_fs": 8.0, "stop_fs": 40.0, "every": 2, "grid": (8, 6, 8)}
    convert([path], tmp_path / "cut.h5", **cut, progress=False)
    with Trajectory(path) as whole, Trajectory(tmp_path / "cut.h5") as part:
        view = whole.between(8.0, 40.0)[::2].resampled((8, 6, 8))
        assert part.times_fs.tolist() == [8.0, 16.0, 24.0, 32.0]
        assert part.digest() == view.digest()


def test_one_member_of_an_ensemble_is_exported(tmp_path):
    with TrajectoryWriter(tmp_path / "two.h5", grid=GRID, cell=CELL, members=2, dtype="float32") as writer:
        writer.append(np.stack([frame(0), frame(5)]), time_fs=0.0)
    with pytest.raises(TrajectoryError, match="holds 2 members; choose one"):
        convert([tmp_path / "two.h5"], tmp_path / "out", to="cube", progress=False)
    convert([tmp_path / "two.h5"], tmp_path / "out", to="cube", member=1, progress=False)
    back = Trajectory(import_series([tmp_path / "out"], tmp_path / "one.h5"))
    np.testing.assert_allclose(back.density(0), frame(5), rtol=1e-5)
    assert back.species is None


# which files, in which order


def test_files_are_in_natural_order_however_they_are_named(tmp_path):
    folder = cubes(tmp_path / "run", frames=11)
    (folder / "notes.txt").write_text("not a density")
    names = [f"step{i}.cube" for i in range(11)]
    assert [p.name for p in find_series([folder])] == names
    assert [p.name for p in find_series([folder / "step*.cube"])] == names
    assert [p.name for p in find_series(reversed([folder / name for name in names]))] == names
    assert [p.name for p in find_series([folder, folder / "step3.cube"])] == names
    times = Trajectory(import_series([folder], tmp_path / "run.h5", dt_fs=0.5))
    assert times.times_fs.tolist() == [0.5 * i for i in range(11)]
    np.testing.assert_allclose(times.density(10), frame(10), rtol=1e-5)


def test_one_vasp_folder_per_step(tmp_path):
    volume = Volume(frame(0), CELL, SPECIES, positions(0))
    for i in (1, 2, 10):
        (tmp_path / f"run/{i}").mkdir(parents=True)
        for name in ("CHGCAR", "CHG", "AECCAR0"):
            write_volume(tmp_path / f"run/{i}/{name}", volume, "chgcar")
    found = find_series([tmp_path / "run"])
    assert [(p.parent.name, p.name) for p in found] == [("1", "CHGCAR"), ("2", "CHGCAR"), ("10", "CHGCAR")]


def test_what_is_no_series_is_refused(tmp_path):
    folder = cubes(tmp_path / "run", frames=2)
    (tmp_path / "nothing").mkdir()
    for inputs, words in [
        ([tmp_path / "nothing"], r"No \*.cube, \*.xsf or \*CHGCAR\* is in"),
        ([folder / "step7.cube"], "no file or folder"),
        ([folder / "*.xsf"], "No .* is in"),
    ]:
        with pytest.raises(TrajectoryError, match=words):
            find_series(inputs)
    write_volume(folder / "a.xsf", Volume(frame(0), CELL, SPECIES, positions(0)), "xsf")
    with pytest.raises(TrajectoryError, match=r"one format, but .*a.xsf \(xsf\), .*step1.cube \(cube\)"):
        find_series([folder])


# what does not fit together


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"density": frame(0, (4, 6, 8))}, r"its grid is \(4, 6, 8\), that of step0.cube \(4, 6, 7\)"),
        ({"cell": 1.01 * CELL}, "its cell differs from that of step0.cube by 0.07 Å"),
        ({"species": np.array([3, 3, 1])}, "its ions .* are not those of step0.cube"),
        ({"density": frame(0) - 0.009}, "of the voxels are zero or negative, the lowest -0.00"),
    ],
    ids=["grid", "cell", "ions", "sign"],
)
def test_odd_file_in_a_series_is_named_and_nothing_is_left(tmp_path, changes, words):
    folder = cubes(tmp_path / "run", frames=2)
    odd = {"density": frame(0), "cell": CELL, "species": SPECIES, "positions": positions(0), **changes}
    write_volume(folder / "step2.cube", Volume(**odd), "cube")
    with pytest.raises(TrajectoryError, match=f"step2.cube.*{words}"):
        import_series([folder], tmp_path / "out.h5", dt_fs=1.0)
    assert [p.name for p in tmp_path.iterdir()] == ["run"]


def test_floor_lifts_what_is_below_it_and_nothing_else(tmp_path):
    density = frame(0) - 0.009
    folder = cubes(tmp_path / "run", frames=1, density=density)
    share = 100 * (density <= 0).mean()
    with pytest.raises(TrajectoryError, match=f"{share:.3g} % of the voxels"):
        import_series([folder], tmp_path / "out.h5")
    lifted = Trajectory(import_series([folder], tmp_path / "out.h5", floor=1e-4))
    np.testing.assert_allclose(lifted.density(0), np.maximum(density, 1e-4), rtol=1e-5, atol=1e-8)
    assert lifted.parameters["floor_A-3"] == 1e-4


def test_memory_does_not_grow_with_the_series(path, tmp_path):
    grid, most = (32, 32, 32), []
    for frames in (4, 12):
        with Trajectory(path) as whole:
            export_series(whole[:frames].resampled(grid), tmp_path / f"{frames}", "chgcar")
        tracemalloc.start()
        import_series([tmp_path / f"{frames}"], tmp_path / f"{frames}.h5", dt_fs=1.0)
        most.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert most[1] < most[0] + 32**3


# the commands


def test_info_says_what_is_in_the_file(path, capsys):
    info(path)
    said = capsys.readouterr().out
    with Trajectory(path) as trajectory:
        logarithm = np.log(trajectory.density().astype(float))
        electrons = trajectory.density().mean() * np.linalg.det(CELL)
    for words in [
        "HLi2",
        "4 × 6 × 7",
        "12, every 4 fs, from 0 to 44 fs",
        f"mean {logarithm.mean():.3f}, standard deviation {logarithm.std():.3f}",
        f"{electrons:.3f} ±",
        "705.5 ± 3.5 K",
        "positions",
    ]:
        assert words in said


@pytest.mark.parametrize(
    ("inputs", "output", "options", "words"),
    [
        (["run"], "out.h5", {}, "--dt-fs"),
        (["run"], "out.h5", {"dt_fs": -1.0}, "must be positive, not -1.0 fs"),
        (["run"], "out.h5", {"dt_fs": 1.0, "floor": 0.0}, "must be positive, not 0.0 Å"),
        (["run"], "out", {"dt_fs": 1.0}, "end out in .h5"),
        (["run"], "out.h5", {"dt_fs": 1.0, "every": 2}, "--every"),
        (["run"], "out.h5", {"dt_fs": 1.0, "to": "xsf"}, "--to cannot be used"),
        (["small.h5"], "out", {}, "--to cube, chgcar or xsf"),
        (["small.h5"], "out.h5", {"to": "cube"}, "--to cube, chgcar or xsf"),
        (["small.h5"], "out.h5", {"dt_fs": 1.0}, "knows its times"),
        (["small.h5", "small.h5"], "out.h5", {}, "One trajectory at a time, not 2"),
        (["small.h5"], "out.h5", {"start_fs": 90.0}, "No frame lies in 90 to inf fs; it holds 0 to 44 fs"),
    ],
)
def test_options_that_make_no_sense_are_refused(path, tmp_path, inputs, output, options, words):
    cubes(tmp_path / "run")
    with pytest.raises(TrajectoryError, match=words):
        convert([tmp_path / name for name in inputs], tmp_path / output, **options, progress=False)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["run", "small.h5"]


def test_real_folder_names_are_taken_as_given(tmp_path, monkeypatch):
    cubes(tmp_path / "T=800K [1]")
    monkeypatch.chdir(tmp_path)
    assert len(find_series([Path("T=800K [1]")])) == 3
    assert len(find_series(["T=*/step?.cube"])) == 3
