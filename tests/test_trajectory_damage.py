"""What can be wrong with a trajectory file, and that it is said in words that name the value."""

import h5py
import numpy as np
import pytest
from triclinic import edited, write

from engine.trajectory import Trajectory, TrajectoryError


@pytest.fixture(scope="module")
def stored(tmp_path_factory):
    path = tmp_path_factory.mktemp("trajectory") / "small.h5"
    return path, write(path, parameters={"code": "test", "seed": 7, "kpts": [1, 1, 1]}, author="A. Tester")


@pytest.fixture
def trajectory(stored):
    with Trajectory(stored[0]) as opened:
        yield opened


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
    path = edited(stored[0], tmp_path, edit)
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
