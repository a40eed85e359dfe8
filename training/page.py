"""report.html: every figure and table of an evaluation on one page, without network or other files."""

from __future__ import annotations

import base64
import json
import math
import os
from html import escape
from pathlib import Path

from training import tables
from training.bars import bars
from training.entry import Entry, Evaluation

STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; color: #222; max-width: 75em; margin: 2em auto; padding: 0 1em }
table { border-collapse: collapse; font-size: 13px; margin: 1em 0 } .wide { overflow-x: auto }
th, td { padding: .2em .6em; border-bottom: 1px solid #ddd; text-align: right } th { vertical-align: bottom }
th:first-child, td:first-child { text-align: left } td.no { color: #b3400a; font-weight: 600 }
figure { margin: 2em 0 } img { max-width: 100% } figcaption, p.note { color: #555; font-size: 13px }
pre { background: #f6f6f6; padding: 1em; overflow: auto; max-height: 30em; font-size: 12px }
"""


def write_page(path: Path, evaluation: Evaluation, pictures: dict[str, tuple[bytes, str]]) -> Path:
    """Write the page, aside and then renamed; `pictures` (PNG) by name, each with its caption."""
    caption = tables.caption(evaluation)
    parts = [
        f"<h1>{escape(', '.join(e.name for e in evaluation.models))} beside AIMD</h1>",
        _table(*tables.table(evaluation)),
        _table(*tables.free_table(evaluation)),
        *(f"<p class=note>{escape(text)}</p>" for text in (caption, tables.floor_caption(evaluation))),
        "<h2>Bars</h2>",
        _bars(evaluation),
        "<h2>Figures</h2>",
        *(_figure(name, png, caption) for name, (png, caption) in pictures.items()),
        "<h2>First against last tenth of the free run</h2>",
        *map(_tenths, evaluation.models),
        *_notes(evaluation),
    ]
    text = f"<!doctype html><html lang=en><meta charset=utf-8><title>Judged</title><style>{STYLE}</style>"
    part = path.with_name(path.name + ".part")
    part.write_text(text + "\n".join(parts) + "</html>\n")
    os.replace(part, path)
    return path


def _table(head: list[str], rows: list[list[str]]) -> str:
    lines = ["".join(f"<td>{escape(cell)}</td>" for cell in row) for row in rows]
    title = "".join(f"<th>{escape(cell)}</th>" for cell in head)
    return (
        f"<div class=wide><table><tr>{title}</tr>"
        + "".join(f"<tr>{r}</tr>" for r in lines)
        + "</table></div>"
    )


def _figure(name: str, png: bytes, caption: str) -> str:
    data = base64.b64encode(png).decode()
    return (
        f'<figure><img alt="{escape(name)}" src="data:image/png;base64,{data}">'
        f"<figcaption>{escape(caption)}</figcaption></figure>"
    )


def _bars(evaluation: Evaluation) -> str:
    """Bars down the rows, models across; what is missed stands out."""
    columns = {entry.name: bars(entry) for entry in evaluation.models}
    names = list(dict.fromkeys(name for rows in columns.values() for name in rows))
    lines = []
    for name in names:
        found = [rows.get(name) for rows in columns.values()]
        limit = next(row["bar"] for row in found if row)
        cells = "".join(_bar(row) for row in found)
        lines.append(f"<tr><td>{escape(name)}</td><td>{escape(limit)}</td>{cells}</tr>")
    head = "".join(f"<th>{escape(name)}</th>" for name in ("", "bar", *columns))
    return f"<div class=wide><table><tr>{head}</tr>{''.join(lines)}</table></div>"


def _bar(row: dict | None) -> str:
    if row is None or row["met"] is None:
        return "<td>–</td>"
    value = "NaN" if row["value"] is None else f"{row['value']:.4g}"
    return f"<td{'' if row['met'] else ' class=no'}>{value}</td>"


def _tenths(entry: Entry) -> str:
    rows = entry.scores["tenths"].get("statistics", {})
    if not rows:
        return f"<p>{escape(entry.name)}: the free run is too short for tenths.</p>"
    cells = [
        [name, *(_short(row[key]) for key in ("first", "last", "error", "z", "limit", "effect"))]
        for name, row in rows.items()
    ]
    head = [entry.name, "first tenth", "last tenth", "error of the difference", "z", "limit", "effect"]
    drift = entry.scores["electrons"]
    electrons = (
        f"Electrons: mean {drift['mean']:.4f} ± {drift['mean_error']:.4f}, standard deviation "
        f"{drift['std']:.4f} ± {drift['std_error']:.4f}, slope {drift['slope_per_ps']:+.2g} ± "
        f"{drift['slope_per_ps_error']:.2g} per ps."
    )
    return _table(head, cells) + f"<p class=note>{escape(electrons)}</p>"


def _notes(evaluation: Evaluation) -> list[str]:
    about = {
        name: tables.scores_dict(evaluation)[name]
        for name in ("code", "protocol", "data", "floor", "seconds")
    }
    explained = (
        "The tenths agree when |z| stays below the limit: Student's, at 5 % shared among the statistics "
        "(Bonferroni); errors are those of the circular block bootstrap with blocks as long as each series' "
        "correlation asks for. The effect is the difference in standard deviations of single AIMD frames."
    )
    return [
        f"<p class=note>{escape(explained)}</p>",
        "<h2>Protocol and data</h2>",
        f"<pre>{escape(json.dumps(about, indent=1))}</pre>",
    ]


def _short(value: float) -> str:
    return f"{value:.4g}" if math.isfinite(value) else "–"
