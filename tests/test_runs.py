"""Forecasts beside each other and beside the truth: steps, members, forks, earlier runs."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from metronome import Metronome, until
from waves import STEP_FS, wave

from engine.emulator import Emulator
from engine.normalise import LogNormal
from engine.rollout import rollout
from ldm_viewer.runs import forked_state
from ldm_viewer.session import Session, SessionError
from ldm_viewer.state import Status


@pytest.fixture
def slow_emulator_folder(tiny_emulator_folder: Path, tmp_path: Path) -> Path:
    """The tiny emulator with steps of 10 fs, five frames of the truth."""
    folder = Path(shutil.copytree(tiny_emulator_folder, tmp_path / "slow"))
    card = json.loads((folder / "card.json").read_text())
    card["recipe"]["data"]["stride"] = 5
    (folder / "card.json").write_text(json.dumps(card))
    return folder


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
