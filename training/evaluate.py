"""`ldm evaluate`: judge emulators on unseen data, and leave figures, scores.json and a table."""

from __future__ import annotations

from pathlib import Path

from tqdm import tqdm

from engine.emulator import Emulator, write_card
from engine.samples import emulator_folder, shipped
from engine.trajectory import Trajectory
from training import report, rivals, tables
from training.entry import Entry, Evaluation
from training.judge import evaluate, finish
from training.protocol import QUICK, Progress, Protocol

__all__ = ["QUICK", "Entry", "Evaluation", "Progress", "Protocol", "evaluate", "finish", "run"]


def run(
    data: Path,
    out: Path,
    models: list[str],
    protocol: Protocol | None = None,
    *,
    train_data: Path | None = None,
    reference: Path | None = None,
    independent: bool = False,
    record: bool = False,
    device: str = "auto",
) -> Evaluation:
    """Judge `models` (folders, or names of shipped emulators; none means all shipped) on `data`.

    Writes report.html, scores.json and the figures into `out` and prints the tables in Markdown; `record`
    also writes each model's scores, with what they were measured on, into its card.
    """
    folders = _folders(models)
    if record and not all(folder.is_dir() for folder in folders):
        raise ValueError("scores are recorded in an emulator's own folder; name one without a sampler")
    emulators = [_load(folder, device) for folder in folders]
    second = {"train_data": train_data, "reference": reference}
    sources = {name: Trajectory(path) if path is not None else None for name, path in second.items()}
    events = evaluate(emulators, Trajectory(data), protocol, **sources, independent=independent)
    with tqdm(unit="frame", dynamic_ncols=True) as bar:
        evaluation = finish(events, lambda event: _show(bar, event))
    out.mkdir(parents=True, exist_ok=True)
    tables.write_scores(out / "scores.json", evaluation)
    if record:
        _record(folders, emulators, tables.scores_dict(evaluation))
    logs = {e.name: report.read_log(folder) for e, folder in zip(emulators, folders, strict=True)}
    report.write_report(out, evaluation, {name: log for name, log in logs.items() if log})
    print(tables.markdown(evaluation))
    return evaluation


def _load(folder: Path, device: str) -> Emulator:
    """An emulator, or a rival that looks like one."""
    card = folder / "card.json"
    rival = card.exists() and f'"{rivals.FORMAT}"' in card.read_text()
    return (rivals.load if rival else Emulator.load)(folder, device)


def _record(folders: list[Path], emulators: list[Emulator], scores: dict) -> None:
    about = {name: scores[name] for name in ("code", "protocol", "data")}
    for folder, emulator in zip(folders, emulators, strict=True):
        row = {name: value for name, value in scores["models"][emulator.name].items() if name != "curves"}
        write_card(folder, emulator.card | {"scores": about | row})


def _folders(models: list[str]) -> list[Path]:
    folders = [emulator_folder(model) for model in models] or list(shipped().values())
    if len({folder.resolve() for folder in folders}) < len(folders) or len({f.name for f in folders}) < len(
        folders
    ):
        raise ValueError(
            f"models {models} need different names; the name of a folder is the name in the table"
        )
    return folders


def _show(bar: tqdm, event: Progress) -> None:
    if bar.disable:
        return
    title = f"{event.name}: {event.stage}"
    if bar.desc != f"{title}: " or bar.total != event.total:
        bar.reset(event.total)
        bar.set_description(title)
    bar.n = event.done
    bar.refresh() if event.done == event.total else bar.update(0)
