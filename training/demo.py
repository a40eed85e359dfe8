"""`ldm demo`: the main job on the bundled data; with a display the real window, without its outputs as files.

Two processes share two cores: one judges the emulator, the other takes the window's picture and films.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

from engine.emulator import Emulator
from engine.samples import sample_path, shipped
from engine.trajectory import Trajectory
from training import report, tables
from training.judge import evaluate, finish
from training.protocol import Protocol

PROTOCOL = Protocol(
    starts=3,
    members=2,
    lead_times_fs=(2.0, 10.0, 20.0, 50.0, 100.0),
    free_frames=250,
    autoencoder_frames=16,
    symmetric_frames=0,
)
FILMED = 200  # frames of the movie: all of it within a minute on two cores
SCREEN = ("xvfb-run", "-a", "-s", "-screen 0 1280x800x24")


def run(out: Path, headless: bool) -> None:
    """Open the window on a display; without one (or `headless`) leave picture, movie, scores and report."""
    if not headless and (os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")):
        print("opening napari -w ldm_viewer with the forecast running; close the window to end")
        napari = Path(sys.executable).with_name("napari")
        environment = os.environ | {"LDM_VIEWER_AUTOSTART": "1"}
        subprocess.run([napari, "-w", "ldm_viewer"], env=environment, check=True)
        return
    begun = time.perf_counter()
    out.mkdir(parents=True, exist_ok=True)
    pictures = subprocess.Popen([sys.executable, "-m", "training.demo", str(out)], env=_quiet())
    judge(out)
    if pictures.wait():
        raise OSError("the window's picture or the movie failed; the lines above say why")
    made = ", ".join(str(out / name) for name in ("window.png", "forecast.mp4", "scores.json", "report.png"))
    print(f"\n{made}\nin {time.perf_counter() - begun:.0f} s")


def judge(out: Path) -> None:
    """scores.json, report.png and the table: the default emulator beside the trivial forecasts."""
    name, folder = next(iter(shipped().items()))
    print(f"{name} forecasts {sample_path('li32_test.h5').name}, which no emulator has seen", flush=True)
    training = Trajectory(sample_path("li32_train.h5"))
    test = Trajectory(sample_path("li32_test.h5"))
    evaluation = finish(evaluate([Emulator.load(folder)], test, PROTOCOL, train_data=training))
    tables.write_scores(out / "scores.json", evaluation)
    report.summary(out / "report.png", evaluation)
    print(tables.markdown(evaluation), flush=True)


def pictures(out: Path) -> None:
    """window.png of the real window under Xvfb, and forecast.mp4 beside the excerpt."""
    from training.movie import run as movie
    from training.rollout import open_emulator, write_rollout

    if not shutil.which("xvfb-run"):
        sys.exit("xvfb-run is missing, which the window needs without a display: sudo apt-get install xvfb")
    capture = (sys.executable, "-m", "ldm_viewer.capture", "--out", str(out / "window.png"))
    subprocess.run([*SCREEN, *capture], check=True)
    emulator, test = open_emulator(None, "cpu"), sample_path("li32_test.h5")
    frames = min(FILMED, len(Trajectory(test)) - 2) // emulator.stride
    for _ in write_rollout(
        emulator, Trajectory(test), out / "forecast.h5", start=1, frames=frames, members=1, seed=0
    ):
        pass
    movie(test, out / "forecast.h5", out / "forecast.mp4")


def _quiet() -> dict[str, str]:
    return os.environ | {"TQDM_DISABLE": "1", "PYTHONWARNINGS": "ignore"}


if __name__ == "__main__":
    pictures(Path(sys.argv[1]))
