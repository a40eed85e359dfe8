"""What a viewer shows of a session: truth, forecast and a third view side by side, each under its atoms.

The layers are made once and live as long as the viewer; only their data is swapped, because removing a layer
that was drawn in 3-D crashes (vispy deletes its program in the wrong OpenGL context).
"""

from __future__ import annotations

import weakref
from typing import TYPE_CHECKING, Any

import numpy as np
from napari.experimental import link_layers
from napari.utils.colormaps import Colormap

from engine.palette import DIFFERENCE_COLORMAP, FORECAST, TRUTH
from ldm_viewer.frames import Series, shared_limits
from ldm_viewer.layers import AXES, UNITS, ReversedFrames, image, placement, scattered
from ldm_viewer.reader import GIVEN, SERIES
from ldm_viewer.scene import DIFFERENCE_SHARE
from ldm_viewer.state import Beside

if TYPE_CHECKING:
    import napari

SPREAD_COLORMAP = "magma"
LINKED = (
    "contrast_limits",
    "gamma",
    "colormap",
    "rendering",
    "iso_threshold",
    "attenuation",
    "interpolation2d",
)
MARGIN = 0.08  # around the cells, as a share of the view
THIRD = "#8C8C8C"  # readable on black and on white
ATOM_SIZE = 0.8  # Å across
SHELL = 0.45  # of the colours' reach: where a difference begins to be seen in 3-D


def shells() -> Colormap:
    """The difference's colours for 3-D, with nothing between −45 and 45 % of their reach: ± surfaces."""
    import matplotlib  # a tenth of a second of the start, were it above

    positions = np.linspace(-1, 1, 129)
    colors = matplotlib.colormaps[DIFFERENCE_COLORMAP]((positions + 1) / 2)
    colors[:, 3] = np.clip((np.abs(positions) - SHELL) / 0.1, 0.0, 0.9)
    return Colormap(colors, name=f"{DIFFERENCE_COLORMAP} shells")


class Triptych:
    """Three image layers, and a points layer over each once there are atoms; keeps no viewer alive."""

    def __init__(self, viewer: napari.Viewer) -> None:
        self._viewer = weakref.ref(viewer)
        self.truth: Any = None
        self.forecast: Any = None
        self.beside: Any = None  # difference or spread
        self.atoms: tuple[Any, ...] = ()
        self.span = (0.0, 1.0)  # of the truth's values, Å⁻³
        self.repeats = 1  # cells along each lattice vector
        self.cell_shown = False
        self._filmed = False
        self._kind = Beside.DIFFERENCE

    @property
    def limits(self) -> tuple[float, float]:
        """Display limits in Å⁻³ that every view of a density shares: those of the layers."""
        return tuple(self.truth.contrast_limits) if self.truth is not None else self.span

    @property
    def shown(self) -> tuple[bool, ...]:
        """Which of the three are."""
        return tuple(layer.visible for layer in self._images())

    def show_truth(self, truth: Series, new_file: bool) -> None:
        """Swap the truth; of a new file take the limits, and look at its middle."""
        viewer = self._viewer()
        if new_file or self.truth is None:
            self.span = shared_limits(truth)
        if self.truth is None:
            self._add_layers(truth)
        else:
            self._swap(self.truth, truth)
            if new_file:
                for layer in (self.forecast, self.beside):  # else the slider reaches back to the old times
                    self._swap(layer, _empty(truth))
                self.truth.contrast_limits_range = (0.0, 1.5 * self.span[1])
                self.truth.contrast_limits = self.span
                viewer.reset_view()
        if new_file:
            viewer.dims.set_point(1, float(self.truth.extent.world[:, 1].mean()))

    def show_film(self, film: Series | None) -> None:
        """Swap the forecast, or hide it."""
        if self.forecast is None:
            return
        self._filmed = film is not None
        if self._filmed:
            self._swap(self.forecast, film)
        self.forecast.visible = self._filmed

    def show_beside(self, third: Series | None, kind: Beside) -> None:
        """Swap the third view, or hide it, and give the others its room."""
        if self.beside is None:
            return
        viewer, self._kind = self._viewer(), kind
        if third is not None:
            self._swap(self.beside, third)
            self.beside.name = kind.value
            self.color_beside()
        self.beside.visible = third is not None
        shape = (1, 1 + self._filmed + (third is not None))
        if tuple(viewer.canvas.grid.shape) != shape:
            viewer.canvas.grid.shape = shape
            viewer.reset_view(margin=MARGIN)

    def color_beside(self) -> None:
        """Colours of the third view; in 3-D those of a difference leave its middle out: ± surfaces."""
        if self.beside is None:
            return
        low, high = self.limits
        reach, solid = DIFFERENCE_SHARE * (high - low), self._viewer().dims.ndisplay == 3
        spread = self._kind is Beside.SPREAD
        self.beside.contrast_limits_range = (0.0 if spread else -3 * reach, 3 * reach)
        self.beside.contrast_limits = (0.0 if spread else -reach, reach)
        self.beside.colormap = SPREAD_COLORMAP if spread else shells() if solid else DIFFERENCE_COLORMAP
        self.beside.rendering = "mip" if spread else "translucent"

    def show_atoms(self, positions: np.ndarray | None, cell: np.ndarray) -> None:
        """Atoms (N, 3) in Å over every view, with their periodic images; None hides them."""
        if positions is None or self.truth is None:
            for layer in self.atoms:
                layer.visible = False
            return
        places = scattered(positions, cell, self.repeats)
        if not self.atoms:
            self._add_atoms(places)
        for layer, under in zip(self.atoms, self._images(), strict=True):
            if under.visible:
                layer.data = places
            layer.visible = under.visible

    def show_cell(self, shown: bool) -> None:
        """Outline the cells, or not."""
        self.cell_shown = shown
        for layer in self._images():
            layer.bounding_box.visible = shown

    def tell(self, words: str) -> None:
        """Words below the views, on the canvas."""
        text = self._viewer().canvas.overlays.text
        if text.text != words:
            text.text = words

    def came_up(self) -> None:
        """Draw again where a frame has become ready under the slider."""
        for layer in (self.forecast, self.beside):
            layer.refresh(extent=False, highlight=False)

    def forget(self, layer: Any) -> bool:
        """The user deleted a layer: of ours all are forgotten, and new ones made with the next change."""
        ours = layer in (*self._images(), *self.atoms)
        if ours:
            self.truth = self.forecast = self.beside = None
            self.atoms = ()
        return ours

    def _images(self) -> tuple[Any, ...]:
        return () if self.truth is None else (self.truth, self.forecast, self.beside)

    def _add_layers(self, truth: Series) -> None:
        viewer = self._viewer()
        empty = _empty(truth)
        self.truth = self._given_layer() or viewer.add_image(**image(truth, "truth", self.span))
        self._swap(self.truth, truth)
        self.truth.name, self.truth.contrast_limits = "truth", self.span
        self.forecast = viewer.add_image(**image(empty, "forecast", self.span, visible=False))
        self.beside = viewer.add_image(**image(empty, "difference", self.span, visible=False))
        for layer in (self.truth, self.forecast):
            layer.contrast_limits_range = (0.0, 1.5 * self.span[1])
        for layer in self._images():
            layer.interpolation2d = "linear"
            layer.bounding_box.points, layer.bounding_box.line_color = False, THIRD
            layer.bounding_box.visible = self.cell_shown
        link_layers([self.truth, self.forecast], LINKED)
        viewer.layers.selection.active = self.forecast
        dress(viewer, {self.truth: TRUTH, self.forecast: FORECAST, self.beside: THIRD})
        viewer.reset_view()

    def _given_layer(self) -> Any:
        """The layer that our reader made of what napari's command line names; drawn already, so it stays."""
        layers = self._viewer().layers
        return next((layer for layer in layers if {GIVEN, SERIES} & set(layer.metadata)), None)

    def _add_atoms(self, places: np.ndarray) -> None:
        """A points layer above each image: the grid shows layers in pairs from now on."""
        viewer, active, added = self._viewer(), self._viewer().layers.selection.active, []
        for under in self._images():
            layer = viewer.add_points(
                places,
                name=f"atoms, {under.name}",
                size=ATOM_SIZE,
                face_color="#FFFFFFB0",
                border_color="black",
                border_width=0.1,
                projection_mode="rescale_spherical",  # discs where the plane cuts the spheres
                axis_labels=AXES[1:],
                units=UNITS[1:],
                visible=False,
            )
            viewer.layers.move(viewer.layers.index(layer), viewer.layers.index(under) + 1)
            added.append(layer)
        self.atoms = tuple(added)
        reach = (0.0,) + 3 * (ATOM_SIZE / 2,)  # images look at the plane alone, points at what is this near
        viewer.dims.margin_left = viewer.dims.margin_right = reach
        viewer.canvas.grid.stride = 2
        viewer.layers.selection.active = active

    def _swap(self, layer: Any, series: Series) -> None:
        """Give a layer other data; its place first where the number of frames or the grid differ."""
        series = series.repeated(self.repeats)
        layer.data = ReversedFrames(series.frames)
        for name, value in placement(series).items():
            if not np.allclose(np.asarray(getattr(layer, name)), value):
                setattr(layer, name, value)


def _empty(truth: Series) -> Series:
    """A frame of nothing where the truth begins."""
    return Series(np.zeros((1, *truth.grid), np.float32), truth.start_fs, truth.step_fs, truth.cell)


def dress(viewer: napari.Viewer, colors: dict[Any, str]) -> None:
    """Side by side, named in their colours, y upwards, with axes and a scale bar in Å."""
    viewer.dims.axis_labels = AXES
    viewer.camera.orientation2d = ("up", "right")
    grid, overlays = viewer.canvas.grid, viewer.canvas.overlays
    grid.enabled, grid.shape, grid.stride, grid.spacing = True, (1, 1), 1, 4
    for layer, color in colors.items():
        layer.name_overlay.visible, layer.name_overlay.color = True, color
    overlays.axes.visible, overlays.axes.size = True, 60
    overlays.axes.box = overlays.text.box = overlays.scale_bar.box = False  # boxes would hide the density
    overlays.scale_bar.visible = True
    overlays.text.visible, overlays.text.position = True, "bottom_center"
