"""Trainings as the window sees them: processes of their own, told by signals, found again by folder. No Qt.

A training outlives the window that started it, and takes nothing down with it: `look` says where it stands,
whoever started it. An errand, the estimate of a training, ends with the window.
"""

from __future__ import annotations

import atexit
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import weakref
from contextlib import suppress
from dataclasses import dataclass, replace
from enum import StrEnum
from pathlib import Path

import psutil

from engine.jobs import JOB, LOG, Job, Status, holder

NICENESS = 10  # on two cores the window must win
NEEDED_MIB = 200  # on disk: weights, averaged weights and moments, twice while they are replaced
LAST_STAGE = "latent"  # of every recipe; the time of those to come is not known before
ELSEWHERE = "elsewhere.json"
COMMAND = (sys.executable, "-m", "training.cli")


class JobError(ValueError):
    """What cannot be started, or went wrong, in words."""


class Standing(StrEnum):
    """Where a training stands."""

    NONE = "no training"
    STARTING = "starting"
    MEASURING = "timing a few steps"
    TRAINING = "training"
    PAUSED = "paused"
    STOPPED = "stopped"
    FINISHED = "finished"
    FAILED = "failed"
    INTERRUPTED = "interrupted"

    @property
    def live(self) -> bool:
        """Whether a process works on it, or would if it were not paused."""
        return self in (Standing.STARTING, Standing.MEASURING, Standing.TRAINING, Standing.PAUSED)

    @property
    def resumable(self) -> bool:
        """Whether it can go on."""
        return self in (Standing.PAUSED, Standing.STOPPED, Standing.FAILED, Standing.INTERRUPTED)


@dataclass(frozen=True)
class Sight:
    """One look at a run."""

    folder: Path
    standing: Standing
    status: Status
    pid: int | None = None

    def words(self) -> str:
        """training: step 300 of 1400 (latent), 12.1 samples/s, 3 min left."""
        status, text = self.status, self.standing.value
        if status.steps:
            text += f": step {status.step} of {status.steps}"
        if self.standing is Standing.TRAINING and status.steps:
            left = "" if status.seconds_left is None else f", {duration(status.seconds_left)} left"
            left += " in this stage" if left and status.stage != LAST_STAGE else ""
            text += f" ({status.stage}), {status.samples_per_s:.3g} samples/s{left}"
        elif not self.standing.live and status.best_step:
            text += f"; best at {status.best_step}"
        return text


def look(folder: Path, process: subprocess.Popen | None = None) -> Sight:
    """Where the training in `folder` stands; `process` is it, where this window started it."""
    alive = process is not None and process.poll() is None  # first: what it wrote last is then read
    pid, status = holder(folder), Status.read(folder)
    if status is None:
        return Sight(folder, Standing.NONE, Status())
    if status.phase in ("stopped", "finished", "failed"):
        standing = Standing(status.phase)
    elif pid is None:
        standing = Standing.STARTING if alive else Standing.INTERRUPTED
    elif _halted(pid):
        standing = Standing.PAUSED
    else:
        standing = Standing.MEASURING if status.phase == "measuring" else Standing(status.phase)
    return Sight(folder, standing, status, pid)


def start(job: Job) -> subprocess.Popen:
    """Begin a new training. Raises JobError in words."""
    if (job.folder / JOB).exists() or (job.folder / "card.json").exists():
        raise JobError(f"{job.folder} holds a training already: resume it, or give this one another name")
    job.folder.mkdir(parents=True, exist_ok=True)
    free = shutil.disk_usage(job.folder).free / 2**20
    if free < NEEDED_MIB:
        raise JobError(f"only {free:.0f} MiB are free where {job.folder} is; a training needs {NEEDED_MIB}")
    job.save()
    _remember(job.folder)
    return _launch(job.folder)


def resume(sight: Sight) -> subprocess.Popen | None:
    """Go on with a run: a paused process wakes up (None), one that ended has a successor (returned)."""
    if sight.standing is Standing.PAUSED:
        os.kill(sight.pid, signal.SIGCONT)
        return None
    if not sight.standing.resumable:
        raise JobError(f"this training cannot go on: it is {sight.standing.value}")
    return _launch(sight.folder)


def pause(sight: Sight) -> None:
    """Halt the process; it keeps its memory."""
    if sight.pid is not None:
        os.kill(sight.pid, signal.SIGTSTP)


def stop(sight: Sight) -> None:
    """Have the process keep its best and end, after the step under way."""
    if sight.pid is not None:
        os.kill(sight.pid, signal.SIGTERM)
        os.kill(sight.pid, signal.SIGCONT)  # else a paused one would never hear of it


def _launch(folder: Path) -> subprocess.Popen:
    """A process in a session of its own, so that neither Ctrl-C nor the end of the window ends it."""
    before = Status.read(folder) or Status()
    replace(before, phase="starting", message="").write(folder)
    with open(folder / LOG, "ab") as log:
        process = subprocess.Popen(
            [*COMMAND, "train", "--job", str(folder)],
            cwd=folder,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    _step_aside(process.pid)
    return process


def _step_aside(pid: int) -> None:
    """Lower a process's priority; where Linux shares the processor by session, that of its session."""
    with suppress(OSError):
        os.setpriority(os.PRIO_PROCESS, pid, NICENESS)
        if os.getsid(pid) == pid:
            Path(f"/proc/{pid}/autogroup").write_text(str(NICENESS))


def _halted(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() == psutil.STATUS_STOPPED
    except psutil.Error:
        return False


# ------------------------------------------------------------------------------------------------- registry


def root() -> Path:
    """Folder of the runs that were not given another."""
    return Path.home() / "ldm_viewer" / "runs"


def free_folder(name: str) -> Path:
    """A folder for a new run: name, name-2, name-3 …"""
    folder, number = root() / name, 1
    while folder.exists():
        number += 1
        folder = root() / f"{name}-{number}"
    return folder


def known_runs() -> list[Path]:
    """Folders of all trainings that a window has started, the latest first."""
    found = [path.parent for path in root().glob(f"*/{JOB}")]
    found += [folder for folder in _elsewhere() if (folder / JOB).exists()]
    return sorted(found, key=lambda folder: (folder / JOB).stat().st_mtime, reverse=True)


def _elsewhere() -> list[Path]:
    with suppress(OSError, json.JSONDecodeError):
        return [Path(path) for path in json.loads((root() / ELSEWHERE).read_text())]
    return []


def _remember(folder: Path) -> None:
    if folder.parent == root() or folder in _elsewhere():
        return
    root().mkdir(parents=True, exist_ok=True)
    aside = root() / f"{ELSEWHERE}.part"
    aside.write_text(json.dumps([str(path) for path in (*_elsewhere(), folder)]))
    aside.replace(root() / ELSEWHERE)


def last_words(folder: Path, lines: int = 3) -> str:
    """The last lines that a training printed; why it ended is among them."""
    try:
        text = (folder / LOG).read_bytes()[-4000:].decode(errors="replace")
    except OSError:
        return ""
    return "\n".join([line for line in text.splitlines() if line.strip()][-lines:])


# -------------------------------------------------------------------------------------------------- errands


class Errand:
    """A process that ends with the window; what it prints is read when it is done."""

    def __init__(self, *arguments: str) -> None:
        self._output = tempfile.TemporaryFile()
        self._process = subprocess.Popen(
            [*COMMAND, *arguments], stdin=subprocess.DEVNULL, stdout=self._output, stderr=subprocess.STDOUT
        )
        _step_aside(self._process.pid)
        _errands.add(self)

    @property
    def done(self) -> bool:
        """Whether it has ended."""
        return self._process.poll() is not None

    def said(self) -> list[str]:
        """Lines printed so far; a bar that overwrites itself makes many."""
        size = os.fstat(self._output.fileno()).st_size
        text = os.pread(self._output.fileno(), 20_000, max(0, size - 20_000)).decode(errors="replace")
        return [line for line in text.replace("\r", "\n").splitlines() if line.strip()]

    def result(self) -> str:
        """The last line. Raises JobError with it when the process failed."""
        last = (self.said() or ["it said nothing"])[-1]
        if self._process.returncode:
            raise JobError(last)
        return last

    def cancel(self) -> None:
        """End it now."""
        self._process.kill()
        self._process.wait()


_errands: weakref.WeakSet[Errand] = weakref.WeakSet()


@atexit.register
def _cancel_all() -> None:
    for errand in list(_errands):
        if not errand.done:
            errand.cancel()


def estimate(job: Job) -> tuple[Errand, tempfile.TemporaryDirectory]:
    """Time some steps of every stage; the last line is `Estimate` as JSON. Keep the folder meanwhile."""
    folder = tempfile.TemporaryDirectory()
    replace(job, folder=Path(folder.name)).save()
    return Errand("train", "--job", folder.name, "--estimate"), folder


def describe_estimate(found: dict[str, float]) -> str:
    """12 min for 1400 steps, 610 MiB."""
    memory = f"{found['memory_mib']:.0f} MiB"
    if found["device_memory_mib"]:
        memory += f" + {found['device_memory_mib']:.0f} on the GPU"
    return f"{duration(found['seconds'])} for {found['steps']} steps, {memory}"


def duration(seconds: float) -> str:
    """40 s, 12 min, 3.4 h, 2.1 days."""
    for limit, unit, size in ((90, "s", 1), (5400, "min", 60), (172_800, "h", 3600)):
        if seconds < limit:
            return f"{seconds / size:.{int(unit == 'h')}f} {unit}"
    return f"{seconds / 86_400:.1f} days"
