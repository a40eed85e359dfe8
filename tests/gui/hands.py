"""What a user's hands do in the window: clicks, drops, docks brought to the front."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest
from qtpy.QtCore import QMimeData, QPoint, QPointF, Qt, QUrl
from qtpy.QtGui import QDragEnterEvent, QDropEvent
from qtpy.QtWidgets import QApplication, QDockWidget, QWidget

from ldm_viewer.state import Status


def click(qtbot: object, button: object) -> None:
    qtbot.mouseClick(button.native, Qt.MouseButton.LeftButton)


def forecast(desk: SimpleNamespace, qtbot: object, frames: int = 5) -> None:
    desk.session.configure(frames=frames)
    click(qtbot, desk.panel.run)
    qtbot.waitUntil(lambda: desk.session.state.status is Status.FINISHED, timeout=60_000)


def quiet(desk: SimpleNamespace, qtbot: object) -> None:
    """Wait until every visible dock shows the present state."""

    def settled() -> bool:
        return not any(dock.seen and (dock._stale or dock._job) for dock in desk.docks.values())

    qtbot.waitUntil(settled, timeout=10_000)


def show_dock(desk: SimpleNamespace, name: str) -> object:
    dock = desk.docks[name]
    parent = dock.parent()
    while not isinstance(parent, QDockWidget):
        parent = parent.parent()
    parent.raise_()
    return dock


def drop(target: QWidget, path: Path) -> None:
    mime = QMimeData()
    mime.setUrls([QUrl.fromLocalFile(str(path))])
    buttons, keys = Qt.MouseButton.LeftButton, Qt.KeyboardModifier.NoModifier
    enter = QDragEnterEvent(QPoint(5, 5), Qt.DropAction.CopyAction, mime, buttons, keys)
    QApplication.sendEvent(target, enter)
    assert enter.isAccepted()
    QApplication.sendEvent(target, QDropEvent(QPointF(5, 5), Qt.DropAction.CopyAction, mime, buttons, keys))


def own_runs(monkeypatch: pytest.MonkeyPatch, home: Path) -> None:
    """Trainings in a folder of the test, not those of its user; HOME stays, for napari's icons lie there."""
    import ldm_viewer.docks.training_form
    import ldm_viewer.jobs

    for module in (ldm_viewer.jobs, ldm_viewer.docks.training_form):
        monkeypatch.setattr(module, "root", lambda: home / "ldm_viewer" / "runs")
