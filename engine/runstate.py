"""What a killed training resumes from: a safetensors file, replaced as a whole, and a log cut back to it."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor

from engine.recipes import to_dict

if TYPE_CHECKING:
    from engine.trainer import Run

STATE = "state.safetensors"


def save_state(run: Run) -> None:
    """Weights, averaged weights, optimiser moments and position, written aside and renamed."""
    tensors = {f"model.{k}": v for k, v in run.model.state_dict().items()}
    tensors |= {f"ema.{k}": v for k, v in run.ema.state_dict().items()}
    tensors |= {f"moments.{k}": v for k, v in run.moments.items()}
    where = {"stage": run.stage, "step": run.step, "best": run.best, "seconds": run.seconds}
    identity = {"recipe": to_dict(run.recipe), "digest": run.about["digest"]}
    target = run.folder / STATE
    aside = target.with_suffix(".part")
    tensors = {k: v.detach().cpu().contiguous() for k, v in tensors.items()}
    save_file(tensors, aside, metadata={"where": json.dumps(where), "identity": json.dumps(identity)})
    aside.replace(target)


def load_state(run: Run) -> None:
    """Continue from the folder's state, if any; ValueError when it is of another recipe or other data."""
    source = run.folder / STATE
    if not source.exists():
        return
    with safe_open(source, framework="pt") as file:
        identity = json.loads(file.metadata()["identity"])
        _same("recipe", identity["recipe"], json.loads(json.dumps(to_dict(run.recipe))), run.folder)
        _same("digest", identity["digest"], run.about["digest"], run.folder)
        tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118 (not a dict)
        where = json.loads(file.metadata()["where"])
    part = {kind: _under(f"{kind}.", tensors) for kind in ("model", "ema", "moments")}
    run.model.load_state_dict(part["model"])
    run.ema.load_state_dict(part["ema"])
    run.moments = part["moments"]
    run.stage, run.step, run.best, run.seconds = (where[k] for k in ("stage", "step", "best", "seconds"))


def _under(prefix: str, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    return {k.removeprefix(prefix): v for k, v in tensors.items() if k.startswith(prefix)}


def _same(what: str, before: Any, now: Any, folder: Path) -> None:
    if before == now:
        return
    name = "data" if what == "digest" else what
    raise ValueError(
        f"{folder} holds a training begun with another {name}; choose another folder, or resume with "
        f"the same (it was: {_difference(before, now)})"
    )


def _difference(before: Any, now: Any, path: str = "") -> str:
    if isinstance(before, dict) and isinstance(now, dict):
        keys = sorted(set(before) | set(now))
        return "; ".join(
            _difference(before.get(k), now.get(k), f"{path}.{k}".strip("."))
            for k in keys
            if before.get(k) != now.get(k)
        )
    return f"{path} {before}, now {now}".strip()


def pack_moments(optimizer: torch.optim.Optimizer) -> dict[str, Tensor]:
    """Optimiser state as named tensors: `<parameter>.<moment>`."""
    state = optimizer.state_dict()["state"]
    return {f"{number}.{name}": torch.as_tensor(v) for number, s in state.items() for name, v in s.items()}


def unpack_moments(optimizer: torch.optim.Optimizer, moments: dict[str, Tensor]) -> dict:
    """The optimiser's own state_dict with the packed moments in place."""
    state: dict[int, dict[str, Tensor]] = {}
    for key, value in moments.items():
        number, name = key.split(".", 1)
        state.setdefault(int(number), {})[name] = value
    return {"state": state, "param_groups": optimizer.state_dict()["param_groups"]}


class Log:
    """log.csv, one row per logged step; a resumed run first drops the rows that it will write again."""

    FIELDS = (
        *("step", "stage", "seconds", "lr", "loss", "reconstruction", "rate", "denoising", "sjsd"),
        *("training", "validation", "samples_per_s"),
    )

    def __init__(self, path: Path, steps_done: int) -> None:
        self.path = path
        rows = list(csv.DictReader(path.open())) if path.exists() else []
        with path.open("w", newline="") as file:
            writer = csv.DictWriter(file, self.FIELDS)
            writer.writeheader()
            writer.writerows(row for row in rows if int(row["step"]) <= steps_done)

    def write(self, row: dict[str, Any]) -> None:
        """Append one row and close the file, so that it can be read, and survives, at any moment."""
        with self.path.open("a", newline="") as file:
            csv.DictWriter(file, self.FIELDS).writerow(row)
