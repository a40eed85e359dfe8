"""One training loop for the rivals that need gradients; a fit takes minutes, so none is resumed."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from engine.trainer import learning_rate, seeded

Losses = dict[str, Tensor]
LOG_EVERY = 20


@dataclass(frozen=True)
class Progress:
    """Where the fit of one rival stands."""

    stage: str
    step: int
    steps: int
    losses: dict[str, float]


def optimise(
    stage: str,
    model: nn.Module,
    losses: Callable[[torch.Generator], Losses],
    *,
    steps: int,
    peak: float,
    seed: int,
    clip: float = 1.0,
) -> Iterator[Progress]:
    """AdamW on `losses(draws)["loss"]`, warm-up, half a cosine.

    The draws of step n depend on (seed, stage, n) alone.
    Raises ValueError when the loss is no longer finite.
    """
    parameters = [p for p in model.parameters() if p.requires_grad]
    fused = not any(p.is_complex() for p in parameters)  # twice as fast a step; not there for complex weights
    optimizer = torch.optim.AdamW(parameters, weight_decay=1e-4, fused=fused)
    model.train()
    for step in range(steps):
        for group in optimizer.param_groups:
            group["lr"] = learning_rate(step, steps, peak)
        terms = losses(seeded(seed, stage, step))
        optimizer.zero_grad(set_to_none=True)
        terms["loss"].backward()
        nn.utils.clip_grad_norm_(parameters, clip)
        optimizer.step()
        if (step + 1) % LOG_EVERY == 0 or step + 1 == steps:
            values = {name: float(value.detach()) for name, value in terms.items()}
            if not torch.isfinite(terms["loss"]):
                raise ValueError(
                    f"{stage}: the loss is {values['loss']} after {step + 1} steps; lower the rate"
                )
            yield Progress(stage, step + 1, steps, values)
    model.eval()
