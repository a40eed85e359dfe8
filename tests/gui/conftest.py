"""The real window for tests: on the display there is, or on an Xvfb of our own."""

from __future__ import annotations

import atexit
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from waves import CELL, wave
from windows import Window, furnish

from engine.trajectory import TrajectoryWriter


def ensure_display() -> str:
    """Start Xvfb where there is no display; returns why there is none, or nothing.

    Processes that share the tests have a display each, or their windows would take the mouse from each other.
    """
    display = os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")
    if sys.platform != "linux" or (display and "PYTEST_XDIST_WORKER" not in os.environ):
        return ""
    if shutil.which("Xvfb") is None:
        return "no display and no Xvfb (apt install xvfb)"
    ours, theirs = os.pipe()
    command = ["Xvfb", "-displayfd", str(theirs), "-screen", "0", "1280x800x24", "-nolisten", "tcp"]
    server = subprocess.Popen(command, pass_fds=[theirs], stderr=subprocess.DEVNULL)
    os.close(theirs)
    atexit.register(server.terminate)
    with os.fdopen(ours) as answer:
        os.environ["DISPLAY"] = ":" + answer.readline().strip()
    os.environ.pop("WAYLAND_DISPLAY", None)
    return ""


REASON = ensure_display()
USUAL = np.empty, np.empty_like, np.geterr()
"""GPAW, imported by another test, takes pytest for its own and replaces these."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    here = Path(__file__).parent
    for item in items:
        if REASON and here in item.path.parents:
            item.add_marker(pytest.mark.skip(reason=REASON))


@pytest.fixture(scope="module")
def window(qapp: object) -> Iterator[Window]:
    np.empty, np.empty_like, errors = USUAL
    np.seterr(**errors)
    kept = Window()
    yield kept
    kept.close()


@pytest.fixture
def sample(
    monkeypatch: pytest.MonkeyPatch, wave_file: Path, tiny_emulator_folder: Path, tmp_path: Path
) -> None:
    """The wave as sample, the tiny emulator as the shipped one; settings and runs in the test's folder."""
    from hands import own_runs
    from npe2 import PluginManager

    import ldm_viewer.panel
    import ldm_viewer.session
    from ldm_viewer import preferences

    PluginManager.instance().discover()
    own_runs(monkeypatch, wave_file.parent / "home")
    monkeypatch.setenv(preferences.FOLDER, str(tmp_path / "config"))
    monkeypatch.setattr(ldm_viewer.session, "shipped", lambda: {"tiny": tiny_emulator_folder})
    monkeypatch.setattr(ldm_viewer.panel, "SAMPLE_FILE", str(wave_file))


@pytest.fixture
def desk(window: Window, sample: None, qtbot: object) -> Iterator[SimpleNamespace]:
    """The module's window with panel and docks, as if just opened."""
    desk = window.open(qtbot)
    yield desk
    desk.session.stop()


@pytest.fixture
def fresh_desk(
    window: Window, sample: None, request: pytest.FixtureRequest, qtbot: object
) -> Iterator[SimpleNamespace]:
    """The same in a window of its own, for tests that leave one unlike new."""
    window.close()
    desk = furnish(request.getfixturevalue("make_napari_viewer_proxy")(show=True), qtbot)
    yield desk
    desk.stage.close()


@pytest.fixture
def atoms_file(tmp_path: Path) -> Path:
    """The wave with two atoms that move, twelve frames."""
    with TrajectoryWriter(
        tmp_path / "atoms.h5", grid=(8, 8, 8), cell=CELL, species=[1], dtype="float32"
    ) as writer:
        for index in range(12):
            position = np.array([[-0.5 + 0.1 * index, 1.0, 2.0]])
            writer.append(wave(2.0 * index), time_fs=2.0 * index, positions=position)
    return tmp_path / "atoms.h5"
