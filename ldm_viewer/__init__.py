"""napari plugin: watch an emulator of electron density run beside the truth."""

import engine  # noqa: F401 (before PyTorch, to which it has something to say)
