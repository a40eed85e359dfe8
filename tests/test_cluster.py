"""Members and seeds spread over processes by Dask leave what one process leaves."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from test_simulate import TINY, needs_gpaw, structure  # noqa: F401 (a fixture)

from engine.samples import sample_path
from engine.trajectory import Trajectory
from training import rollout
from training.cluster import spread
from training.simulate import SimulationError, several, simulate


@pytest.fixture
def one_thread():
    """Sums are shared out as in a worker: a forecast is chaotic, and tells of the last bit."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def forecast(out, **where):
    about = {"model": "spectral", "start": 3, "frames": 4, "members": 3, "seed": 5, "device": "cpu"}
    rollout.run(sample_path("li32_test.h5"), out, **about, **where)
    return Trajectory(out)


def same_file(one, other):
    assert (len(one), one.members, one.formula, one.parameters) == (
        *(len(other), other.members, other.formula),
        other.parameters,
    )
    return np.array_equal(one.times_fs, other.times_fs) and np.array_equal(one.density(), other.density())


def test_groups_of_members_are_the_members_of_the_ensemble(one_thread, tmp_path):
    together, apart = forecast(tmp_path / "one.h5"), forecast(tmp_path / "two.h5", group=1)
    assert apart.members == 3 and apart.parameters == together.parameters
    np.testing.assert_allclose(apart.density(), together.density(), rtol=2e-3)  # half precision, other sums
    assert [path.name for path in tmp_path.iterdir() if "groups" in path.name] == []


def test_groups_that_are_there_are_not_made_again(one_thread, tmp_path, monkeypatch):
    whole = forecast(tmp_path / "whole.h5", group=1)
    monkeypatch.setattr(rollout, "merge_members", lambda paths, out: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        forecast(tmp_path / "f.h5", group=1)
    parts = sorted((tmp_path / "f.h5.groups").iterdir())
    before = [path.stat().st_mtime_ns for path in parts]
    with pytest.raises(ZeroDivisionError):
        forecast(tmp_path / "f.h5", group=1)
    assert len(parts) == 3 and [path.stat().st_mtime_ns for path in parts] == before
    monkeypatch.undo()
    assert same_file(forecast(tmp_path / "f.h5", group=1), whole)


def test_without_workers_tasks_go_one_after_another():
    assert list(spread(pow, [(2, 3), (3, 2)], 0)) == [(0, 8), (1, 9)]


@pytest.mark.slow
def test_two_workers_write_the_file_of_one_process(one_thread, tmp_path):
    assert same_file(
        forecast(tmp_path / "one.h5", group=1), forecast(tmp_path / "two.h5", group=1, workers=2)
    )


@pytest.mark.slow
def test_a_task_whose_process_dies_is_begun_again(tmp_path):
    done = dict(spread(dies_once, [(tmp_path / "a", 5), (tmp_path / "b", 6)], 2))
    assert done == {0: 25, 1: 36}


def dies_once(mark, number):
    import os

    if number == 5 and not mark.exists():
        mark.touch()
        os._exit(1)
    return number**2


@pytest.mark.slow
def test_an_address_where_no_scheduler_answers_is_told_in_words():
    with pytest.raises(ValueError, match="no Dask scheduler answers at tcp://127.0.0.1:9"):
        next(spread(pow, [(1, 1)], 0, "tcp://127.0.0.1:9"))


def test_equal_seeds_are_refused(tmp_path):
    with pytest.raises(SimulationError, match="different"):
        several(TINY, tmp_path / "x.h5", None, (1, 1))


@needs_gpaw
@pytest.mark.slow
def test_seeds_of_two_workers_are_those_of_one_process(tmp_path, structure):  # noqa: F811
    short = replace(TINY, frames=2, all_electron=False)
    paths = several(short, tmp_path / "li4.h5", structure, (3, 4), workers=2)
    assert [path.name for path in paths] == ["li4-seed3.h5", "li4-seed4.h5"]
    list(simulate(replace(short, seed=4), tmp_path / "alone.h5", structure))
    three, four, alone = (Trajectory(path) for path in (*paths, tmp_path / "alone.h5"))
    assert len(three) == len(four) == 2
    np.testing.assert_allclose(four.density(), alone.density(), rtol=1e-4)
    assert not np.allclose(three.density(), four.density(), rtol=1e-3)
