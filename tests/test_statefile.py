"""A session saved and opened: the same forecast again, files that moved, files that are none of ours."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from metronome import until

from ldm_viewer.runs import SessionError
from ldm_viewer.session import Session
from ldm_viewer.state import Status
from ldm_viewer.statefile import open_state, save_state


@pytest.fixture
def forecast(session: Session) -> Session:
    session.configure(start_fs=20.0, frames=4, seed=6, members=2)
    session.start()
    until(session, lambda s: s.status is Status.FINISHED)
    session.show_member(1)
    session.show_beside("spread")
    session.look_at(24.0)
    return session


def test_the_same_file_gives_the_same_forecast(forecast: Session, tmp_path: Path) -> None:
    path = save_state(tmp_path / "figure.ldmstate", forecast, {"zoom": 3.0})
    assert path.stat().st_size < 4096
    other = Session()
    assert open_state(path, other) == {"zoom": 3.0}
    state, before = until(other, lambda s: s.status is Status.FINISHED), forecast.state
    assert state.status is Status.FINISHED
    assert (state.setup, state.member, state.beside) == (before.setup, before.member, before.beside)
    assert state.time_fs == 24.0 and not state.follow
    np.testing.assert_allclose(state.forecast.frames, before.forecast.frames, rtol=1e-4)


def test_a_fork_of_a_fork_is_made_again_from_its_ancestors(forecast: Session, tmp_path: Path) -> None:
    for seed, time_fs in ((7, 24.0), (8, 28.0)):
        forecast.configure(seed=seed, frames=3, members=1)
        forecast.look_at(time_fs)
        forecast.fork()
        until(forecast, lambda s: s.status is Status.FINISHED)
    before = forecast.state
    save_state(tmp_path / "fork.ldmstate", forecast, {})
    other = Session()
    open_state(tmp_path / "fork.ldmstate", other)
    state = until(other, lambda s: s.status is Status.FINISHED)
    assert state.started_fs == before.started_fs == 28.0 and "fork at 28 fs" in state.shown.label
    np.testing.assert_allclose(state.forecast.frames, before.forecast.frames, rtol=1e-3)
    other.close()


def test_the_setup_of_the_forecast_is_saved_not_of_the_next_one(forecast: Session, tmp_path: Path) -> None:
    forecast.configure(seed=99)
    content = json.loads(save_state(tmp_path / "s.ldmstate", forecast, {}).read_text())
    assert content["setup"]["seed"] == 6


def test_files_moved_together_are_found(forecast: Session, tmp_path: Path) -> None:
    save_state(tmp_path / "figure.ldmstate", forecast, {})
    moved = tmp_path / "elsewhere"
    moved.mkdir()
    for name in ("figure.ldmstate", "wave.h5"):
        shutil.move(tmp_path / name, moved / name)
    other = Session()
    open_state(moved / "figure.ldmstate", other)
    assert other.state.trajectory.path == moved / "wave.h5"
    other.close()
    (moved / "wave.h5").unlink()
    with pytest.raises(SessionError, match=r"neither at .*elsewhere/wave\.h5 nor at"):
        open_state(moved / "figure.ldmstate", Session())


@pytest.mark.parametrize(
    ("text", "words"),
    [("nothing", "no state of ldm_viewer"), ("[]", "no state"), ('{"format": "7"}', "format '7', expected")],
)
def test_other_files_are_refused_in_words(forecast: Session, tmp_path: Path, text: str, words: str) -> None:
    (tmp_path / "bad.ldmstate").write_text(text)
    before = forecast.state
    with pytest.raises(SessionError, match=words):
        open_state(tmp_path / "bad.ldmstate", forecast)
    assert forecast.state is before


def test_an_empty_session_has_nothing_to_save(tmp_path: Path) -> None:
    with pytest.raises(SessionError, match="nothing to save"):
        save_state(tmp_path / "s.ldmstate", Session(), {})
