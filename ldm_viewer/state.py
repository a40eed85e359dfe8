"""One moment of the viewer as frozen data: what is open, set up and forecast, and where the slider is."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np

    from engine.emulator import Emulator
    from engine.trajectory import Trajectory
    from ldm_viewer.frames import Series


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
    def total(self) -> int:
        """Frames the forecast will show."""
        return 0 if self.film is None else len(self.film)

    def pair(self) -> tuple[np.ndarray | None, np.ndarray | None]:
        """Truth and forecast (Nx, Ny, Nz) in Å⁻³ at the slider; None where there is none at this time."""
        at = [None if series is None else series.at(self.time_fs) for series in (self.truth, self.forecast)]
        return at[0], at[1]
