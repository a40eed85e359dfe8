"""One training loop, a generator of events; a progress bar, a window and a test all drive it.

    for event in train(RECIPES["paper"], Trajectory("md.h5"), Path("runs/paper")):
        ...                                  # stop at any event: what is best so far lies in the folder

The folder holds `model.safetensors` + `card.json` (the emulator, best so far), `log.csv` (losses) and
`state.safetensors` (what a killed run resumes from, to the same losses). Under `torchrun` or SLURM several
processes share every batch: each takes its rows, gradients are averaged, only the first writes, and the
losses are those of one process.
"""

from __future__ import annotations

import hashlib
import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from engine import processes
from engine.dataset import Dataset, frames_at_once, split
from engine.devices import enough_memory
from engine.dynamics import Draws, Losses, Stage
from engine.emulator import save_emulator
from engine.models import build
from engine.normalise import LogNormal
from engine.provenance import code_version, describe_data, describe_hardware
from engine.recipes import Recipe
from engine.runstate import Log, load_state, pack_moments, save_state, unpack_moments
from engine.trajectory import Trajectory

WARMUP = 200
PATIENCE = 20
"""Steps in a row that may be left out for gradients that are not finite."""
VALIDATION_BATCHES = 4
SAFE_S = 45.0
"""Between two states that a killed run resumes from: not more than a minute is lost, with a step to spare."""


@dataclass(frozen=True)
class Progress:
    """Losses of one logged step; `step` of `steps` counts through all stages."""

    stage: str
    step: int
    steps: int
    losses: dict[str, float]
    learning_rate: float
    samples_per_s: float
    seconds_left: float


@dataclass(frozen=True)
class Checkpoint:
    """A validation; `best` says that its weights became the emulator in `folder`."""

    stage: str
    step: int
    training: dict[str, float]
    validation: dict[str, float]
    best: bool
    folder: Path


Event = Progress | Checkpoint


def train(
    recipe: Recipe,
    trajectory: Trajectory,
    folder: Path,
    *,
    device: str = "auto",
    stop: Callable[[], bool] = lambda: False,
    clock: Callable[[], float] = time.perf_counter,
) -> Iterator[Event]:
    """Train `recipe` on the first part of `trajectory`, resuming whatever `folder` holds.

    Once `stop()`, asked after every step, is true, it keeps what it has learnt and ends; `clock()` counts the
    seconds of work. Raises ValueError in words for data or a folder that do not fit the recipe.
    """
    run = Run(recipe, trajectory, Path(folder), device, stop, clock)
    for number in range(run.stage, len(run.stages)):
        yield from run.fit(number)
        if run.stopped():
            return


class Run:
    """Data, model and optimiser of one training, and where it stands."""

    def __init__(
        self,
        recipe: Recipe,
        trajectory: Trajectory,
        folder: Path,
        device: str,
        stop: Callable[[], bool] = lambda: False,
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        self.recipe, self.folder, self.accelerator = recipe, folder, device
        self.stop, self.clock = stop, clock
        self.fabric = processes.fabric(device)
        self.writes = processes.rank() == 0
        folder.mkdir(parents=True, exist_ok=True)
        self.load(trajectory)
        torch.manual_seed(recipe.training.seed)
        self.model = build(recipe)
        average = get_ema_multi_avg_fn(recipe.training.ema)
        self.ema = AveragedModel(self.model, multi_avg_fn=average, use_buffers=True)
        self.stages = self.model.stages()
        self.stage, self.step, self.best, self.seconds = 0, 0, math.inf, 0.0
        self.moments: dict[str, Tensor] = {}
        self.skipped = 0
        load_state(self)
        self.log = Log(folder / "log.csv", self.steps_done) if self.writes else None

    def load(self, trajectory: Trajectory) -> None:
        """Training and validation frames, normalised, and what the card says of them."""
        data = self.recipe.data
        parts = split(trajectory.resampled(data.grid), data)
        block = frames_at_once(data.grid)
        self.normaliser = LogNormal.fit(parts.train.blocks(block), trajectory.dt_fs)
        steps = data.window + getattr(self.recipe.diffusion, "ahead", 0)
        how = (self.normaliser, data.stride, data.symmetries, steps)
        self.training = Dataset(parts.train, *how, self.folder / "training.fields")
        enough = len(parts.validation) > data.stride * steps + 2
        store = self.folder / "validation.fields"
        self.validation = Dataset(parts.validation, *how, store) if enough else None
        self.about = describe_data(trajectory, parts)
        total = sum(self.normaliser.inverse(block).double().sum().item() for block in self.training.blocks())
        self.about["mean_density"] = total / (len(parts.train) * math.prod(data.grid))

    @property
    def steps_done(self) -> int:
        """Steps over all stages up to now."""
        return sum(stage.steps for stage in self.stages[: self.stage]) + self.step

    def stopped(self) -> bool:
        """Whether any process has been told to stop."""
        return processes.anywhere(self.stop(), self.fabric.device)

    def fit(self, number: int) -> Iterator[Event]:
        """Run one stage from where it stands."""
        model = self.begin(number)
        yield from self.loop(self.stages[number], model)

    def begin(self, number: int) -> nn.Module:
        """Model and optimiser ready for the steps of one stage; ValueError for a batch not to be shared."""
        stage = self.stages[number]
        if stage.pairs % processes.size():
            raise ValueError(
                f"{processes.size()} processes cannot share the {stage.pairs} pairs of a batch of stage "
                f"{stage.name!r} evenly; choose another number of pairs, or of processes"
            )
        if number != self.stage:  # the next stage builds on the averaged weights
            self.stage, self.step, self.best, self.moments = number, 0, math.inf, {}
            self.model.load_state_dict(self.ema.module.state_dict())
        self.fabric = processes.fabric(self.accelerator, stage.precision)
        self.ema.to(self.fabric.device)
        decay = self.recipe.training.weight_decay
        learnt = set(stage.parameters())
        for parameter in self.model.parameters():
            parameter.requires_grad_(parameter in learnt)
        for data in filter(None, (self.training, self.validation)):
            data.to(self.fabric.device)
        model, self.optimizer = self.fabric.setup(
            self.model, torch.optim.AdamW(stage.parameters(), weight_decay=decay)
        )
        if self.step == 0:
            stage.prepare(self.model, self.training)
            processes.share(self.model.state_dict())
            self.ema.module.load_state_dict(self.model.state_dict())
        if stage.cached:
            for data in filter(None, (self.training, self.validation)):
                data.latents = self.model.encode_all(data)
        if self.moments:
            self.optimizer.load_state_dict(unpack_moments(self.optimizer, self.moments))
        return model

    def loop(self, stage: Stage, model: nn.Module) -> Iterator[Event]:
        """Step, average, log, validate; a run told to stop, or closed, first keeps what it has learnt."""
        settings, begun, kept = self.recipe.training, self.clock() - self.seconds, self.step
        mark, saved = (self.clock(), self.step), self.clock()
        try:
            while self.step < stage.steps and not self.stopped():
                losses, rate = self.update(stage, model)
                self.step += 1
                self.seconds = self.clock() - begun
                if self.step % settings.log_every == 0:
                    pace = (self.clock() - mark[0]) / (self.step - mark[1])
                    mark = (self.clock(), self.step)
                    yield self.report(stage, losses, rate, pace)
                if self.step % settings.checkpoint_every == 0 or self.step == stage.steps:
                    kept = self.step
                    yield self.checkpoint(stage)
                    saved = self.clock()
                elif self.clock() - saved > SAFE_S:
                    self.save()
                    saved = self.clock()
            if self.step > kept:
                yield self.checkpoint(stage)
        except GeneratorExit:
            if self.step > kept:
                self.checkpoint(stage)
            raise

    def update(self, stage: Stage, model: nn.Module) -> tuple[Losses, float]:
        """One optimiser step; its draws depend on (seed, stage, step) alone, so a resumed run repeats it."""
        settings = self.recipe.training
        generator = seeded(settings.seed, self.stage, self.step)
        index = torch.randint(self.training.chains_total, (stage.pairs,), generator=generator)
        share = stage.pairs // processes.size()
        rows = slice(share * processes.rank(), share * (processes.rank() + 1))
        draws = Draws(generator, stage.pairs, rows)
        rate = learning_rate(self.step, stage.steps, settings.learning_rate)
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        self.model.train()
        self.optimizer.zero_grad(set_to_none=True)
        with enough_memory("Fewer pairs in a batch, or another device, would do."):
            losses = model(lambda inner: stage.losses(inner, self.training, index, draws))
            self.fabric.backward(losses["loss"])
        clip = {"max_norm": settings.clip, "error_if_nonfinite": False}
        if self.fabric.clip_gradients(model, self.optimizer, **clip).isfinite():
            self.optimizer.step()
            self.skipped = 0
        else:  # one batch out of thousands may overflow: its step is left out
            self.skipped += 1
            if self.skipped == PATIENCE:
                raise ValueError(
                    f"the last {PATIENCE} steps had gradients that are not finite: training cannot go "
                    f"on; a learning rate below {settings.learning_rate:g} may help"
                )
        self.ema.update_parameters(self.model)
        return {name: value.detach() for name, value in losses.items()}, rate

    def report(self, stage: Stage, losses: Losses, rate: float, pace: float) -> Progress:
        """Log one step and tell of it; `pace` is in seconds per step."""
        values = {name: float(processes.mean(value)) for name, value in losses.items()}
        steps, left = sum(s.steps for s in self.stages), pace * (stage.steps - self.step)
        self.write_log(stage, {"lr": rate, "samples_per_s": round(stage.pairs / pace, 3)} | values)
        return Progress(stage.name, self.steps_done, steps, values, rate, stage.pairs / pace, left)

    def write_log(self, stage: Stage, values: dict[str, float]) -> None:
        """One row of log.csv."""
        if self.log is not None:
            about = {"step": self.steps_done, "stage": stage.name, "seconds": round(self.seconds, 1)}
            self.log.write(about | values)

    def checkpoint(self, stage: Stage) -> Checkpoint:
        """Validate, keep the best emulator, write what a killed run resumes from."""
        training = self.validate(stage, self.training)
        validation = self.validate(stage, self.validation) if self.validation else {}
        use = validation if validation and self.recipe.training.monitor == "validation" else training
        best = use["loss"] < self.best
        if best:
            self.best = use["loss"]
            self.keep(stage, training, validation)
        if validation:
            self.write_log(stage, {"training": training["loss"], "validation": validation["loss"]})
        self.save()
        return Checkpoint(stage.name, self.steps_done, training, validation, best, self.folder)

    def save(self) -> None:
        """Write what a killed run resumes from."""
        self.moments = pack_moments(self.optimizer)
        if self.writes:
            save_state(self)

    @torch.no_grad()
    def validate(self, stage: Stage, data: Dataset) -> dict[str, float]:
        """Mean losses of the averaged weights on fixed, evenly spread pairs with fixed noise."""
        model, sums = self.ema.module.eval(), {}
        picks = torch.linspace(0, data.chains_total - 1, VALIDATION_BATCHES * stage.pairs).long()
        for number, index in enumerate(picks.chunk(VALIDATION_BATCHES)):
            with self.fabric.autocast():
                losses = stage.losses(model, data, index, Draws(seeded(number), len(index)))
            for name, value in losses.items():
                sums[name] = sums.get(name, 0.0) + float(value) / VALIDATION_BATCHES
        return sums

    def keep(self, stage: Stage, training: dict[str, float], validation: dict[str, float]) -> None:
        """Write the averaged weights as the emulator of this folder."""
        where = {"stage": stage.name, "step": self.steps_done, "seconds": round(self.seconds)}
        card = {
            "data": self.about,
            "losses": {"training": training, "validation": validation},
            "training": where | {"hardware": describe_hardware(self.fabric.device), "code": code_version()},
        }
        stage.settle(self.ema.module, self.training)
        if self.writes:
            save_emulator(self.folder, self.ema.module, self.normaliser, card)


def learning_rate(step: int, steps: int, peak: float) -> float:
    """Linear warm-up over at most a tenth of the stage, then half a cosine to zero."""
    warmup = min(WARMUP, max(1, steps // 10))
    if step < warmup:
        return peak * (step + 1) / warmup
    return peak * 0.5 * (1 + math.cos(math.pi * (step - warmup) / max(1, steps - warmup)))


def seeded(*numbers: int) -> torch.Generator:
    """A generator that depends on all the numbers."""
    state = int.from_bytes(hashlib.blake2b(repr(numbers).encode(), digest_size=7).digest())
    return torch.Generator().manual_seed(state)
