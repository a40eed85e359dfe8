"""A trajectory as long as one likes: the sample's frames over and over, copied as they are stored."""

import numpy as np
from h5py import File

from engine.samples import sample_path
from engine.trajectory import Trajectory


def write_repeated(path, times, sample="li32_train.h5"):
    """The 300 frames of a sample `times` times, every 2 fs, 5.6 MB each; written within a second."""
    source = sample_path(sample)
    Trajectory(source)[:2].save(path)
    with File(source) as stored, File(path, "r+") as file:
        frames = stored["observables/density/value"].id
        count = frames.shape[0]
        for name in ("position", "velocity"):
            del file[f"particles/ions/{name}"]
        for name in ("ions", "temperature", "potential_energy"):
            del file[f"observables/{name}"]
        density = file["observables/density"]
        density["value"].resize(times * count, axis=0)
        for k in range(count):
            mask, chunk = frames.read_direct_chunk((k, 0, 0, 0))
            for again in range(times):
                density["value"].id.write_direct_chunk((again * count + k, 0, 0, 0), chunk, mask)
        for name, step in (("step", 1), ("time", 2.0)):
            density[name].resize(times * count, axis=0)
            density[name][:] = step * np.arange(times * count)
    return path
