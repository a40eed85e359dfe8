"""Starting and ending the program: the command a user types, files given to it, closing mid-forecast."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from importlib.metadata import distribution
from pathlib import Path

import numpy as np
import pytest
from npe2 import PluginManifest
from waves import write_wave

from ldm_viewer.arrange import BELOW, SIDE
from ldm_viewer.reader import get_reader

# napari's own entry point, with a look inside once the window stands
LOOK = """
import sys
import napari
from napari import __main__ as program
run = napari.run

def look():
    viewer = napari.current_viewer()
    docks = [d.windowTitle() or d.objectName() for d in viewer.window._qt_window.findChildren(QDockWidget)]
    print("DOCKS", sorted(docks))
    print("LAYERS", [layer.name for layer in viewer.layers])
    dialogs = [d for d in viewer.window._qt_window.findChildren(QDialog) if d.isVisible()]
    print("DIALOGS", [d.windowTitle() for d in dialogs])
    for dialog in dialogs:
        dialog.close()
    viewer.close()

def run_and_look(*args, **kwargs):
    global QDialog, QDockWidget
    from qtpy.QtCore import QTimer
    from qtpy.QtWidgets import QDialog, QDockWidget
    QTimer.singleShot(3000, look)
    run(*args, **kwargs)

napari.run = run_and_look
sys.argv = ["napari", *sys.argv[1:]]
program.main()
"""


def start(code_or_module: list[str], home: Path, **environment: str) -> subprocess.CompletedProcess:
    """A new process with a new home, so that no setting of this machine helps."""
    clean = {**os.environ, "HOME": str(home), "XDG_CONFIG_HOME": str(home), **environment}
    return subprocess.run(
        [sys.executable, *code_or_module], env=clean, capture_output=True, text=True, timeout=200, check=False
    )


def test_manifest_is_sound_and_lists_the_panel_first() -> None:
    assert distribution("ldm_viewer").metadata["Name"] == "ldm_viewer"
    manifest = PluginManifest.from_distribution("ldm_viewer")
    manifest.validate_imports()
    names = [widget.display_name for widget in manifest.contributions.widgets]
    assert names[0] == "Forecast" and {*SIDE, *BELOW} <= set(names)


def test_reader_leaves_foreign_hdf5_to_others(tmp_path: Path, wave_file: Path) -> None:
    import h5py

    with h5py.File(tmp_path / "foreign.h5", "w") as foreign:
        foreign["picture"] = np.zeros((4, 4))
    (tmp_path / "text.h5").write_text("no HDF5")
    assert get_reader(str(tmp_path / "foreign.h5")) is None and get_reader(str(tmp_path / "text.h5")) is None
    (data, described, kind), = get_reader(str(wave_file))(str(wave_file))  # fmt: skip
    assert kind == "image" and data.shape == (40, 8, 8, 8) and described["axis_labels"][0] == "time"


def test_reader_shows_a_cube_file_in_place(tmp_path: Path) -> None:
    from engine.formats import Volume, write_volume

    density, cell = 0.05 * (2 + np.random.default_rng(0).random((4, 6, 8))), np.diag([3.0, 4.0, 5.0])
    path = write_volume(tmp_path / "one.cube", Volume(density, cell), "cube")
    (data, described, _), = get_reader(str(path))(str(path))  # fmt: skip
    np.testing.assert_allclose(data, density.transpose(2, 1, 0), rtol=1e-4)
    np.testing.assert_allclose(described["scale"], [5 / 8, 4 / 6, 3 / 4], rtol=1e-4)
    assert described["axis_labels"] == ("z", "y", "x")


def test_napari_w_ldm_viewer_opens_panel_and_docks(tmp_path: Path) -> None:
    done = start(["-c", LOOK, "-w", "ldm_viewer"], tmp_path)
    assert done.returncode == 0, done.stderr
    assert "Forecast (ldm_viewer)" in done.stdout and "'Slices'" in done.stdout, done.stdout
    assert "Traceback" not in done.stderr, done.stderr
    assert "LAYERS ['truth', 'forecast', 'difference']" in done.stdout


@pytest.mark.slow  # a start of its own
def test_a_file_on_the_command_line_becomes_the_data(tmp_path: Path) -> None:
    path = write_wave(tmp_path / "mine.h5")
    done = start(["-c", LOOK, str(path), "--plugin", "ldm_viewer", "-w", "ldm_viewer"], tmp_path)
    assert done.returncode == 0 and "Traceback" not in done.stderr, done.stderr
    assert "LAYERS ['truth', 'forecast', 'difference']" in done.stdout, done.stdout


@pytest.mark.slow  # a start of its own
def test_a_folder_on_the_command_line_is_shown_and_asked_about(tmp_path: Path) -> None:
    from engine.formats import Volume, write_volume

    for index in range(3):
        volume = Volume(
            np.full((4, 4, 4), 0.1 + 0.01 * index), 4 * np.eye(3), np.array([4]), np.zeros((1, 3))
        )
        write_volume(tmp_path / "run" / f"CHGCAR_{index}", volume, "chgcar")
    done = start(["-c", LOOK, str(tmp_path / "run"), "--plugin", "ldm_viewer", "-w", "ldm_viewer"], tmp_path)
    assert done.returncode == 0 and "Traceback" not in done.stderr, done.stderr
    assert "LAYERS ['run']" in done.stdout, done.stdout
    assert "DIALOGS ['A trajectory from a series of files']" in done.stdout, done.stdout


@pytest.mark.slow
def test_forecast_keeps_the_window_fluid_and_closes_cleanly(tmp_path: Path) -> None:
    """Bars for two cores and software OpenGL: gaps of the event loop 50 ms (p99), 100 ms at most."""
    picture = tmp_path / "window.png"
    done = start(["-m", "ldm_viewer.capture", "--out", str(picture), "--frames", "30"], tmp_path)
    assert done.returncode == 0 and "Traceback" not in done.stderr, done.stderr
    report = json.loads(done.stdout.splitlines()[-1])
    print(report)
    from PIL import Image

    pixels = np.asarray(Image.open(picture).convert("RGB"), dtype=float)
    assert pixels.shape[:2] == (800, 1280) and pixels[100:400, 340:880].std() > 20
    assert report["status"] == "running", "it was closed in the middle of the forecast"
    loop = report["event_loop"]
    assert loop["p99_ms"] <= 50 and loop["max_ms"] <= 100, loop
