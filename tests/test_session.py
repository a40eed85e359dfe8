"""The session without Qt: commands, refusals, runs that replace each other."""

from __future__ import annotations

import dataclasses
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from metronome import Metronome, until
from waves import CELL, GRID, STEP_FS, wave, write_wave

from engine.rollout import Frame, rollout
from ldm_viewer.session import Session, SessionError
from ldm_viewer.state import State, Status


def test_session_imports_no_window() -> None:
    code = (
        "import sys, ldm_viewer.session; bad = [m for m in sys.modules if m.split('.')[0] in "
        "('qtpy', 'PyQt6', 'PySide6', 'napari', 'magicgui', 'pyqtgraph')]; assert not bad, bad"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_state_is_a_snapshot(session: Session) -> None:
    seen: list[tuple[State, State]] = []
    session.changed.connect(lambda new, old: seen.append((new, old)))
    before = session.state
    session.configure(seed=5)
    assert before.setup.seed == 0 and session.state.setup.seed == 5
    assert seen == [(session.state, before)]
    with pytest.raises(dataclasses.FrozenInstanceError):
        session.state.setup.seed = 6


def test_forecast_is_the_engines_rollout_and_its_times_meet_the_truth(
    session: Session, wave_file: Path
) -> None:
    session.configure(start_fs=20.0, frames=6, seed=3)
    session.start()
    state = until(session, lambda s: s.status is Status.FINISHED)
    first = state.emulator.initial_state(state.adapted, 10)
    expected = [frame.density[0] for frame in rollout(state.emulator, first, 6, seed=3)]
    np.testing.assert_allclose(state.forecast.frames, expected, rtol=1e-4)
    assert state.forecast.start_fs == 22.0 and state.forecast.end_fs == 32.0 == state.time_fs
    truth, forecast = state.pair()
    np.testing.assert_allclose(truth, wave(32.0), rtol=1e-5)
    np.testing.assert_allclose(forecast, expected[-1], rtol=1e-4)


def test_pause_step_resume_and_stop_act_between_frames(metronome: tuple[Session, Metronome]) -> None:
    session, beat = metronome
    session.configure(frames=50)
    session.start()
    beat.beats.release(3)
    until(session, lambda s: s.ready == 3)
    session.pause()
    beat.beats.release(1)  # the frame under way
    until(session, lambda s: s.ready == 4)
    beat.beats.release(10)
    time.sleep(0.1)
    session.poll()
    assert session.state.ready == 4 and session.state.status is Status.PAUSED
    session.step()
    until(session, lambda s: s.ready == 5)
    time.sleep(0.05)
    session.poll()
    assert session.state.ready == 5
    session.resume()
    until(session, lambda s: s.ready == 14)
    session.stop()
    beat.beats.release(5)
    time.sleep(0.1)
    session.poll()
    assert session.state.status is Status.STOPPED and session.state.ready <= 15
    assert session.state.forecast.frames[9].max() == 10.0


def test_frames_of_an_older_run_are_dropped(metronome: tuple[Session, Metronome]) -> None:
    session, beat = metronome
    session.start()
    beat.beats.release(2)
    old = until(session, lambda s: s.ready == 2)
    late = session._worker
    session.start()
    beat.beats.release(1)  # one of the two workers takes it
    late.join(5)
    session._worker, young = late, session._worker
    session.poll()
    assert session.state.run == old.run + 1 and session.state.ready == 0, (
        "an older worker's frames were shown"
    )
    session._worker = young


def test_step_begins_a_run_and_shows_one_frame(session: Session) -> None:
    session.step()
    until(session, lambda s: s.ready == 1)
    time.sleep(0.05)
    session.poll()
    assert (session.state.ready, session.state.status) == (1, Status.PAUSED)


def test_slider_follows_the_head_until_it_is_moved_away(metronome: tuple[Session, Metronome]) -> None:
    session, beat = metronome
    session.start()
    beat.beats.release(4)
    state = until(session, lambda s: s.ready == 4)
    assert state.time_fs == state.forecast.end_fs and state.follow
    session.look_at(state.forecast.time_at(1))
    assert not session.state.follow
    beat.beats.release(1)
    state = until(session, lambda s: s.ready == 5)
    assert state.time_fs == state.forecast.time_at(1)
    session.set_follow(True)
    assert session.state.time_fs == session.state.forecast.end_fs


@pytest.mark.parametrize(
    ("setup", "words"),
    [({"frames": 0}, "frames must be at least 1"), ({"stride": 0}, "stride"), ({"seed": -1}, "seed")],
)
def test_senseless_setup_is_refused_in_words(session: Session, setup: dict, words: str) -> None:
    before = session.state
    with pytest.raises(SessionError, match=words):
        session.configure(**setup)
    assert session.state is before


def test_start_without_data_or_emulator_says_what_is_missing(tiny_emulator_folder: Path) -> None:
    session = Session()
    with pytest.raises(SessionError, match="no trajectory"):
        session.start()


def test_start_outside_the_trajectory_names_the_range(session: Session) -> None:
    session.configure(start_fs=500.0)
    with pytest.raises(SessionError, match=r"500 fs.*2 to 78 fs"):
        session.start()


def test_data_that_does_not_fit_is_shown_and_not_forecast(session: Session, tmp_path: Path) -> None:
    session.open_trajectory(write_wave(tmp_path / "large.h5", cell=2 * CELL))
    assert session.state.truth is not None and session.state.adapted is None
    with pytest.raises(SessionError, match="cell"):
        session.start()


def test_a_bad_file_leaves_everything_as_it_was(session: Session, tmp_path: Path) -> None:
    bad = tmp_path / "bad.h5"
    bad.write_bytes(b"no HDF5")
    before = session.state
    with pytest.raises(ValueError, match="bad.h5"):
        session.open_trajectory(bad)
    assert session.state is before


def test_a_forecast_that_breaks_fails_in_words(wave_file: Path, tiny_emulator_folder: Path) -> None:
    def breaking(*_: object, **__: object) -> Iterator[Frame]:
        yield Frame(0, STEP_FS, None, np.full((1, *GRID), 1.0))
        yield Frame(1, 2 * STEP_FS, None, np.full((1, *GRID), np.nan))

    session = Session(breaking)
    session.choose_emulator(tiny_emulator_folder)
    session.open_trajectory(wave_file)
    session.start()
    state = until(session, lambda s: s.status is Status.FAILED)
    assert state.ready == 1 and "frame 1" in state.message


def test_too_many_frames_for_memory_are_refused_with_a_number_that_fits(session: Session) -> None:
    session.configure(frames=10**7)
    with pytest.raises(SessionError, match=r"GiB.*at most \d+"):
        session.start()


def test_close_ends_the_thread(metronome: tuple[Session, Metronome]) -> None:
    session, beat = metronome
    session.start()
    worker = session._worker
    beat.beats.release(1)
    threading.Timer(0.05, beat.beats.release).start()
    session.close()
    assert not worker.is_alive() and session.state.status is Status.STOPPED
