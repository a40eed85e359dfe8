"""Scores of an evaluation as scores.json and as one table for people."""

from __future__ import annotations

import json
import math
import os
from dataclasses import asdict
from pathlib import Path

import numpy as np

from engine.floor import SCORES
from engine.provenance import code_version
from training import bars
from training.entry import Entry, Evaluation, curves

COLUMNS = (
    ("D(E(ρ))", lambda row: row["autoencoder_vrmse"]["unseen"], "{:.3f}"),
    ("spread–skill, 20–200 fs", lambda row: _middle(row["spread_skill"]), "{:.2f}"),
    ("CRPS / σ, 50 fs", lambda row: row["crps_relative"].get(50.0), "{:.2f}"),
    ("JSD of P(ρ), nats", lambda row: row["jsd_nats"], "{:.4f}"),
    ("S(q) ampl.", lambda row: row["sq_amplitude_rel_error"], "{:.3f}"),
    ("S(q) int.", lambda row: row["sq_intensity_rel_error"], "{:.3f}"),
    ("F(q,t)", lambda row: row["fqt_abs_error"], "{:.3f}"),
    ("nearest training frame / AIMD's", lambda row: row["nearest_training_ratio"], "{:.2f}"),
)
FLOOR_TITLES = ("JSD of P(ρ)", "S(q) amplitude", "S(q) intensity", "F(q,t)")


def scores_dict(evaluation: Evaluation) -> dict:
    """Everything measured, as plain values.

    `models` and `baselines` by name, beside protocol, data and truth.
    """
    truth = evaluation.bench.record
    return _plain(
        {
            "code": code_version(),
            "protocol": asdict(evaluation.protocol),
            "data": evaluation.data,
            "truth": {
                "log_mean": truth.log_mean,
                "log_std": truth.log_std,
                "electrons_mean": truth.electrons.mean(),
                "electrons_std": truth.electrons.std(),
                "step_vrmse": truth.step_vrmse,
                "nearest_training_vrmse": evaluation.nearest.get("closest_tenth"),
                "nearest_training": evaluation.nearest,
                "curves": curves(truth, evaluation.bench),
            },
            "floor": _floor(evaluation),
            "models": {
                e.name: e.scores | {"free_run": e.free_run, "bars": bars.bars(e)} for e in evaluation.models
            },
            "baselines": {e.name: e.scores for e in evaluation.entries if e.kind == "baseline"},
            "seconds": evaluation.seconds,
        }
    )


def write_scores(path: Path, evaluation: Evaluation) -> Path:
    """Write scores.json, aside and then renamed; numbers that do not exist are null."""
    part = path.with_name(path.name + ".part")
    part.write_text(json.dumps(scores_dict(evaluation), indent=1, allow_nan=False) + "\n")
    os.replace(part, path)
    return path


def table(evaluation: Evaluation) -> tuple[list[str], list[list[str]]]:
    """Head and rows of text: one row per model and baseline, and the truth at the end."""
    leads = sorted({lead for e in evaluation.entries for lead in e.scores["vrmse"]})
    head = ["forecast", *(f"VRMSE {lead:g} fs" for lead in leads), *(title for title, *_ in COLUMNS)]
    head += ["electrons", "ms / frame"]
    rows = [_row(entry, leads) for entry in evaluation.entries]
    truth = evaluation.bench.record
    blank = [*("0" for _ in leads), "0", *("–",) * 2, *("0",) * 4, "1" if evaluation.nearest else "–"]
    rows.append(["AIMD, unseen", *blank, _electrons(truth.electrons.mean(), truth.electrons.std()), "–"])
    return head, rows


def floor_table(evaluation: Evaluation) -> tuple[list[str], list[list[str]]]:
    """Score over floor with its 90 % interval, a row per entry; the floor itself in the last row."""
    rows = []
    for entry in evaluation.entries:
        if entry.floor:
            rows.append([entry.name, *(_interval(entry.floor[name]) for name in SCORES)])
    floors = next((entry.floor for entry in evaluation.entries if entry.floor), None)
    if floors:
        rows.append(["the floor itself", *(f"{floors[name]['floor']:.3g}" for name in SCORES)])
    return ["score / floor", *FLOOR_TITLES], rows


def markdown(evaluation: Evaluation) -> str:
    """The tables in Markdown, with lines on what they were measured on and the bars of each free run."""
    lines = [*_markdown(*table(evaluation)), "", caption(evaluation), ""]
    if any(entry.floor for entry in evaluation.entries):
        lines += [*_markdown(*floor_table(evaluation)), "", floor_caption(evaluation), ""]
    return "\n".join([*lines, *map(free_run_line, evaluation.models), *map(bars_line, evaluation.models)])


def floor_caption(evaluation: Evaluation) -> str:
    """How the floor was measured, in one sentence."""
    aimd = evaluation.reference
    return (
        f"Median over blocks of {aimd.duration_fs:g} fs against the unseen AIMD, divided by that of "
        f"{len(aimd.blocks)} overlapping AIMD blocks (worth {aimd.independent:.1f}) at the same step, from "
        f"{aimd.source}; 90 % bootstrap intervals. 1 is another AIMD run."
    )


def bars_line(entry: Entry) -> str:
    """Which bars a model meets, and by how much it misses the others."""
    rows = bars.bars(entry)
    missed = [
        f"{name} {_number(row['value'], '{:.3g}')} ({row['bar']})"
        for name, row in rows.items()
        if row["met"] is False
    ]
    met = sum(row["met"] is True for row in rows.values())
    return f"{entry.name}: meets {met} of {len(rows)} bars" + (
        f"; misses {', '.join(missed)}." if missed else "."
    )


def caption(evaluation: Evaluation) -> str:
    """What the numbers were measured on, in one sentence."""
    data, protocol = evaluation.data, evaluation.protocol
    begin, end = data["unseen_fs"]
    return (
        f"{data['name']}, {begin:g}–{end:g} fs that no model has seen ({data['unseen_frames']} frames); "
        f"VRMSE over {len(data['start_fs'])} start frames × {protocol.members} members, "
        f"the rest from a free run of {protocol.free_frames} frames."
    )


def free_run_line(entry: Entry) -> str:
    """Health and drift of one free run, in words."""
    run = entry.free_run
    if not entry.runs:
        return f"{entry.name}: broke in its first frame."
    health = "no NaN" if entry.broken_at is None else f"broke at frame {entry.broken_at}"
    missed = [name.replace("_", " ") for name, fine in run["met"].items() if not fine]
    tenths = "; ".join(
        f"{name.replace('_', ' ')}: mean ln ρ {t['log_mean_shift']:+.3f}, spread × {t['log_std_ratio']:.2f}, "
        f"S(q) within a factor {t['sq_intensity_ratio_worst']:.2f}"
        for name, t in ((n, run[n]) for n in ("first_tenth", "last_tenth"))
    )
    return (
        f"{entry.name}: free run of {run['frames']} frames, {health}; {tenths}; frame-to-frame VRMSE "
        f"{run['step_vrmse']:.3f}, AIMD {run['step_vrmse_truth']:.3f}; "
        + (f"missed: {', '.join(missed)}." if missed else "all bars met.")
    )


def _row(entry: Entry, leads: list[float]) -> list[str]:
    scores = entry.scores
    errors = [_number(scores["vrmse"].get(lead, math.nan), "{:.3f}") for lead in leads]
    curves = [_number(value(scores), form) for _, value, form in COLUMNS]
    cost = f"{1e3 * entry.seconds_per_frame:.3g}" if entry.kind == "model" else "–"
    return [entry.name, *errors, *curves, _electrons(scores["electrons_mean"], scores["electrons_std"]), cost]


def _electrons(mean: float, std: float) -> str:
    return f"{mean:.3f} ± {std:.3f}" if math.isfinite(mean) and mean < 1e5 else _number(mean, "{:.3g}")


def _markdown(head: list[str], rows: list[list[str]]) -> list[str]:
    return [f"| {' | '.join(head)} |", f"|{'---|' * len(head)}", *(f"| {' | '.join(row)} |" for row in rows)]


def _floor(evaluation: Evaluation) -> dict | None:
    aimd = evaluation.reference
    if aimd is None:
        return None
    about = {"source": aimd.source, "duration_fs": aimd.duration_fs, "blocks": len(aimd.blocks)}
    return about | {"independent_blocks": aimd.independent, "stretches_of_truth": len(aimd.truths)}


def _interval(row: dict[str, float]) -> str:
    middle = _number(row["ratio"], "{:.2f}")
    if not math.isfinite(row["low"]):
        return middle
    return f"{middle} ({_number(row['low'], '{:.2f}')}–{_number(row['high'], '{:.2f}')})"


def _middle(curve: dict[float, float]) -> float | None:
    """The value furthest from 1 among leads of 20 to 200 fs; None where there is none."""
    known = [v for lead, v in curve.items() if 20 <= lead <= 200 and math.isfinite(v)]
    return max(known, key=lambda v: abs(math.log(v)) if v > 0 else math.inf) if known else None


def _number(value: float | None, form: str) -> str:
    if value is None or not math.isfinite(value):
        return "–"
    return form.format(value) if abs(value) < 100 else f"{value:.2g}"


def _plain(value: object) -> object:
    """Numpy to Python, NaN and infinity to None, lead times to text keys."""
    if isinstance(value, dict):
        return {f"{k:g}" if isinstance(k, float) else k: _plain(v) for k, v in value.items()}
    if isinstance(value, list | tuple | np.ndarray):
        return [_plain(v) for v in value]
    if isinstance(value, np.generic):
        value = value.item()
    return None if isinstance(value, float) and not math.isfinite(value) else value
