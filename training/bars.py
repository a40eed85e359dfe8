"""The bars a forecast of this liquid lithium has to clear, and whether it does."""

from __future__ import annotations

import math

from engine.floor import SCORES
from training.entry import Entry

VRMSE = {10.0: 0.08, 20.0: 0.20, 50.0: 0.60}
AUTOENCODER = 0.05
OVER_FLOOR = 1.5
FRAMES = 10_000
ELECTRONS = 5e-4  # relative shift of the mean
ELECTRONS_SPREAD = 2.0  # times AIMD's
NEAREST = 0.9
SPREAD_SKILL = (0.8, 1.25)  # at 20 to 200 fs
SECONDS = 0.05  # per frame; means something on the hardware it is stated for


def bars(entry: Entry) -> dict[str, dict]:
    """Name → value, bar in words, and whether it is met; met is None where it was not measured."""
    row, truth = entry.scores, entry.bench.record.electrons
    result = {f"VRMSE at {lead:g} fs": _below(row["vrmse"].get(lead), limit) for lead, limit in VRMSE.items()}
    result["D(E(ρ)) VRMSE, unseen"] = _below(row["autoencoder_vrmse"]["unseen"], AUTOENCODER)
    for name in SCORES:
        ratio = row["floor_ratio"].get(name, {}).get("ratio")
        result[f"{name} / floor"] = _below(ratio, OVER_FLOOR)
    frames = sum(map(len, entry.runs))
    result["frames without NaN"] = _row(frames, f"≥ {FRAMES}", frames >= FRAMES and entry.broken_at is None)
    worst = row["tenths"].get("worst_z_over_limit")
    result["z of first against last tenth / its limit"] = _below(worst, 1.0)
    result["electrons, relative shift"] = _below(abs(row["electrons_mean"] / truth.mean() - 1), ELECTRONS)
    result["electrons, spread / AIMD's"] = _below(row["electrons_std"] / truth.std(), ELECTRONS_SPREAD)
    copies = entry.nearest.get("copies", {})
    for title, ratio in (("frame", row["nearest_training_ratio"]), ("frame or copy", copies.get("ratio"))):
        above = ratio is not None and ratio >= NEAREST
        result[f"nearest training {title} / AIMD's"] = _row(ratio, f"≥ {NEAREST:g}", above)
    result |= {f"spread–skill at {lead:g} fs": row for lead, row in _calibration(entry).items()}
    result["seconds per frame"] = _below(entry.seconds_per_frame, SECONDS)
    return result


def _calibration(entry: Entry) -> dict[float, dict]:
    low, high = SPREAD_SKILL
    curve = {lead: value for lead, value in entry.scores["spread_skill"].items() if 20 <= lead <= 200}
    return {lead: _row(value, f"{low:g}–{high:g}", low <= value <= high) for lead, value in curve.items()}


def _below(value: float | None, limit: float) -> dict:
    return _row(value, f"≤ {limit:g}", value is not None and value <= limit)


def _row(value: float | None, bar: str, met: bool) -> dict:
    known = value is not None and math.isfinite(value)
    return {"value": value if known else None, "bar": bar, "met": None if value is None else bool(met)}
