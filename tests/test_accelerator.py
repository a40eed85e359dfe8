"""On another device the same numbers come out, nothing waits for it needlessly, and a graph changes nothing.

The device is `pretend`: a GPU's rules on this machine's memory.
"""

import warnings
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np
import pretend
import pytest
import torch
from lightning_fabric import Fabric
from lightning_fabric.accelerators import Accelerator
from lightning_fabric.strategies import SingleDeviceStrategy
from test_spatial import TINY as SPATIAL
from test_trainer import TINY as POOLED

from engine import graphs, processes
from engine.devices import device_named
from engine.emulator import Emulator
from engine.equilibrium import equilibrate
from engine.graphs import WARM, Replayed
from engine.recipes import SPECTRAL, DataConfig
from engine.rollout import rollout
from engine.samples import emulator_folder, sample_path
from engine.spectral import SpectralConfig
from engine.trainer import Progress, train
from engine.trajectory import Trajectory
from training.evaluate import Protocol, evaluate, finish
from training.tables import scores_dict

MEMBERS, STEPS = 3, WARM + 4
SPECTRAL = replace(
    SPECTRAL,
    data=DataConfig(grid=(8, 8, 8), stride=3, symmetries=True),
    autoencoder=SpectralConfig(grid=(6, 6, 6)),
    diffusion=replace(SPECTRAL.diffusion, width=8, blocks=1, knots=6),
    training=replace(SPECTRAL.training, latent_steps=3, latent_pairs=4, log_every=1, checkpoint_every=3),
)


@pytest.fixture
def graphed(accelerator, monkeypatch):
    """The device, with graphs."""
    monkeypatch.setitem(graphs.CAPTURES, pretend.NAME, pretend.capture)
    return accelerator


def lithium(frames=slice(None)):
    return Trajectory(sample_path("li32_train.h5"))[frames]


def forecast(folder, trajectory, device):
    """Every frame of a forecast, with the device's operations on the way to it."""
    emulator = Emulator.load(folder, device)
    state = emulator.initial_state(emulator.adapt(trajectory), 12)
    pretend.counts.clear()
    for frame in rollout(emulator, state, STEPS, members=MEMBERS, seed=1):
        yield frame, pretend.counts.copy()
        pretend.counts.clear()


def off(found, wanted):
    """Largest difference, in deviations of what is wanted."""
    found, wanted = (torch.as_tensor(x).cpu().double() for x in (found, wanted))
    return ((found - wanted).abs().max() / wanted.std()).item()


def test_the_device_keeps_a_gpus_rules(accelerator):
    here, there = torch.ones(3), torch.ones(3, device=accelerator)
    with pytest.raises(RuntimeError, match="add of tensors on pretend and cpu"):
        here + there
    replay, double = pretend.capture(lambda: 2 * there, accelerator)
    there += 1
    replay()
    assert double.cpu().tolist() == [4, 4, 4]
    for forbidden in (lambda: there.sum().item(), lambda: there.copy_(here), there.cpu):
        with pytest.raises(RuntimeError, match="which a graph cannot hold"):
            pretend.capture(forbidden, accelerator)


@pytest.mark.parametrize(
    ("name", "graph"),
    [("spectral", False), ("spectral", True), ("paper@dpm:5", True), ("tiny", True)],
)
def test_a_forecast_is_the_same_and_only_noise_and_densities_travel(
    name, graph, request, wave_file, tiny_emulator_folder, monkeypatch
):
    # in float32 on both: the device is not quick in bfloat16, the processor may be
    monkeypatch.setattr("engine.pooled_dynamics.quick_bfloat16", lambda device: False)
    device = request.getfixturevalue("graphed" if graph else "accelerator")
    tiny = name == "tiny"  # it is like `paper`, and draws noise at every one of its four evaluations
    how = (tiny_emulator_folder, Trajectory(wave_file)) if tiny else (emulator_folder(name), lithium())
    wanted = [frame for frame, _ in forecast(*how, "cpu")]
    for (found, operations), frame in zip(forecast(*how, device), wanted, strict=True):
        assert off(found.latents, frame.latents) < 1e-4
        assert off(found.density, frame.density) < 1e-4
        if found.index > 0 and found.index != WARM:  # everything kept is made first, then the graph
            assert [operations[kind] for kind in ("upload", "download", "wait")] == [1, 1, 0]
        if graph and found.index > WARM:
            assert operations.total() < 15
    assert found.index == STEPS - 1


def test_a_graph_is_made_anew_for_other_shapes_and_weights(graphed):
    emulator = Emulator.load(emulator_folder("spectral"), graphed)
    plain = Emulator.load(emulator_folder("spectral"))
    latent = plain.encode(plain.initial_state(plain.adapt(lithium()), 50))

    def step(one, members):
        streams = [torch.Generator().manual_seed(k) for k in range(members)]
        return one.advance(latent.to(one.device).repeat(members, 1, 1, 1, 1), streams)

    def holds(members):
        return all(off(step(emulator, members), step(plain, members)) < 1e-4 for _ in range(WARM + 2))

    assert holds(2)
    assert holds(3)
    before = step(plain, 3)
    for one in (emulator, plain):
        one.model.elasticity.softness += 0.1
    assert off(step(plain, 3), before) > 1e-2
    assert holds(3)


@pytest.mark.parametrize("fault", ["waits", "counts", "is no number"])
def test_what_no_graph_can_hold_goes_on_without_one(graphed, fault):
    weights, calls = torch.nn.Linear(1, 1).to(graphed).requires_grad_(False), []

    def function(x):
        calls.append(1)
        factor = {"waits": lambda: x[0].item(), "counts": lambda: len(calls), "is no number": lambda: np.nan}
        return x * factor[fault]()

    replayed = Replayed(function, weights)
    with torch.no_grad(), warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        made = [replayed(torch.full((2,), 3.0, device=graphed))[0].item() for _ in range(WARM + 4)]
    assert ["without a graph" in str(warning.message) for warning in said] == [True]
    if fault == "waits":
        assert made == [9.0] * len(made)
    if fault == "counts":  # the capture has counted once
        assert made == [3.0 * n for n in (*range(1, WARM + 2), *range(WARM + 3, WARM + 6))]


def test_another_thread_has_no_graph(graphed):
    weights, calls = torch.nn.Linear(1, 1).to(graphed), []
    replayed, x = Replayed(lambda x: calls.append(1) or 2 * x, weights), torch.ones(2, device=graphed)

    @torch.no_grad()
    def made():
        return [replayed(x)[0].item() for _ in range(WARM + 3)]

    with ThreadPoolExecutor(1) as other:
        assert made() == other.submit(made).result() == [2.0] * (WARM + 3)
    assert len(calls) == (WARM + 2) + (WARM + 3)  # one call for the capture, then the graph here alone


def test_gradients_are_not_replayed(graphed):
    weights = torch.nn.Linear(2, 2).to(graphed)
    replayed = Replayed(weights, weights)
    for _ in range(WARM + 2):
        assert replayed(torch.ones(1, 2, device=graphed)).requires_grad


class Lender(Accelerator):
    """What Fabric asks of a kind of device."""

    def setup_device(self, device): ...

    def teardown(self): ...

    @staticmethod
    def parse_devices(devices):
        return [0]

    @staticmethod
    def get_parallel_devices(devices):
        return [pretend.lend()]

    @staticmethod
    def auto_device_count():
        return 1

    @staticmethod
    def is_available():
        return True

    @staticmethod
    def name():
        return pretend.NAME


@pytest.mark.parametrize("recipe", [POOLED, SPATIAL, SPECTRAL], ids=lambda recipe: recipe.name)
def test_a_training_has_the_same_losses(accelerator, recipe, tmp_path, monkeypatch):
    usual = processes.fabric

    def fabric(name, precision="32-true"):
        strategy = SingleDeviceStrategy(device=accelerator)
        ours = {"accelerator": Lender(), "strategy": strategy, "devices": 1}
        return Fabric(**ours) if name == pretend.NAME else usual(name)

    monkeypatch.setattr(processes, "fabric", fabric)
    recipe = replace(recipe, training=replace(recipe.training, joint_steps=3, latent_steps=3))

    def losses(name):
        events = train(recipe, lithium(slice(80)), tmp_path / name, device=name)
        return [event.losses["loss"] for event in events if isinstance(event, Progress)]

    wanted = losses("cpu")
    assert len(wanted) >= 3
    assert losses(pretend.NAME) == pytest.approx(wanted, rel=1e-3)


def test_it_is_judged_and_equilibrated_the_same(graphed):
    few = {"starts": 2, "members": 2, "free_frames": 12, "symmetric_frames": 0}
    protocol = Protocol(**few, lead_times_fs=(10.0, 20.0), slice_times_fs=(20.0,))
    unseen, scores, ratios = Trajectory(sample_path("li32_test.h5")), [], []
    for device in ("cpu", graphed):
        emulator = Emulator.load(emulator_folder("spectral"), device)
        events = evaluate([emulator], unseen, protocol, train_data=lithium())
        scores.append(scores_dict(finish(events, lambda event: None))["models"]["spectral"])
        frames = emulator.adapt(lithium())
        balances = equilibrate(emulator, frames, rounds=1, members=2, steps=10)
        ratios.append([balance.ratio for balance in balances if balance.ratio is not None])
    for name in ("jsd_nats", "sq_amplitude_rel_error", "fqt_abs_error"):
        assert scores[1][name] == pytest.approx(scores[0][name], rel=1e-3)
    assert scores[1]["vrmse"] == pytest.approx(scores[0]["vrmse"], rel=1e-3)
    np.testing.assert_allclose(ratios[1], ratios[0], rtol=1e-3)


def test_a_device_without_room_says_what_would_fit(graphed, monkeypatch):
    emulator = Emulator.load(emulator_folder("spectral"), graphed)
    state = emulator.initial_state(emulator.adapt(lithium()), 50)
    frames = [len(list(rollout(emulator, state, 2, members=members))) for members in (1, 8)]
    monkeypatch.setattr(pretend, "room", 10**6)
    frames += [len(list(rollout(emulator, state, 2, members=1)))]
    assert frames == [2, 2, 2]
    with pytest.raises(MemoryError, match=r"Tried to allocate \d+ bytes\. Fewer members at a time"):
        list(rollout(emulator, state, 2, members=8))
    monkeypatch.setattr(pretend, "room", 10)
    with pytest.raises(MemoryError, match=r"choose another device"):
        Emulator.load(emulator_folder("spectral"), graphed)


@pytest.mark.parametrize(
    ("name", "said"),
    [("gpu", "no device 'gpu'; say auto"), ("mps", "no GPU of Apple"), ("cuda:1", "without CUDA; cpu")],
)
def test_a_device_that_is_not_here_is_refused_in_words(name, said, tmp_path, monkeypatch):
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.cuda, "is_built", lambda: False)
    with pytest.raises(ValueError, match=said):
        Emulator.load(emulator_folder("spectral"), name)
    with pytest.raises(ValueError, match=said):
        list(train(SPECTRAL, lithium(slice(80)), tmp_path, device=name))


def test_a_gpu_that_is_not_there_is_told_from_the_others(monkeypatch):
    monkeypatch.setattr(torch.backends.cuda, "is_built", lambda: True)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    assert device_named("auto") == torch.device("cuda")
    assert device_named("cuda:1") == torch.device("cuda", 1)
    with pytest.raises(ValueError, match="cuda:2 cannot be used: the GPUs here are cuda:0 to cuda:1"):
        device_named("cuda:2")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert device_named("auto") == torch.device("cpu")
    with pytest.raises(ValueError, match="finds no CUDA GPU"):
        device_named("cuda")
