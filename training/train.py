"""`ldm train`: drive the training generator with a progress bar."""

from __future__ import annotations

from pathlib import Path

from tqdm import tqdm

from engine.recipes import Recipe
from engine.trainer import Checkpoint, train
from engine.trajectory import Trajectory


def run(recipe: Recipe, data: Path, out: Path, device: str = "auto") -> None:
    """Train, or resume, and show losses and time left; Ctrl-C keeps the best emulator so far in `out`."""
    events = train(recipe, Trajectory(data), out, device=device)
    kept = None
    with tqdm(unit="step", dynamic_ncols=True, smoothing=0.05) as bar:
        try:
            for event in events:
                bar.n, note = event.step, None
                if isinstance(event, Checkpoint):
                    kept = event.folder if event.best else kept
                    note = {"validation": event.validation.get("loss", event.training["loss"])}
                else:
                    bar.total = event.steps
                    note = event.losses
                bar.set_description(event.stage)
                bar.set_postfix({name: f"{value:.4g}" for name, value in note.items()})
        except KeyboardInterrupt:
            events.close()
            bar.write(f"stopped; the best emulator so far is in {out}, the same command resumes")
            return
    print(f"emulator in {kept or out}: card.json, model.safetensors, log.csv")
