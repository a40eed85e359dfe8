"""Opens a trajectory far larger than memory should hold, in the real window: its first frame, and memory.

xvfb-run -a python tests/gui/big_file.py --gigabytes 10 --folder /tmp
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from pathlib import Path

import h5py
import numpy as np
import psutil

from engine.samples import sample_path
from engine.trajectory import Trajectory
from engine.trajectory_writer import TrajectoryWriter

GRID = (32, 32, 32)
PATIENCE_S = 60.0
PER_FRAME = ("step", "time", "value")


def write_big(path: Path, gigabytes: float) -> int:
    """Real frames of the sample on 32³ points, the last one's stored block repeated; returns their number."""
    sample = Trajectory(sample_path("li32_test.h5")).resampled(GRID)
    frames = int(gigabytes * 2**30 / (4 * np.prod(GRID)))
    positions = sample.positions()
    head = dict(grid=GRID, cell=sample.cell, species=sample.species, dtype="float32", parameters={})
    with TrajectoryWriter(path, **head) as writer:
        for index in range(3):
            writer.append(sample.density(index), time_fs=2.0 * index, positions=positions[index])
    with h5py.File(path, "r+") as file:
        _lengthen(file["observables/density/value"], frames)
        file.visititems(lambda name, item: _fill(name, item, frames))
    return frames


def _lengthen(density: h5py.Dataset, frames: int) -> None:
    mask, stored = density.id.read_direct_chunk((2, 0, 0, 0))
    density.resize(frames, axis=0)
    for index in range(3, frames):
        density.id.write_direct_chunk((index, 0, 0, 0), stored, mask)


def _fill(name: str, item: h5py.Group | h5py.Dataset, frames: int) -> None:
    """Whatever else is told of each frame: steps and times go on, the rest stays."""
    if not isinstance(item, h5py.Dataset) or item.shape[:1] != (3,) or item.maxshape[0] is not None:
        return
    last = item[2]
    item.resize(frames, axis=0)
    steps = {"step": 1, "time": 2.0}.get(name.rsplit("/", 1)[-1])
    item[:] = np.arange(frames) * steps if steps else np.broadcast_to(last, (frames, *np.shape(last)))


def open_it(path: Path) -> dict[str, float]:
    """Seconds from the choice of the file to its first frame on the canvas; MB beyond the empty viewer's."""
    import napari
    from qtpy.QtWidgets import QApplication

    from ldm_viewer.fluency import Redraws

    viewer = napari.Viewer()
    _, panel = viewer.window.add_plugin_dock_widget("ldm_viewer", "Forecast", tabify=True)
    _wait(lambda: panel.session.state.trajectory is not None, 3.0)
    before = psutil.Process().memory_info().rss
    drawn = Redraws(panel.stage.canvas, lambda: float(str(panel.session.state.trajectory.path) == str(path)))
    began = time.perf_counter()
    panel.open_paths([path])
    _wait(lambda: bool(drawn.times), 0.0)
    found = {"seconds": drawn.times[0] - began}
    found["mb_at_first_frame"] = (psutil.Process().memory_info().rss - before) / 2**20
    _wait(lambda: True, 10.0)  # the docks read on
    found["mb_ten_seconds_later"] = (psutil.Process().memory_info().rss - before) / 2**20
    viewer.close()
    QApplication.processEvents()
    return {name: round(value, 2) for name, value in found.items()}


def _wait(true: object, least_s: float) -> None:
    from qtpy.QtWidgets import QApplication

    began = time.perf_counter()
    while not true() or time.perf_counter() - began < least_s:
        QApplication.processEvents()
        time.sleep(0.001)
        if time.perf_counter() - began > PATIENCE_S:
            raise TimeoutError("nothing was drawn")


def main() -> None:
    """Write, open, delete."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--gigabytes", type=float, default=1.0)
    parser.add_argument("--folder", type=Path)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=options.folder) as folder:
        path = Path(folder) / "big.h5"
        frames = write_big(path, options.gigabytes)
        stored = path.stat().st_size / 2**30
        print(json.dumps({"frames": frames, "stored_gb": round(stored, 2), **open_it(path)}))


if __name__ == "__main__":
    main()
