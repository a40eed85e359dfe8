"""Shows the preview of a movie."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from qtpy.QtCore import Qt
from qtpy.QtGui import QImage, QPainter, QPaintEvent
from qtpy.QtWidgets import QSizePolicy, QWidget


@dataclass(frozen=True, eq=False)
class Preview:
    """A picture (height, width, 3 or 4) uint8, or words instead."""

    picture: np.ndarray | None
    words: str = ""


class Screen(QWidget):
    """Shows the preview as large as fits."""

    def __init__(self) -> None:
        super().__init__()
        self._image: QImage | None = None
        self._words = ""
        self.setMinimumSize(160, 90)
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Expanding)
        self.setToolTip("The movie's picture at the slider")

    def show_preview(self, preview: Preview) -> None:
        """Show a picture, or words."""
        self._words, self._image = preview.words, None
        if preview.picture is not None:
            kept = np.ascontiguousarray(preview.picture[..., :3])
            height, width, _ = kept.shape
            self._image = QImage(kept.data, width, height, 3 * width, QImage.Format.Format_RGB888).copy()
        self.update()

    def paintEvent(self, event: QPaintEvent) -> None:  # noqa: N802 (Qt's name)
        """The picture in the middle, in its own shape."""
        painter = QPainter(self)
        if self._image is None:
            painter.drawText(
                self.rect(), Qt.AlignmentFlag.AlignCenter | Qt.TextFlag.TextWordWrap, self._words
            )
            return
        room = self._image.size().scaled(self.size(), Qt.AspectRatioMode.KeepAspectRatio)
        left, top = (self.width() - room.width()) // 2, (self.height() - room.height()) // 2
        painter.setRenderHint(QPainter.RenderHint.SmoothPixmapTransform)
        painter.drawImage(self.rect().adjusted(left, top, -left, -top), self._image)
