"""Rows: seconds until something can be done, each start in a process of its own.

A window's start is timed from its Python process to the swap that brings the first frame of a forecast on
screen: the interpreter, all imports, data, emulator, window and the process that forecasts are in it. The
display is not: where there is none, an X server is started before.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from functools import partial
from pathlib import Path

from training.bench.timing import CPU, Row, Side, Skip

IMPORT = """
import sys, time
start = time.perf_counter()
import engine, engine.trajectory
print(time.perf_counter() - start)
assert "torch" not in sys.modules
"""
STAMP = """
import os, sys, time
print(time.time(), flush=True)
os.execv(sys.argv[1], sys.argv[1:])
"""  # becomes the process that its arguments name


def _import(device: str) -> tuple[Side, None]:
    def call() -> float:
        done = subprocess.run([sys.executable, "-c", IMPORT], capture_output=True, text=True, check=True)
        return float(done.stdout)

    return Side(call, timed=True), None


def _window(moment: str, device: str) -> tuple[Side, None]:
    try:
        import napari  # noqa: F401
    except ImportError:
        raise Skip("napari is not installed") from None
    command = [sys.executable, "-c", STAMP, sys.executable, "-m", "ldm_viewer.capture", "--frames", "1"]
    if not (os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")):
        if shutil.which("xvfb-run") is None:
            raise Skip("there is no display, and no xvfb-run")
        command = ["xvfb-run", "-a", "-s", "-screen 0 1280x800x24", *command]

    def call() -> float:
        with tempfile.TemporaryDirectory() as folder:
            done = subprocess.run(
                [*command, "--out", str(Path(folder) / "w.png")], capture_output=True, text=True
            )
            if done.returncode:
                raise Skip(f"no frame was shown: {(done.stderr or done.stdout).strip()[-200:]}")
            start, *_, report = done.stdout.splitlines()
            return json.loads(report)[f"{moment}_at"] - float(start)

    return Side(call, timed=True), None


ROWS = (
    Row("import", "import engine and its files, without torch", "", 0.3, _import, 3.0, only=CPU),
    Row("first-data", "start, window, data on screen", "", None, partial(_window, "truth"), 1.0, only=CPU),
    Row(
        *("first-frame", "start, window, a frame on screen", "", 6, partial(_window, "first_frame"), 1.0),
        only=CPU,
    ),
)
