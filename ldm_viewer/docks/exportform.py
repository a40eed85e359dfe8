"""The fields of the export dock and how they stand in it; what they do is the dock's."""

from __future__ import annotations

from qtpy.QtCore import Qt
from qtpy.QtWidgets import (
    QCheckBox,
    QComboBox,
    QDoubleSpinBox,
    QFormLayout,
    QLabel,
    QLineEdit,
    QProgressBar,
    QPushButton,
    QScrollArea,
    QSizePolicy,
    QSlider,
    QSpinBox,
    QVBoxLayout,
    QWidget,
)

from ldm_viewer.docks.parts import TextLine, row
from ldm_viewer.encoder import KINDS
from ldm_viewer.footage import VIEWS
from ldm_viewer.movie import SIZES, SMALLEST, STRIPS
from ldm_viewer.order import CANVAS, PAGE, SLICES, SURFACES, WHATS
from ldm_viewer.planes import PLANES
from ldm_viewer.turntable import MOTIONS, TURN

CUSTOM = "custom"
STEPS = 1000  # of the position slider, over the cell
LARGEST = 8192  # pixels of a side
END = "end"
NUMBER_WIDTH = 74  # pixels


class ExportForm(QWidget):
    """Read like a sentence: what → which part → how large → where to."""

    def __init__(self) -> None:
        super().__init__()
        self._make_what()
        self._make_how()
        self._make_run()
        self._lay_out()
        for box in (self.what, self.motion):
            box.currentTextChanged.connect(self.show_what)
        self.size.currentTextChanged.connect(self._show_size)
        self.show_what()
        self._show_size()

    @property
    def pixels(self) -> tuple[int, int]:
        """Width and height that are chosen."""
        if self.size.currentText() == CUSTOM:
            return self.wide.value(), self.high.value()
        return SIZES[self.size.currentText()]

    @property
    def chosen_views(self) -> tuple[str, ...]:
        """Which of truth, forecast and difference are ticked."""
        return tuple(view for view, box in self.views.items() if box.isChecked())

    def _make_what(self) -> None:
        self.what = _choice("what", list(WHATS), "What is filmed, or written as a page")
        self.motion = _choice(
            "motion",
            list(MOTIONS),
            "Turn the camera once round the moment at the slider, or play through time",
        )
        self.views = {view: QCheckBox(view, checked=True, objectName=view) for view in VIEWS}
        for box in self.views.values():
            box.setToolTip("Show it, side by side with the others")
        self.plane = _choice("plane", list(PLANES), "Axis that the cut is normal to")
        self.position = QSlider(Qt.Orientation.Horizontal, objectName="position")
        self.position.setRange(0, STEPS)
        self.position.setValue(STEPS // 2)
        self.position.setToolTip("Where along it the cut lies")
        self.strip = _choice("strip", list(STRIPS), "Curves of truth and forecast below the slices")
        self.title = QLineEdit(objectName="title", placeholderText="no title")
        for widget in (self.title, self.position):  # as wide as there is room
            widget.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Fixed)
        self.title.setToolTip("Words above the picture, or the page's title")

    def _make_how(self) -> None:
        self.first = _number("first", 0, 10**7, 0, "First moment, in fs after the start", special="start")
        self.last = _number("last", 0, 10**7, 0, "Last moment, in fs after the start", special=END)
        self.smooth = QCheckBox("smooth", checked=True, objectName="smooth")
        self.smooth.setToolTip("Splined in time to the finer step of truth and forecast; else frame by frame")
        self.size = _choice("size", [*SIZES, CUSTOM], "Pixels of the movie")
        self.wide = _number("wide", SMALLEST, LARGEST, 1280, "Width in pixels, even", step=2)
        self.high = _number("high", SMALLEST, LARGEST, 720, "Height in pixels, even", step=2)
        self.fps = _number("fps", 1, 120, 25, "Pictures per second")
        self.seconds = QDoubleSpinBox(minimum=0.5, maximum=120.0, value=8.0, decimals=1, objectName="seconds")
        self.seconds.setSuffix(" s")
        self.seconds.setToolTip("Duration of one turn")
        self.kind = _choice(
            "kind",
            list(KINDS),
            "MP4 (H.264) plays in PowerPoint and Keynote; GIF anywhere; PNG for other tools",
        )

    def _make_run(self) -> None:
        self.cancel = QPushButton(text="Cancel", toolTip="Stop; nothing is left of it")
        self.cancel.setVisible(False)
        self.progress = QProgressBar(textVisible=False, maximum=1)
        self.progress.setMaximumHeight(8)
        self.status = TextLine(name="status")
        self.export = QPushButton(text="Export…", toolTip="Choose a file, then write it beside the window")

    def _lay_out(self) -> None:
        holder = QWidget()
        self.fields = QFormLayout(holder)
        self.fields.setContentsMargins(0, 0, 6, 0)
        self.fields.setVerticalSpacing(3)
        self.fields.setFieldGrowthPolicy(QFormLayout.FieldGrowthPolicy.AllNonFixedFieldsGrow)
        self.times = QLabel("×")
        self.rows = {
            "what": self._row("Export", self.what),
            "motion": self._row("Camera", self.motion, self.seconds),
            "views": self._row("Show", *self.views.values()),
            "plane": self._row("Cut at", self.plane, self.position, QLabel("below"), self.strip),
            "title": self._row("Title", self.title),
            "time": self._row("Time", self.first, QLabel("–"), self.last, self.smooth),
            "size": self._row("Size", self.size, self.wide, self.times, self.high, self.fps),
        }
        scroll = QScrollArea(widgetResizable=True, frameShape=QScrollArea.Shape.NoFrame)
        scroll.setWidget(holder)
        scroll.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self.setLayout(QVBoxLayout())
        self.layout().setContentsMargins(0, 0, 0, 0)
        self.layout().setSpacing(3)
        self.layout().addWidget(scroll, 1)
        self.layout().addWidget(self.progress)
        self.layout().addWidget(row(self.kind, self.export, self.cancel, self.status))

    def _row(self, label: str, *widgets: QWidget) -> QWidget:
        holder = row(*widgets)
        self.fields.addRow(label, holder)
        return holder

    def show_what(self, _: str = "") -> None:
        """Only the rows that the choice needs."""
        what = self.what.currentText()
        flat, page = what == SLICES, what == PAGE
        for name in ("views", "plane"):
            self._set_row(name, flat)
        self._set_row("motion", what in (SURFACES, CANVAS))
        self._set_row("size", not page)
        turns = what in (SURFACES, CANVAS) and self.motion.currentText() == TURN
        self._set_row("time", not turns)
        self.seconds.setVisible(turns)
        self.kind.setVisible(not page)
        self.smooth.setVisible(flat)

    def _show_size(self, _: str = "") -> None:
        for widget in (self.wide, self.times, self.high):
            widget.setVisible(self.size.currentText() == CUSTOM)

    def _set_row(self, name: str, shown: bool) -> None:
        self.fields.setRowVisible(self.rows[name], shown)


def _choice(name: str, items: list[str], tip: str) -> QComboBox:
    box = QComboBox(objectName=name)
    box.addItems(items)
    box.setToolTip(tip)
    return box


def _number(
    name: str, low: int, high: int, value: int, tip: str, special: str = "", step: int = 1
) -> QSpinBox:
    box = QSpinBox(minimum=low, maximum=high, value=value, singleStep=step, objectName=name)
    box.setToolTip(tip)
    box.setSuffix({"fps": " fps", "first": " fs", "last": " fs"}.get(name, ""))
    box.setSpecialValueText(special)
    box.setKeyboardTracking(False)
    box.setButtonSymbols(QSpinBox.ButtonSymbols.NoButtons)  # they would not fit beside each other
    box.setMaximumWidth(NUMBER_WIDTH)
    return box
