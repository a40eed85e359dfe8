"""Holds paints of the window back, so that slicing a frame and drawing it are two pieces of work."""

from __future__ import annotations

from collections.abc import Callable

from qtpy.compat import isalive
from qtpy.QtCore import QTimer
from qtpy.QtWidgets import QAbstractItemView, QDockWidget, QWidget

from ldm_viewer.whereabouts import main_window

LAYER_LIST = "layer list"  # napari's name for the dock with the thumbnails
CANVAS_MS = 2  # not 0: that would be an event, handled before the timers that wait


class Hold:
    """The canvas paints in the next round of the event loop: slicing first, then drawing.

    Together they would take 50 ms at a stretch. What the slicing changes around the canvas is held as well:
    every paint has Qt compose the whole window, so it pays to paint once.
    """

    def __init__(self) -> None:
        self._held: list[QWidget] = []
        self._waiting: list[Callable[[], None]] = []

    @property
    def on(self) -> bool:
        """Whether anything is held back."""
        return bool(self._held)

    def take(self, canvas: QWidget | None) -> None:
        """Hold back canvas and thumbnails until the next round."""
        if canvas is None or self._held:
            return
        window = main_window(canvas)
        lists = [dock.findChild(QAbstractItemView) for dock in window.findChildren(QDockWidget, LAYER_LIST)]
        self._held = [window.centralWidget(), *filter(None, lists)]
        for widget in self._held:
            widget.setUpdatesEnabled(False)
        QTimer.singleShot(CANVAS_MS, self.release)

    def release(self) -> None:
        """Paint now what is held back, and all that waits for it."""
        held, self._held = self._held, []
        waiting, self._waiting = self._waiting, []
        for widget in held:
            if isalive(widget):
                widget.setUpdatesEnabled(True)
        for call in waiting:
            call()

    def then(self, call: Callable[[], None]) -> None:
        """Call when the canvas paints the newest frame: at once, unless it is held back."""
        if self._held:
            self._waiting.append(call)
        else:
            call()
