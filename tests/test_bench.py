"""The benchmark compares like with like, and says what it measured."""

import json

import numpy as np
import pytest
import torch

from engine import observables
from engine.reciprocal import modes, shells
from training.bench import observe, run, timing
from training.bench.registry import ROWS
from training.bench.timing import Row, Side, Skip, measure


def test_rows_have_names_of_their_own_and_a_bar():
    assert len({row.name for row in ROWS}) == len(ROWS)
    assert all(row.work and (row.bar is None or row.bar > 0) for row in ROWS)


def test_both_sides_are_timed_per_unit_and_by_turns():
    calls = []

    def side(name, seconds):
        return lambda: calls.append(name) or seconds

    sides = Side(side("a", 0.2), units=10, timed=True), Side(side("b", 0.5), timed=True)
    result = measure(Row("x", "work", "rival", 20, lambda device: sides, seconds=0, least=4))
    assert calls == ["a", "b"] * 5  # once for nothing
    assert (result.work_s, result.rival_s, result.ratio) == pytest.approx((0.02, 0.5, 25))
    assert result.met and result.repeats == 4


def test_the_limit_is_the_ratio_at_the_peak_of_arithmetic(monkeypatch):
    monkeypatch.setattr(timing, "peak_flops", lambda device: 4e9)
    sides = Side(lambda: 0.5, timed=True, flops=1e9), Side(lambda: 1.0, timed=True)
    result = measure(Row("x", "work", "rival", 3, lambda device: sides, seconds=0))
    assert (result.ratio, result.limit, result.met) == (2.0, 4.0, False)
    assert timing.count_flops(torch.nn.Sequential(torch.nn.Linear(5, 7), torch.nn.SiLU()), 3) == 2 * 3 * 5 * 7


def test_a_row_that_fails_leaves_the_others_their_turn(monkeypatch, capsys):
    fails = Row("a", "division", "nothing", 1, lambda device: (Side(lambda: 1 / 0), None))
    works = Row("b", "work", "", 1.0, lambda device: (Side(lambda: 0.5, timed=True), None), seconds=0)
    monkeypatch.setattr(run, "ROWS", (fails, works))
    first, second = run.run()
    assert first.skipped == "failed: ZeroDivisionError: division by zero" and second.met
    assert "division by zero" in capsys.readouterr().out


def test_what_cannot_be_measured_is_said_in_words(tmp_path, monkeypatch, capsys):
    def missing(device):
        raise Skip("GPAW is not installed")

    monkeypatch.setattr(run, "ROWS", (Row("aimd", "a step", "GPAW", 200, missing),))
    run.run(out=tmp_path / "bench.json")
    row = json.loads((tmp_path / "bench.json").read_text())["rows"][0]
    assert row["skipped"] == "GPAW is not installed" and row["met"] is None
    assert "GPAW is not" in capsys.readouterr().out


def test_an_unknown_row_is_refused():
    with pytest.raises(ValueError, match="no row speed; there are denoising"):
        run.chosen(("speed",))


def test_both_ways_to_observables_agree():
    cell = np.array([[4.0, 0, 0], [0.5, 5.0, 0], [0, 0, 6.0]])
    start, frame = np.exp(0.3 * np.random.default_rng(0).standard_normal((2, 12, 12, 16)) - 3)
    slow = shells(frame.shape, cell, observables.RELAXATION_SHELLS)
    waves = np.fft.fftn(start) * abs(np.linalg.det(cell)) / start.size
    fast = observe.live_observables(frame, slow.select(modes(start, cell)), cell)
    for ours, theirs in zip(fast, observe.naive_observables(frame, waves, cell), strict=True):
        assert ours == pytest.approx(theirs, rel=1e-9, nan_ok=True)
