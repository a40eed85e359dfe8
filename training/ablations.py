"""`ldm ablate`: what each choice of a recipe is worth. One thing changed at a time, all trained alike.

    ldm ablate --data md.h5 -o ablations
    ldm evaluate --data md.h5 -o judged --quick $(printf -- '--model %s ' ablations/*)

Every variant runs its own recipe's number of steps times `share`: the whole schedule, only shorter.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import tyro
from tqdm import tqdm

from engine.emulator import Emulator, save_emulator
from engine.models import build
from engine.recipes import PAPER, SPATIAL, SPECTRAL, Recipe
from engine.tailor import with_steps
from engine.trainer import Checkpoint, train
from engine.trajectory import Trajectory


def vary(recipe: Recipe, part: str, **changes: Any) -> Recipe:
    """The recipe with some fields of one part changed."""
    return replace(recipe, **{part: replace(getattr(recipe, part), **changes)})


TRAINED = {
    "spectral": SPECTRAL,
    "one-block": vary(SPECTRAL, "diffusion", blocks=1),
    "latent-12": vary(SPECTRAL, "autoencoder", grid=(12, 12, 12)),
    "stride-2fs": vary(SPECTRAL, "data", stride=1),
    "stride-20fs": vary(SPECTRAL, "data", stride=10),
    "two-states": vary(SPECTRAL, "data", window=2),
    "no-unroll": vary(SPECTRAL, "diffusion", unroll=0),
    "no-mix": vary(SPECTRAL, "diffusion", condition_mix=0.0),
    "patches-4": vary(SPATIAL, "autoencoder", latent=4),
    "patches-8": vary(SPATIAL, "autoencoder", latent=8),
    "patches-16": vary(SPATIAL, "autoencoder", latent=16),
    "patches-64": SPATIAL,
    "patches-64-sjsd": vary(SPATIAL, "loss", sjsd=0.1),
    "pooled-32": PAPER,
    "pooled-256": vary(PAPER, "autoencoder", latent=256),
    "pooled-32-no-sjsd": vary(PAPER, "loss", sjsd=0.0),
}
"""Variants that are trained."""

SWITCHED = {
    "no-closure": vary(SPECTRAL, "autoencoder", closure=False),
    "no-thermostat": vary(SPECTRAL, "corrections", thermostat_fs=0.0),
    "fast-thermostat": vary(SPECTRAL, "corrections", thermostat_fs=10.0),
    "not-equilibrated": vary(SPECTRAL, "corrections", elastic=False),
    "no-conservation": vary(SPECTRAL, "corrections", conserve=False),
    "no-range": vary(SPECTRAL, "corrections", margin=-1.0),
    "no-noise": vary(SPECTRAL, "diffusion", inflation=0.0),
    "noise-as-measured": vary(SPECTRAL, "diffusion", inflation=1.0),
}
"""Variants with the weights of the trained `spectral`, or of another emulator of that recipe."""


def shortened(recipe: Recipe, share: float, equilibration_fs: float) -> Recipe:
    """The recipe with `share` of its steps, on the data after its equilibration."""
    steps = recipe.training.joint_steps + recipe.training.latent_steps
    return vary(with_steps(recipe, max(1, round(share * steps))), "data", equilibration_fs=equilibration_fs)


def switch(source: Path, recipe: Recipe, folder: Path) -> None:
    """Write the emulator in `source` with the autoencoder, the corrections and the inflation of `recipe`."""
    emulator = Emulator.load(source)
    changed = replace(
        emulator.recipe,
        **{name: getattr(recipe, name) for name in ("autoencoder", "corrections")},
        diffusion=replace(emulator.recipe.diffusion, inflation=recipe.diffusion.inflation),
    )
    model, weights = build(changed), emulator.model.state_dict()
    model.load_state_dict({name: weights[name] for name in model.state_dict()})
    kept = {name: emulator.card[name] for name in ("data", "training") if name in emulator.card}
    save_emulator(folder, model, emulator.normaliser, kept)


def run(
    data: Path,
    out: Annotated[Path, tyro.conf.arg(aliases=["-o"])],
    only: tuple[str, ...] = (),
    share: float = 0.1,
    equilibration_fs: float = 0.0,
    source: Path | None = None,
    device: str = "auto",
) -> None:
    """Train emulators that each lack one thing, for `ldm evaluate` to compare; finished ones are kept.

    Args:
        data: trajectory file (H5MD) to learn from.
        out: folder for the variants' folders.
        only: names of variants; without it all.
        share: share of each recipe's training steps.
        equilibration_fs: time at the start of the file to leave out, fs.
        source: emulator whose settings are switched, if not the trained variant `spectral`.
        device: auto, cpu, cuda or mps.
    """
    unknown = set(only) - set(TRAINED) - set(SWITCHED)
    if unknown:
        names = ", ".join((*TRAINED, *SWITCHED))
        raise ValueError(f"no variant {', '.join(sorted(unknown))}; there are {names}")
    trajectory = Trajectory(data)
    with tqdm(unit="step", dynamic_ncols=True) as bar:
        for name in (name for name in TRAINED if name in (only or TRAINED)):
            recipe = shortened(TRAINED[name], share, equilibration_fs)
            bar.reset(recipe.training.joint_steps + recipe.training.latent_steps)
            bar.set_description(name)
            for event in train(recipe, trajectory, out / name, device=device):
                bar.update(event.step - bar.n)
                if isinstance(event, Checkpoint):
                    bar.set_postfix(validation=f"{event.validation.get('loss', float('nan')):.4g}")
    for name in (name for name in SWITCHED if name in (only or SWITCHED)):
        switch(source or out / "spectral", SWITCHED[name], out / name)
