"""Laws of the trajectory file: it reads back as written, and views of it equal numpy on the full array."""

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
from triclinic import CELL, DT_FS, FRAMES, GRID, SPECIES, edited, frame, write

from engine.trajectory import Trajectory, TrajectoryError, TrajectoryWriter, fourier_resample


@pytest.fixture(scope="module")
def stored(tmp_path_factory):
    path = tmp_path_factory.mktemp("trajectory") / "small.h5"
    return path, write(path, parameters={"code": "test", "seed": 7, "kpts": [1, 1, 1]}, author="A. Tester")


@pytest.fixture
def trajectory(stored):
    with Trajectory(stored[0]) as opened:
        yield opened


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

    assert Trajectory(edited(stored[0], tmp_path, squeeze)).digest() != trajectory.digest()


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
