"""`ldm train`: drive the training generator with a progress bar, and tell in the folder how far it is."""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import asdict, replace
from pathlib import Path
from types import FrameType

from tqdm import tqdm

from engine import processes
from engine.jobs import JOB, Job, Status, claim
from engine.recipes import Recipe
from engine.tailor import Estimate, measure, with_steps, within
from engine.trainer import Checkpoint, Event, train
from engine.trajectory import Trajectory

STATUS_S = 0.5  # between two writings of the status
MEASURED, SHORTEST_S, LONGEST_S = 0.04, 4.0, 20.0  # part of a budget that each stage is timed for


def run(job: Job) -> None:
    """Do the job, or go on with it; Ctrl-C or SIGTERM keeps the best emulator so far, Ctrl-Z pauses.

    Of several processes that `torchrun` or SLURM started, the first does the writing and talking.
    """
    first = processes.rank() == 0
    with claim(job.folder) if first else nullcontext(), control() as asked:
        if (job.folder / JOB).exists():
            job = job.with_plan_of(Job.load(job.folder))
        before = Status.read(job.folder) or Status()
        report = Report(job.folder if first else None, replace(before, phase="starting", message=""))
        try:
            trajectory = Trajectory(job.data)
            if job.plan is None:
                _save(job)
                report.tell(phase="starting" if job.minutes is None else "measuring")
                job = replace(job, plan=planned(job, trajectory, asked))
                report.tell(phase="starting")
            _save(job)
            events = train(
                *(job.plan, trajectory, job.folder),
                device=job.device,
                stop=asked.to_stop,
                clock=asked.clock,
            )
            report.follow(events)
            report.tell(phase="stopped" if asked.stop else "finished", seconds_left=0.0)
        except KeyboardInterrupt:
            report.tell(phase="stopped")
        except Exception as error:
            report.tell(phase="failed", message=str(error) or type(error).__name__)
            raise
    if not first:
        return
    emulator = "the best emulator so far" if asked.stop else "the emulator"
    again = "; the same command resumes" if asked.stop else ""
    print(f"{emulator} is in {job.folder}: card.json, model.safetensors, log.csv{again}")


def _save(job: Job) -> None:
    if processes.rank() == 0:
        job.save()


def planned(job: Job, trajectory: Trajectory, asked: Control) -> Recipe:
    """The recipe with the steps that the budget allows; minutes are counted from now.

    On a busy machine the timing may take most of them: half are for training all the same.
    """
    if job.minutes is None:
        return job.recipe if job.steps is None else with_steps(job.recipe, job.steps)
    seconds, begun = 60 * job.minutes, asked.clock()
    short = min(max(MEASURED * seconds, SHORTEST_S), LONGEST_S)
    estimate = measure(job.recipe, trajectory, job.device, short, job.folder)
    left = max(seconds - (asked.clock() - begun), seconds / 2)
    return processes.agree(within(job.recipe, estimate, left))


def estimate(job: Job) -> None:
    """Time a few steps of every stage and print, as JSON, what the job will need. Nothing is kept."""
    begun = time.perf_counter()
    found: Estimate = measure(job.recipe, Trajectory(job.data), job.device)
    recipe = job.recipe if job.steps is None else with_steps(job.recipe, job.steps)
    if job.minutes is not None:
        recipe = within(job.recipe, found, 60 * job.minutes - (time.perf_counter() - begun))
    steps = sum(pace.steps for pace in found.paces)
    if job.steps is not None or job.minutes is not None:
        steps = recipe.training.joint_steps + recipe.training.latent_steps
    print(json.dumps(asdict(found) | {"steps": steps, "seconds": found.seconds(recipe)}))


class Control:
    """What others ask of this process: to stop, to pause and go on; and a clock that rests meanwhile."""

    def __init__(self) -> None:
        self.stop = False
        self.stepping = False
        self.paused_s = 0.0

    def clock(self) -> float:
        """Seconds, without those that it was paused."""
        return time.perf_counter() - self.paused_s

    def to_stop(self) -> bool:
        """Whether it was asked to stop; who asks for this makes steps, and will stop between two."""
        self.stepping = True
        return self.stop

    def on_stop(self, number: int, frame: FrameType | None) -> None:
        """Stop after the step; at once while no steps are made, or when asked again."""
        if self.stop or not self.stepping:
            self.stop = True
            raise KeyboardInterrupt
        self.stop = True

    def on_pause(self, number: int, frame: FrameType | None) -> None:
        """Halt at once; SIGCONT goes on."""
        begun = time.perf_counter()
        os.kill(os.getpid(), signal.SIGSTOP)
        self.paused_s += time.perf_counter() - begun


@contextmanager
def control() -> Iterator[Control]:
    """Signals as a `Control`, as long as the block lasts."""
    asked = Control()
    handlers = {
        signal.SIGINT: asked.on_stop,
        signal.SIGTERM: asked.on_stop,
        signal.SIGTSTP: asked.on_pause,
    }
    before = {number: signal.signal(number, handler) for number, handler in handlers.items()}
    try:
        yield asked
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


class Report:
    """Shows events as a bar where someone looks on, and as status.json for everyone else.

    Without a folder it is silent.
    """

    def __init__(self, folder: Path | None, status: Status) -> None:
        self.folder, self.status, self._written = folder, status, 0.0
        self.tell()

    def tell(self, **news: object) -> None:
        """Change the status and write it."""
        self.status, self._written = replace(self.status, **news), time.monotonic()
        if self.folder is not None:
            self.status.write(self.folder)

    def follow(self, events: Iterator[Event]) -> None:
        """Consume the events of a training."""
        quiet = None if self.folder is not None else True  # None: a bar where the output is a terminal
        with tqdm(unit="step", dynamic_ncols=True, smoothing=0.05, disable=quiet) as bar:
            for event in events:
                notes = self._take(event)
                bar.n, bar.total = event.step, self.status.steps or None
                bar.set_description(event.stage)
                bar.set_postfix({name: f"{value:.4g}" for name, value in notes.items()})

    def _take(self, event: Event) -> dict[str, float]:
        """Bring the status up to date; numbers for the bar."""
        news: dict[str, object] = {"phase": "training", "stage": event.stage, "step": event.step}
        if isinstance(event, Checkpoint):
            loss = event.validation.get("loss", event.training["loss"])
            if event.best:
                news |= {"best_step": event.step, "best_loss": loss}
            self.tell(**news)
            return {"validation": loss}
        news |= {"steps": event.steps, "losses": event.losses, "learning_rate": event.learning_rate}
        news |= {"samples_per_s": event.samples_per_s, "seconds_left": event.seconds_left}
        if time.monotonic() - self._written > STATUS_S:
            self.tell(**news)
        else:
            self.status = replace(self.status, **news)
        return event.losses
