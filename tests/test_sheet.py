"""What docks save: tables that read back as the curves, pictures that are not blank, refusals in words."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest

from ldm_viewer.sheet import Band, Line, Pictures, Sheet, SheetError

X = np.linspace(0.0, 1.0, 7)
SHEET = Sheet(
    "A title",
    "t (fs)",
    "F",
    (
        Line("truth", X, X**2, "#0072B2"),
        Line("linear", X[:4], 100 * X[:4], "#7F7F7F", thin=True, dashed=True),
    ),
    Band("truth, 5–95 %", X, X**2 - 1, X**2 + 1, "#0072B2"),
    mark=0.5,
)
CUTS = {"truth": np.arange(12.0).reshape(3, 4), "difference": -np.arange(12.0).reshape(3, 4)}
PICTURES = Pictures("x = 1 Å", CUTS, (0.0, 3.0, 0.0, 8.0), ("y (Å)", "z (Å)"), (0.0, 11.0), 5.5)


def table(path: Path) -> list[list[str]]:
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.reader(file))


def test_curves_come_back_from_the_table(tmp_path: Path) -> None:
    header, *rows = table(SHEET.save(tmp_path / "sheet.csv"))
    assert header == ["curve", "t (fs)", "F"]
    names = ["truth", "linear", "truth, 5–95 %, lower", "truth, 5–95 %, upper"]
    assert list(dict.fromkeys(row[0] for row in rows)) == names
    expected = {"truth": X**2, "linear": 100 * X[:4], names[2]: X**2 - 1, names[3]: X**2 + 1}
    for name, values in expected.items():
        read = np.array([[float(x), float(y)] for curve, x, y in rows if curve == name])
        np.testing.assert_allclose(read, np.stack([X[: len(values)], values], axis=1), rtol=1e-8)


def test_cuts_come_back_from_the_table(tmp_path: Path) -> None:
    header, *rows = table(PICTURES.save(tmp_path / "cuts.csv"))
    assert header == ["y (Å)", "z (Å)", "truth (Å⁻³)", "difference (Å⁻³)"]
    read = np.array(rows, dtype=float)
    np.testing.assert_allclose(read[:, 2].reshape(3, 4), CUTS["truth"])
    np.testing.assert_allclose(read[[0, -1], :2], [[0.5, 1.0], [2.5, 7.0]])


@pytest.mark.parametrize("thing", [SHEET, PICTURES], ids=["sheet", "pictures"])
@pytest.mark.parametrize(("suffix", "begins"), [(".pdf", b"%PDF"), (".png", b"\x89PNG"), (".svg", b"<?xml")])
def test_pictures_are_written_whole(thing: Sheet, suffix: str, begins: bytes, tmp_path: Path) -> None:
    path = thing.save(tmp_path / f"shown{suffix}")
    assert path.read_bytes().startswith(begins)
    assert [file.name for file in tmp_path.iterdir()] == [path.name]


def test_the_picture_is_made_for_the_curves_that_matter() -> None:
    (axes,) = SHEET._figure().axes
    assert axes.get_ylim()[1] < 2, "a dashed line that runs away does not set the axis"


def test_other_suffixes_are_refused_in_words(tmp_path: Path) -> None:
    with pytest.raises(SheetError, match=r"shown\.doc.*\.csv, \.pdf"):
        SHEET.save(tmp_path / "shown.doc")
    assert not list(tmp_path.iterdir())
