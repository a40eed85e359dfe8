"""The writer: nothing has a name before it is complete, and a refused frame leaves no trace."""

import numpy as np
import pytest
from triclinic import CELL, GRID, SPECIES, frame, write

from engine.trajectory import Trajectory, TrajectoryError, TrajectoryWriter


def test_nothing_has_the_name_before_it_is_complete(tmp_path):
    path = tmp_path / "aside.h5"
    writer = TrajectoryWriter(path, grid=GRID, cell=CELL)
    writer.append(frame(0), time_fs=0.0)
    assert not path.exists() and (tmp_path / "aside.h5.part").exists()
    assert writer.close() == path
    assert [p.name for p in tmp_path.iterdir()] == ["aside.h5"]


def test_failure_leaves_the_older_file_alone(tmp_path):
    path = tmp_path / "kept.h5"
    write(path, frames=2)
    older = path.read_bytes()
    with pytest.raises(ZeroDivisionError), TrajectoryWriter(path, grid=GRID, cell=CELL) as writer:
        writer.append(frame(0), time_fs=0.0)
        raise ZeroDivisionError
    assert path.read_bytes() == older
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
