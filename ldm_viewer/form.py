"""The fields of the main panel and how they stand in it; what they do is the panel's."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

from magicgui import widgets
from qtpy.QtWidgets import QLabel, QSizePolicy, QVBoxLayout, QWidget

from ldm_viewer.state import Beside

OTHER = "other folder…"
ASKED = (
    "time",
    "data",
    "emulator",
    "start_fs",
    "seed",
    "members",
    "member",
    "chosen_run",
    "beside",
    "frames",
    "stride",
    "follow",
    "atoms",
    "cells",
)
"""Fields that give a command when they change."""
FORK_WIDTH = 70  # pixels
LONGEST_STATUS = "running: 10000 of 10000 frames, 100.0 a second"
LONGEST_TIME = "100000.25 fs"


class Form(QWidget):
    """Read like a sentence: data → emulator → start → run → show."""

    def __init__(self) -> None:
        super().__init__()
        self._make_choices()
        self._make_run()
        self._make_views()
        self._lay_out()

    def _make_choices(self) -> None:
        self.data = widgets.FileEdit(
            name="data", filter="Densities (*.h5 *.hdf5 *.h5md *.cube *.cub *.xsf *CHGCAR*)"
        )
        self.data.choose_btn.text = "Open…"
        self.sample = widgets.PushButton(
            text="Sample", tooltip="Liquid lithium that no shipped emulator has seen"
        )
        self.data_info = widgets.Label(name="data_info", value="")
        self.emulator = widgets.ComboBox(name="emulator", choices=[OTHER], tooltip="What continues the data")
        self.emulator_info = widgets.Label(name="emulator_info", value="")
        self.start_fs = widgets.FloatSpinBox(
            name="start_fs", tooltip="Time of the frame to start from", max=1e9
        )
        self.here = widgets.PushButton(text="At slider", tooltip="Start from the frame that is shown")
        self.seed = widgets.SpinBox(name="seed", max=2**31 - 1, tooltip="The same seed gives the same film")
        self.members = widgets.SpinBox(
            name="members", min=1, max=64, tooltip="Forecasts from one start that differ in their noise"
        )

    def _make_run(self) -> None:
        self.frames = widgets.SpinBox(name="frames", min=1, max=10**6, tooltip="Forecast steps to compute")
        self.stride = widgets.SpinBox(name="stride", min=1, max=1000, tooltip="Show every n-th forecast step")
        self.run = widgets.PushButton(name="run", text="Forecast")
        self.step = widgets.PushButton(name="step", text="Step", tooltip="One more frame, then hold")
        self.stop = widgets.PushButton(name="stop", text="Stop", tooltip="End this forecast; its frames stay")
        self.progress = widgets.ProgressBar(name="progress", min=0, max=1, value=0)
        self.status = widgets.Label(name="status", value="")

    def _make_views(self) -> None:
        self.member = widgets.ComboBox(name="member", choices=["member 1"], tooltip="Which member is shown")
        self.beside = widgets.ComboBox(
            name="beside",
            choices=[*Beside],
            tooltip="Third view: forecast − truth, or spread of members",
        )
        self.chosen_run = widgets.ComboBox(
            name="chosen_run", choices=["none yet"], tooltip="Which forecast is shown; all are kept"
        )
        self.chosen_run.native.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Fixed)
        self.fork = widgets.PushButton(
            name="fork", text="Fork", tooltip="Go on from the forecast's frame at the slider, as set up above"
        )
        self.fork.native.setMaximumWidth(FORK_WIDTH)
        self.save = widgets.PushButton(
            name="save", text="Save…", tooltip="Write data, emulator, seed and view to a small file"
        )
        self.open = widgets.PushButton(name="open", text="Open…", tooltip="Make a saved figure again")
        self.preferences = widgets.PushButton(
            name="preferences", text="Preferences…", tooltip="Device, redraw rate, threads"
        )
        self.atoms = widgets.CheckBox(
            name="atoms",
            value=False,
            text="Atoms, cell",
            tooltip="Draw them over the densities; a live forecast is then shown at half the rate",
        )
        self.cells = widgets.SpinBox(
            name="cells", min=1, max=3, value=1, tooltip="Cells along each axis: periodic images"
        )
        self.time = widgets.Slider(name="time", readout=False, tooltip="Moment shown in every view")
        self.time_text = widgets.Label(name="time_text", value="")
        self.follow = widgets.CheckBox(
            name="follow", value=True, text="Follow", tooltip="Go with the newest frame"
        )

    def _lay_out(self) -> None:
        self.form = widgets.Container(widgets=self._rows(), labels=True)
        self.form.margins = (0, 0, 0, 0)
        for label in (self.data_info, self.emulator_info):  # long texts never change the layout
            label.native.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Preferred)
        for label, longest in ((self.status, LONGEST_STATUS), (self.time_text, LONGEST_TIME)):
            _fix_size(label.native, longest)
        self.setLayout(QVBoxLayout())
        self.layout().setContentsMargins(6, 4, 6, 4)
        self.layout().addWidget(self.form.native)
        self.layout().addStretch()

    def _rows(self) -> list[widgets.Widget]:
        self.emulator.label = "Emulator"
        self.data_info.label = self.emulator_info.label = self.status.label = ""
        start = _row("Start at", self.start_fs, widgets.Label(value="fs"), self.here)
        noise = _row("Seed", self.seed, widgets.Label(value="members"), self.members)
        length = _row("Frames", self.frames, widgets.Label(value="show every"), self.stride)
        self.progress.label = "Progress"
        return [
            _row("Data", self.data, self.sample),
            self.data_info,
            self.emulator,
            self.emulator_info,
            start,
            noise,
            length,
            _row("Run", self.run, self.step, self.stop),
            _row("Forecast", self.chosen_run, self.fork),
            _row("Show", self.member, widgets.Label(value="and the"), self.beside),
            self.progress,
            self.status,
            _row("Time", self.time, self.time_text),
            _row("", self.follow, self.atoms, self.cells, widgets.Label(value="cells")),
            _row("State", self.save, self.open, self.preferences),
        ]

    @contextmanager
    def silent(self) -> Iterator[None]:
        """While the form shows the state, its fields give no commands.

        A progress bar repaints itself at once for every value otherwise, and the whole window with it.
        """
        self.progress.native.setUpdatesEnabled(False)
        with ExitStack() as stack:
            for name in ASKED:
                stack.enter_context(getattr(self, name).changed.blocked())
            yield
        self.progress.native.setUpdatesEnabled(True)


def put(widget: widgets.Widget, **values: Any) -> None:
    """Set what differs: each setting costs a repaint of a window that OpenGL composes."""
    for name, value in values.items():
        if getattr(widget, name) != value:
            setattr(widget, name, value)


def _row(label: str, *parts: widgets.Widget) -> widgets.Container:
    holder = widgets.Container(widgets=parts, layout="horizontal", labels=False, label=label)
    holder.margins = (0, 0, 0, 0)
    return holder


def _fix_size(label: QLabel, longest: str) -> None:
    """Room for the longest text: a label that may change its size has the window laid out with every text."""
    metrics = label.fontMetrics()
    label.setFixedSize(metrics.horizontalAdvance(longest), metrics.height() + 4)
