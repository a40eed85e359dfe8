"""`ldm`: the command line. Each command imports what it needs when it runs, so that `ldm --help` is quick."""

import sys
from argparse import ArgumentParser
from pathlib import Path
from typing import Annotated

import tyro

Out = Annotated[Path, tyro.conf.arg(aliases=["-o"])]
Paths = tyro.conf.Positional[list[Path]]


def train_command(arguments: list[str]) -> None:
    """Train an emulator. Every field of the recipe is a flag; its default is the recipe's value."""
    from engine.recipes import RECIPES, Recipe

    first = ArgumentParser(add_help=False)
    first.add_argument("--recipe", choices=sorted(RECIPES), default="paper")
    chosen, rest = first.parse_known_args(arguments)

    def train(
        data: Path,
        out: Out,
        config: Annotated[Recipe, tyro.conf.arg(name="")] = RECIPES[chosen.recipe],
        device: str = "auto",
    ) -> None:
        """Train an emulator, or resume one, with a progress bar.

        Args:
            data: trajectory file (H5MD) to learn from.
            out: folder for the emulator, its log and what a killed run resumes from.
            config: the recipe, chosen with --recipe (paper, paper-no-sjsd), field by field.
            device: auto, cpu, cuda or mps.
        """
        from training.train import run

        run(config, data, out, device)

    tyro.cli(train, args=rest, prog="ldm train [--recipe {" + ",".join(sorted(RECIPES)) + "}]")


def rollout(
    data: Path,
    out: Out,
    model: str | None = None,
    start: int = 1,
    frames: int = 300,
    members: int = 1,
    seed: int = 0,
    device: str = "auto",
) -> None:
    """Forecast a trajectory and write it as a trajectory file.

    Args:
        data: trajectory that holds the start.
        out: file to write (H5MD); Ctrl-C keeps the frames made so far.
        model: folder of an emulator or name of a shipped one; without it the shipped default.
        start: frame of `data`, on the model's time step, to start from (1 or later: a state needs its past).
        frames: steps to forecast.
        members: members of the ensemble.
        seed: seed; member k draws the same noise whatever the number of members.
        device: auto, cpu, cuda or mps.
    """
    from training.rollout import run

    run(data, out, model=model, start=start, frames=frames, members=members, seed=seed, device=device)


COMMANDS = {"train": train_command, "rollout": rollout}


def main() -> None:
    """Entry point of `ldm`."""
    arguments = sys.argv[1:]
    if not arguments or arguments[0] in ("-h", "--help"):
        lines = [f"  {name:<10}{(f.__doc__ or '').strip().splitlines()[0]}" for name, f in COMMANDS.items()]
        print("usage: ldm COMMAND …  (ldm COMMAND --help explains each)\n\n" + "\n".join(lines))
        return
    name, *rest = arguments
    if name not in COMMANDS:
        sys.exit(f"ldm: no command {name!r}; there are {', '.join(COMMANDS)}")
    command = COMMANDS[name]
    try:
        command(rest) if name == "train" else tyro.cli(command, args=rest, prog=f"ldm {name}")
    except (ValueError, OSError) as error:
        sys.exit(f"ldm {name}: {error}")


if __name__ == "__main__":
    main()
