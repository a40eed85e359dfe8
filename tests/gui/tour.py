"""A user at the real window, by mouse and keys only: explores, trains, prepares a talk.

Each job is a generator that says the name of every step once it is done; `test_tour.py` walks it, checks what
must be true after each, and keeps a picture.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from qtpy.QtCore import QPoint, QPointF, Qt, QTimer
from qtpy.QtTest import QTest
from qtpy.QtWidgets import (
    QAbstractSpinBox,
    QApplication,
    QFileDialog,
    QLineEdit,
    QMainWindow,
    QSlider,
    QTabBar,
    QToolTip,
    QWidget,
)

from engine.samples import sample_path
from engine.series import export_series
from engine.trajectory import Trajectory
from ldm_viewer.docks.base import LiveDock
from ldm_viewer.docks.drift import DriftDock
from ldm_viewer.docks.export import ExportDock
from ldm_viewer.docks.training import TrainingDock
from ldm_viewer.jobs import Standing
from ldm_viewer.order import PAGE, SLICES
from ldm_viewer.panel import MainPanel
from ldm_viewer.state import State, Status

LEFT = Qt.MouseButton.LeftButton
SIZE = (1280, 800)
FRAMES = 50  # of 10 fs: as long as the sample's truth
JUDGES = ("Histogram", "S(q)", "F(q,t)", "Latents")
OWN = 120  # files of a user
MINUTES = 2  # of training
PATIENCE_S = 300.0  # for what takes seconds on an idle machine
BLINK_MS = 150  # what has changed is painted
KEY_MS = 30  # between two keys: a file dialog looks into the folders that are being named
POPUP_MS = 600  # a list takes no click before, lest it be the one that opened it
SETTLE_MS = 900  # a new window is laid out


class User:
    """Hands and eyes. Every hand movement is a Qt mouse or key event; commands are not called."""

    def __init__(self, window: QMainWindow, folder: Path) -> None:
        self.window, self.folder = window, folder
        self.said = ""  # by a tooltip

    # ---------------------------------------------------------------------------------------------- hands

    def click(self, widget: Any, at: QPoint | None = None) -> None:
        """Press and release the left button."""
        widget = getattr(widget, "native", widget)
        assert widget.isEnabled() and widget.isVisible(), f"{widget} cannot be clicked"
        QTest.mouseClick(widget, LEFT, pos=at if at is not None else widget.rect().center())
        QTest.qWait(BLINK_MS)

    def tick(self, box: QWidget) -> None:
        """Click on a box's mark, which is at its left."""
        self.click(box, QPoint(8, box.height() // 2))

    def write(self, field: Any, text: object, enter: bool = True) -> None:
        """Replace what stands in a field of text or numbers, and press Enter."""
        field = getattr(field, "native", field)
        line = field.lineEdit() if isinstance(field, QAbstractSpinBox) else field
        self.click(line)
        QTest.keyClick(line, Qt.Key.Key_A, Qt.KeyboardModifier.ControlModifier)
        QTest.keyClicks(line, str(text))
        if enter:
            QTest.keyClick(line, Qt.Key.Key_Return)
        QTest.qWait(BLINK_MS)

    def choose(self, box: Any, text: str) -> None:
        """Open a list and click on the line that begins so."""
        box = getattr(box, "native", box)
        self.click(box)
        row = next(i for i in range(box.count()) if box.itemText(i).startswith(text))
        view = box.view()
        self.until(view.isVisible)
        view.scrollTo(box.model().index(row, 0))
        QTest.qWait(POPUP_MS)
        self.click(view.viewport(), view.visualRect(box.model().index(row, 0)).center())
        self.until(lambda: not view.isVisible())

    def drag(self, widget: Any, share: float) -> None:
        """Take a slider's handle to a share of its range."""
        widget = _inner(widget)
        span = max(1, widget.maximum() - widget.minimum())
        places = [(widget.value() - widget.minimum()) / span, share]
        begin, end = (QPoint(6 + round(p * (widget.width() - 12)), widget.height() // 2) for p in places)
        QTest.mousePress(widget, LEFT, pos=begin)
        for step in range(1, 6):
            QTest.mouseMove(widget, begin + (end - begin) * step / 5)
            QTest.qWait(20)
        QTest.mouseRelease(widget, LEFT, pos=end)
        QTest.qWait(BLINK_MS)

    def hover(self, dock: Any, curve: str) -> str:
        """Hold the cursor over a point of a curve, after a quarter of them; what is said there."""
        x, y = dock.curves[curve].getData()
        box, view = dock.plot.getViewBox(), dock.plot
        QTest.qWait(BLINK_MS)
        place = box.mapViewToScene(QPointF(x[len(x) // 4], y[len(x) // 4]))
        QTest.mouseMove(view.viewport(), view.mapFromScene(place))
        self.until(QToolTip.text)
        return QToolTip.text()

    def key(self, widget: Any, key: Qt.Key, times: int = 1) -> None:
        """Press a key."""
        for _ in range(times):
            QTest.keyClick(_inner(widget), key)
            QTest.qWait(20)

    def tab(self, name: str) -> None:
        """Bring a dock to the front by its tab."""
        for bar in self.window.findChildren(QTabBar):
            for index in range(bar.count() if bar.isVisible() else 0):
                if bar.tabText(index) == name:
                    self.click(bar, bar.tabRect(index).center())
                    return
        raise AssertionError(f"there is no tab {name}")

    def menu(self, *names: str) -> None:
        """Open menus by their lines, the last one is done."""
        bar: Any = self.window.menuBar()
        for name in names:
            action = next(a for a in bar.actions() if a.text().replace("&", "").startswith(name))
            self.click(bar, bar.actionGeometry(action).center())
            if name != names[-1]:
                bar = action.menu()
                self.until(bar.isVisible)

    def click_and_answer(self, button: Any, path: Path, picture: str = "") -> None:
        """Click, and type a path into the file dialog that comes: Enter, again until it has gone."""
        timer = QTimer(self.window)

        def look() -> None:
            dialog = QApplication.activeModalWidget()
            line = dialog.findChild(QLineEdit) if isinstance(dialog, QFileDialog) else None
            if line is None or not line.isVisible():
                return
            timer.stop()
            line.selectAll()
            QTest.keyClicks(line, str(path), Qt.KeyboardModifier.NoModifier, KEY_MS)
            QTest.qWait(POPUP_MS)
            while dialog.selectedFiles() != [str(path)]:  # it has not yet looked into the last folder
                QTest.keyClick(line, Qt.Key.Key_Backspace)
                QTest.keyClicks(line, str(path)[-1])
                QTest.qWait(POPUP_MS)
            if picture:
                self.shoot(picture)
            timer.start(3 * POPUP_MS)  # should it have taken the path for a folder to show
            QTest.keyClick(line, Qt.Key.Key_Return)

        timer.timeout.connect(look)
        timer.start(100)
        self.click(button)  # comes back when the dialog has gone
        timer.stop()
        timer.timeout.disconnect()  # it would keep the window
        timer.deleteLater()

    # ------------------------------------------------------------------------------------------------ eyes

    def until(self, true: Callable[[], Any], patience_s: float = PATIENCE_S) -> None:
        """Wait while the window lives."""
        began = time.monotonic()
        while not true():
            assert time.monotonic() - began < patience_s, f"waited {patience_s:.0f} s in vain"
            QTest.qWait(20)

    def shoot(self, name: str) -> Path:
        """A picture of the screen where the window is, menus and dialogs with it."""
        place = self.window.frameGeometry()
        picture = self.window.screen().grabWindow(0, place.x(), place.y(), place.width(), place.height())
        path = self.folder / f"{name}.png"
        self.folder.mkdir(parents=True, exist_ok=True)
        assert picture.save(str(path)), f"no picture at {path}"
        return path

    # ------------------------------------------------------------------------------------------ the window

    @property
    def panel(self) -> Any:
        """The main panel."""
        return self.window.findChild(MainPanel)

    @property
    def state(self) -> State:
        """What the session knows."""
        return self.panel.session.state

    def dock(self, kind: type[QWidget]) -> Any:
        """One of our docks."""
        return self.window.findChild(kind)

    def settle(self) -> None:
        """Let every dock that can be seen show the present state."""
        QTest.qWait(BLINK_MS)
        self.until(
            lambda: not any(d.seen and (d._stale or d._job) for d in self.window.findChildren(LiveDock))
        )
        QTest.qWait(BLINK_MS)

    def forecast(self) -> None:
        """Press the button and wait for the end."""
        number = self.state.run
        self.click(self.panel.run)
        self.until(lambda: self.state.run > number and self.state.status is Status.FINISHED)
        self.settle()


def _inner(widget: Any) -> QWidget:
    """Qt's widget; of a slider that magicgui puts beside its readout, the slider itself."""
    widget = getattr(widget, "native", widget)
    return widget.findChild(QSlider) or widget


# --------------------------------------------------------------------------------------------------- the jobs


def open_panel(user: User) -> Iterator[str]:
    """From an empty window to the panel with the sample."""
    user.menu("Plugins", "LDM Viewer", "Forecast")
    user.until(lambda: user.panel is not None and user.state.adapted is not None)
    QTest.qWait(SETTLE_MS)
    user.settle()
    yield "open"


def explore(user: User) -> Iterator[str]:
    """Sample → live forecast → scrub → compare seeds → judge."""
    yield from open_panel(user)
    panel = user.panel
    user.write(panel.frames, FRAMES)
    user.click(panel.sample)
    user.click(panel.run)
    user.until(lambda: user.state.ready >= FRAMES // 3)
    yield "live"
    user.until(lambda: user.state.status is Status.FINISHED)
    user.drag(panel.time, 0.3)
    user.key(panel.time, Qt.Key.Key_Right, 2)
    user.settle()
    yield "scrubbed"
    user.write(panel.seed, 1)
    user.forecast()
    user.tab("Drift")
    user.settle()
    yield "compared"
    user.said = user.hover(user.dock(DriftDock), "persistence")
    yield "asked a curve"
    user.choose(panel.chosen_run, "run 1")
    for name in JUDGES:
        user.tab(name)
        user.settle()
        yield name
    user.tab("Isosurface")
    user.settle()
    yield "surfaces"


def own_files(folder: Path) -> Path:
    """What a user may have: CHGCAR files, here of the lithium's simulation."""
    export_series(Trajectory(sample_path("li32_train.h5"))[:OWN], folder, "chgcar")
    return folder


def train(user: User, files: Path) -> Iterator[str]:
    """A folder of CHGCAR → trajectory → training of two minutes → forecast with what was learnt."""
    yield from open_panel(user)
    user.tab("Training")
    dock = user.dock(TrainingDock)
    user.click_and_answer(dock.form.series, files)
    dialog = dock._asking
    user.until(dialog.isVisible)
    user.write(dialog.dt_fs, 2, enter=False)
    yield "asked"
    user.key(dialog.dt_fs.native.lineEdit(), Qt.Key.Key_Return)
    user.until(lambda: dock.form.data.value.endswith(f"{files.name}.h5"))
    user.write(dock.form.amount, MINUTES)
    user.settle()
    yield "taken"
    user.click(dock.train)
    user.until(lambda: dock.sight is not None and dock.sight.standing is Standing.TRAINING)
    user.until(lambda: dock.sight.status.best_step, patience_s=120 + 90 * MINUTES)
    user.settle()
    yield "training"
    user.until(lambda: not dock.sight.standing.live, patience_s=120 + 180 * MINUTES)
    user.settle()
    yield "trained"
    user.click(dock.use)
    user.write(user.panel.frames, 8)
    user.forecast()
    yield "forecast"


def talk(user: User) -> Iterator[str]:
    """A forecast as movie and as page."""
    yield from open_panel(user)
    user.write(user.panel.frames, FRAMES)
    user.forecast()
    user.tab("Export")
    dock = user.dock(ExportDock)
    form = dock.form
    user.write(form.title, "Liquid lithium, 800 K")
    user.choose(form.strip, "S(q)")
    user.settle()
    yield "set up"
    for what, name in ((SLICES, "talk.mp4"), (PAGE, "talk.html")):
        user.choose(form.what, what)
        user.click_and_answer(form.export, user.folder / name, picture=f"where {name}")
        yield f"writing {name}"
        user.until(lambda: form.export.isEnabled() and not dock.job.is_alive(), patience_s=300)
        QTest.qWait(POPUP_MS)
        yield name
