"""The session without Qt: commands, refusals, runs that replace each other, the arrays behind the views."""

from __future__ import annotations

import dataclasses
import json
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from waves import CELL, GRID, STEP_FS, wave, write_wave

from engine.emulator import Emulator
from engine.normalise import LogNormal
from engine.rollout import Frame, rollout
from ldm_viewer.frames import LazyFrames, Series, shared_limits
from ldm_viewer.layers import ReversedFrames, placement
from ldm_viewer.runs import forked_state
from ldm_viewer.session import Session, SessionError
from ldm_viewer.state import State, Status


def until(session: Session, condition: Callable[[State], bool], seconds: float = 20.0) -> State:
    """Poll as the window does."""
    end = time.monotonic() + seconds
    while not condition(session.state):
        assert time.monotonic() < end, f"still {session.state.status}, {session.state.ready} frames ready"
        session.poll()
        time.sleep(0.005)
    return session.state


@pytest.fixture
def session(wave_file: Path, tiny_emulator_folder: Path) -> Iterator[Session]:
    session = Session()
    session.choose_emulator(tiny_emulator_folder)
    session.open_trajectory(wave_file)
    yield session
    session.close()


class Metronome:
    """A rollout whose frames come when the test says so; frame k of member m is the constant k + 1 + 10 m."""

    def __init__(self) -> None:
        self.beats = threading.Semaphore(0)

    def __call__(
        self, emulator: object, state: object, frames: int, *, members: int, seed: int, decode_every: int
    ) -> Iterator[Frame]:
        for index in range(frames):
            self.beats.acquire()
            field = np.full((members, *GRID), index + 1.0) + 10 * np.arange(members).reshape(-1, 1, 1, 1)
            yield Frame(index, (index + 1) * emulator.dt_fs, None, field)


@pytest.fixture
def metronome(wave_file: Path, tiny_emulator_folder: Path) -> Iterator[tuple[Session, Metronome]]:
    beat = Metronome()
    session = Session(beat)
    session.choose_emulator(tiny_emulator_folder)
    session.open_trajectory(wave_file)
    yield session, beat
    beat.beats.release(10_000)
    session.close()


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


def test_stride_shows_every_nth_step_beside_the_truth_of_the_same_time(session: Session) -> None:
    session.configure(start_fs=6.0, frames=12, stride=3)
    session.start()
    state = until(session, lambda s: s.status is Status.FINISHED)
    first = state.emulator.initial_state(state.adapted, 3)
    every = [frame.density[0] for frame in rollout(state.emulator, first, 12)]
    np.testing.assert_allclose(state.forecast.frames, every[2::3], rtol=1e-4)
    for index in range(4):
        time_fs = state.forecast.time_at(index)
        np.testing.assert_allclose(state.truth.at(time_fs), wave(time_fs), rtol=1e-5)
        assert state.truth.time_at(state.truth.index_at(time_fs)) == pytest.approx(time_fs)


@pytest.fixture
def slow_emulator_folder(tiny_emulator_folder: Path, tmp_path: Path) -> Path:
    """The tiny emulator with steps of 10 fs, five frames of the truth."""
    folder = Path(shutil.copytree(tiny_emulator_folder, tmp_path / "slow"))
    card = json.loads((folder / "card.json").read_text())
    card["recipe"]["data"]["stride"] = 5
    (folder / "card.json").write_text(json.dumps(card))
    return folder


@pytest.mark.parametrize("stride", [1, 2])
def test_an_emulator_of_another_step_meets_the_truth_in_time(
    session: Session, slow_emulator_folder: Path, stride: int
) -> None:
    session.choose_emulator(slow_emulator_folder)
    session.configure(start_fs=6.0, frames=6, stride=stride)
    session.start()
    state = until(session, lambda s: s.status is Status.FINISHED)
    times = [state.forecast.time_at(index) for index in range(state.ready)]
    assert times == [6.0 + 10 * stride * (index + 1) for index in range(6 // stride)]
    difference = state.third()
    for index, time_fs in enumerate(times):
        truth, forecast = replace(state, time_fs=time_fs).pair()
        np.testing.assert_allclose(truth, wave(time_fs), rtol=1e-5)
        np.testing.assert_array_equal(difference.at(time_fs), forecast - truth)
        np.testing.assert_array_equal(forecast, state.forecast.frames[index])


def test_difference_is_nothing_where_there_is_no_truth(session: Session) -> None:
    session.configure(start_fs=74.0, frames=4)
    session.start()
    state = until(session, lambda s: s.status is Status.FINISHED)
    drawn = [bool(np.isfinite(state.third().at(state.film.time_at(index))).all()) for index in range(4)]
    assert drawn == [True, True, False, False]


def test_members_mean_and_spread(metronome: tuple[Session, Metronome]) -> None:
    session, beat = metronome
    session.configure(frames=3, members=3)
    session.start()
    beat.beats.release(2)
    state = until(session, lambda s: s.ready == 2)
    assert state.shown.members == 3 and state.member == 0
    shown = {}
    for member in (0, 2, None):
        session.show_member(member)
        shown[member] = np.unique(session.state.forecast.frames[1])
    assert shown == {0: [2.0], 2: [22.0], None: [12.0]}
    session.show_beside("spread")
    np.testing.assert_allclose(session.state.third().frames[1], 10.0)
    assert np.isnan(session.state.third().frames[2]).all() and np.isnan(session.state.film.frames[2]).all()
    beat.beats.release(1)
    state = until(session, lambda s: s.ready == 3)
    assert state.member is None and np.unique(state.forecast.frames[2]) == 13.0
    with pytest.raises(SessionError, match="member 3 is not one of 0 … 2"):
        session.show_member(3)


def test_one_member_has_no_spread(session: Session) -> None:
    session.show_beside("spread")
    session.configure(frames=2)
    session.start()
    assert until(session, lambda s: s.status is Status.FINISHED).third() is None


def test_members_are_the_engines_members(session: Session) -> None:
    session.configure(start_fs=20.0, frames=3, members=2, seed=5)
    session.start()
    state = until(session, lambda s: s.status is Status.FINISHED)
    first = state.emulator.initial_state(state.adapted, 10)
    expected = [frame.density for frame in rollout(state.emulator, first, 3, members=2, seed=5)]
    for member in range(2):
        session.show_member(member)
        np.testing.assert_allclose(
            session.state.forecast.frames, [frame[member] for frame in expected], rtol=1e-4
        )


def test_a_fork_begins_from_the_forecasts_own_frame_and_rate(session: Session) -> None:
    session.configure(start_fs=20.0, frames=5, seed=1)
    session.start()
    first = until(session, lambda s: s.status is Status.FINISHED)
    session.look_at(first.forecast.time_at(2))
    session.configure(seed=2, frames=3)
    session.fork()
    state = until(session, lambda s: s.status is Status.FINISHED)
    assert [run.number for run in state.runs] == [1, 2] and state.shown.number == 2
    assert state.started_fs == first.forecast.time_at(2)
    assert state.forecast.start_fs == first.forecast.time_at(3)
    assert "fork of run 1 at 26 fs" in state.shown.label and "seed 2" in state.shown.label
    decoded = state.emulator.decode_states(first.shown.film.latents[2])
    begun = forked_state(first.shown, 0, 26.0, state.emulator)
    np.testing.assert_allclose(begun, decoded, rtol=1e-3, atol=1e-4)
    expected = [frame.density[0] for frame in rollout(state.emulator, decoded, 3, seed=2)]
    np.testing.assert_allclose(state.forecast.frames, expected, rtol=1e-3)


def test_a_fork_for_another_emulator_keeps_density_and_rate(session: Session) -> None:
    session.configure(start_fs=20.0, frames=3)
    session.start()
    run = until(session, lambda s: s.status is Status.FINISHED).shown
    other = Emulator(run.maker.model, LogNormal(-2.0, 0.5, 0.2, STEP_FS), run.maker.card, "other")
    ours, theirs = (forked_state(run, 0, 24.0, emulator)[0].numpy() for emulator in (run.maker, other))
    np.testing.assert_allclose(other.normaliser.inverse(theirs[0]), run.film.buffer[1, 0], rtol=1e-5)
    a, b = run.maker.normaliser, other.normaliser
    np.testing.assert_allclose(theirs[1] * b.rate_std * b.std, ours[1] * a.rate_std * a.std, rtol=1e-5)


def test_what_cannot_be_forked_is_refused_in_words(session: Session) -> None:
    with pytest.raises(SessionError, match="no forecast to fork"):
        session.fork()
    session.configure(frames=2, members=2, start_fs=20.0)
    session.start()
    until(session, lambda s: s.status is Status.FINISHED)
    session.look_at(10.0)
    with pytest.raises(SessionError, match="no frame at 10 fs"):
        session.fork()
    session.look_at(24.0)
    session.show_member(None)
    with pytest.raises(SessionError, match="mean of members"):
        session.fork()


def test_runs_are_kept_and_shown_again_with_the_truth_at_their_times(
    session: Session, slow_emulator_folder: Path
) -> None:
    session.configure(start_fs=6.0, frames=6)
    session.start()
    fast = until(session, lambda s: s.status is Status.FINISHED)
    session.choose_emulator(slow_emulator_folder)
    assert session.state.shown is fast.shown, "another emulator of the same grid keeps the runs"
    session.configure(start_fs=8.0, frames=3)
    session.start()
    slow = until(session, lambda s: s.status is Status.FINISHED)
    assert slow.truth.step_fs == 10.0
    session.show_run(1)
    back = session.state
    assert back.truth.step_fs == 2.0 and len(back.forecast) == 6 and back.started_fs == 6.0
    np.testing.assert_array_equal(back.forecast.frames, fast.forecast.frames)
    with pytest.raises(SessionError, match=r"no run 7; there are \[1, 2\]"):
        session.show_run(7)
    session.choose_emulator("paper")
    assert session.state.runs == (), "an emulator that does not fit takes them away"


def test_looking_at_an_earlier_run_lets_the_latest_go_on(metronome: tuple[Session, Metronome]) -> None:
    session, beat = metronome
    session.configure(frames=3)
    session.start()
    beat.beats.release(3)
    until(session, lambda s: s.status is Status.FINISHED)
    session.start()
    beat.beats.release(1)
    until(session, lambda s: s.ready == 1)
    session.show_run(1)
    assert session.state.ready == 3 and session.state.status is Status.RUNNING
    beat.beats.release(2)
    state = until(session, lambda s: s.status is Status.FINISHED)
    assert state.shown.number == 1 and state.runs[1].film.ready == 3


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


def test_lazy_frames_index_like_the_array_they_stand_for(wave_file: Path) -> None:
    from engine.trajectory import Trajectory

    trajectory = Trajectory(wave_file)
    whole, lazy = trajectory.density(), LazyFrames(trajectory)
    reverse = ReversedFrames(lazy)
    flipped = whole.transpose(0, 3, 2, 1)
    for key in (
        3,
        slice(2, 5),
        (4, 2),
        (slice(0, 9, 4), slice(None), 3),
        (-1, ..., 2),
        (slice(1, 3), 2, slice(1, 4), 5),
    ):
        np.testing.assert_array_equal(lazy[key], whole[key])
        np.testing.assert_array_equal(reverse[key], flipped[key])
    assert reverse.shape == flipped.shape


def test_series_finds_the_nearest_frame_and_nothing_outside() -> None:
    series = Series(np.zeros((4, *GRID)), 10.0, 2.0, CELL)
    assert [series.index_at(t) for t in (8.9, 9.1, 10.9, 11.1, 16.9, 17.1)] == [None, 0, 0, 1, 3, None]


def test_limits_span_the_values_of_all_frames(wave_file: Path) -> None:
    from engine.trajectory import Trajectory

    low, high = shared_limits(Series.of(Trajectory(wave_file)))
    assert 0.0199 < low < 0.022 and 0.078 < high <= 0.08


def test_placement_puts_a_voxel_where_the_cell_says() -> None:
    cell = np.array([[4.0, 0.0, 0.0], [1.0, 3.0, 0.0], [0.5, 0.25, 5.0]])
    place = placement(Series(np.zeros((2, 4, 6, 10)), 7.0, 2.0, cell))
    index = np.array([1, 5, 3, 2])  # time, z, y, x
    world = place["affine"] @ np.append(index * place["scale"] + place["translate"], 1.0)
    expected = (2 / 4) * cell[0] + (3 / 6) * cell[1] + (5 / 10) * cell[2]
    np.testing.assert_allclose(world[:4], [9.0, *expected[::-1]])
