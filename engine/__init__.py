"""The method of generative latent-space dynamics of electron density, read top to bottom."""

import os

# Threads that wait for the next product should soon sleep: awake they take the cores from those of
# `engine.threads`, and from a window beside; at once, and waking takes longer than small products do. GNU's
# OpenMP reads this when PyTorch is imported.
os.environ.setdefault("GOMP_SPINCOUNT", "10000")
