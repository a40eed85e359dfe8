"""Where the docks stand in the window, and files dropped on it. Qt's public window API only."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from itertools import pairwise
from typing import TYPE_CHECKING

from qtpy.QtCore import QEvent, QObject, QSize, Qt, QTimer
from qtpy.QtWidgets import QDockWidget, QMainWindow, QWidget

from ldm_viewer.reader import is_trajectory, series_of
from ldm_viewer.stage import docked
from ldm_viewer.triptych import MARGIN

if TYPE_CHECKING:
    from ldm_viewer.stage import Stage

PLUGIN = "ldm_viewer"
SIDE = ("Histogram", "S(q)", "F(q,t)", "Drift", "Latents")  # tabs under the panel; the first one is on top
BELOW = ("Slices", "Isosurface", "Export", "Training")  # images want width: tabs under the canvas
BELOW_SHARE, BELOW_HEIGHT = 0.4, 340  # of the window's height; at least, in pixels
SIDE_SHARE, SIDE_WIDTH = 0.17, 340  # of its width; at least, in pixels
LOW = 1000  # pixels: a window less high has napari's own two docks, which stand above these, as tabs
SMALLEST = (1280, 800)  # a window that shows all of it without clipping


def open_docks(stage: Stage, panel: QWidget) -> None:
    """Open the plots under the panel and the slices under the canvas; open ones stay where they are."""
    home = _dock_of(panel)
    if home is None:
        return
    window = home.window()
    if not isinstance(window, QMainWindow):
        return
    present = set(window.findChildren(QDockWidget))
    docks = {name: stage.viewer.window.add_plugin_dock_widget(PLUGIN, name)[0] for name in (*SIDE, *BELOW)}
    fresh = {name: dock for name, dock in docks.items() if dock not in present}
    if len(fresh) < len(docks):
        return
    window.splitDockWidget(home, fresh[SIDE[0]], Qt.Orientation.Vertical)
    for name, dock in fresh.items():
        dock.setWindowTitle(name)  # "Histogram (ldm_viewer)" four times would not fit on the tabs
    window.setCorner(Qt.Corner.BottomRightCorner, Qt.DockWidgetArea.RightDockWidgetArea)  # curves need height
    window.addDockWidget(Qt.DockWidgetArea.BottomDockWidgetArea, fresh[BELOW[0]])
    for former, name in (*pairwise(SIDE), *pairwise(BELOW)):
        window.tabifyDockWidget(fresh[former], fresh[name])
    _enlarge(window)
    QTimer.singleShot(0, lambda: _settle(stage, home, fresh))  # sizes hold only once the window is laid out


def place_below(widget: QWidget, title: str, height: int) -> None:
    """Move a widget's dock under the canvas, in front of what is there; where it stands there, leave it."""
    home = _dock_of(widget)
    window = None if home is None else home.window()
    area = Qt.DockWidgetArea.BottomDockWidgetArea
    if not isinstance(window, QMainWindow) or window.dockWidgetArea(home) == area:
        return
    there = [
        dock
        for dock in window.findChildren(QDockWidget)
        if dock is not home and dock.isVisible() and window.dockWidgetArea(dock) == area
    ]
    home.setWindowTitle(title)
    window.addDockWidget(area, home)
    for dock in there[:1]:
        window.tabifyDockWidget(dock, home)

    def come_up() -> None:
        if docked(widget):
            home.raise_()
            window.resizeDocks([home], [height], Qt.Orientation.Vertical)

    QTimer.singleShot(0, come_up)  # tabs exist once the window is laid out


def _enlarge(window: QMainWindow) -> None:
    """Grow a window that is too small for the docks, but not beyond the screen."""
    room = window.screen().availableGeometry()
    wanted = window.size().expandedTo(QSize(*SMALLEST)).boundedTo(room.size())
    if not window.isMaximized() and not window.isFullScreen() and wanted != window.size():
        window.resize(wanted)


def _settle(stage: Stage, home: QDockWidget, docks: dict[str, QDockWidget]) -> None:
    if not all(map(docked, (home, *docks.values()))):
        return  # closed again already
    window = home.window()
    if window.height() < LOW:
        _tabify_layers(window)
    height = max(BELOW_HEIGHT, round(BELOW_SHARE * window.height()))
    window.resizeDocks([docks[BELOW[0]]], [height], Qt.Orientation.Vertical)
    width = max(SIDE_WIDTH, round(SIDE_SHARE * window.width()))
    window.resizeDocks([home], [width], Qt.Orientation.Horizontal)
    panel = home.minimumSizeHint().height()
    curves = max(1, window.height() - panel)  # all the height that the panel does not need
    window.resizeDocks([home, docks[SIDE[0]]], [panel, curves], Qt.Orientation.Vertical)
    for group in (SIDE, BELOW):
        docks[group[0]].raise_()
    QTimer.singleShot(100, lambda: _fit_view(stage))  # when the canvas has its size


def _tabify_layers(window: QMainWindow) -> None:
    """Napari's layer list in front of its layer controls: one above the other they are 490 pixels high."""
    found = {dock.objectName(): dock for dock in window.findChildren(QDockWidget)}
    controls, layers = (found.get(name) for name in ("layer controls", "layer list"))
    if controls is None or layers is None or controls.isFloating() or layers.isFloating():
        return
    if window.dockWidgetArea(controls) == window.dockWidgetArea(layers):
        window.tabifyDockWidget(controls, layers)
        layers.raise_()


def _fit_view(stage: Stage) -> None:
    if stage.viewer is not None:
        stage.viewer.reset_view(margin=MARGIN)


def _dock_of(widget: QWidget) -> QDockWidget | None:
    parent = widget.parent()
    while parent is not None and not isinstance(parent, QDockWidget):
        parent = parent.parent()
    return parent


class DropTarget(QObject):
    """Takes trajectories and series of files dropped on the window before napari asks which reader to use.

    napari's builtin reader claims every .h5 file too and would open a dialog.
    """

    def __init__(self, panel: QWidget, open_paths: Callable[[list[str]], None]) -> None:
        super().__init__(panel)
        self._open_paths = open_paths
        panel.installEventFilter(self)
        self._panel = panel

    def watch_window(self) -> None:
        """Also take what is dropped on the rest of the window."""
        for child in self._panel.window().findChildren(QWidget):
            if child.acceptDrops() and child is not self._panel:
                child.installEventFilter(self)

    def eventFilter(self, watched: QObject, event: QEvent) -> bool:  # noqa: N802 (Qt's name)
        """Accept drags of our files and open them when dropped; leave everything else alone."""
        if event.type() not in (QEvent.Type.DragEnter, QEvent.Type.DragMove, QEvent.Type.Drop):
            return False
        paths = _ours(event)
        if not paths:
            return False
        event.acceptProposedAction()
        if event.type() == QEvent.Type.Drop:
            self._open_paths(paths)
        return True


def _ours(event: QEvent) -> list[str]:
    """What is dropped, if it is a trajectory, a folder of densities or several densities."""
    urls = event.mimeData().urls()
    paths = [url.toLocalFile() for url in urls if url.isLocalFile()]
    with suppress(OSError):
        if (
            len(paths) == len(urls)
            and paths
            and (series_of(paths) or len(paths) == 1 and is_trajectory(paths[0]))
        ):
            return paths
    return []
