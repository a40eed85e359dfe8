"""`ldm equilibrate`: free runs of a trained emulator, until S(q) is that of the frames it learnt from."""

from __future__ import annotations

from pathlib import Path

from tqdm import tqdm

from engine.emulator import Emulator, save_emulator
from engine.equilibrium import equilibrate
from engine.trajectory import Trajectory


def run(model: Path, data: Path, *, rounds: int = 2, members: int = 8, steps: int = 600) -> None:
    """Let a trained emulator run free, and mend the stiffness of long waves until S(q) is training's.

    Args:
        model: folder of an emulator of the recipe `spectral`; it is written again when all is done.
        data: trajectory file with the frames that it learnt from.
        rounds: corrections; a free run comes before each, and one more shows what came of the last.
        members: forecasts of a free run, from as many training frames.
        steps: steps of a free run; the first tenth is not counted.
    """
    emulator = Emulator.load(model)
    training = emulator.adapt(Trajectory(data).between(*emulator.card["data"]["train_fs"]))
    ratios = []
    with tqdm(unit="step", dynamic_ncols=True) as bar:
        for balance in equilibrate(emulator, training, rounds=rounds, members=members, steps=steps):
            bar.total = balance.steps
            bar.update(balance.step - bar.n)
            if balance.ratio is not None:
                ratios.append([round(float(x), 3) for x in balance.ratio])
    save_emulator(model, emulator.model, emulator.normaliser, emulator.card | {"equilibrium": ratios})
    for name, ratio in (("before", ratios[0]), ("after", ratios[-1])):
        print(f"S(q) of free runs over that of training frames, long waves first, {name}: {ratio}")
