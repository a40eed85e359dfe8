"""The three jobs from an empty window by mouse and keys, each step checked; pictures of every step are kept.

LDM_TOUR=FOLDER keeps them there, and in FOLDER/tutorial, made small, those of the README; without it they lie
among the test's own files.
"""

from __future__ import annotations

import os
import re
import shutil
import signal
from collections.abc import Iterator
from pathlib import Path

import imageio_ffmpeg
import numpy as np
import pytest
from hands import own_runs
from napari.utils.notifications import ErrorNotification, notification_manager
from PIL import Image
from tour import FRAMES, JUDGES, MINUTES, OWN, SIZE, User, explore, own_files, talk, train
from windows import Window

from engine.jobs import holder
from engine.samples import sample_path
from engine.trajectory import Trajectory
from ldm_viewer.docks.drift import DriftDock
from ldm_viewer.docks.export import ExportDock
from ldm_viewer.docks.slices import SlicesDock
from ldm_viewer.docks.training import TrainingDock
from ldm_viewer.jobs import Standing, known_runs
from ldm_viewer.state import Status

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]
TUTORIAL = {  # step → picture of the README
    "live": "explore",
    "compared": "compare",
    "S(q)": "judge",
    "surfaces": "surfaces",
    "trained": "train",
    "talk.mp4": "talk",
}
COLORS = 256  # of those: a fifth of the bytes, and no colour off by more than a shade
FEW_STEPS = 100  # fewer than these a busy machine may make in two minutes; they teach the first lead only
BLANK = 15.0  # standard deviation of values; a window without its contents has less


@pytest.fixture
def user(
    window: Window,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    request: pytest.FixtureRequest,
) -> Iterator[User]:
    """Before an empty napari window, at home in an empty folder."""
    from npe2 import PluginManager

    from ldm_viewer.stage import existing_stage

    own_runs(monkeypatch, tmp_path / "home")
    PluginManager.instance().discover()
    window.close()  # the one that other tests share
    viewer = request.getfixturevalue("make_napari_viewer")(show=True)
    viewer.window.resize(*SIZE)
    folder = Path(os.environ.get("LDM_TOUR", tmp_path)).resolve() / request.node.name
    shutil.rmtree(folder, ignore_errors=True)  # else a dialog asks whether to replace the last tour's film
    notification_manager.records.clear()
    user = User(viewer.window._qt_window, folder)
    yield user
    vars(user).clear()  # pytest keeps the user, who must not keep the window
    stage = existing_stage(viewer)
    if stage is not None:
        stage.close()
    for pid in filter(None, map(holder, known_runs())):
        os.kill(pid, signal.SIGKILL)


def walk(user: User, job: Iterator[str]) -> Iterator[str]:
    """The job's steps, each photographed; no error may have been told."""
    for step in job:
        picture = Image.open(user.shoot(step)).convert("RGB")
        assert picture.size == SIZE and np.asarray(picture, dtype=float).std() > BLANK, step
        if step in TUTORIAL:
            small = user.folder.parent / "tutorial"
            small.mkdir(exist_ok=True)
            picture.quantize(COLORS, Image.Quantize.MAXCOVERAGE).save(
                small / f"{TUTORIAL[step]}.png", optimize=True
            )
        told = [note.message for note in notification_manager.records if isinstance(note, ErrorNotification)]
        assert not told, (step, told)
        yield step


def test_explore(user: User) -> None:
    seen = []
    for step in walk(user, explore(user)):
        state, layers = user.state, user.panel.stage.viewer.layers
        seen.append(step)
        if step == "open":
            assert state.trajectory.path == sample_path("li32_test.h5") and state.chosen == "spectral"
        elif step == "live":
            assert state.status is Status.RUNNING and state.follow and state.time_fs == state.forecast.end_fs
            assert all(layers[name].visible for name in ("truth", "forecast", "difference"))
        elif step == "scrubbed":
            assert not state.follow and state.forecast.start_fs < state.time_fs < state.forecast.end_fs
            truth, forecast = state.pair()
            drawn = user.dock(SlicesDock)._shown
            assert f"{state.time_fs:g} fs" in drawn.moment
            np.testing.assert_array_equal(drawn.difference, drawn.forecast - drawn.truth)
            assert 0 < np.sqrt(np.mean((forecast - truth) ** 2)) / truth.std() < 1.5
        elif step == "compared":
            assert [run.setup.seed for run in state.runs] == [0, 1] and state.shown is state.runs[1]
            drift = user.dock(DriftDock)
            one, other = (drift.curves[name].getData()[1] for name in ("run 1", "forecast"))
            assert len(one) == len(other) == FRAMES and not np.allclose(one, other)
            assert one[0] < 0.2 < 1.0 < one[-1], "exact at first, chaos at last"
            assert drift.mark.value() == state.time_fs
        elif step == "asked a curve":
            x, y = user.dock(DriftDock).curves["persistence"].getData()
            told = f"time = {x[FRAMES // 4]:.4g} fs", f"VRMSE = {y[FRAMES // 4]:.4g}"
            assert user.said.splitlines() == ["persistence", *told]
        elif step in JUDGES:
            assert state.shown is state.runs[0]
    assert seen == ["open", "live", "scrubbed", "compared", "asked a curve", *JUDGES, "surfaces"]


def test_train(user: User, tmp_path: Path) -> None:
    files, seen = own_files(tmp_path / "chgcar"), []
    for step in walk(user, train(user, files)):
        dock, state = user.dock(TrainingDock), user.state
        seen.append(step)
        if step == "taken":
            made = Trajectory(tmp_path / "chgcar.h5")
            origin = Trajectory(sample_path("li32_train.h5"))
            assert state.trajectory.path == made.path and len(made) == OWN and made.dt_fs == 2.0
            np.testing.assert_allclose(made.density(OWN - 1), origin.density(OWN - 1), rtol=1e-4)
            assert dock.form.job().minutes == MINUTES and str(tmp_path / "home") in dock.form.folder.value
        elif step == "training":
            assert dock.sight.standing is Standing.TRAINING and dock.sight.status.seconds_left is not None
            assert dock.curves.sheet().lines and dock.preview.sheet() is not None
        elif step == "trained":
            assert dock.sight.standing is Standing.FINISHED, dock.sight
            assert dock.sight.folder.name in user.panel.emulator.choices
            preview = dock.preview._shown
            leads = 2 if dock.sight.status.step >= FEW_STEPS else 1
            better = preview.forecast[:leads] < preview.persistence[:leads]
            assert better.all(), "than the forecast that nothing moves"
        elif step == "forecast":
            assert state.chosen == "chgcar-spectral" and state.ready == 8
            truth, forecast = state.pair()
            assert abs(forecast.sum() / truth.sum() - 1) < 0.01, "electrons are conserved"
    assert seen == ["open", "asked", "taken", "training", "trained", "forecast"]


def test_talk(user: User) -> None:
    for step in walk(user, talk(user)):
        if step == "set up":
            assert user.dock(ExportDock).order().shot.title == "Liquid lithium, 800 K"
        elif step.startswith("talk"):
            assert user.dock(ExportDock).form.status.text() == f"wrote {step}"
    reader = imageio_ffmpeg.read_frames(str(user.folder / "talk.mp4"))
    about = next(reader)
    frames = 1 + (FRAMES - 1) * 5  # smooth: in the truth's steps of 2 fs
    assert about["size"] == (1920, 1080) and sum(1 for _ in reader) == frames
    assert about["duration"] == pytest.approx(frames / 25, abs=0.05)
    page = (user.folder / "talk.html").read_text(encoding="utf-8")
    assert "Liquid lithium, 800 K" in page and not re.search(r'(src|href)="https?:', page)
