"""A whole reverse diffusion as one call, by the fastest way that this machine and batch allow.

One latent at a time a compiled loop reads the weights from cache once a step (`engine.kernels`, where numba
is installed); many together are matrix products, which PyTorch does best, without Python in between.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor, nn

from engine.diffusion import Denoiser, time_embedding
from engine.samplers import Sampler

Chain = Callable[[Tensor, Tensor], Tensor]
"""(c (K, d), all the noise (1 or N + 1, K, d)) ↦ z_0 (K, d)."""
FEW = 2
"""Latents that are faster one after another, weights from cache, than as one product of matrices."""


class ReverseChain(nn.Module):
    """All steps of a sampler as one module: `samplers.sample` with a `Denoiser`, nothing repeated.

    The first layer is linear in the concatenation of z_t, c and the embedded t, so its shares simply add:
    that of t is computed once, that of c once per call.
    """

    def __init__(self, denoiser: Denoiser, sampler: Sampler) -> None:
        super().__init__()
        first, inner = denoiser.first, denoiser.time_dim
        latent = (first.in_features - inner) // 2
        for_z, for_c, for_t = first.weight.detach().split([latent, latent, inner], dim=1)
        times = time_embedding(sampler.times.to(for_t.device), inner)
        self.register_buffer("from_t", times @ for_t.T + first.bias.detach())
        self.register_buffer("for_z", for_z.T.contiguous())
        self.register_buffer("for_c", for_c.T.contiguous())
        self.rest = denoiser.rest
        self.keep, self.push, self.carry, self.spread = (
            x.tolist() for x in (sampler.keep, sampler.push, sampler.carry, sampler.spread)
        )
        self.whole, self.part = (1 / sampler.signal).tolist(), (sampler.noise / sampler.signal).tolist()
        self.second_order = bool(sampler.carry.any())

    def forward(self, condition: Tensor, noise: Tensor) -> Tensor:
        """z_0 (K, d) given c (K, d) and all the noise (1 or N + 1, K, d)."""
        from_c, z = condition @ self.for_c, noise[0]
        before = torch.zeros_like(z)
        for k in range(len(self.keep)):
            epsilon = self.rest(torch.addmm(from_c + self.from_t[k], z, self.for_z))
            following = self.keep[k] * z + self.push[k] * epsilon
            if self.second_order:
                following = following + self.carry[k] * before
                before = self.whole[k] * z - self.part[k] * epsilon
            z = following
            if len(noise) > 1:
                z = z + self.spread[k] * noise[k + 1]
        return z


def chain(denoiser: Denoiser, sampler: Sampler) -> Chain:
    """The fastest chain for any number of latents, on the device of the weights."""
    module = ReverseChain(denoiser, sampler)
    many = scripted(module)
    one = None if module.for_z.is_cuda else looped(module)

    def sample(condition: Tensor, noise: Tensor) -> Tensor:
        if one is None or len(condition) > FEW:
            return many(condition, noise.contiguous())
        return torch.cat([one(c, n) for c, n in zip(condition.split(1), noise.split(1, dim=1), strict=True)])

    return sample


def scripted(module: ReverseChain) -> Chain:
    """The module without Python between its thousands of small operations.

    That is twice as fast, and leaves the interpreter's lock to a window. Where TorchScript is gone (Python
    3.14), the module itself.
    """
    module = module.eval().requires_grad_(False)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)
            return torch.jit.freeze(torch.jit.script(module))
    except (AttributeError, RuntimeError):
        return module


def looped(module: ReverseChain) -> Chain | None:
    """The module for one latent (K = 1) as a compiled loop; None where numba is missing, or cannot work."""
    try:
        from engine.kernels import reverse
    except (ImportError, RuntimeError):  # numba raises the latter where it finds no place for its cache
        return None
    *blocks, norm, last = module.rest
    up, up_bias = zip(*(_folded(block.body[0], block.body[1]) for block in blocks), strict=True)
    down, down_bias = zip(*(_stored(block.body[3]) for block in blocks), strict=True)
    layers = [np.stack(x) for x in (up, up_bias, down, down_bias)]
    first, coefficients = _array(module.for_z), ("keep", "push", "carry", "spread", "whole", "part")
    table = np.array([getattr(module, name) for name in coefficients], np.float32).T.copy()
    rest = (first, *layers, *_folded(norm, last), table)

    def one(condition: Tensor, noise: Tensor) -> Tensor:
        start = _array(condition @ module.for_c + module.from_t)
        return torch.from_numpy(reverse(_array(noise[:, 0]), start, *rest))[None]

    return one


def _folded(norm: nn.LayerNorm, linear: nn.Linear) -> tuple[np.ndarray, np.ndarray]:
    """A linear layer that takes in the gain and bias of the LayerNorm before it."""
    weight, bias = linear.weight.double(), linear.bias.double()
    return _array((weight * norm.weight).T), _array(bias + weight @ norm.bias.double())


def _stored(linear: nn.Linear) -> tuple[np.ndarray, np.ndarray]:
    return _array(linear.weight.T), _array(linear.bias)


def _array(tensor: Tensor) -> np.ndarray:
    return np.ascontiguousarray(tensor.detach().numpy(), dtype=np.float32)
