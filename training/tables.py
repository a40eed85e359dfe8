"""Scores of an evaluation as scores.json and as one table for people."""

from __future__ import annotations

import json
import math
import os
from dataclasses import asdict
from pathlib import Path

import numpy as np

from engine.provenance import code_version
from training.protocol import Entry, Evaluation

COLUMNS = (
    ("JSD of P(ρ), nats", "jsd_nats", "{:.4f}"),
    ("S(q) ampl.", "sq_amplitude_rel_error", "{:.3f}"),
    ("S(q) int.", "sq_intensity_rel_error", "{:.3f}"),
    ("F(q,t)", "fqt_abs_error", "{:.3f}"),
    ("to nearest training frame", "nearest_training_vrmse", "{:.2f}"),
)


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
                "nearest_training_vrmse": evaluation.nearest,
            },
            "models": {e.name: e.scores | {"free_run": e.free_run} for e in evaluation.models},
            "baselines": {e.name: e.scores for e in evaluation.entries if e.kind == "baseline"},
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
    blank = ["0"] * (len(leads) + len(COLUMNS) - 1) + [_number(evaluation.nearest, "{:.2f}")]
    rows.append(["AIMD, unseen", *blank, _electrons(truth.electrons.mean(), truth.electrons.std()), "–"])
    return head, rows


def markdown(evaluation: Evaluation) -> str:
    """The table in Markdown, with a line on what it was measured on and the bars of each free run."""
    head, rows = table(evaluation)
    lines = [f"| {' | '.join(head)} |", f"|{'---|' * len(head)}", *(f"| {' | '.join(row)} |" for row in rows)]
    return "\n".join([*lines, "", caption(evaluation), *map(free_run_line, evaluation.models)])


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
    curves = [_number(scores[key], form) for _, key, form in COLUMNS]
    cost = f"{1e3 * entry.seconds_per_frame:.3g}" if entry.kind == "model" else "–"
    return [entry.name, *errors, *curves, _electrons(scores["electrons_mean"], scores["electrons_std"]), cost]


def _electrons(mean: float, std: float) -> str:
    return f"{mean:.3f} ± {std:.3f}" if math.isfinite(mean) and mean < 1e5 else _number(mean, "{:.3g}")


def _number(value: float, form: str) -> str:
    if not math.isfinite(value):
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
