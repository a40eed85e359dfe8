"""What a training is asked for: data → recipe → grid, stride → budget → folder; the rest folded away."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import is_dataclass, replace
from pathlib import Path
from typing import Any

from magicgui import widgets
from psygnal import Signal
from qtpy.QtCore import Qt
from qtpy.QtWidgets import (
    QAbstractSpinBox,
    QFileDialog,
    QFrame,
    QGroupBox,
    QScrollArea,
    QSizePolicy,
    QToolButton,
    QVBoxLayout,
    QWidget,
)

from engine.dataset import split
from engine.formats import format_of
from engine.jobs import Job
from engine.recipes import RECIPES, Recipe
from engine.samples import DEFAULT
from engine.tailor import fitted, on_grid
from engine.trajectory import Trajectory
from ldm_viewer.fields import LARGEST, explained, form_of
from ldm_viewer.jobs import JobError, free_folder, root
from ldm_viewer.preferences import devices
from ldm_viewer.reader import open_any, series_of

MINUTES, STEPS, RECIPE = "minutes", "steps", "as the recipe says"
BUDGETS = {MINUTES: 30, STEPS: 2000}
IN_SIGHT = {"data": ("grid", "stride")}  # fields that need not be folded away
FILES = "Densities (*.h5 *.hdf5 *.h5md *CHGCAR* *.cube *.cub *.xsf)"


class TrainingForm(QWidget):
    """Makes a `Job`. `series_given` tells of files that must be made a trajectory first."""

    series_given = Signal(list)

    def __init__(self) -> None:
        super().__init__()
        self.recipe: Recipe = RECIPES[DEFAULT]
        self.trajectory: Trajectory | None = None
        self.parts: dict[str, widgets.Container] = {}  # forms of the recipe's parts, once they were looked at
        self._formed: dict[str, Any] = {}  # what they show
        self._make()
        self._lay_out()
        self._connect()
        self._show()

    # ---------------------------------------------------------------------------------------------- widgets

    def _make(self) -> None:
        data = explained(type(self.recipe.data))
        self.data = widgets.LineEdit(
            name="data", tooltip="Trajectory to learn from, or a series of density files"
        )
        self.file = widgets.PushButton(text="File…", tooltip="A trajectory (*.h5), or one file of a series")
        self.series = widgets.PushButton(text="Folder…", tooltip="A folder of CHGCAR, CUBE or XSF files")
        self.info = widgets.Label(value="")
        names = sorted(RECIPES, key=lambda name: name != DEFAULT)
        self.choice = widgets.ComboBox(
            choices=names, value=DEFAULT, tooltip="The model and how it is trained"
        )
        self.grid = [widgets.SpinBox(min=1, max=512, tooltip=data["grid"]) for _ in range(3)]
        self.stride = widgets.SpinBox(min=1, max=10_000, tooltip=data["stride"])
        self.step_fs = widgets.Label(value="")
        self.device = widgets.ComboBox(
            choices=("auto", *devices()), tooltip="Where to compute; auto takes a GPU if there is one"
        )
        self.budget = widgets.ComboBox(choices=[MINUTES, STEPS, RECIPE], value=MINUTES)
        self.budget.tooltip = (
            "Minutes are turned into steps by timing a few first; the learning rate ends with them"
        )
        self.amount = widgets.SpinBox(value=BUDGETS[MINUTES], min=1, max=LARGEST, tooltip="How many")
        self.folder = widgets.LineEdit(tooltip="Where emulator, log and what a killed run resumes from go")
        self.browse = widgets.PushButton(text="…", tooltip="Choose the folder in which a new one is made")

    def _lay_out(self) -> None:
        self.info.label = ""
        rows = [
            _row("Data", self.data, self.file, self.series),
            self.info,
            _row("Recipe", self.choice, widgets.Label(value="on"), self.device),
            _row("Grid", *self.grid),
            _row("Stride", self.stride, self.step_fs),
            _row("Budget", self.amount, self.budget),
            _row("Into", self.folder, self.browse),
        ]
        self.form = widgets.Container(widgets=rows, labels=True)
        self.form.margins = (0, 0, 0, 0)
        self.form.native.layout().setSpacing(3)
        self.info.native.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Preferred)
        for number in self.grid:
            number.native.setButtonSymbols(QAbstractSpinBox.ButtonSymbols.NoButtons)
            number.native.setMinimumWidth(40)
        for button, width in ((self.file, 56), (self.series, 66), (self.browse, 30)):
            button.native.setMaximumWidth(width)
        self.advanced = QToolButton(text="Advanced", checkable=True, toolTip="Every field of the recipe")
        self.advanced.setToolButtonStyle(Qt.ToolButtonStyle.ToolButtonTextBesideIcon)
        self.advanced.setArrowType(Qt.ArrowType.RightArrow)
        self.advanced.setAutoRaise(True)
        self.folded = QWidget(visible=False)
        self.folded.setLayout(QVBoxLayout())
        self.folded.layout().setContentsMargins(0, 0, 0, 0)
        inner = QWidget()
        inner.setLayout(QVBoxLayout())
        inner.layout().setContentsMargins(0, 0, 8, 0)
        for part in (self.form.native, self.advanced, self.folded):
            inner.layout().addWidget(part)
        inner.layout().addStretch()
        area = QScrollArea(widgetResizable=True)
        area.setFrameShape(QFrame.Shape.NoFrame)
        area.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        area.setWidget(inner)
        self.setLayout(QVBoxLayout())
        self.layout().setContentsMargins(0, 0, 0, 0)
        self.layout().addWidget(area)

    def _connect(self) -> None:
        self.file.changed.connect(self._ask_file)
        self.series.changed.connect(self._ask_series)
        self.browse.changed.connect(self._ask_folder)
        self.data.native.editingFinished.connect(lambda: self.take(self.data.value))
        self.choice.changed.connect(self._on_choice)
        for number in (*self.grid, self.stride):
            number.changed.connect(self._on_data)
        self.budget.changed.connect(self._on_budget)
        self.advanced.toggled.connect(self._fold)

    # ------------------------------------------------------------------------------------------------- data

    def take(self, path: str | Path) -> None:
        """Learn from this trajectory; of a series of files, tell."""
        files = series_of([path]) or (series_of([Path(path).parent]) if format_of(path) is not None else [])
        if files:
            self.series_given.emit(files)
            return
        self.data.value, self.trajectory = str(path), None
        try:
            if Path(path).is_dir():
                raise JobError("no CHGCAR, CUBE or XSF files are in this folder")
            self.trajectory = open_any(path)
            self.recipe = fitted(RECIPES[self.choice.value], self.trajectory)
            self.info.value = self._describe(self.trajectory)
        except (ValueError, OSError) as error:
            self.trajectory, self.info.value = None, str(error)
        self.info.tooltip = self.info.value
        self.folder.value = str(self._proposed())
        self._show()

    def _proposed(self) -> Path:
        """A folder that is named after data and recipe."""
        name = "training" if self.trajectory is None else self.trajectory.path.stem
        return free_folder(f"{name}-{self.choice.value}")

    @staticmethod
    def _describe(shown: Trajectory) -> str:
        return f"{shown.formula}, {len(shown)} frames every {shown.dt_fs:g} fs, {_times(shown.grid)} points"

    # ---------------------------------------------------------------------------------------------- choices

    def job(self) -> Job:
        """What the form asks for. Raises JobError in words where it is not complete."""
        if self.trajectory is None:
            raise JobError("choose a trajectory to learn from, or a folder of CHGCAR, CUBE or XSF")
        folder = Path(self.folder.value).expanduser()
        if not self.folder.value or not folder.is_absolute():
            raise JobError("choose a folder for the emulator, by its whole path, as /home/me/runs/mine")
        budget = self.budget.value
        amount = {"minutes": float(self.amount.value)} if budget == MINUTES else {}
        amount = {"steps": int(self.amount.value)} if budget == STEPS else amount
        split(self.trajectory, self.recipe.data)  # refuses too few frames
        data = self.trajectory.path.resolve()
        return Job(self.recipe, data, folder, self.device.value, **amount)

    def _on_choice(self, name: str) -> None:
        named_by_us = Path(self.folder.value).parent == root()
        self.recipe = RECIPES[name] if self.trajectory is None else fitted(RECIPES[name], self.trajectory)
        if named_by_us:
            self.folder.value = str(self._proposed())
        self._show()

    def _on_data(self) -> None:
        grid = tuple(number.value for number in self.grid)
        self.recipe = on_grid(self.recipe, grid)
        self.recipe = replace(self.recipe, data=replace(self.recipe.data, stride=self.stride.value))
        self._show()

    def _on_budget(self, budget: str) -> None:
        self.amount.visible = budget in BUDGETS
        self.amount.value = BUDGETS.get(budget, 1)

    def _show(self) -> None:
        data = self.recipe.data
        for number, value in zip((*self.grid, self.stride), (*data.grid, data.stride), strict=True):
            with number.changed.blocked():
                number.value = value
        dt = None if self.trajectory is None else self.trajectory.dt_fs
        self.step_fs.value = "" if dt is None else f"Δτ = {dt * data.stride:g} fs"
        if self.advanced.isChecked():
            self._fill_advanced()

    def _fold(self, opened: bool) -> None:
        self.advanced.setArrowType(Qt.ArrowType.DownArrow if opened else Qt.ArrowType.RightArrow)
        self.folded.setVisible(opened)
        if opened:
            self._fill_advanced()

    def _fill_advanced(self) -> None:
        """A form for every part of the recipe, made when it is looked at, and again when the part changes."""
        for name, part in vars(self.recipe).items():
            if not is_dataclass(part) or self._formed.get(name) == part:
                continue
            former = self.parts[name].native.parent() if name in self.parts else None
            self._formed[name] = part
            self.parts[name] = form_of(part, self._changer(name), IN_SIGHT.get(name, ()))
            box = QGroupBox(name)
            box.setToolTip(type(part).__doc__)
            box.setLayout(QVBoxLayout())
            box.layout().setContentsMargins(4, 4, 4, 4)
            box.layout().addWidget(self.parts[name].native)
            if former is None:
                self.folded.layout().addWidget(box)
            else:
                self.folded.layout().replaceWidget(former, box)
                former.deleteLater()

    def _changer(self, name: str) -> Callable[[Any], None]:
        def change(part: Any) -> None:
            self.recipe = replace(self.recipe, **{name: part})
            self._formed[name] = part

        return change

    # ---------------------------------------------------------------------------------------------- dialogs

    def _ask_file(self) -> None:
        path, _ = QFileDialog.getOpenFileName(self, "Data to learn from", self.data.value, FILES)
        if path:
            self.take(path)

    def _ask_series(self) -> None:
        path = QFileDialog.getExistingDirectory(self, "Folder of CHGCAR, CUBE or XSF files", self.data.value)
        if path:
            self.take(path)

    def _ask_folder(self) -> None:
        path = QFileDialog.getExistingDirectory(self, "Make the emulator's folder in")
        if path:
            self.folder.value = str(Path(path) / Path(self.folder.value).name)


def _times(numbers: tuple[int, ...]) -> str:
    return f"{numbers[0]}³" if len(set(numbers)) == 1 else "×".join(map(str, numbers))


def _row(label: str, *parts: widgets.Widget) -> widgets.Container:
    holder = widgets.Container(widgets=parts, layout="horizontal", labels=False, label=label)
    holder.margins = (0, 0, 0, 0)
    return holder
