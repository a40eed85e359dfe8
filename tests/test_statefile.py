"""A session saved and opened: the same forecast again, files that moved, files that are none of ours."""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from ldm_viewer.runs import SessionError
from ldm_viewer.session import Session
from ldm_viewer.state import State, Status
from ldm_viewer.statefile import open_state, save_state


def finished(session: Session) -> State:
    end = time.monotonic() + 20
    while session.state.status.active:
        assert time.monotonic() < end
        session.poll()
        time.sleep(0.005)
    return session.state


@pytest.fixture
def session(wave_file: Path, tiny_emulator_folder: Path) -> Iterator[Session]:
    session = Session()
    session.choose_emulator(tiny_emulator_folder)
    session.open_trajectory(wave_file)
    session.configure(start_fs=20.0, frames=4, seed=6, members=2)
    session.start()
    finished(session)
    session.show_member(1)
    session.show_beside("spread")
    session.look_at(24.0)
    yield session
    session.close()


def test_the_same_file_gives_the_same_forecast(session: Session, tmp_path: Path) -> None:
    path = save_state(tmp_path / "figure.ldmstate", session, {"zoom": 3.0})
    assert path.stat().st_size < 4096
    other = Session()
    assert open_state(path, other) == {"zoom": 3.0}
    state, before = finished(other), session.state
    assert state.status is Status.FINISHED
    assert (state.setup, state.member, state.beside) == (before.setup, before.member, before.beside)
    assert state.time_fs == 24.0 and not state.follow
    np.testing.assert_allclose(state.forecast.frames, before.forecast.frames, rtol=1e-4)


def test_the_setup_of_the_forecast_is_saved_not_of_the_next_one(session: Session, tmp_path: Path) -> None:
    session.configure(seed=99)
    content = json.loads(save_state(tmp_path / "s.ldmstate", session, {}).read_text())
    assert content["setup"]["seed"] == 6


def test_files_moved_together_are_found(session: Session, tmp_path: Path) -> None:
    save_state(tmp_path / "figure.ldmstate", session, {})
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
def test_other_files_are_refused_in_words(session: Session, tmp_path: Path, text: str, words: str) -> None:
    (tmp_path / "bad.ldmstate").write_text(text)
    before = session.state
    with pytest.raises(SessionError, match=words):
        open_state(tmp_path / "bad.ldmstate", session)
    assert session.state is before


def test_an_empty_session_has_nothing_to_save(tmp_path: Path) -> None:
    with pytest.raises(SessionError, match="nothing to save"):
        save_state(tmp_path / "s.ldmstate", Session(), {})
