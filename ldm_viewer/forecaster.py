"""A process that computes forecasts, and the end of the line to it. No Qt.

While the window draws it holds Python's lock, and a model in a thread beside it waits for that lock after
every operation: on two cores it would be five times slower than alone. A process shares the frames only.
"""

from __future__ import annotations

import atexit
import os
import pickle
import signal
import subprocess
import sys
import threading
import weakref
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import cache, partial
from typing import IO, TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np
    import torch

    from engine.emulator import Emulator
    from engine.normalise import LogNormal
    from engine.recipes import Recipe
    from engine.rollout import Frame

NICENESS = 10  # on two cores the window must win against the model
AHEAD = 4  # frames that are computed before they are asked for: the window may be busy meanwhile
PIPE_BYTES = 2**20  # room for them on the way


class ForecastError(RuntimeError):
    """Why there are no more frames, in words."""


class Forecaster:
    """Starts the process, and again when it died. One forecast at a time: the next one waits for its end."""

    def __init__(self) -> None:
        self._process: subprocess.Popen | None = None
        self._known: weakref.ref[Emulator] | None = None  # what the process has got
        self._lock = threading.Lock()
        _forecasters.add(self)

    def prepare(self) -> None:
        """Start the process, unless it runs: the first frame then comes sooner."""
        if self._process is None or self._process.poll() is not None:
            self._process, self._known = _start(), None

    def rollout(self, emulator: Emulator, state: torch.Tensor, frames: int, **how: Any) -> Iterator[Frame]:
        """As `engine.rollout.rollout`, in the process, with as many threads as here. Raises ForecastError."""
        import torch

        with self._lock:
            self.prepare()
            ended = False
            try:
                self._tell_emulator(emulator)
                self._tell("rollout", state.cpu().numpy(), frames, torch.get_num_threads(), how)
                for _ in range(AHEAD):
                    self._tell("go on")
                while (told := self._hear()) is not None:
                    yield _frame(told, emulator)
                    self._tell("go on")
                ended = True
            except ForecastError:
                ended = True
                raise
            finally:
                if not ended:
                    self._give_up()

    def close(self) -> None:
        """End the process."""
        process, self._process = self._process, None
        if process is not None:
            process.kill()  # it holds nothing that could be lost
            process.wait()

    def _tell_emulator(self, emulator: Emulator) -> None:
        if self._known is None or self._known() is not emulator:
            weights = {name: tensor.cpu() for name, tensor in emulator.model.state_dict().items()}
            known = emulator.recipe, weights, emulator.normaliser, emulator.card, emulator.name
            self._tell("emulator", str(emulator.device), *known)
            self._known = weakref.ref(emulator)

    def _give_up(self) -> None:
        """Nobody wants the rest; what is on the way is thrown away."""
        with suppress(ForecastError):
            self._tell("stop")
            while self._hear() is not None:
                pass

    def _tell(self, *request: Any) -> None:
        try:
            pickle.dump(request, self._process.stdin, protocol=pickle.HIGHEST_PROTOCOL)
            self._process.stdin.flush()
        except (OSError, AttributeError) as error:
            raise self._ended(error) from error

    def _hear(self) -> Any:
        """The next frame's numbers, or None when there are no more."""
        try:
            answer, mistake = pickle.load(self._process.stdout)  # noqa: S301 (our own process)
        except (OSError, EOFError, AttributeError, pickle.UnpicklingError) as error:
            raise self._ended(error) from error
        if mistake:
            raise ForecastError(mistake)
        return answer

    def _ended(self, error: Exception) -> ForecastError:
        code = None if self._process is None else self._process.poll()
        self.close()  # the next forecast has another one
        return ForecastError(f"the process that computes forecasts ended (code {code}): {error}; start again")


_forecasters: weakref.WeakSet[Forecaster] = weakref.WeakSet()
shared = Forecaster()
"""The one of all windows."""


@atexit.register
def _close_all() -> None:
    for forecaster in list(_forecasters):
        forecaster.close()


def _start() -> subprocess.Popen:
    process = subprocess.Popen(
        [sys.executable, "-m", "ldm_viewer.forecaster"], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    if sys.platform == "linux":
        import fcntl

        with suppress(OSError):
            fcntl.fcntl(process.stdout, fcntl.F_SETPIPE_SZ, PIPE_BYTES)
    return process


def _frame(told: tuple[int, float, np.ndarray, np.ndarray | None], emulator: Emulator) -> Frame:
    import torch

    from engine.rollout import Frame

    index, time_fs, latents, density = told
    return Frame(index, time_fs, torch.from_numpy(latents).to(emulator.device), density)


# ------------------------------------------------------------------------------------------ the other side


def _serve() -> None:
    """Answer requests until the other end is closed."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the window's
    with suppress(AttributeError, OSError):
        os.nice(NICENESS)
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what libraries print must not get between the answers
    import engine.rollout  # noqa: F401 (before it is needed)

    make: Callable[[], Emulator] | None = None
    with suppress(EOFError, BrokenPipeError):
        while True:
            kind, *what = pickle.load(sys.stdin.buffer)  # noqa: S301 (our own window)
            if kind == "emulator":
                make = cache(partial(_emulator, *what))
            elif kind == "rollout":
                _answer(answers, *_forecast(answers, make, *what))


def _emulator(
    device: str,
    recipe: Recipe,
    weights: dict[str, torch.Tensor],
    normaliser: LogNormal,
    card: dict[str, Any],
    name: str,
) -> Emulator:
    from engine.devices import enough_memory
    from engine.emulator import ELSEWHERE, Emulator
    from engine.models import build

    model = build(recipe)
    model.load_state_dict(weights)
    with enough_memory(ELSEWHERE):
        return Emulator(model.to(device), normaliser, card, name)


def _forecast(
    answers: IO[bytes],
    make: Callable[[], Emulator],
    state: np.ndarray,
    frames: int,
    threads: int,
    how: dict[str, Any],
) -> tuple[None, str]:
    """Send frame after frame while they are wanted; returns the end, with what went wrong."""
    import torch

    from engine.rollout import rollout

    torch.set_num_threads(threads)
    try:
        emulator = make()
        made = rollout(emulator, torch.from_numpy(state).to(emulator.device), frames, **how)
        while pickle.load(sys.stdin.buffer)[0] == "go on":  # noqa: S301
            frame = next(made, None)
            if frame is None:
                break
            _answer(answers, (frame.index, frame.time_fs, frame.latents.cpu().numpy(), frame.density), "")
    except (EOFError, BrokenPipeError):
        raise
    except Exception as error:  # everything is told in words at the other end
        return None, str(error) or type(error).__name__
    return None, ""


def _answer(answers: IO[bytes], answer: Any, mistake: str) -> None:
    pickle.dump((answer, mistake), answers, protocol=pickle.HIGHEST_PROTOCOL)
    answers.flush()


if __name__ == "__main__":
    _serve()
