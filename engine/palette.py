"""Colours shared by viewer, movies and reports: Okabe and Ito's set, told apart by colour-blind readers too.

Truth and forecast keep their colour in every plot of the product. Importing this imports no plotting
library.
"""

from __future__ import annotations

import numpy as np

TRUTH = "#0072B2"  # blue
FORECAST = "#D55E00"  # vermilion
FORECASTS = (FORECAST, "#CC79A7", "#009E73", "#E69F00")  # first, second, … forecast of one figure
BASELINE = "#7F7F7F"
NEUTRAL = "#4D4D4D"  # axes, marks, annotations

FIELD_COLORMAP = "viridis"  # density and normalised density
DIFFERENCE_COLORMAP = "RdBu_r"  # forecast − truth, centred on zero


def forecast_color(index: int) -> str:
    """Colour of the forecast number `index` of one figure, repeating after the last."""
    return FORECASTS[index % len(FORECASTS)]


def color_table(colormap: str) -> np.ndarray:
    """256 colours of a colormap from its lower to its upper end, (256, 4) uint8."""
    from matplotlib import colormaps  # not pyplot, which takes a quarter of a second to come up

    return (255 * colormaps[colormap](np.linspace(0, 1, 256)) + 0.5).astype(np.uint8)
