"""`ldm rivals`: fit the rivals one after the other; a finished one is not fitted again."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from tqdm import tqdm

from engine.provenance import code_version, describe_hardware
from engine.trajectory import Trajectory
from training.rivals.fitting import Progress
from training.rivals.material import Material
from training.rivals.registry import CONVERTER, RIVALS, RivalsConfig
from training.rivals.rival import save

SPLIT = ("grid", "equilibration_fs", "train_fraction", "validation_fraction")
"""What rivals read of the data's settings."""


@dataclass(frozen=True)
class Fitted:
    """A finished rival lies in `folder`; `notes` is what its fit had to say, `seconds` 0 if found."""

    name: str
    folder: Path
    notes: dict
    seconds: float


Event = tuple[str, Progress] | Fitted


def fit_all(
    config: RivalsConfig, trajectory: Trajectory, out: Path, names: tuple[str, ...] = ()
) -> Iterator[Event]:
    """Fit `names` (all, if none) on the first part of `trajectory` into folders of `out`.

    Raises ValueError for an unknown name, and for a folder fitted with other settings or data.
    """
    unknown = set(names) - set(RIVALS)
    if unknown:
        raise ValueError(f"no rival {', '.join(sorted(unknown))}; there are {', '.join(RIVALS)}")
    if config.data != replace(RivalsConfig().data, **{name: getattr(config.data, name) for name in SPLIT}):
        raise ValueError(f"rivals read no data settings but {', '.join(SPLIT)}; a stride is each one's own")
    material = Material.of(trajectory, config.data)
    for name in names or RIVALS:
        yield from fit_one(name, config, material, out / name)


def fit_one(name: str, config: RivalsConfig, material: Material, folder: Path) -> Iterator[Event]:
    """Fit one rival, or find it finished."""
    kind = RIVALS[name]
    part = getattr(config, kind.part)
    identity = {
        "rival": name,
        "config": CONVERTER.unstructure(part),
        "split": {name: getattr(config.data, name) for name in SPLIT},
        "seed": config.seed,
        "digest": material.about["digest"],
    }
    identity = json.loads(json.dumps(identity))
    if (folder / "card.json").exists():
        yield finished(folder, identity)
        return
    begun, events = time.perf_counter(), kind.fit(part, material, config.seed)
    while True:
        try:
            yield name, next(events)
        except StopIteration as end:
            model, stride, notes = end.value
            break
    seconds = time.perf_counter() - begun
    card = identity | {
        "grid": list(material.grid),
        "stride": stride,
        "normaliser": vars(material.normaliser),
        "parameters": sum(t.numel() for t in model.state_dict().values()),
        "data": material.about,
        "fit": notes,
        "training": {
            "seconds": round(seconds),
            "hardware": describe_hardware(torch.device("cpu")),
            "code": code_version(),
        },
    }
    save(folder, model, card)
    yield Fitted(name, folder, notes, seconds)


def finished(folder: Path, identity: dict) -> Fitted:
    """What lies in `folder`, if it is the same rival; ValueError naming what differs."""
    card = json.loads((folder / "card.json").read_text())
    differing = [key for key, value in identity.items() if not holds(card.get(key), value)]
    if differing:
        raise ValueError(
            f"{folder} holds a rival with another {' and '.join(differing)}; choose another folder or "
            "remove it"
        )
    return Fitted(card["rival"], folder, card["fit"], 0.0)


def holds(value: Any, part: Any) -> bool:
    """Whether `value` is `part`, or for dictionaries has all its entries."""
    if isinstance(part, dict) and isinstance(value, dict):
        return all(holds(value.get(key), entry) for key, entry in part.items())
    return value == part


def run(config: RivalsConfig, data: Path, out: Path, names: tuple[str, ...] = ()) -> None:
    """Fit behind a progress bar, one line per finished rival."""
    with tqdm(unit="step", dynamic_ncols=True) as bar:
        for event in fit_all(config, Trajectory(data), out, names):
            if isinstance(event, Fitted):
                took = f"{event.seconds:.0f} s" if event.seconds else "found finished"
                bar.write(f"{event.name} in {event.folder} ({took}): {json.dumps(event.notes)}")
                continue
            name, progress = event
            bar.total, bar.n = progress.steps, progress.step
            bar.set_description(f"{name}: {progress.stage}")
            bar.set_postfix({key: f"{value:.4g}" for key, value in progress.losses.items()})
