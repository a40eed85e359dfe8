"""The command: measures the rows one by one, prints a table, and leaves it as JSON."""

from __future__ import annotations

import json
import os
import platform
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path

import torch
from rich.console import Console
from rich.table import Table

from engine.devices import device_named
from engine.provenance import code_version, describe_hardware
from training.bench.registry import ROWS
from training.bench.timing import Result, Row, measure

MARKS = {True: "[green]✓[/]", False: "[red]✗[/]", None: ""}


def run(only: tuple[str, ...] = (), out: Path | None = None, device: str = "cpu") -> list[Result]:
    """Measure the rows named, or all that `device` has; print each as it comes, then the table."""
    device_named(device)  # which says in words if it is not here
    console, results = Console(), []
    rows = chosen(only, device)
    machine = describe_machine(device)
    console.print(f"{machine['processor']}, {machine['device']}, torch {machine['torch']}")
    for number, row in enumerate(rows, 1):
        with console.status(f"{number} of {len(rows)}: {row.name}"):
            results.append(measure(row, device))
        console.print(f"[dim]{number} of {len(rows)}[/] {row.name}: {', '.join(_cells(results[-1])[:3])}")
    console.print(table(results))
    if out is not None:
        part = out.with_name(out.name + ".part")
        figures = {"machine": machine, "rows": [asdict(r) | {"met": r.met} for r in results]}
        part.write_text(json.dumps(figures, indent=1) + "\n")
        os.replace(part, out)
    return results


def chosen(only: tuple[str, ...], device: str = "cpu") -> list[Row]:
    """The rows of these names in the table's order; ValueError for a name that the device has not."""
    rows = [row for row in ROWS if row.on(device)]
    names = [row.name for row in rows]
    unknown = [name for name in only if name not in names]
    if unknown:
        raise ValueError(f"no row {', '.join(unknown)}; there are {', '.join(names)}")
    return [row for row in rows if not only or row.name in only]


def describe_machine(device: str = "cpu") -> dict[str, str | float]:
    """What the figures hold for."""
    return {
        "processor": _processor(),
        "device": describe_hardware(torch.device(device)),
        "load": os.getloadavg()[0] if hasattr(os, "getloadavg") else -1.0,
        "torch": torch.__version__,
        "python": platform.python_version(),
        "code": code_version(),
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
    }


def table(results: list[Result]) -> Table:
    """Work, rival, their times, ratio with quartiles, its limit, and bar, for a terminal."""
    made = Table(
        caption="times are medians per unit of work; behind a ratio its quartiles over repeats; "
        "limit: the ratio at the pace of this device's largest float32 products of matrices"
    )
    made.add_column("row", no_wrap=True)
    for title in ("work", "against"):
        made.add_column(title)
    for title in ("its time", "rival's", "ratio", "limit", "bar"):
        made.add_column(title, justify="right")
    for r in results:
        made.add_row(r.name, r.work, r.rival or "–", *_cells(r))
    return made


def _cells(r: Result) -> tuple[str, str, str, str, str]:
    if r.skipped:
        return "–", "–", r.skipped, "–", _bar(r)
    bar = f"{_bar(r)} {MARKS[r.met]}"
    limit = f"{_digits(r.limit)} ×" if r.limit else "–"
    if r.ratio is None:
        return duration(r.work_s), "–", "–", limit, bar
    ratio = f"{_digits(r.ratio)} × ({_digits(r.low)}–{_digits(r.high)})"
    return duration(r.work_s), duration(r.rival_s), ratio, limit, bar


def _bar(r: Result) -> str:
    if r.bar is None:
        return "–"
    return f"≥ {r.bar:g} ×" if r.rival else f"≤ {r.bar:g} s"


def duration(seconds: float) -> str:
    """Three digits with a fitting unit."""
    for unit, size in (("s", 1.0), ("ms", 1e-3), ("µs", 1e-6)):
        if seconds >= size:
            return f"{_digits(seconds / size)} {unit}"
    return f"{seconds / 1e-9:.0f} ns"


def _digits(value: float) -> str:
    return f"{value:.0f}" if value >= 100 else f"{value:.3g}"


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        return next(line.split(":", 1)[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()
