"""One moment of the viewer as frozen data: what is open, set up and forecast, and where the slider is."""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import StrEnum
from typing import TYPE_CHECKING

import numpy as np

from ldm_viewer.frames import DifferenceFrames, GrowingFrames, MemberFrames, Series, SpreadFrames

if TYPE_CHECKING:
    from engine.emulator import Emulator
    from engine.trajectory import Trajectory


class Status(StrEnum):
    """Where the forecast stands."""

    IDLE = "idle"
    RUNNING = "running"
    PAUSED = "paused"
    STOPPED = "stopped"
    FINISHED = "finished"
    FAILED = "failed"

    @property
    def active(self) -> bool:
        """Whether a worker is alive."""
        return self in (Status.RUNNING, Status.PAUSED)


@dataclass(frozen=True)
class Setup:
    """What the next forecast starts from and how long it runs."""

    start_fs: float = 0.0
    """Time of the frame to start from, in fs of the trajectory."""
    frames: int = 200
    """Forecast steps to compute."""
    seed: int = 0
    """Noise of the forecast: the same seed gives the same film."""
    stride: int = 1
    """Show every n-th forecast step; the steps between are computed and not decoded."""
    members: int = 1
    """Forecasts from the same start that differ in their noise only."""


class Beside(StrEnum):
    """What the third view shows."""

    NOTHING = "nothing"
    DIFFERENCE = "difference"
    SPREAD = "spread"


@dataclass(frozen=True)
class Origin:
    """How a forecast was made, in plain values: enough to make it again.

    A fork has a `parent`, of whose frame `index` it goes on from `member`.
    """

    emulator: str
    setup: Setup
    parent: Origin | None = None
    index: int = 0
    member: int = 0

    def addresses(self) -> set[str]:
        """Emulators of this forecast and of what it was forked from."""
        return {self.emulator} | (self.parent.addresses() if self.parent is not None else set())

    def time_fs(self, makers: dict[str, Emulator]) -> float:
        """Time of frame `index`."""
        begin = self.setup.start_fs if self.parent is None else self.parent.time_fs(makers)
        return begin + (self.index + 1) * self.setup.stride * makers[self.emulator].dt_fs


@dataclass(frozen=True, eq=False)
class Run:
    """One forecast, of K members: what it began from and its frames, at first_fs + i·step_fs."""

    number: int
    film: GrowingFrames
    first_fs: float
    step_fs: float
    cell: np.ndarray
    origin: Origin
    maker: Emulator
    """The emulator that makes it."""
    label: str = ""
    """What it is, in words."""

    @property
    def setup(self) -> Setup:
        """What it was set up from."""
        return self.origin.setup

    @property
    def members(self) -> int:
        """K."""
        return self.film.members

    def series(self, member: int | None, ready: int | None = None) -> Series:
        """A member, or with None the mean, in full length or as far as `ready`."""
        frames = MemberFrames(self.film, member if self.members > 1 else 0, ready)
        return Series(frames, self.first_fs, self.step_fs, self.cell)

    def spread(self) -> Series:
        """Standard deviation over the members."""
        return Series(SpreadFrames(self.film), self.first_fs, self.step_fs, self.cell)


@dataclass(frozen=True, eq=False)
class State:
    """One moment of the session."""

    trajectory: Trajectory | None = None
    """The file as opened."""
    emulator: Emulator | None = None
    chosen: str = ""
    """Its name among `emulators`."""
    emulators: tuple[str, ...] = ()
    """Names to choose from."""
    adapted: Trajectory | None = None
    """The trajectory on the emulator's grid and time step; None without an emulator that fits."""
    obstacle: str = ""
    """Why the emulator cannot continue this trajectory, in words."""
    truth: Series | None = None
    film: Series | None = None
    """The forecast in its full length; frames that are not ready read as NaN."""
    forecast: Series | None = None
    """The part of it that is ready, or None before the first frame."""
    runs: tuple[Run, ...] = ()
    """Forecasts of this trajectory that are kept, the latest last."""
    shown: Run | None = None
    """The forecast that film and forecast belong to."""
    member: int | None = 0
    """The member of it that is shown, or None for the mean."""
    beside: Beside = Beside.DIFFERENCE
    setup: Setup = Setup()
    run: int = 0
    """Number of the latest forecast; what belongs to an older one is dropped."""
    started_fs: float = 0.0
    """Start time of the latest forecast."""
    status: Status = Status.IDLE
    seconds: float = 0.0
    """Computing time of the latest forecast."""
    message: str = ""
    """What went wrong with it, in words."""
    time_fs: float = 0.0
    """Where the slider is."""
    follow: bool = True
    """Whether the slider goes with the newest frame."""

    @property
    def ready(self) -> int:
        """Forecast frames that can be shown."""
        return 0 if self.forecast is None else len(self.forecast)

    @property
    def awaited(self) -> bool:
        """Whether a forecast is under way whose first frame is not there yet: all else can wait for it."""
        return self.status is Status.RUNNING and not self.ready

    @property
    def total(self) -> int:
        """Frames the forecast will show."""
        return 0 if self.film is None else len(self.film)

    def third(self) -> Series | None:
        """What stands beside truth and forecast, at the film's times; None if nothing does."""
        if self.shown is None or self.film is None or self.truth is None:
            return None
        if self.beside is Beside.SPREAD and self.shown.members > 1:
            return self.shown.spread()
        if self.beside is Beside.DIFFERENCE:
            return replace(self.film, frames=DifferenceFrames(self.film, self.truth))
        return None

    def positions(self) -> np.ndarray | None:
        """Atoms (N, 3) in Å of the stored frame nearest to the slider; None where the file has none."""
        if self.trajectory is None or self.truth is None or self.truth.index_at(self.time_fs) is None:
            return None
        nearest = int(np.abs(self.trajectory.times_fs - self.time_fs).argmin())
        return self.trajectory.positions(nearest)

    def pair(self) -> tuple[np.ndarray | None, np.ndarray | None]:
        """Truth and forecast (Nx, Ny, Nz) in Å⁻³ at the slider; None where there is none at this time."""
        at = [None if series is None else series.at(self.time_fs) for series in (self.truth, self.forecast)]
        return at[0], at[1]
