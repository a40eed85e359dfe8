"""Isosurfaces: known shapes, the periodic boundary, any cell, files for other programs; and their process."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from waves import CELL, GRID, wave

from engine.samples import sample_path
from engine.trajectory import Trajectory
from ldm_viewer.artist import Artist, ArtistError
from ldm_viewer.frames import Series
from ldm_viewer.scene import BOTH, DIFFERENCE, Field, Scene, View, parse_levels, scene_of
from ldm_viewer.state import State

pv = pytest.importorskip("pyvista")
SLANTED = np.array([[4.0, 0.0, 0.0], [1.0, 3.5, 0.0], [0.5, 0.3, 4.5]])
LIMITS = (0.02, 0.08)


@pytest.fixture(scope="module")
def artist() -> Iterator[Artist]:
    artist = Artist()
    yield artist
    artist.close()


def scene(*names: str, cell: np.ndarray = CELL, view: View = View(), **more: object) -> Scene:  # noqa: B008
    fields = [
        Field(name, wave(5.0 * k), (0.05, 0.06), LIMITS, "white", **more) for k, name in enumerate(names)
    ]
    return Scene(tuple(fields), cell, view, (320, 160))


@pytest.mark.parametrize("cell", [CELL, np.diag([4.0, 6.0, 3.0]), SLANTED], ids=["cube", "box", "slanted"])
def test_planes_lie_where_the_field_has_their_value(cell: np.ndarray) -> None:
    from ldm_viewer.surfaces import isosurface

    x = np.arange(12) / 12
    values = np.broadcast_to(1 + 0.5 * np.cos(2 * np.pi * x)[:, None, None], (12, 12, 12))
    points = np.asarray(isosurface(values, cell, 1.0).points) @ np.linalg.inv(cell)
    np.testing.assert_allclose(np.minimum(abs(points[:, 0] - 0.25), abs(points[:, 0] - 0.75)), 0, atol=1e-3)
    np.testing.assert_allclose(points.min(axis=0)[1:], 0, atol=1e-6)
    np.testing.assert_allclose(points.max(axis=0)[1:], 1, atol=1e-6, err_msg="it ends before the cell does")


def test_opposite_faces_of_the_cell_show_the_same_outline() -> None:
    from ldm_viewer.surfaces import isosurface

    points = np.asarray(isosurface(np.random.default_rng(0).random((6, 6, 6)), CELL, 0.5).points) / 4.0
    for axis in range(3):
        rest = [other for other in range(3) if other != axis]
        low, high = (points[abs(points[:, axis] - side) < 1e-6][:, rest] for side in (0.0, 1.0))
        order = [np.lexsort(np.round(outline, 5).T) for outline in (low, high)]
        assert len(low) > 10
        np.testing.assert_allclose(low[order[0]], high[order[1]], atol=1e-4)


def test_a_sphere_has_its_area() -> None:
    from ldm_viewer.surfaces import isosurface

    x = 10.0 * np.arange(24) / 24 - 5.0
    radius = np.sqrt(sum(c**2 for c in np.meshgrid(x, x, x, indexing="ij")))
    surface = isosurface(np.exp(-((radius / 2.0) ** 2)), np.diag([10.0] * 3), float(np.exp(-1.0)))
    assert surface.area == pytest.approx(4 * np.pi * 4.0, rel=0.01)


def test_atoms_are_drawn_inside_the_cell() -> None:
    from ldm_viewer.surfaces import ATOM_RADIUS, atoms

    centre = np.array([[-0.5, 0.25, 1.25]]) @ SLANTED
    drawn = np.asarray(atoms(centre, SLANTED).points)
    inside = np.array([0.5, 0.25, 0.25]) @ SLANTED
    np.testing.assert_allclose(np.linalg.norm(drawn - inside, axis=1), ATOM_RADIUS, rtol=1e-4)


def test_pictures_differ_by_view_field_and_level(artist: Artist) -> None:
    first = artist.paint(scene("truth", "forecast"))
    assert first.shape == (160, 320, 3) and first.dtype == np.uint8 and first.std() > 10
    turned = artist.paint(scene("truth", "forecast", view=View(azimuth=80.0)))
    assert (turned != first).any()
    again = artist.paint(scene("truth", "forecast"))
    assert (again == first).mean() > 0.99, "the same scene, after another one"
    assert artist.paint(scene("truth")).shape == (160, 320, 3)


@pytest.mark.parametrize("suffix", [".gltf", ".stl", ".ply"])
def test_files_hold_the_surfaces_in_angstrom(artist: Artist, suffix: str, tmp_path: Path) -> None:
    path = artist.export(scene("truth", positions=np.array([[1.0, 1.0, 1.0]])), tmp_path / f"surface{suffix}")
    if suffix == ".gltf":
        assert len(json.loads(path.read_text())["meshes"]) >= 3
    else:
        mesh = pv.read(path)
        assert mesh.n_cells > 100
        np.testing.assert_allclose(mesh.bounds[2:], (0, 4, 0, 4), atol=1e-3)


def test_mistakes_come_back_in_words_and_the_process_lives_on(artist: Artist, tmp_path: Path) -> None:
    nothing = Scene((Field("truth", wave(0.0), (5.0,), LIMITS, "white"),), CELL)
    with pytest.raises(ArtistError, match="no surface at these levels"):
        artist.export(nothing, tmp_path / "nothing.stl")
    process = artist._process
    artist.paint(scene("truth"))
    assert artist._process is process


def test_a_dead_process_is_replaced() -> None:
    artist = Artist()
    artist.paint(scene("truth"))
    artist._process.kill()
    artist._process.wait()
    assert artist.paint(scene("truth")).std() > 5
    artist.close()


def test_scenes_follow_the_state(wave_file: Path) -> None:
    trajectory = Trajectory(wave_file)
    state = State(trajectory=trajectory, truth=Series.of(trajectory), time_fs=10.0)
    wish = {"levels": "", "atoms": True, "view": View(), "size": (100, 80), "background": "black"}
    wish["limits"] = LIMITS
    made = scene_of(state, what=BOTH, **wish)
    (field,) = made.fields
    np.testing.assert_allclose(field.values, wave(10.0), rtol=1e-5)
    assert field.levels == pytest.approx((0.041, 0.062)) and field.positions is None
    assert scene_of(state, what=BOTH, **(wish | {"levels": "0.07, 0.03"})).fields[0].levels == (0.03, 0.07)
    assert scene_of(state, what=DIFFERENCE, **wish) is None, "there is no forecast"
    assert made.fields[0].values.shape == GRID


def test_atoms_are_those_of_the_moment() -> None:
    trajectory = Trajectory(sample_path("li32_test.h5"))
    truth = Series.of(trajectory)
    state = State(trajectory=trajectory, truth=truth, time_fs=truth.time_at(7))
    np.testing.assert_array_equal(state.positions(), trajectory.positions(7))
    assert State(trajectory=trajectory, truth=truth, time_fs=truth.end_fs + 50).positions() is None


def test_levels_that_are_no_numbers_are_refused_in_words() -> None:
    with pytest.raises(ValueError, match="such as 0.06 0.10, not 'high'"):
        parse_levels("high")
