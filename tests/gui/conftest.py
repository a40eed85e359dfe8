"""The real window for tests: on the display there is, or on an Xvfb of our own."""

from __future__ import annotations

import atexit
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest


def ensure_display() -> str:
    """Start Xvfb where there is no display; returns why there is none, or nothing."""
    if sys.platform != "linux" or os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY"):
        return ""
    if shutil.which("Xvfb") is None:
        return "no display and no Xvfb (apt install xvfb)"
    ours, theirs = os.pipe()
    command = ["Xvfb", "-displayfd", str(theirs), "-screen", "0", "1280x1024x24", "-nolisten", "tcp"]
    server = subprocess.Popen(command, pass_fds=[theirs], stderr=subprocess.DEVNULL)
    os.close(theirs)
    atexit.register(server.terminate)
    with os.fdopen(ours) as answer:
        os.environ["DISPLAY"] = ":" + answer.readline().strip()
    return ""


REASON = ensure_display()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    here = Path(__file__).parent
    for item in items:
        if REASON and here in item.path.parents:
            item.add_marker(pytest.mark.skip(reason=REASON))


@pytest.fixture
def desk(
    make_napari_viewer_proxy: Callable,
    qtbot: object,
    monkeypatch: pytest.MonkeyPatch,
    wave_file: Path,
    tiny_emulator_folder: Path,
) -> Iterator[SimpleNamespace]:
    """A window with panel and docks, the wave as its sample and the tiny emulator as the shipped one."""
    from hands import own_runs
    from npe2 import PluginManager

    import ldm_viewer.panel
    import ldm_viewer.session
    from ldm_viewer.stage import existing_stage

    PluginManager.instance().discover()
    own_runs(monkeypatch, wave_file.parent / "home")
    monkeypatch.setattr(ldm_viewer.session, "shipped", lambda: {"tiny": tiny_emulator_folder})
    monkeypatch.setattr(ldm_viewer.panel, "SAMPLE_FILE", str(wave_file))
    viewer = make_napari_viewer_proxy(show=True)
    _, panel = viewer.window.add_plugin_dock_widget("ldm_viewer", "Forecast", tabify=True)
    qtbot.waitUntil(lambda: "Slices" in docks(panel), timeout=20_000)
    qtbot.wait(200)
    stage = existing_stage(viewer)
    yield SimpleNamespace(viewer=viewer, panel=panel, session=stage.session, stage=stage, docks=docks(panel))
    stage.close()


def docks(panel: object) -> dict[str, object]:
    """Our widgets in the panel's window by their dock's name."""
    from qtpy.QtWidgets import QDockWidget

    from ldm_viewer.docks.base import LiveDock

    found = {}
    for dock in panel.window().findChildren(QDockWidget):
        inner = dock.findChildren(LiveDock)
        if len(inner) == 1:  # not those that the training dock is built of
            found[dock.windowTitle().split(" (")[0] or dock.objectName().split(" (")[0]] = inner[0]
    return found
