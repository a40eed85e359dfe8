"""Where napari gets the panel from: imported here without a collection, which saves a second of the start."""

import gc

from ldm_viewer.memory import uncollected

with uncollected():
    from ldm_viewer.panel import MainPanel

gc.freeze()  # what is imported stays: no later collection need walk it

__all__ = ["MainPanel"]
