"""The method of generative latent-space dynamics of electron density, read top to bottom."""

import os

# Threads that wait for the next product should sleep: awake they take the cores from those of
# `engine.threads`, and from a window beside. OpenMP reads this once, when PyTorch is imported.
os.environ.setdefault("OMP_WAIT_POLICY", "passive")
