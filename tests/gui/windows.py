"""The window of a module's tests: opened once, and begun afresh for each of them."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

APPLICATION = "shared window"


class Window:
    """One window for the tests of a module: opening one takes seconds, beginning afresh in it does not."""

    def __init__(self) -> None:
        self.patch = pytest.MonkeyPatch()
        self.viewer: object = None

    def open(self, qtbot: object) -> SimpleNamespace:
        """The window with panel and docks; its former test's things are gone."""
        import napari
        from napari.settings import get_settings

        if self.viewer is None:
            self._own_application()
            self.patch.setattr("napari._qt.threads.status_checker.StatusChecker.start", lambda *_: None)
            get_settings().reset()
            self.viewer = napari.Viewer(show=True, show_welcome_screen=False)
            qtbot.wait_exposed(self.viewer.window._qt_window, timeout=20_000)
            self.desk = furnish(self.viewer, qtbot)
            self.view = self.desk.stage.view()
        else:
            begin_afresh(self.desk, self.view)
        return self.desk

    def _own_application(self) -> None:
        """As napari's own fixture does: the former one knows our commands already."""
        from napari._app_model._app import NapariApplication, _napari_names

        app = NapariApplication(APPLICATION)
        app.injection_store.namespace = _napari_names
        self.patch.setattr(NapariApplication, "get_app_model", lambda *_: app)

    def close(self) -> None:
        """Until the next test opens it again."""
        import gc

        from app_model import Application
        from napari._qt._qapp_model.qactions import init_qactions
        from napari._qt.qt_viewer import QtViewer
        from napari.plugins import _initialize_plugins

        viewer, self.viewer = self.viewer, None
        if viewer is not None:
            self.desk.stage.close()
            self.patch.setattr(viewer.window._qt_window, "_save_current_window_settings", lambda: None)
            viewer.close()
            self.patch.undo()
            del self.desk, viewer
            gc.collect()
            Application.destroy(APPLICATION)
            _initialize_plugins.cache_clear()
            init_qactions.cache_clear()
            QtViewer._instances.clear()  # else the next module's first window would answer for ours


def furnish(viewer: object, qtbot: object) -> SimpleNamespace:
    """Open panel and docks."""
    from ldm_viewer.arrange import all_open
    from ldm_viewer.stage import existing_stage

    _, panel = viewer.window.add_plugin_dock_widget("ldm_viewer", "Forecast", tabify=True)
    qtbot.waitUntil(lambda: all_open(panel.window()), timeout=60_000)
    qtbot.wait(200)
    stage = existing_stage(viewer)
    return SimpleNamespace(viewer=viewer, panel=panel, session=stage.session, stage=stage, docks=docks(panel))


def begin_afresh(desk: SimpleNamespace, view: dict) -> None:
    """Bring session, layers and docks back to what a new window shows."""
    from hands import show_dock
    from napari.utils.notifications import notification_manager

    import ldm_viewer.panel
    import ldm_viewer.session
    from engine.palette import FIELD_COLORMAP
    from ldm_viewer.ledger import Ledger
    from ldm_viewer.preferences import Preferences
    from ldm_viewer.shelf import Shelf
    from ldm_viewer.state import State

    session, viewer = desk.session, desk.viewer
    session.close()
    session.ledger, session.shelf = Ledger(), Shelf(ldm_viewer.session.shipped())
    session._replace(**vars(State(emulators=session.shelf.names)))
    for layer in set(viewer.layers) - {*desk.stage.triptych._images(), *desk.stage.triptych.atoms}:
        viewer.layers.remove(layer)
    viewer.dims.ndisplay = 2
    desk.stage.triptych.truth.colormap = FIELD_COLORMAP
    viewer.layers.selection.active = desk.stage.triptych.forecast
    session.choose_emulator("tiny")
    session.open_trajectory(ldm_viewer.panel.SAMPLE_FILE)
    desk.panel.apply(Preferences())
    desk.stage.set_view(view)
    viewer.reset_view()
    for name, dock in desk.docks.items():
        dock._say("")
        if name in ("Histogram", "Slices"):
            show_dock(desk, name)
    notification_manager.records.clear()


def docks(panel: object) -> dict[str, object]:
    """Our widgets in the panel's window by their dock's name."""
    from qtpy.QtWidgets import QDockWidget

    from ldm_viewer.docks.base import LiveDock

    found = {}
    for dock in panel.window().findChildren(QDockWidget):
        inner = dock.findChildren(LiveDock)
        if len(inner) == 1:  # not those that the training dock is built of
            found[dock.windowTitle().split(" (")[0] or dock.objectName().split(" (")[0]] = inner[0]
    return found
