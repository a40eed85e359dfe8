"""The judge: truth scores zero, a frozen forecast scores as persistence, seen frames are never judged."""

import json
import re
import shutil

import numpy as np
import pytest
import torch
from PIL import Image

from engine.autoencoder import PooledConfig
from engine.diffusion import DiffusionConfig
from engine.emulator import Emulator, save_emulator
from engine.normalise import LogNormal
from engine.pooled_dynamics import PooledDynamics
from engine.recipes import DataConfig, Recipe
from engine.rollout import Frame
from engine.scores import vrmse
from engine.trajectory import Trajectory, TrajectoryWriter
from training import bars, forecasts, report, tables
from training.evaluate import Protocol, evaluate, finish, run

GRID, CELL, STEP_FS, FRAMES, SEEN_FS = (8, 8, 8), 8.66 * np.eye(3), 2.0, 260, 158.0
SMALL = Protocol(
    starts=3,
    members=2,
    lead_times_fs=(2.0, 20.0),
    free_frames=60,
    symmetric_frames=0,
    slice_times_fs=(20.0, 40.0),
)


def liquid(frames):
    """A fluctuating density, (T, 8, 8, 8) in Å⁻³: forty waves in ln ρ, random but for the seed."""
    generator = np.random.default_rng(0)
    points = np.stack(np.meshgrid(*(np.arange(n) / n for n in GRID), indexing="ij"))
    logarithm = np.full((frames, *GRID), -2.9)
    for _ in range(40):
        numbers, phase = generator.integers(-2, 3, 3), generator.uniform(0, 2 * np.pi)
        turn = generator.normal(0, 0.03) * STEP_FS * np.arange(frames)
        space = 2 * np.pi * np.tensordot(numbers, points, axes=1) + phase
        logarithm += 0.06 * np.cos(space[None] - turn[:, None, None, None])
    return np.exp(logarithm)


@pytest.fixture(autouse=True)
def coarse_pictures(monkeypatch):
    monkeypatch.setattr(report, "DPI", 40)


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    path = tmp_path_factory.mktemp("data") / "liquid.h5"
    with TrajectoryWriter(path, grid=GRID, cell=CELL, species=[3] * 32, dtype="float32") as writer:
        for index, density in enumerate(liquid(FRAMES)):
            writer.append(density, time_fs=index * STEP_FS)
    return path


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return emulator_folder(tmp_path_factory.mktemp("emulators") / "tiny")


def emulator_folder(folder, stride=1):
    """An untrained emulator that says it has seen the first 80 frames."""
    torch.manual_seed(0)
    recipe = Recipe(
        "tiny",
        data=DataConfig(grid=GRID, stride=stride),
        autoencoder=PooledConfig(channels=(4, 8), latent=4),
        diffusion=DiffusionConfig(steps=3, width=8),
    )
    data = {
        "cell": CELL.tolist(),
        "composition": {"Li": 32},
        "train_fs": [0.0, 148.0],
        "validation_fs": [150.0, SEEN_FS],
    }
    save_emulator(folder, PooledDynamics(recipe), LogNormal.fit([liquid(80)], STEP_FS), {"data": data})
    rows = ["step,stage,reconstruction,sjsd,denoising"] + [
        f"{10 * k},joint,{1 / k},{2 / k},{3 / k}" for k in range(1, 9)
    ]
    (folder / "log.csv").write_text("\n".join(rows) + "\n")
    return folder


def oracle(monkeypatch, forecast):
    """Replace the rollout by `forecast(truth densities, start, steps ahead)`."""
    begun = {}
    remember, decode = Emulator.initial_state, Emulator.decode

    def initial_state(self, trajectory, start):
        begun.update(truth=trajectory, start=start)
        return remember(self, trajectory, start)

    def rollout(emulator, state, frames, *, members=1, seed=0, decode_every=1):
        truth, start = begun["truth"], begun["start"]
        for index in range(frames):
            density = forecast(truth, start, (index + 1) * emulator.stride)
            density = np.stack([density] * members)
            shown = None if (index + 1) % decode_every else density
            yield Frame(index, (index + 1) * emulator.dt_fs, torch.from_numpy(density), shown)

    def decoded(self, latents):
        return latents.numpy() if latents.ndim == 4 else decode(self, latents)

    monkeypatch.setattr(Emulator, "initial_state", initial_state)
    monkeypatch.setattr(Emulator, "decode", decoded)
    monkeypatch.setattr(forecasts, "rollout", rollout)


def test_a_forecast_that_is_the_truth_scores_zero(file, folder, monkeypatch):
    oracle(monkeypatch, lambda truth, start, ahead: truth.density(start + ahead))
    frames = len(Trajectory(file).between(SEEN_FS + 0.1, np.inf)) - 2
    protocol = Protocol(starts=4, members=1, lead_times_fs=(2.0, 50.0), free_frames=frames)
    evaluation = finish(evaluate([Emulator.load(folder)], Trajectory(file), protocol))
    scores = evaluation.models[0].scores
    assert scores["vrmse"] == {2.0: 0.0, 50.0: 0.0}
    # the free run lacks the first two frames of the window, so its averages differ in the last digits only
    assert scores["jsd_nats"] < 1e-5
    assert scores["sq_amplitude_rel_error"] < 0.02 and scores["sq_intensity_rel_error"] < 0.02
    assert scores["fqt_abs_error"] < 0.02
    assert scores["electrons_mean"] == pytest.approx(evaluation.bench.record.electrons.mean(), rel=1e-3)
    rows = bars.bars(evaluation.models[0])
    met = {name for name, row in rows.items() if row["met"]}
    assert {"electrons, relative shift", "electrons, spread / AIMD's"} <= met
    run_ = evaluation.models[0].free_run
    assert run_["step_vrmse"] == pytest.approx(run_["step_vrmse_truth"], rel=0.02)
    assert run_["met"]["no_nan"] and run_["frames"] == frames


@pytest.mark.parametrize("stride", [1, 5])
def test_a_frozen_forecast_scores_as_persistence_whatever_its_step(file, tmp_path, monkeypatch, stride):
    oracle(monkeypatch, lambda truth, start, ahead: truth.density(start))
    protocol = Protocol(starts=5, members=3, lead_times_fs=(2.0, 10.0, 20.0, 30.0), free_frames=40)
    emulator = Emulator.load(emulator_folder(tmp_path / "tiny", stride))
    evaluation = finish(evaluate([emulator], Trajectory(file), protocol))
    rows = {entry.name: entry.scores["vrmse"] for entry in evaluation.entries}
    assert list(rows["tiny"]) == ([2.0, 10.0, 20.0, 30.0] if stride == 1 else [10.0, 20.0, 30.0])
    assert list(rows["persistence"]) == [
        2.0,
        10.0,
        20.0,
        30.0,
    ]  # a baseline answers whatever the model's step
    assert rows["tiny"] == pytest.approx({t: rows["persistence"][t] for t in rows["tiny"]}, rel=1e-12)
    window = Trajectory(file).between(SEEN_FS + 0.1, np.inf).density()
    starts = evaluation.bench.starts
    assert rows["persistence"][20.0] == pytest.approx(vrmse(window[starts], window[starts + 10]), rel=1e-9)


def test_the_deck_of_training_frames_has_the_right_statistics_but_no_memory(file, folder):
    evaluation = finish(evaluate([Emulator.load(folder)], Trajectory(file), SMALL))
    deck = next(e for e in evaluation.entries if e.name == "shuffled frames")
    model = evaluation.models[0].scores
    assert deck.scores["jsd_nats"] < 0.1 * model["jsd_nats"]
    assert deck.scores["fqt_abs_error"] > 0.2
    assert deck.scores["vrmse"][2.0] > 1.0
    line = next(e for e in evaluation.entries if e.name == "linear extrapolation")
    still = next(e for e in evaluation.entries if e.name == "persistence")
    assert line.scores["vrmse"][2.0] < still.scores["vrmse"][2.0]


def test_only_frames_after_everything_a_model_has_seen_are_judged(file, folder):
    evaluation = finish(evaluate([Emulator.load(folder)], Trajectory(file), SMALL))
    assert evaluation.data["unseen_fs"] == [SEEN_FS + STEP_FS, (FRAMES - 1) * STEP_FS]
    assert min(evaluation.data["start_fs"]) > SEEN_FS
    seen = Trajectory(file).between(0, SEEN_FS)
    with pytest.raises(ValueError, match=r"has seen everything up to 158 fs.*--independent"):
        finish(evaluate([Emulator.load(folder)], seen, SMALL))
    other = finish(evaluate([Emulator.load(folder)], seen, SMALL, independent=True))
    assert other.data["unseen_fs"] == [0.0, SEEN_FS - STEP_FS]


def test_too_short_a_file_and_no_model_are_refused_in_words(file, folder):
    with pytest.raises(ValueError, match="no emulator"):
        finish(evaluate([], Trajectory(file)))
    short = Trajectory(file).between(SEEN_FS + 1, SEEN_FS + 6)
    with pytest.raises(ValueError, match="unseen frames"):
        finish(evaluate([Emulator.load(folder)], short, SMALL))


def test_a_forecast_that_breaks_is_reported_not_hidden(file, folder, monkeypatch):
    oracle(monkeypatch, lambda truth, start, ahead: truth.density(start) * (np.nan if ahead > 30 else 1.0))
    evaluation = finish(evaluate([Emulator.load(folder)], Trajectory(file), SMALL))
    assert evaluation.models[0].broken_at == 30
    assert not evaluation.models[0].free_run["met"]["no_nan"]
    assert "broke at frame 30" in tables.markdown(evaluation)
    rows = bars.bars(evaluation.models[0])
    assert rows["frames without NaN"]["met"] is False
    assert rows["VRMSE at 10 fs"] == {"value": None, "bar": "≤ 0.08", "met": None}  # not among the leads
    json.dumps(tables.scores_dict(evaluation), allow_nan=False)


def test_a_forecast_broken_from_the_start_still_makes_a_report(file, folder, monkeypatch, tmp_path):
    oracle(monkeypatch, lambda truth, start, ahead: truth.density(start) * np.nan)
    evaluation = finish(evaluate([Emulator.load(folder)], Trajectory(file), SMALL))
    scores = tables.scores_dict(evaluation)["models"]["tiny"]
    assert scores["jsd_nats"] is None and scores["vrmse"]["2"] is None
    assert "broke in its first frame" in tables.markdown(evaluation)
    report.summary(tmp_path / "report.png", evaluation)


def test_the_command_leaves_scores_figures_and_a_table(file, folder, tmp_path, capsys):
    run(file, tmp_path / "out", [str(folder)], SMALL, device="cpu")
    printed = capsys.readouterr().out
    for name in ("tiny", "persistence", "linear extrapolation", "shuffled frames", "AIMD, unseen"):
        assert f"| {name} |" in printed
    scores = json.loads((tmp_path / "out" / "scores.json").read_text())
    keys = {"jsd_nats", "sq_amplitude_rel_error", "sq_intensity_rel_error", "fqt_abs_error", "vrmse"}
    keys |= {"electrons_mean", "electrons_std", "seconds_per_frame"}
    for row in (*scores["models"].values(), *scores["baselines"].values()):
        assert keys <= set(row)
        assert list(row["vrmse"]) == ["2", "20"]
    assert scores["models"]["tiny"]["free_run"]["frames"] == SMALL.free_frames
    names = {"figure2_slices", "figure3_statistics", "figureS1_distribution", "figureS2_training"}
    for name in names | {"relaxation", "drift", "lead_times", "bands", "report"}:
        picture = np.asarray(Image.open(tmp_path / "out" / f"{name}.png").convert("L"))
        assert picture.std() > 5, f"{name} is blank"
    assert not list((tmp_path / "out").glob("*part*"))
    page = (tmp_path / "out" / "report.html").read_text()
    assert page.count("data:image/png;base64,") == 8
    assert not re.search(r'(src|href)="(?!data:)|@import|url\(', page), "the page asks for another file"
    new = {
        "crps",
        "spread_skill",
        "bands",
        "autoencoder_vrmse",
        "floor_ratio",
        "nearest_training_ratio",
        "tenths",
    }
    assert new <= set(scores["models"]["tiny"])


def test_recorded_scores_stand_in_the_card_and_the_emulator_still_loads(file, folder, tmp_path, monkeypatch):
    monkeypatch.setattr(report, "write_report", lambda *given: [])  # drawn in the test above
    copy = shutil.copytree(folder, tmp_path / "copy")
    run(file, tmp_path / "out", [str(copy)], SMALL, record=True, device="cpu")
    card = Emulator.load(copy).card
    scores = json.loads((tmp_path / "out" / "scores.json").read_text())
    assert card["scores"]["jsd_nats"] == scores["models"]["copy"]["jsd_nats"]
    assert card["scores"]["data"] == scores["data"]
    assert card["data"] == Emulator.load(folder).card["data"]


def test_two_models_share_one_report_and_need_two_names(file, folder, tmp_path):
    second = emulator_folder(tmp_path / "other", stride=5)
    evaluation = finish(evaluate([Emulator.load(folder), Emulator.load(second)], Trajectory(file), SMALL))
    assert [e.name for e in evaluation.models] == ["tiny", "other"]
    head, rows = tables.table(evaluation)
    assert rows[1][head.index("VRMSE 2 fs")] == "–"
    report.write_report(tmp_path, evaluation)
    with pytest.raises(ValueError, match="different names"):
        run(file, tmp_path, [str(folder), str(folder)], SMALL)


def test_progress_counts_up_to_its_total(file, folder):
    last = {}
    finish(
        evaluate([Emulator.load(folder)], Trajectory(file), SMALL),
        lambda e: last.update({(e.name, e.stage): e}),
    )
    assert {("tiny", "truth"), ("tiny", "forecasts"), ("tiny", "free run")} <= set(last)
    assert all(event.done == event.total for event in last.values())


def test_start_times_are_common_and_leave_the_past_that_the_most_demanding_asks_for(file, folder, tmp_path):
    slow = Emulator.load(emulator_folder(tmp_path / "slow", stride=5))
    slow.history = 30
    evaluation = finish(evaluate([Emulator.load(folder), slow], Trajectory(file), SMALL))
    tiny, other = (entry.bench for entry in evaluation.models)
    assert np.array_equal(tiny.truth.times_fs[tiny.starts], other.truth.times_fs[other.starts])
    assert tiny.starts.min() == 30
    assert evaluation.data["start_fs"] == tiny.truth.times_fs[tiny.starts].tolist()


def test_an_autoencoder_that_loses_nothing_scores_zero_and_one_that_forgets_one(file, folder, monkeypatch):
    protocol = Protocol(starts=2, members=1, lead_times_fs=(2.0,), free_frames=30, symmetric_frames=0)
    monkeypatch.setattr(Emulator, "encode", lambda self, states: states.flatten(1))
    density = lambda self, latents: self.normaliser.inverse(latents.reshape(-1, 2, *GRID)[:, 0]).numpy()  # noqa: E731
    monkeypatch.setattr(Emulator, "decode", density)
    monkeypatch.setattr(Emulator, "advance", lambda self, latents, streams: latents)
    row = finish(evaluate([Emulator.load(folder)], Trajectory(file), protocol)).models[0].scores
    assert row["autoencoder_vrmse"] == pytest.approx({"unseen": 0.0, "training": 0.0}, abs=1e-5)
    assert row["autoencoder"]["jsd_nats"] < 1e-5 and row["autoencoder"]["fqt_abs_error"] < 0.02
    assert row["vrmse"][2.0] > 0.05  # it stands still
    mean = float(np.mean(liquid(FRAMES)))
    monkeypatch.setattr(Emulator, "decode", lambda self, z: np.full((len(z), *GRID), mean, np.float32))
    row = finish(evaluate([Emulator.load(folder)], Trajectory(file), protocol)).models[0].scores
    assert row["autoencoder_vrmse"]["unseen"] == pytest.approx(1.0, abs=0.01)


@pytest.mark.parametrize("stride", [1, 2])
def test_the_truth_of_another_time_is_at_its_floor_and_a_second_file_can_give_it(
    file, tmp_path, monkeypatch, stride
):
    """The free run repeats the training span, of which the floor's blocks are cut, so ratios are near 1."""
    seen = Trajectory(file).between(0, SEEN_FS).density()
    oracle(monkeypatch, lambda truth, start, ahead: seen[ahead % len(seen)])
    protocol = Protocol(
        starts=2, members=2, lead_times_fs=(20.0,), free_frames=400 // stride, symmetric_frames=0
    )
    emulator = Emulator.load(emulator_folder(tmp_path / "tiny", stride))
    own = finish(evaluate([emulator], Trajectory(file), protocol))
    second = finish(evaluate([emulator], Trajectory(file), protocol, reference=Trajectory(file)[:79]))
    assert own.reference.duration_fs == 80
    assert own.reference.blocks[0].dt_fs == 2.0 * stride
    for evaluation in (own, second):
        ratios = evaluation.models[0].scores["floor_ratio"]
        assert 0.5 < ratios["sq_intensity_rel_error"]["ratio"] < 2
        assert 0.5 < ratios["fqt_abs_error"]["ratio"] < 2
    assert evaluation.models[0].scores["nearest_training_ratio"] == pytest.approx(0, abs=1e-3)


def test_a_forecast_recited_with_a_shift_is_found_among_the_copies(file, folder, monkeypatch):
    seen = Trajectory(file).between(0, SEEN_FS).density()
    oracle(monkeypatch, lambda truth, start, ahead: np.roll(seen[ahead % 70], (3, 1, 6), axis=(0, 1, 2)))
    protocol = Protocol(starts=2, members=1, lead_times_fs=(10.0,), free_frames=64, symmetric_frames=6)
    nearest = finish(evaluate([Emulator.load(folder)], Trajectory(file), protocol)).models[0].nearest
    assert nearest["copies"]["operations"] == 48
    assert nearest["copies"]["median"] == pytest.approx(0, abs=1e-6)
    assert nearest["median"] > 0.3
