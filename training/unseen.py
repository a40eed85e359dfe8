"""Which frames of a file a forecast may be judged on, and which show what training data looks like.

Judged are only frames later than everything a model was trained or selected on; times are those of the card.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from engine.emulator import IncompatibleError
from engine.samples import sample_path
from engine.trajectory import Trajectory
from training.protocol import Forecaster

AFTER_FS = 1e-3  # a span in a card ends with its last frame: the first unseen one is later than that


def unseen(data: Trajectory, emulators: Iterable[Forecaster], independent: bool = False) -> Trajectory:
    """The frames of `data` that come after the training and validation spans of all `emulators`.

    An `independent` file is another simulation: all of it is unseen. Raises ValueError when nothing is left.
    """
    if data.is_ensemble:
        raise ValueError(f"{data.path.name} holds {data.members} members; a truth is one trajectory")
    if independent:
        return data
    ends = [(span[1], e.name) for e in emulators for span in _seen_spans(e)]
    if not ends:
        return data
    end, name = max(ends)
    window = data.between(end + AFTER_FS, np.inf)
    if len(window) < 3:
        raise ValueError(
            f"{data.path.name} covers {data.times_fs[0]:g}–{data.times_fs[-1]:g} fs and {name} has seen "
            f"everything up to {end:g} fs: {len(window)} unseen frames are left, and 3 are needed. If the "
            "file is another simulation than the one the model learnt from, say so with --independent"
        )
    return window


def training_frames(
    data: Trajectory, emulator: Forecaster, train_data: Trajectory | None, independent: bool = False
) -> Trajectory | None:
    """Frames the emulator was trained on, adapted to it: of `train_data`, else of `data`, else of the sample.

    None when there are none; the sample serves only an emulator it fits.
    """
    if train_data is not None:
        return emulator.adapt(train_data)
    span = emulator.card.get("data", {}).get("train_fs")
    if span and not independent:
        seen = data.between(span[0], span[1] + AFTER_FS)
        if len(seen) >= 50:
            return emulator.adapt(seen)
    try:
        return emulator.adapt(Trajectory(sample_path("li32_train.h5")))
    except (FileNotFoundError, IncompatibleError):
        return None


def before(
    data: Trajectory, window: Trajectory, emulator: Forecaster, independent: bool = False
) -> Trajectory | None:
    """Frames from the start of training to the unseen window, adapted to the emulator, for the floor.

    None where the file holds nothing before the window, or is another simulation.
    """
    spans = _seen_spans(emulator)
    if independent or not spans:
        return None
    earlier = data.between(spans[0][0], float(window.times_fs[0]))
    return emulator.adapt(earlier) if len(earlier) >= 50 else None


def start_frames(frames: int, count: int, longest_lead: int, past: int = 1) -> np.ndarray:
    """At most `count` start frames, spread evenly, with `past` frames before and `longest_lead` after."""
    last = frames - 1 - longest_lead
    if last < past:
        raise ValueError(
            f"{frames} unseen frames hold no start with {past} frames before it and {longest_lead} after it; "
            "take a longer file or shorter lead times"
        )
    return np.unique(np.linspace(past, last, min(count, last - past + 1)).astype(int))


def _seen_spans(emulator: Forecaster) -> list[list[float]]:
    about = emulator.card.get("data", {})
    return [about[key] for key in ("train_fs", "validation_fs") if about.get(key)]
