"""A whole reverse diffusion as one call, by the fastest way that this machine and batch allow.

With numba a few latents go one by one through a compiled loop that reads the weights from cache once a step
(`engine.kernels`), many in blocks that share what is read (`engine.blocks`), on as many threads as PyTorch's.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import cache

import numpy as np
import torch
from torch import Tensor, nn

from engine.diffusion import Denoiser, time_embedding
from engine.graphs import CAPTURES
from engine.samplers import Sampler

Chain = Callable[[Tensor, Tensor], Tensor]
"""(c (K, d), all the noise (1 or N + 1, K, d)) ↦ z_0 (K, d)."""
Arrays = Callable[[np.ndarray, np.ndarray], np.ndarray]
"""(what c adds to the first layer (K, width), noise (K, 1 or N + 1, d)) ↦ z_0 (K, d)."""


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
    module = ReverseChain(denoiser, sampler).eval().requires_grad_(False)
    device = module.for_z.device.type
    if device in CAPTURES:
        return module  # whoever calls it replays all of it
    one = looped(module) if device == "cpu" else None
    if one is None:
        return scripted(module)
    many = cache(lambda: blocked(module, one))  # its import compiles, so only where it is needed

    def sample(condition: Tensor, noise: Tensor) -> Tensor:
        way = one if len(condition) == 1 else many()
        return torch.from_numpy(way(_array(condition @ module.for_c), _array(noise.transpose(0, 1))))

    return sample


def scripted(module: ReverseChain) -> Chain:
    """The module without Python between its thousands of small operations, where nothing better is.

    That is twice as fast, and leaves the interpreter's lock to a window. Where TorchScript is gone (Python
    3.14), the module itself.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)
            return torch.jit.freeze(torch.jit.script(module.eval()))
    except (AttributeError, RuntimeError):
        return module


def looped(module: ReverseChain) -> Arrays | None:
    """The module as a compiled loop, member by member; None where numba is missing, or cannot work."""
    try:
        from engine.kernels import reverse
    except (ImportError, RuntimeError):  # numba raises the latter where it finds no place for its cache
        return None
    from_t, first, layers, last, table = _arrays(module)
    stacks = [np.stack(x) for x in zip(*layers, strict=True)]

    def one_by_one(from_c: np.ndarray, noise: np.ndarray) -> np.ndarray:
        members = zip(from_c, noise, strict=True)
        return np.stack([reverse(n, c + from_t, first, *stacks, *last, table) for c, n in members])

    return one_by_one


def blocked(module: ReverseChain, one_by_one: Arrays) -> Arrays:
    """The module as a compiled loop over blocks of members, shared by threads; few go one by one."""
    try:
        from engine.blocks import FEW, MEMBERS, pack, padded, reverse_block
    except (ImportError, RuntimeError):
        return one_by_one
    from_t, first, layers, (last, last_bias), table = _arrays(module)
    up, up_bias, down, down_bias = zip(*layers, strict=True)
    stacks = pack(up), padded(up_bias), pack(down), padded(down_bias)
    weights = (pack([first])[0], *stacks, pack([last])[0], padded([last_bias])[0], table)

    def block(from_c: np.ndarray, noise: np.ndarray) -> np.ndarray:
        few = len(from_c) <= FEW
        return one_by_one(from_c, noise) if few else reverse_block(noise, from_c, from_t, *weights)

    def blocks(from_c: np.ndarray, noise: np.ndarray) -> np.ndarray:
        cuts = range(MEMBERS, len(from_c), MEMBERS)
        if not cuts:
            return block(from_c, noise)
        with ThreadPoolExecutor(torch.get_num_threads()) as threads:
            return np.concatenate(list(threads.map(block, np.split(from_c, cuts), np.split(noise, cuts))))

    return blocks


def _arrays(module: ReverseChain) -> tuple:
    """What t adds, the matrix of z, of every layer both matrices and biases, of the last; coefficients."""
    *blocks, norm, last = module.rest
    layers = [(*_folded(b.body[0], b.body[1]), *_stored(b.body[3])) for b in blocks]
    names = ("keep", "push", "carry", "spread", "whole", "part")
    table = np.array([getattr(module, name) for name in names], np.float32).T.copy()
    return _array(module.from_t), _array(module.for_z), layers, _folded(norm, last), table


def _folded(norm: nn.LayerNorm, linear: nn.Linear) -> tuple[np.ndarray, np.ndarray]:
    """A linear layer that takes in the gain and bias of the LayerNorm before it."""
    weight, bias = linear.weight.double(), linear.bias.double()
    return _array((weight * norm.weight).T), _array(bias + weight @ norm.bias.double())


def _stored(linear: nn.Linear) -> tuple[np.ndarray, np.ndarray]:
    return _array(linear.weight.T), _array(linear.bias)


def _array(tensor: Tensor) -> np.ndarray:
    return np.ascontiguousarray(tensor.detach().numpy(), dtype=np.float32)
