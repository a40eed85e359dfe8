"""Where the docks stand in the window, and files dropped on it. Qt's public window API only."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING

from qtpy.QtCore import QEvent, QObject, QSize, Qt, QTimer
from qtpy.QtWidgets import QDockWidget, QMainWindow, QWidget

from ldm_viewer.reader import is_trajectory, series_of
from ldm_viewer.triptych import MARGIN
from ldm_viewer.whereabouts import docked, main_window

if TYPE_CHECKING:
    from ldm_viewer.stage import Stage

PLUGIN = "ldm_viewer"
SIDE = ("Histogram", "S(q)", "F(q,t)", "Drift", "Latents")  # tabs under the panel; the first one is on top
BELOW = ("Slices", "Isosurface", "Export", "Training")  # images want width: tabs under the canvas
BELOW_SHARE, BELOW_HEIGHT = 0.4, 340  # of the window's height; at least, in pixels
SIDE_SHARE, SIDE_WIDTH = 0.17, 340  # of its width; at least, in pixels
LOW = 1000  # pixels: a window less high has napari's own two docks, which stand above these, as tabs
SETTLE_MS = 100  # until a new window is painted and its canvas has its size
SMALLEST = (1280, 800)  # a window that shows all of it without clipping


def open_docks(stage: Stage, panel: QWidget) -> None:
    """Open the plots under the panel and the slices under the canvas; open ones stay where they are.

    Those in front come at once. Those that lie behind come when the window is painted, one at a turn.
    """
    home = _dock_of(panel)
    window = None if home is None else home.window()
    if not isinstance(window, QMainWindow):
        return
    curves, images = (_opened(stage, window, group[0]) for group in (SIDE, BELOW))
    if curves is None or images is None:
        return
    window.splitDockWidget(home, curves, Qt.Orientation.Vertical)
    window.setCorner(Qt.Corner.BottomRightCorner, Qt.DockWidgetArea.RightDockWidgetArea)  # curves need height
    window.addDockWidget(Qt.DockWidgetArea.BottomDockWidgetArea, images)
    _enlarge(window)
    window.layout().activate()  # sizes hold only once the window is laid out
    _settle(window, home, curves, images)
    QTimer.singleShot(SETTLE_MS, lambda: _complete(stage, panel))


def _complete(stage: Stage, panel: QWidget) -> None:
    """Fit the view now that the canvas has its size, and begin to open the docks that lie behind."""
    if stage.viewer is None or not docked(panel):
        return  # closed again already
    stage.viewer.reset_view(margin=MARGIN)
    behind = [(group[0], name) for group in (SIDE, BELOW) for name in group[1:]]

    def open_next() -> bool:
        window = main_window(panel) if docked(panel) else None
        if not behind:
            stage.turns.remove(open_next)
        elif window is not None and window.isVisible() and not stage.session.state.awaited:
            _put_behind(stage, window, *behind.pop(0))
            return True
        return False

    stage.turns.add(open_next)


def _opened(stage: Stage, window: QMainWindow, name: str) -> QDockWidget | None:
    """The dock of this name, or None if it was open before."""
    present = set(window.findChildren(QDockWidget))
    dock, _ = stage.viewer.window.add_plugin_dock_widget(PLUGIN, name)
    if dock in present:
        return None
    dock.setWindowTitle(name)  # "Histogram (ldm_viewer)" four times would not fit on the tabs
    return dock


def _put_behind(stage: Stage, window: QMainWindow, front: str, name: str) -> None:
    """Open a dock as the last tab of those that stand with `front`; what is seen there stays in front."""
    first = next((dock for dock in window.findChildren(QDockWidget) if _title(dock) == front), None)
    if first is None:
        return
    group = [first, *window.tabifiedDockWidgets(first)]
    seen = [dock for dock in group if not dock.visibleRegion().isEmpty()]
    dock = _opened(stage, window, name)
    if dock is not None:
        window.tabifyDockWidget(group[-1], dock)
        for former in seen[:1]:
            former.raise_()


def _title(dock: QDockWidget) -> str:
    return dock.windowTitle().removesuffix(f" ({PLUGIN})")


def all_open(window: QMainWindow) -> bool:
    """Whether every dock is there that a new window opens."""
    return {*SIDE, *BELOW} <= {_title(dock) for dock in window.findChildren(QDockWidget)}


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


def _settle(window: QMainWindow, home: QDockWidget, curves: QDockWidget, images: QDockWidget) -> None:
    """Give panel, curves and images their sizes."""
    if window.height() < LOW:
        _tabify_layers(window)
    height = max(BELOW_HEIGHT, round(BELOW_SHARE * window.height()))
    window.resizeDocks([images], [height], Qt.Orientation.Vertical)
    width = max(SIDE_WIDTH, round(SIDE_SHARE * window.width()))
    window.resizeDocks([home], [width], Qt.Orientation.Horizontal)
    panel = home.minimumSizeHint().height()
    room = max(1, window.height() - panel)  # all the height that the panel does not need
    window.resizeDocks([home, curves], [panel, room], Qt.Orientation.Vertical)


def _tabify_layers(window: QMainWindow) -> None:
    """Napari's layer list in front of its layer controls: one above the other they are 490 pixels high."""
    found = {dock.objectName(): dock for dock in window.findChildren(QDockWidget)}
    controls, layers = (found.get(name) for name in ("layer controls", "layer list"))
    if controls is None or layers is None or controls.isFloating() or layers.isFloating():
        return
    if window.dockWidgetArea(controls) == window.dockWidgetArea(layers):
        window.tabifyDockWidget(controls, layers)
        layers.raise_()


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
