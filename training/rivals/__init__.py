"""Forecasters a referee would name, each small, under the same judge as the emulators.

pod-var                 proper orthogonal decomposition + vector autoregression
fourier-var             the same with the data's symmetries: one 2 × 2 autoregression per |q|
fno                     Fourier neural operator, state → next state
mlp-voxel, mlp-fourier  multi-layer perceptron autoencoders with the paper's latent diffusion,
…-pinn                  and with losses on electron count and gradients

`ldm rivals` fits them, `ldm evaluate` judges them beside the emulators.
"""

from training.rivals.registry import RIVALS, RivalsConfig, load
from training.rivals.rival import FORMAT, Rival

__all__ = ["FORMAT", "RIVALS", "Rival", "RivalsConfig", "load"]
