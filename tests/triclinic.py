"""A small triclinic trajectory with everything in it, for the tests of the trajectory file."""

import h5py
import numpy as np

from engine.trajectory import TrajectoryWriter

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


def edited(source, folder, edit):
    """A copy of the file with one thing changed."""
    path = folder / "edited.h5"
    path.write_bytes(source.read_bytes())
    with h5py.File(path, "r+") as file:
        edit(file)
    return path
