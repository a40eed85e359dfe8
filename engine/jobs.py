"""A training as a process: what it was asked for, who does it, how far it is; four small files in its folder.

    job.json      what was asked, and the plan that a budget in minutes was turned into
    lock          held by the process that trains there, whose id it says; let go of when that process dies
    status.json   where it stands, replaced as a whole about twice a second
    train.log     what the process prints, when the window started it

Whoever reads them needs nothing else: a window opened later finds a training that went on without it.
"""

from __future__ import annotations

import fcntl
import json
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any, Literal

from engine.recipes import Recipe, from_dict, to_dict

JOB, LOCK, STATUS, LOG = "job.json", "lock", "status.json", "train.log"
CLAIM_S = 1.0  # someone who looks whether the lock is held has it for a moment

Phase = Literal["starting", "measuring", "training", "stopped", "finished", "failed"]


class BusyError(ValueError):
    """Another process trains in this folder."""


@dataclass(frozen=True)
class Job:
    """A training to be done; `minutes` or `steps`, if given, cut or stretch the recipe to a budget."""

    recipe: Recipe
    data: Path
    folder: Path
    device: str = "auto"
    minutes: float | None = None
    steps: int | None = None
    plan: Recipe | None = None
    """The recipe with the steps that fill the budget, once they are known; a resumed run keeps them."""

    def save(self) -> None:
        """Write job.json."""
        _write(self.folder / JOB, vars(self) | {"recipe": to_dict(self.recipe), "plan": _plain(self.plan)})

    @classmethod
    def load(cls, folder: str | Path) -> Job:
        """The job in a folder. Raises ValueError in words where there is none."""
        folder = Path(folder)
        try:
            values = json.loads((folder / JOB).read_text())
            recipes = {"recipe": from_dict(values["recipe"])}
            recipes["plan"] = from_dict(values["plan"]) if values["plan"] else None
            paths = {"data": Path(values["data"]), "folder": folder}
            return cls(**{name: values[name] for name in ("device", "minutes", "steps")} | recipes | paths)
        except FileNotFoundError:
            raise ValueError(f"{folder} holds no training ({JOB} is missing)") from None
        except (json.JSONDecodeError, KeyError, TypeError) as error:
            raise ValueError(f"{folder / JOB} is damaged, or from another version: {error}") from error

    def with_plan_of(self, other: Job) -> Job:
        """Itself, with the plan that was made for the same job before."""
        same = replace(other, plan=None, data=self.data, folder=self.folder, device=self.device)
        return replace(self, plan=other.plan) if same == replace(self, plan=None) else self


@dataclass(frozen=True)
class Status:
    """Where a training stands; `step` of `steps` counts through all stages, times are in seconds."""

    phase: Phase = "starting"
    stage: str = ""
    step: int = 0
    steps: int = 0
    losses: dict[str, float] = field(default_factory=dict)
    learning_rate: float = 0.0
    samples_per_s: float = 0.0
    seconds_left: float | None = None
    best_step: int = 0
    """Step whose weights are the emulator in the folder; 0 before there is one."""
    best_loss: float | None = None
    message: str = ""
    """Why it failed."""

    def write(self, folder: Path) -> None:
        """Replace status.json."""
        _write(folder / STATUS, vars(self))

    @classmethod
    def read(cls, folder: Path) -> Status | None:
        """What a folder's status.json says; None without one."""
        try:
            values = json.loads((folder / STATUS).read_text())
        except (OSError, json.JSONDecodeError):
            return None
        return cls(**{f.name: values[f.name] for f in fields(cls) if f.name in values})


@contextmanager
def claim(folder: Path) -> Iterator[None]:
    """Hold the folder's lock. Raises BusyError, naming the process that has it."""
    folder.mkdir(parents=True, exist_ok=True)
    with open(folder / LOCK, "a+") as file:  # closing it lets go
        deadline = time.monotonic() + CLAIM_S
        while not _flock(file.fileno(), fcntl.LOCK_EX):
            if time.monotonic() > deadline:
                raise BusyError(
                    f"process {holder(folder)} is training in {folder}; stop it, or choose another folder"
                )
            time.sleep(0.05)
        file.truncate(0)
        file.write(str(os.getpid()))
        file.flush()
        yield


def holder(folder: Path) -> int | None:
    """Id of the process that trains in `folder`; None where nobody does."""
    try:
        file = open(folder / LOCK)
    except OSError:
        return None
    with file:
        return None if _flock(file.fileno(), fcntl.LOCK_SH) else int(file.read() or 0) or None


def _flock(descriptor: int, kind: int) -> bool:
    try:
        fcntl.flock(descriptor, kind | fcntl.LOCK_NB)
    except OSError:
        return False
    return True


def _plain(recipe: Recipe | None) -> dict | None:
    return None if recipe is None else to_dict(recipe)


def _write(target: Path, values: dict[str, Any]) -> None:
    aside = target.with_suffix(".part")
    aside.write_text(json.dumps(values, indent=1, default=str) + "\n")
    aside.replace(target)
