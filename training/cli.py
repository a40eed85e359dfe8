"""`ldm`: the command line. Each command imports what it needs when it runs, so that `ldm --help` is quick."""

import sys
from argparse import ArgumentParser
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Annotated, Literal

import tyro

Out = Annotated[Path, tyro.conf.arg(aliases=["-o"])]


def train_command(arguments: list[str]) -> None:
    """Train an emulator. Every field of the recipe is a flag; its default is the recipe's value."""
    from engine.jobs import Job
    from engine.recipes import RECIPES, Recipe

    first = ArgumentParser(add_help=False)
    first.add_argument("--recipe", choices=sorted(RECIPES), default="paper")
    first.add_argument("--job", type=Path)
    chosen, rest = first.parse_known_args(arguments)

    def do(job: Job, estimate: bool) -> None:
        from training import train

        (train.estimate if estimate else train.run)(job)

    def train_job(estimate: bool = False) -> None:
        """Do, or go on with, the training that a folder's job.json asks for."""
        do(Job.load(chosen.job), estimate)

    if chosen.job is not None:
        tyro.cli(train_job, args=rest, prog="ldm train --job FOLDER")
        return

    def train(
        data: Path,
        out: Out,
        config: Annotated[Recipe, tyro.conf.arg(name="")] = RECIPES[chosen.recipe],
        device: str = "auto",
        minutes: float | None = None,
        steps: int | None = None,
        estimate: bool = False,
    ) -> None:
        """Train an emulator, or resume one, with a progress bar; `--job FOLDER` alone resumes any.

        Args:
            data: trajectory file (H5MD) to learn from.
            out: folder for the emulator, its log and what a killed run resumes from.
            config: the recipe, chosen with --recipe, field by field.
            device: auto, cpu, cuda or mps.
            minutes: train so long instead of the recipe's steps; a few are timed first, to fill it.
            steps: steps in all instead of the recipe's.
            estimate: time a few steps of each stage, print time and memory as JSON, and keep nothing.
        """
        if minutes is not None and steps is not None:
            raise ValueError("a budget is --minutes or --steps, not both")
        do(Job(config, data.resolve(), out, device, minutes, steps), estimate)

    # the kinds of autoencoder and diffusion are the recipe's: their fields are flags, not subcommands
    kinds = (tyro.conf.AvoidSubcommands,)
    tyro.cli(train, args=rest, prog="ldm train [--recipe {" + ",".join(sorted(RECIPES)) + "}]", config=kinds)


def rivals_command(arguments: list[str]) -> None:
    """Fit the forecasters an emulator is compared with: POD, Fourier, FNO and MLP rivals."""
    from training.rivals import RIVALS, RivalsConfig
    from training.rivals.run import run

    def rivals(
        data: Path,
        out: Out,
        only: tuple[Literal[*RIVALS], ...] = (),
        config: Annotated[RivalsConfig, tyro.conf.arg(name="")] = RivalsConfig(),  # noqa: B008 (frozen)
    ) -> None:
        """Fit rivals, each into a folder that `ldm evaluate --model` takes; finished ones are kept.

        Args:
            data: trajectory file (H5MD) to learn from.
            out: folder for the rivals' folders.
            only: names of the rivals to fit; without it all.
            config: data and settings, field by field.
        """
        run(config, data, out, only)

    tyro.cli(rivals, args=arguments, prog="ldm rivals")


def evaluate(
    data: Path,
    out: Out,
    model: tyro.conf.UseAppendAction[tuple[str, ...]] = (),
    quick: bool = False,
    starts: int | None = None,
    members: int | None = None,
    free_frames: int | None = None,
    seed: int = 0,
    train_data: Path | None = None,
    reference: Path | None = None,
    independent: bool = False,
    record: bool = False,
    device: str = "auto",
) -> None:
    """Judge emulators on frames they have not seen, beside trivial forecasts: a report, scores.json, a table.

    Args:
        data: trajectory with the truth; frames that a model has seen are left out.
        out: folder for report.html, scores.json and the figures.
        model: folder or name of an emulator, once per emulator; without it all shipped ones. Samplers are
            compared by name, paper@ddim:50 and paper@dpm:20 beside paper.
        quick: a smaller protocol: 8 starts × 4 members and 2,000 frames, for 16 × 16 and 10,000.
        starts: start frames, spread over the unseen data, if not the protocol's.
        members: members per start frame, if not the protocol's.
        free_frames: frames of the free run, if not the protocol's.
        seed: seed of the noise.
        train_data: trajectory with the training frames, where `data` does not hold them.
        reference: a second AIMD run of the same system, for the floor; without it earlier frames of `data`.
        independent: `data` is another simulation than the one the models learnt from.
        record: write each model's scores into its card as well.
        device: auto, cpu, cuda or mps.
    """
    from dataclasses import replace

    from training.evaluate import QUICK, Protocol, run

    chosen = {"starts": starts, "members": members, "free_frames": free_frames, "seed": seed}
    chosen = {name: value for name, value in chosen.items() if value is not None}
    protocol = replace(QUICK if quick else Protocol(), **chosen)
    sources = {"train_data": train_data, "reference": reference, "independent": independent}
    run(data, out, list(model), protocol, **sources, record=record, device=device)


def movie(
    truth: tyro.conf.Positional[Path],
    forecast: tyro.conf.Positional[Path],
    out: Out,
    show: tuple[Literal["truth", "forecast", "difference"], ...] = ("truth", "forecast", "difference"),
    plane: Literal["x", "y", "z"] = "x",
    position: float = 0.5,
    strip: Literal["nothing", "S(q)", "histogram"] = "nothing",
    title: str = "",
    fps: float = 25,
    size: str = "1080p",
    every: int = 1,
    member: int = 0,
    surface: Literal["turn", "time", "both"] | None = None,
    levels: str = "",
) -> None:
    """Film slices of truth | forecast | difference of two trajectory files, or their isosurfaces.

    Args:
        truth: trajectory file of the simulation.
        forecast: trajectory file written by `ldm rollout`.
        out: movie to write: .mp4 (H.264), .gif, or without a suffix a folder of PNG pictures.
        show: which of the three.
        plane: axis that the cut is normal to.
        position: where along it, as a fraction of the cell.
        strip: curves below: S(q) or the distribution of values.
        title: words above; without them system, emulator and file.
        fps: frames per second.
        size: 1080p, 4K, square, 720p, or pixels such as 1280x720, even.
        every: film every n-th frame.
        member: member, if the forecast is an ensemble.
        surface: film isosurfaces: turn the camera round the first frame, play through time, or both.
        levels: of the isosurfaces in e/Å³, such as "0.06 0.10"; without them two by themselves.
    """
    from ldm_viewer.movie import Shot, parse_size
    from training.movie import run, run_surface

    if surface is not None:
        look = {"levels": levels, "title": title, "size": parse_size(size), "fps": fps}
        run_surface(truth, forecast, out, surface, look, show=show, every=every, member=member)
        return
    shot = Shot(show, plane, position, strip, title, None, parse_size(size), fps)
    run(truth, forecast, out, shot, every=every, member=member)


def demo(out: Out = Path("demo"), headless: bool = False) -> None:
    """Forecast the bundled unseen data: in the window, or without a display into files.

    Args:
        out: folder for picture, movie, scores and report.
        headless: write the files even where there is a display.
    """
    from training.demo import run

    run(out, headless)


def view(files: tyro.conf.Positional[list[Path]] | None = None) -> None:
    """Open the window, on a trajectory if one is given.

    Args:
        files: trajectory files.
    """
    import subprocess

    napari = Path(sys.executable).with_name("napari")
    paths = [str(file) for file in files or []]
    plugin = ["--plugin", "ldm_viewer"] if paths else []
    sys.exit(subprocess.call([napari, *paths, *plugin, "-w", "ldm_viewer"]))


def bench(
    only: tuple[str, ...] = (),
    out: Path | None = None,
    scaling: Path | None = None,
    device: str = "cpu",
) -> None:
    """Time the hot paths beside what they replace, on this machine: a table of ratios.

    Args:
        only: names of rows; without it all.
        out: file to write the figures to as well (JSON).
        scaling: picture to draw instead (PNG): cost against voxels of a frame and frames of a run.
        device: cpu, or cuda for the rows that a GPU takes.
    """
    if scaling is not None:
        from training.bench.scaling import plot

        print(plot(scaling))
        return
    from training.bench.run import run

    run(only, out, device)


def simulate_command(arguments: list[str]) -> None:
    """Run ab-initio molecular dynamics with GPAW; the same command resumes."""
    from training.md import PRESETS, SimulationConfig

    first = ArgumentParser(add_help=False)
    first.add_argument("--preset", choices=sorted(PRESETS), default="small")
    chosen, rest = first.parse_known_args(arguments)

    def simulate(
        out: Out,
        structure: Path | None = None,
        merge_only: bool = False,
        seeds: tuple[int, ...] = (),
        workers: int = 0,
        scheduler: str | None = None,
        config: Annotated[SimulationConfig, tyro.conf.arg(name="")] = PRESETS[chosen.preset],
    ) -> None:
        """Run ab-initio molecular dynamics with GPAW; the same command resumes a run.

        Args:
            out: trajectory file to write (H5MD).
            structure: any periodic structure file that ASE reads; without it the paper's liquid lithium.
            merge_only: compute nothing, write the frames so far.
            seeds: run once with each of these seeds instead, into OUT-seed1.h5 and so on.
            workers: processes on this machine that Dask spreads the seeds over.
            scheduler: address of a running Dask scheduler, such as tcp://node1:8786, to use instead.
            config: settings, from --preset (small, paper), field by field.
        """
        from training.simulate import command, several

        if seeds:
            several(config, out, structure, seeds, workers, scheduler)
        else:
            command(config, out, structure, merge_only)

    tyro.cli(simulate, args=rest, prog="ldm simulate [--preset {" + ",".join(sorted(PRESETS)) + "}]")


def info(file: tyro.conf.Positional[Path]) -> None:
    """Say what a trajectory file holds.

    Args:
        file: trajectory file.
    """
    from training.convert import info as show

    show(file)


COMMANDS: dict[str, Callable | tuple[str, str]] = {
    "info": info,
    "convert": (
        "convert:convert",
        "CUBE, CHGCAR or XSF series to a trajectory and back; cut, thin or resample one.",
    ),
    "simulate": simulate_command,
    "train": train_command,
    "equilibrate": (
        "equilibrate:run",
        "Let a trained emulator run free, and mend the stiffness of long waves until S(q) is training's.",
    ),
    "rivals": rivals_command,
    "ablate": (
        "ablations:run",
        "Train emulators that each lack one thing, for `ldm evaluate` to compare; finished ones are kept.",
    ),
    "rollout": ("rollout:run", "Forecast a trajectory and write it as a trajectory file."),
    "evaluate": evaluate,
    "movie": movie,
    "page": (
        "movie:run_page",
        "Write two trajectory files as one HTML page: slices with a slider, curves, an isosurface; "
        "no network.",
    ),
    "view": view,
    "demo": demo,
    "bench": bench,
}
"""Functions, or where in `training` to find one, whose arguments are the command's, and what it does."""
PARSE_THEMSELVES = (simulate_command, train_command, rivals_command)
"""Commands whose flags are made from what they import."""


def main() -> None:
    """Entry point of `ldm`."""
    arguments = sys.argv[1:]
    if not arguments or arguments[0] in ("-h", "--help"):
        lines = [f"  {name:<12}{_summary(command)}" for name, command in COMMANDS.items()]
        print("usage: ldm COMMAND …  (ldm COMMAND --help explains each)\n\n" + "\n".join(lines))
        return
    name, *rest = arguments
    if name not in COMMANDS:
        sys.exit(f"ldm: no command {name!r}; there are {', '.join(COMMANDS)}")
    command = COMMANDS[name]
    try:
        if command in PARSE_THEMSELVES:
            command(rest)
        else:
            tyro.cli(_found(command), args=rest, prog=f"ldm {name}")
    except (ValueError, OSError, MemoryError) as error:
        sys.exit(f"ldm {name}: {error}")


def _summary(command: Callable | tuple[str, str]) -> str:
    return command[1] if isinstance(command, tuple) else command.__doc__.strip().splitlines()[0]


def _found(command: Callable | tuple[str, str]) -> Callable:
    """The function of a command; it and what it computes with are imported only now."""
    if not isinstance(command, tuple):
        return command
    module, name = command[0].split(":")
    return getattr(import_module(f"training.{module}"), name)


if __name__ == "__main__":
    main()
