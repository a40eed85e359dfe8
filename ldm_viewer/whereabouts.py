"""Where a widget is: in which window, and whether in one at all."""

from __future__ import annotations

from qtpy.compat import isalive
from qtpy.QtWidgets import QMainWindow, QWidget


def docked(widget: QWidget) -> bool:
    """Whether a widget is still in a window: napari takes a closed dock's widget out without deleting it."""
    return isalive(widget) and main_window(widget) is not None


def main_window(widget: QWidget) -> QMainWindow | None:
    """The window that a widget belongs to; that of a floating dock is, to Qt, the dock itself."""
    above: QWidget | None = widget
    while above is not None and not isinstance(above, QMainWindow):
        above = above.parentWidget()
    return above
