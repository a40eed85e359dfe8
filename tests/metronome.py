"""A session for tests, polled as the window does, and a rollout whose frames come when a test says so."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator

import numpy as np
from waves import GRID

from engine.rollout import Frame
from ldm_viewer.session import Session
from ldm_viewer.state import State


def until(session: Session, condition: Callable[[State], bool], seconds: float = 20.0) -> State:
    """Poll as the window does."""
    end = time.monotonic() + seconds
    while not condition(session.state):
        assert time.monotonic() < end, f"still {session.state.status}, {session.state.ready} frames ready"
        session.poll()
        time.sleep(0.005)
    return session.state


class Metronome:
    """A rollout whose frames come when the test says so; frame k of member m is the constant k + 1 + 10 m."""

    def __init__(self) -> None:
        self.beats = threading.Semaphore(0)

    def __call__(
        self, emulator: object, state: object, frames: int, *, members: int, seed: int, decode_every: int
    ) -> Iterator[Frame]:
        for index in range(frames):
            self.beats.acquire()
            field = np.full((members, *GRID), index + 1.0) + 10 * np.arange(members).reshape(-1, 1, 1, 1)
            yield Frame(index, (index + 1) * emulator.dt_fs, None, field)
