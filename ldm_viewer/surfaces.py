"""Isosurfaces of densities with atoms and cell, drawn off-screen with pyvista: arrays in, picture out. No Qt.

The window never imports this: `ldm_viewer.artist` runs it in a process of its own, so that VTK shares neither
OpenGL nor Python's lock with napari.
"""

from __future__ import annotations

import itertools
from pathlib import Path

import matplotlib
import numpy as np
import pyvista as pv

from engine.palette import DIFFERENCE_COLORMAP, FIELD_COLORMAP
from engine.resample import fourier_resample
from ldm_viewer.planes import is_box
from ldm_viewer.scene import Field, Scene

FINER = 2  # grid points per grid point, by Fourier interpolation: exact for band-limited densities
ATOM_RADIUS, EDGE_WIDTH = 0.35, 1.5  # Å, pixels
APART = 1.25  # cells, between the fields of an exported file
DISTANCE = 2.0  # of the camera, in diagonals of the cell


def isosurface(values: np.ndarray, cell: np.ndarray, level: float) -> pv.PolyData:
    """The surface ρ = level in Å, over the whole cell: the first layer is repeated behind the last.

    Without that, it would end one voxel before the cell does. Any cell; empty where nothing crosses `level`.
    """
    fine = fourier_resample(values, tuple(FINER * n for n in values.shape))
    closed = np.pad(fine, ((0, 1),) * 3, mode="wrap")
    cell, straight = np.asarray(cell, dtype=float), is_box(np.asarray(cell))
    spacing = np.diag(cell) / fine.shape if straight else (1.0, 1.0, 1.0)
    grid = pv.ImageData(dimensions=closed.shape, spacing=spacing)
    grid.point_data["density"] = closed.ravel(order="F")
    surface = grid.contour(
        [level], scalars="density", method="flying_edges", compute_normals=straight, compute_scalars=False
    )
    if surface.n_points and not straight:
        surface.points = (np.asarray(surface.points) / fine.shape) @ cell
        surface = surface.compute_normals(auto_orient_normals=False, split_vertices=False)
    return surface


def atoms(positions: np.ndarray, cell: np.ndarray) -> pv.PolyData:
    """Small spheres at atoms (N, 3) in Å, each moved into the cell."""
    inside = (positions @ np.linalg.inv(cell) % 1.0) @ cell
    sphere = pv.Sphere(radius=ATOM_RADIUS, theta_resolution=12, phi_resolution=12)
    return pv.PolyData(inside).glyph(geom=sphere, scale=False, orient=False)


def edges(cell: np.ndarray) -> pv.PolyData:
    """The twelve edges of the cell."""
    corners = np.array(list(itertools.product((0, 1), repeat=3)))
    pairs = [
        (i, j) for i, j in itertools.combinations(range(8), 2) if abs(corners[i] - corners[j]).sum() == 1
    ]
    return pv.PolyData(corners @ cell, lines=np.array([(2, i, j) for i, j in pairs]).ravel())


class Painter:
    """Draws scenes; meshes are swapped as long as a scene has the same parts."""

    def __init__(self) -> None:
        self._plotter: pv.Plotter | None = None
        self._parts: tuple[object, ...] = ()
        self._actors: dict[tuple[int, str], pv.Actor] = {}

    def paint(self, scene: Scene) -> np.ndarray:
        """The picture, (height, width, 3) uint8."""
        parts = (len(scene.fields), scene.background, *(_look(field) for field in scene.fields))
        if self._plotter is None or parts != self._parts:
            self._begin(scene)
            self._parts = parts
        plotter = self._plotter
        if tuple(plotter.window_size) != tuple(scene.size):
            plotter.window_size = scene.size
        for column, field in enumerate(scene.fields):
            plotter.subplot(0, column)
            for name, mesh, look in meshes(field, scene.cell):
                self._put((column, name), mesh, look)
            _stand(plotter.camera, scene)
        plotter.render()
        return plotter.screenshot(return_img=True)

    def close(self) -> None:
        """Free the picture's memory."""
        if self._plotter is not None:
            self._plotter.close()
        self._plotter, self._actors = None, {}

    def _begin(self, scene: Scene) -> None:
        self.close()
        self._plotter = pv.Plotter(
            off_screen=True, shape=(1, len(scene.fields)), window_size=scene.size, border=False
        )
        for column, field in enumerate(scene.fields):
            self._plotter.subplot(0, column)
            self._plotter.set_background(scene.background)
            self._plotter.add_text(
                field.name,
                color=field.title_color,
                font_size=max(10, scene.size[1] // 60),
                position="upper_left",
            )

    def _put(self, key: tuple[int, str], mesh: pv.PolyData, look: dict[str, object]) -> None:
        if key in self._actors:
            self._actors[key].mapper.dataset = mesh
        elif mesh.n_points:
            self._actors[key] = self._plotter.add_mesh(mesh, reset_camera=False, **look)
            return
        if key in self._actors:
            self._actors[key].visibility = bool(mesh.n_points)


def meshes(field: Field, cell: np.ndarray) -> list[tuple[str, pv.PolyData, dict[str, object]]]:
    """Name, mesh and look of all that is drawn of a field; the highest level is the least transparent."""
    found = []
    for rank, level in enumerate(field.levels):
        look = {"color": _color(field, level), "opacity": _opacity(field, rank), "smooth_shading": True}
        found.append((f"level {rank}", isosurface(field.values, cell, level), look))
    if field.positions is not None and len(field.positions):
        found.append(("atoms", atoms(field.positions, cell), {"color": "white", "smooth_shading": True}))
    found.append(("cell", edges(cell), {"color": "gray", "line_width": EDGE_WIDTH}))
    return found


def export(scene: Scene, path: str | Path) -> Path:
    """Write the surfaces, fields beside each other, as glTF (with colours), STL or PLY, in Å."""
    path = Path(path)
    plotter = pv.Plotter(off_screen=True)
    joined = []
    for column, field in enumerate(scene.fields):
        for name, mesh, look in meshes(field, scene.cell):
            if mesh.n_points:
                moved = mesh.translate(column * APART * np.asarray(scene.cell)[0])
                plotter.add_mesh(moved, **look)
                if name != "cell":
                    joined.append(moved)
    if not joined:
        raise ValueError("there is no surface at these levels; choose others between the field's values")
    if path.suffix.lower() == ".gltf":
        plotter.export_gltf(str(path))
    else:
        pv.merge(joined).extract_surface(algorithm="dataset_surface").triangulate().save(str(path))
    plotter.close()
    return path


def _look(field: Field) -> tuple[object, ...]:
    return field.name, field.levels, field.limits, field.signed, field.positions is None


def _color(field: Field, level: float) -> tuple[float, ...]:
    low, high = field.limits
    name = DIFFERENCE_COLORMAP if field.signed else FIELD_COLORMAP
    return matplotlib.colormaps[name](float(np.clip((level - low) / (high - low), 0.0, 1.0)))[:3]


def _opacity(field: Field, rank: int) -> float:
    if field.signed:
        return 0.7
    return 0.25 + 0.6 * (rank + 1) / len(field.levels) if len(field.levels) > 1 else 0.8


def _stand(camera: pv.Camera, scene: Scene) -> None:
    """Put the camera on a sphere around the cell's middle, z upwards."""
    middle = np.asarray(scene.cell).sum(axis=0) / 2
    azimuth, elevation = np.deg2rad([scene.view.azimuth, scene.view.elevation])
    outwards = np.array(
        [np.cos(elevation) * np.sin(azimuth), -np.cos(elevation) * np.cos(azimuth), np.sin(elevation)]
    )
    reach = DISTANCE * np.linalg.norm(np.asarray(scene.cell).sum(axis=0)) / scene.view.zoom
    camera.focal_point, camera.position, camera.up = middle, middle + reach * outwards, (0.0, 0.0, 1.0)
    camera.clipping_range = (0.01 * reach, 10 * reach)
