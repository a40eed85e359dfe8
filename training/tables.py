"""Scores of an evaluation as scores.json, and as two tables for people: forecasts by lead time, free runs."""

from __future__ import annotations

import json
import math
import os
from dataclasses import asdict
from pathlib import Path

import numpy as np

from engine.provenance import code_version
from training import bars
from training.entry import Entry, Evaluation, curves

FREE_COLUMNS = (
    ("JSD of P(ρ), nats", "jsd_nats", "{:.2g}"),
    ("S(q) amplitude", "sq_amplitude_rel_error", "{:.3f}"),
    ("S(q) intensity", "sq_intensity_rel_error", "{:.3f}"),
    ("F(q,t)", "fqt_abs_error", "{:.3f}"),
)

Table = tuple[list[str], list[list[str]]]


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


def table(evaluation: Evaluation) -> Table:
    """Forecasts by lead time: head and rows of text, one row per model and baseline."""
    leads = sorted({lead for e in evaluation.entries for lead in e.scores["vrmse"]})
    head = ["forecast", *(f"VRMSE {lead:g} fs" for lead in leads)]
    head += ["D(E(ρ))", "spread–skill, 20–200 fs", "CRPS / σ, 50 fs"]
    rows = []
    for entry in evaluation.entries:
        scores = entry.scores
        errors = [_number(scores["vrmse"].get(lead), "{:.3f}") for lead in leads]
        alone = _number(scores["autoencoder_vrmse"]["unseen"], "{:.3f}")
        crps = _number(scores["crps_relative"].get(50.0), "{:.2f}")
        rows.append([entry.name, *errors, alone, _range(scores["spread_skill"]), crps])
    return head, rows


def free_table(evaluation: Evaluation) -> Table:
    """Free runs: each score with its ratio to the floor; at the end the floor itself, and the truth."""
    head = ["free run", *(title for title, *_ in FREE_COLUMNS)]
    head += [
        "z of the tenths / its limit",
        "nearest training frame / AIMD's (any copy)",
        "electrons",
        "ms / frame",
    ]
    rows = [_free_row(entry) for entry in evaluation.entries]
    floors = next((entry.floor for entry in evaluation.entries if entry.floor), None)
    if floors:
        floor = [_number(floors[key]["floor"], form) for _, key, form in FREE_COLUMNS]
        rows.append(["AIMD, other blocks: the floor", *floor, *("–",) * 4])
    truth = evaluation.bench.record.electrons
    unseen = ["0"] * len(FREE_COLUMNS) + ["–", "1" if evaluation.nearest else "–"]
    rows.append(["AIMD, unseen", *unseen, _electrons(truth.mean(), truth.std()), "–"])
    return head, rows


def markdown(evaluation: Evaluation) -> str:
    """The tables in Markdown, with what they were measured on, the health of free runs and the bars."""
    lines = [*_markdown(*table(evaluation)), "", *_markdown(*free_table(evaluation)), ""]
    lines += [caption(evaluation), floor_caption(evaluation), ""]
    lines += [f"- {line(entry)}" for entry in evaluation.models for line in (free_run_line, bars_line)]
    return "\n".join(lines)


def floor_caption(evaluation: Evaluation) -> str:
    """How the floor was measured, in words."""
    aimd = evaluation.reference
    if aimd is None:
        return "No floor: there is no AIMD beside the truth that is long enough for blocks."
    stretches = len(aimd.siblings)
    among = f", and the {stretches} stretches of unseen AIMD against each other" if stretches > 1 else ""
    return (
        "Behind a score its ratio to the floor with a 90 % bootstrap interval; 1 is another AIMD run. Ratio "
        f"of medians over blocks of {aimd.duration_fs:g} fs, each against unseen AIMD: blocks of the free "
        f"run, and {len(aimd.blocks)} overlapping ones (worth {aimd.independent:.1f}) of {aimd.source} at "
        f"the same step{among}. Any copy: lattice rolls and, in a cubic cell, the 48 cube operations."
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
    return f"{entry.name}: meets {met} of {len(rows)} bars; misses {', '.join(missed) or 'none'}."


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
    shifts = "; ".join(
        f"{name.replace('_', ' ')}: mean ln ρ {t['log_mean_shift']:+.3f}, spread × {t['log_std_ratio']:.2f}, "
        f"S(q) within a factor {t['sq_intensity_ratio_worst']:.2f}"
        for name, t in ((n, run[n]) for n in ("first_tenth", "last_tenth"))
    )
    return (
        f"{entry.name}: free run of {run['frames']} frames, {health}; {shifts}; frame-to-frame VRMSE "
        f"{run['step_vrmse']:.3f}, AIMD {run['step_vrmse_truth']:.3f}; {_agreement(entry.tenths)}."
    )


def _agreement(tenths: dict) -> str:
    """Whether the first and last tenth agree, and in what they do not."""
    rows = tenths["statistics"]
    if not rows:
        return "too short to compare its tenths (1 ps each at least)"
    differ = [
        f"{name} (z {row['z']:+.1f}, limit {row['limit']:.1f}, effect {row['effect']:+.2f})"
        for name, row in rows.items()
        if not row["agree"]
    ]
    if not differ:
        return f"its tenths agree in all {len(rows)} statistics"
    return f"its tenths differ in {len(differ)} of {len(rows)} statistics: {', '.join(differ)}"


def _free_row(entry: Entry) -> list[str]:
    scores, model = entry.scores, entry.kind == "model"
    curves = []
    for _, key, form in FREE_COLUMNS:
        ratio = f" ({_interval(entry.floor[key])})" if entry.floor else ""
        curves.append(_number(scores[key], form) + ratio)
    tenths = _number(scores["tenths"].get("worst_z_over_limit"), "{:.2f}")
    nearest = _number(scores["nearest_training_ratio"], "{:.2f}")
    if "ratio" in entry.nearest.get("copies", {}):
        nearest += f" ({entry.nearest['copies']['ratio']:.2f})"
    cost = f"{1e3 * entry.seconds_per_frame:.3g}" if model else "–"
    electrons = _electrons(scores["electrons_mean"], scores["electrons_std"])
    return [entry.name, *curves, tenths, nearest, electrons, cost]


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
    middle, low, high = (
        _number(row[key], "{:.2f}" if row[key] < 10 else "{:.0f}") for key in ("ratio", "low", "high")
    )
    return f"{middle} ×" if low == "–" else f"{middle} ×, {low}–{high}"


def _range(curve: dict[float, float]) -> str:
    """Smallest to largest value among leads of 20 to 200 fs."""
    known = [value for lead, value in curve.items() if 20 <= lead <= 200 and math.isfinite(value)]
    return f"{min(known):.2f}–{max(known):.2f}" if known else "–"


def _number(value: float | None, form: str) -> str:
    if value is None or not math.isfinite(value):
        return "–"
    return form.format(value) if abs(value) < 100 else f"{value:.3g}" if abs(value) >= 1e4 else f"{value:.0f}"


def _plain(value: object) -> object:
    """Numpy to Python, NaN and infinity to None, lead times to text keys."""
    if isinstance(value, dict):
        return {f"{k:g}" if isinstance(k, float) else k: _plain(v) for k, v in value.items()}
    if isinstance(value, list | tuple | np.ndarray):
        return [_plain(v) for v in value]
    if isinstance(value, np.generic):
        value = value.item()
    return None if isinstance(value, float) and not math.isfinite(value) else value
