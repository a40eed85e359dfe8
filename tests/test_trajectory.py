"""Laws of the trajectory file: it reads back as written, views equal numpy, damage is said in words."""

import pickle
import re
import threading
import time
import tracemalloc
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context

import h5py
import numpy as np
import pytest

from engine.trajectory import Trajectory, TrajectoryError, TrajectoryWriter, fourier_resample

CELL = np.array([[5.0, 0.3, -0.2], [1.1, 6.0, 0.4], [-0.7, 0.9, 7.0]])
GRID = (6, 8, 10)
SPECIES = [3, 3, 1]
FRAMES = 13
DT_FS = 2.0


def points(grid):
    """Fractional coordinates of the grid points, (3, Nx, Ny, Nz)."""
    return np.stack(np.meshgrid(*(np.arange(n) / n for n in grid), indexing="ij"))


def frame(i, grid=GRID):
    x, y, z = points(grid)
    return 0.05 * np.exp(
        0.3 * np.cos(2 * np.pi * (x - 0.01 * i)) + 0.2 * np.sin(2 * np.pi * (y + 2 * z - 0.02 * i))
    )


def write(path, frames=FRAMES, dtype="float32", **settings):
    rng = np.random.default_rng(0)
    kept = {"density": [], "positions": [], "velocities": [], "forces": []}
    with TrajectoryWriter(path, grid=GRID, cell=CELL, species=SPECIES, dtype=dtype, **settings) as writer:
        for i in range(frames):
            ions = {name: rng.normal(size=(3, 3)) for name in ("positions", "velocities", "forces")}
            kept["density"].append(frame(i).astype(dtype).astype(np.float32))
            for name, values in ions.items():
                kept[name].append(values.astype(np.float32))
            scalars = {"temperature": 800.0 + i, "potential_energy": -i / 3}
            writer.append(frame(i), time_fs=i * DT_FS, scalars=scalars, **ions)
    return {name: np.array(values) for name, values in kept.items()}


@pytest.fixture(scope="module")
def stored(tmp_path_factory):
    path = tmp_path_factory.mktemp("trajectory") / "small.h5"
    return path, write(path, parameters={"code": "test", "seed": 7, "kpts": [1, 1, 1]}, author="A. Tester")


@pytest.fixture
def trajectory(stored):
    with Trajectory(stored[0]) as opened:
        yield opened


def edited(stored, tmp_path, edit):
    """A copy of the file with one thing changed."""
    path = tmp_path / "edited.h5"
    path.write_bytes(stored[0].read_bytes())
    with h5py.File(path, "r+") as file:
        edit(file)
    return path


# what is read is what was written


def test_round_trip_is_exact(stored, trajectory):
    kept = stored[1]
    np.testing.assert_array_equal(trajectory.density(), kept["density"])
    for name in ("positions", "velocities", "forces"):
        np.testing.assert_array_equal(getattr(trajectory, name)(), kept[name])
    np.testing.assert_array_equal(trajectory.times_fs, DT_FS * np.arange(FRAMES))
    np.testing.assert_array_equal(trajectory.cell, CELL)
    np.testing.assert_array_equal(trajectory.species, SPECIES)
    np.testing.assert_array_equal(trajectory.scalar("potential_energy"), -np.arange(FRAMES) / 3)
    assert trajectory.scalar("entropy") is None
    assert (trajectory.grid, trajectory.members, len(trajectory)) == (GRID, 1, FRAMES)
    assert (trajectory.composition, trajectory.formula) == ({"H": 1, "Li": 2}, "HLi2")
    assert trajectory.parameters == {"code": "test", "seed": 7, "kpts": [1, 1, 1]}
    assert trajectory.dt_fs == DT_FS


def test_float16_rounds_by_at_most_half_a_unit_in_the_last_place(tmp_path):
    write(tmp_path / "half.h5", frames=2, dtype="float16")
    with Trajectory(tmp_path / "half.h5") as half:
        assert half.storage == "float16"
        np.testing.assert_allclose(half.density(1), frame(1), rtol=2**-11)


def test_file_is_h5md(stored):
    with h5py.File(stored[0]) as file:
        assert file["h5md"].attrs["version"].tolist() == [1, 1]
        assert {"author", "creator"} <= set(file["h5md"])
        assert file["particles/ions/box"].attrs["boundary"].tolist() == [b"periodic"] * 3
        assert file["particles/ions/box/edges/value"].shape == (FRAMES, 3, 3)
        density = file["observables/density/value"]
        assert density.chunks == (1, *GRID)
        assert (density.compression, density.shuffle) == ("gzip", True)
        values = []
        file.visititems(lambda name, item: values.append(item) if name.endswith("/value") else None)
        assert len(values) == 7
        for value in values:
            assert value.attrs["unit"]
            assert len(value.parent["step"]) == len(value.parent["time"]) == len(value) == FRAMES


def test_mdanalysis_reads_the_ions(stored):
    mda = pytest.importorskip("MDAnalysis")
    path, kept = stored
    universe = mda.Universe.empty(len(SPECIES), trajectory=True)
    universe.load_new(str(path), format="H5MD")
    assert len(universe.trajectory) == FRAMES
    lengths = np.linalg.norm(CELL, axis=1)
    unit = CELL / lengths[:, None]
    angles = np.degrees(np.arccos([unit[1] @ unit[2], unit[0] @ unit[2], unit[0] @ unit[1]]))
    for i, step in enumerate(universe.trajectory):
        assert step.time == pytest.approx(i * DT_FS / 1000)  # ps
        np.testing.assert_allclose(step.positions, kept["positions"][i], rtol=1e-6)
        np.testing.assert_allclose(step.velocities, 1000 * kept["velocities"][i], rtol=1e-6)  # Å/ps
        np.testing.assert_allclose(step.data["ions/force"], kept["forces"][i], rtol=1e-6)  # eV/Å, as stored
        np.testing.assert_allclose(step.dimensions, [*lengths, *angles], rtol=1e-6)
        assert step.data["temperature"] == 800.0 + i


def test_density_without_ions_keeps_its_cell(tmp_path):
    with TrajectoryWriter(tmp_path / "bare.h5", grid=GRID, cell=CELL) as writer:
        writer.append(frame(0), time_fs=0.0)
    with Trajectory(tmp_path / "bare.h5") as bare:
        np.testing.assert_array_equal(bare.cell, CELL)
        assert (bare.species, bare.positions(), bare.composition, bare.formula) == (
            None,
            None,
            None,
            "unknown",
        )


def test_all_electron_density_lies_beside_the_pseudo_density(tmp_path):
    path, fine = tmp_path / "both.h5", (12, 16, 20)
    with TrajectoryWriter(path, grid=GRID, cell=CELL, dtype="float32") as writer:
        writer.append(frame(0), time_fs=0.0, density_all_electron=2 * frame(0, fine))
    with Trajectory(path, field="density_all_electron") as both:
        np.testing.assert_allclose(both.density(0), 2 * frame(0, fine), rtol=1e-6)
    with Trajectory(path) as pseudo:
        np.testing.assert_allclose(pseudo.density(0), frame(0), rtol=1e-6)


def test_ensemble_and_its_members(tmp_path):
    path = tmp_path / "ensemble.h5"
    both = np.stack([[frame(i), 2 * frame(i)] for i in range(3)]).astype(np.float32)
    with TrajectoryWriter(path, grid=GRID, cell=CELL, members=2, dtype="float32") as writer:
        for i in range(3):
            writer.append(both[i], time_fs=i)
    with Trajectory(path) as ensemble:
        assert (ensemble.members, ensemble.at_member(1).members) == (2, 1)
        np.testing.assert_array_equal(ensemble.density(), both)
        np.testing.assert_array_equal(ensemble.at_member(1)[1:].density(), both[1:, 1])
        np.testing.assert_array_equal(Trajectory(path, member=0).density(2), both[2, 0])
        copied = Trajectory(ensemble[::2].save(tmp_path / "copy.h5", dtype="float32"))
        np.testing.assert_array_equal(copied.density(), both[::2])
        with pytest.raises(TrajectoryError, match="members 0 to 1; there is no member 2"):
            ensemble.at_member(2)


# views equal numpy


@pytest.mark.parametrize(
    "index",
    [slice(None), slice(3, 9), slice(1, 12, 4), slice(-3, None), slice(5, 5), slice(None, None, -1), 0, -1]
    + [np.array([4, 0, 4]), [2], np.arange(FRAMES) % 3 == 0],
    ids=str,
)
def test_reading_equals_indexing_the_full_array(stored, trajectory, index):
    for name, full in stored[1].items():
        np.testing.assert_array_equal(getattr(trajectory, name)(index), full[index])
        np.testing.assert_array_equal(getattr(trajectory[2:12:3], name)(slice(1, 3)), full[2:12:3][1:3])


def test_views_of_views_equal_numpy(stored, trajectory):
    density, times = stored[1]["density"], DT_FS * np.arange(FRAMES)
    view = trajectory[1:][::2][1:-1]
    np.testing.assert_array_equal(view.density(), density[1:][::2][1:-1])
    np.testing.assert_array_equal(view.times_fs, times[1:][::2][1:-1])
    np.testing.assert_array_equal(view.scalar("temperature"), 800.0 + np.arange(FRAMES)[1:][::2][1:-1])
    assert view.dt_fs == 2 * DT_FS
    for block, start in zip(trajectory.blocks(5), (0, 5, 10), strict=True):
        np.testing.assert_array_equal(block, density[start : start + 5])


def test_between_is_half_open_and_adjacent_cuts_tile(trajectory):
    assert trajectory.between(4.0, 10.0).times_fs.tolist() == [4.0, 6.0, 8.0]
    assert trajectory.between(-np.inf, np.inf).times_fs.tolist() == trajectory.times_fs.tolist()
    cuts = [trajectory.between(a, a + 5).times_fs for a in range(0, 30, 5)]
    np.testing.assert_array_equal(np.concatenate(cuts), trajectory.times_fs)


def test_cut_survives_rounding_of_times(tmp_path):
    with TrajectoryWriter(tmp_path / "tenths.h5", grid=GRID, cell=CELL) as writer:
        for i in range(10):
            writer.append(frame(i), time_fs=sum([0.1] * i))
    with Trajectory(tmp_path / "tenths.h5") as tenths:
        assert [len(tenths.between(0, 0.1 * n)) for n in range(11)] == list(range(11))
        assert tenths.dt_fs == pytest.approx(0.1)


def test_windows(stored, trajectory):
    windows = list(trajectory.windows(4, step=3))
    assert len(windows) == (FRAMES - 4) // 3 + 1
    for k, window in enumerate(windows):
        np.testing.assert_array_equal(window.density(), stored[1]["density"][3 * k : 3 * k + 4])
    assert list(trajectory.windows(FRAMES + 1)) == []


def test_save_of_a_view_reads_back_equal(trajectory, tmp_path):
    view = trajectory[2:11:3].resampled((4, 6, 6))
    seen = []
    path = view.save(tmp_path / "view.h5", dtype="float32", progress=lambda *done: seen.append(done))
    assert seen == [(1, 3), (2, 3), (3, 3)]
    with Trajectory(path) as copy:
        for name in ("density", "positions", "velocities", "forces"):
            np.testing.assert_array_equal(getattr(copy, name)(), getattr(view, name)())
        assert copy.times_fs.tolist() == [4.0, 10.0, 16.0]
        assert copy.scalar("temperature").tolist() == [802.0, 805.0, 808.0]
        assert copy.parameters == view.parameters
        assert copy.digest() == view.digest()


def test_digest_knows_content_not_storage(stored, trajectory, tmp_path):
    half = Trajectory(trajectory.save(tmp_path / "half.h5", dtype="float16"))
    single = Trajectory(half.save(tmp_path / "single.h5", dtype="float32"))
    assert half.digest() == single.digest() != trajectory.digest()
    assert re.fullmatch("[0-9a-f]{64}", trajectory.digest())
    assert (
        len(
            {
                t.digest()
                for t in (trajectory, trajectory[1:], trajectory[::2], trajectory.resampled((6, 6, 6)))
            }
        )
        == 4
    )

    def squeeze(file):
        file["particles/ions/box/edges/value"][:] *= 0.99

    assert Trajectory(edited(stored, tmp_path, squeeze)).digest() != trajectory.digest()


# resampling


@pytest.mark.parametrize("new", [(6, 8, 10), (12, 9, 10), (5, 6, 7), (24, 3, 11)], ids=str)
def test_resampling_a_band_limited_wave_is_exact(new):
    x, y, z = points((9, 11, 12))
    u, v, w = points(new)

    def wave(a, b, c):
        return 1.5 + np.cos(2 * np.pi * (a + b - 2 * c) + 0.4) + 0.2 * np.sin(2 * np.pi * (2 * a - c))

    if min(new) > 4:
        np.testing.assert_allclose(fourier_resample(wave(x, y, z), new), wave(u, v, w), atol=1e-12)
    else:  # too coarse for these waves: what is left is the part that fits
        coarse = fourier_resample(np.cos(2 * np.pi * (x + y)) + np.cos(2 * np.pi * 4 * y), new)
        np.testing.assert_allclose(coarse, np.cos(2 * np.pi * (u + v)), atol=1e-12)


@pytest.mark.parametrize("new", [(12, 16, 20), (7, 9, 11), (4, 6, 8), (3, 5, 7), (6, 9, 4)], ids=str)
def test_resampling_noise_keeps_the_mean_and_real_numbers(new):
    field = np.random.default_rng(1).normal(size=(2, 3, *GRID))
    resampled = fourier_resample(field, new)
    assert resampled.shape == (2, 3, *new) and resampled.dtype == np.float64
    np.testing.assert_allclose(resampled.mean(axis=(-3, -2, -1)), field.mean(axis=(-3, -2, -1)), atol=1e-14)


@pytest.mark.parametrize("up", [(7, 9, 11), (12, 16, 20), (6, 8, 10), (13, 8, 12)], ids=str)
def test_up_then_down_is_the_identity(up):
    field = np.random.default_rng(2).normal(size=GRID)  # noise, so the Nyquist waves are full
    np.testing.assert_allclose(fourier_resample(fourier_resample(field, up), GRID), field, atol=1e-13)


def test_resampling_commutes_with_shifts_by_common_points():
    field = np.random.default_rng(3).normal(size=(8, 8, 8))
    shifted = fourier_resample(np.roll(field, 4, axis=1), (4, 4, 4))
    np.testing.assert_allclose(shifted, np.roll(fourier_resample(field, (4, 4, 4)), 2, axis=1), atol=1e-13)


def test_resampled_view_is_the_resampled_array(stored, trajectory):
    view = trajectory.resampled((9, 8, 12))
    assert view.grid == (9, 8, 12) and trajectory.grid == GRID
    np.testing.assert_array_equal(view.density(4), fourier_resample(stored[1]["density"][4], (9, 8, 12)))
    np.testing.assert_allclose(view.resampled(GRID).density(4), stored[1]["density"][4], rtol=1e-6)
    assert trajectory.resampled(GRID) is trajectory


# laziness, threads, processes


@pytest.fixture(scope="module")
def ten_gigabytes(tmp_path_factory):
    """A file of nominally 10 GB of which only three frames are really on disk."""
    path = tmp_path_factory.mktemp("big") / "big.h5"
    grid, frames = (96, 96, 96), 2900
    with TrajectoryWriter(path, grid=grid, cell=8 * np.eye(3), dtype="float32") as writer:
        writer.append(frame(0, grid), time_fs=0.0)
    with h5py.File(path, "r+") as file:
        for name, values in (("step", np.arange(frames)), ("time", 2.0 * np.arange(frames))):
            file[f"observables/density/{name}"].resize(frames, axis=0)
            file[f"observables/density/{name}"][:] = values
        file["particles/ions/box/edges/value"].resize(frames, axis=0)
        file["particles/ions/box/edges/value"][:] = 8 * np.eye(3)
        value = file["observables/density/value"]
        value.resize(frames, axis=0)
        value[frames // 2] = frame(1, grid)
        value[-1] = frame(2, grid)
        assert value.size * value.dtype.itemsize > 10e9
    return path


def test_first_frame_of_ten_gigabytes_in_under_a_second(ten_gigabytes):
    tracemalloc.start()
    start = time.perf_counter()
    with Trajectory(ten_gigabytes) as big:
        first = big.density(0)
        seconds = time.perf_counter() - start
        for i in (len(big) // 2, -1, 0, -1):
            big[::1][:].density(i)
        _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert seconds < 1.0
    np.testing.assert_allclose(first, frame(0, (96, 96, 96)), rtol=1e-6)
    assert most < 3 * first.nbytes + 2**20  # the one kept, the one being read, and times and cell


def test_unwritten_frames_are_refused(ten_gigabytes):
    with Trajectory(ten_gigabytes) as big, pytest.raises(TrajectoryError, match="frame 7 holds 0 to 0 Å⁻³"):
        big.density(7)


def test_many_threads_read_one_file(stored, trajectory):
    wrong = []

    def read(start):
        for i in range(60):
            k = (start + i) % FRAMES
            if not np.array_equal(trajectory.density(k), stored[1]["density"][k]):
                wrong.append(k)

    threads = [threading.Thread(target=read, args=(n,)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


def _digest(view):
    return view.digest()


@pytest.mark.parametrize("start", ["spawn", "forkserver"])
def test_a_view_travels_to_another_process(trajectory, start):
    view = trajectory[3:9:2].resampled((4, 4, 4))
    assert pickle.loads(pickle.dumps(view)).digest() == view.digest()
    with ProcessPoolExecutor(1, mp_context=get_context(start)) as pool:
        assert pool.submit(_digest, view).result(timeout=60) == view.digest()


def test_closed_means_closed(stored):
    opened = Trajectory(stored[0])
    view = opened[2:]
    opened.close()
    with pytest.raises(TrajectoryError, match="has been closed"):
        view.density(0)


# writing aside


def test_nothing_has_the_name_before_it_is_complete(tmp_path):
    path = tmp_path / "aside.h5"
    writer = TrajectoryWriter(path, grid=GRID, cell=CELL)
    writer.append(frame(0), time_fs=0.0)
    assert not path.exists() and (tmp_path / "aside.h5.part").exists()
    assert writer.close() == path
    assert [p.name for p in tmp_path.iterdir()] == ["aside.h5"]


def test_failure_leaves_the_older_file_alone(stored, tmp_path):
    path = tmp_path / "kept.h5"
    path.write_bytes(stored[0].read_bytes())
    with pytest.raises(ZeroDivisionError), TrajectoryWriter(path, grid=GRID, cell=CELL) as writer:
        writer.append(frame(0), time_fs=0.0)
        raise ZeroDivisionError
    assert path.read_bytes() == stored[0].read_bytes()
    assert [p.name for p in tmp_path.iterdir()] == ["kept.h5"]


def test_interrupted_run_keeps_whole_frames_when_asked(tmp_path):
    path = tmp_path / "partial.h5"
    with (
        pytest.raises(KeyboardInterrupt),
        TrajectoryWriter(path, grid=GRID, cell=CELL, keep_partial=True) as writer,
    ):
        writer.append(frame(0), time_fs=0.0)
        writer.append(frame(1), time_fs=2.0)
        writer._file["observables/density/value"].resize(
            3, axis=0
        )  # as if stopped in the middle of an append
        raise KeyboardInterrupt
    with Trajectory(path) as kept:
        assert kept.times_fs.tolist() == [0.0, 2.0]
        np.testing.assert_allclose(kept.density(1), frame(1), rtol=2**-11)


def test_an_empty_run_makes_no_file(tmp_path):
    with pytest.raises(TrajectoryError, match="No frame was written"):
        TrajectoryWriter(tmp_path / "empty.h5", grid=GRID, cell=CELL).close()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (np.nan, "nan"),
        (0.0, "from 0 "),
        (-0.25, "from -0.25 "),
        (np.inf, "to inf "),
        (1e-9, "write float32"),
        (1e6, "write float32"),
    ],
)
def test_writer_refuses_what_ln_rho_cannot_take(tmp_path, value, words):
    density = frame(0)
    density[1, 2, 3] = value
    writer = TrajectoryWriter(tmp_path / "bad.h5", grid=GRID, cell=CELL)
    writer.append(frame(0), time_fs=0.0)
    with pytest.raises(TrajectoryError, match=f"Frame 1.*{words}"):
        writer.append(density, time_fs=2.0)
    writer.append(frame(2), time_fs=4.0)  # the refused frame has left no trace
    with Trajectory(writer.close()) as kept:
        assert kept.times_fs.tolist() == [0.0, 4.0]


def test_writer_refuses_frames_that_do_not_fit(tmp_path):
    writer = TrajectoryWriter(tmp_path / "bad.h5", grid=GRID, cell=CELL, species=SPECIES)
    ions = np.zeros((3, 3))
    writer.append(frame(0), time_fs=0.0, positions=ions, scalars={"temperature": 1.0})
    for words, density, settings in [
        ("is at 0.0 fs, but the one before it at 0.0", frame(1), {"time_fs": 0.0}),
        ("shape .*is needed", frame(1)[1:], {"time_fs": 1.0}),
        (r"lacks \['observables/temperature'\]", frame(1), {"time_fs": 1.0, "positions": ions}),
        ("3 × 3 finite numbers", frame(1), {"time_fs": 1.0, "positions": ions[:2]}),
    ]:
        with pytest.raises(TrajectoryError, match=words):
            writer.append(density, **settings)
    writer.abort()
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(TrajectoryError, match="No unit is known for observables/entropy"):
        with TrajectoryWriter(tmp_path / "bad.h5", grid=GRID, cell=CELL) as writer:
            writer.append(frame(0), time_fs=0.0, scalars={"entropy": 1.0})


# damage in words


def _uneven(file):
    file["observables/density/time"][5:] += 1.0


def _backwards(file):
    file["observables/density/time"][5] = 0.0


def _nan(file):
    file["observables/density/value"][4, 1, 1, 1] = np.nan


def _zero(file):
    file["observables/density/value"][4, 1, 1, 1] = 0.0


def _slab(file):
    file["particles/ions/box"].attrs["boundary"] = np.array(["periodic", "periodic", "none"], dtype="S8")


def _breathing(file):
    file["particles/ions/box/edges/value"][6] *= 1.01


def _bohr(file):
    file["observables/density/value"].attrs["unit"] = "Bohr-3"


def _foreign(file):
    del file["observables/density"]


def _lost_ion(file):
    del file["particles/ions/species"]
    file["particles/ions/species"] = [3, 3]


@pytest.mark.parametrize(
    ("edit", "use", "words"),
    [
        (
            _uneven,
            lambda t: t.dt_fs,
            "not evenly spaced in time: 3 fs between frames 4 and 5, 2 fs elsewhere",
        ),
        (_backwards, None, r"times must increase .* frame 5 .*\[6.0, 8.0, 0.0\] fs"),
        (_nan, lambda t: t.density(), "frame 4 holds nan"),
        (_zero, lambda t: t.density(), "frame 4 holds 0 to .* positive"),
        (_slab, None, "periodic, periodic, none along its axes; only cells periodic in all three"),
        (_breathing, None, r"the cell changes by 0.07 Å \(frame 6\)"),
        (_bohr, None, 'is in Bohr-3; its `unit` attribute must be "Angstrom-3"'),
        (_foreign, None, "no density trajectory: it has no /observables/density/value"),
        (_lost_ion, None, r"\(13, 3, 3\); \(13, 2, 3\) is needed"),
    ],
    ids=lambda item: getattr(item, "__name__", None),
)
def test_damage_is_said_in_words(stored, tmp_path, edit, use, words):
    path = edited(stored, tmp_path, edit)
    with pytest.raises(TrajectoryError, match=words):
        opened = Trajectory(path)
        use(opened)


def test_files_that_are_none(stored, tmp_path):
    whole = stored[0].read_bytes()
    for name, content, words in [
        ("half.h5", whole[: len(whole) // 2], "half.h5 is truncated"),
        ("text.h5", b"just some text", "text.h5 .* is not an HDF5 file"),
        ("empty.h5", b"", r"empty.h5 \(0 bytes\) is not an HDF5 file"),
    ]:
        (tmp_path / name).write_bytes(content)
        with pytest.raises(TrajectoryError, match=words):
            Trajectory(tmp_path / name)
    with pytest.raises(TrajectoryError, match="There is no file"):
        Trajectory(tmp_path / "missing.h5")


def test_a_damaged_frame_is_named_and_the_others_still_read(stored, tmp_path):
    path = tmp_path / "scratched.h5"
    path.write_bytes(stored[0].read_bytes())
    with h5py.File(path) as file:
        chunk = file["observables/density/value"].id.get_chunk_info(5)
    with path.open("r+b") as raw:
        raw.seek(chunk.byte_offset)
        raw.write(b"\xff" * chunk.size)
    with Trajectory(path) as scratched:
        np.testing.assert_array_equal(scratched.density(4), stored[1]["density"][4])
        with pytest.raises(TrajectoryError, match="frame 5 cannot be read"):
            scratched.density(5)


def test_misuse_is_said_in_words(trajectory):
    with pytest.raises(TypeError, match=r"frame 3 is density\(3\)"):
        trajectory[3]
    with pytest.raises(TrajectoryError, match="time runs forward"):
        trajectory[::-1]
    with pytest.raises(IndexError, match="Frame 13 is not among the 13 frames"):
        trajectory.density(13)
    with pytest.raises(TrajectoryError, match="no time step"):
        trajectory[:1].dt_fs  # noqa: B018
    with pytest.raises(TrajectoryError, match="nothing to save"):
        trajectory[5:5].save("never.h5")
