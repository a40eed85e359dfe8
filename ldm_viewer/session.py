"""What the viewer knows and what can be told to it: no Qt, no napari.

State is a frozen snapshot. Commands replace it and emit `changed(new, old)`; widgets read the snapshot and
give commands. A worker computes the forecast; `poll()` takes over what is ready.
"""

from __future__ import annotations

import atexit
import gc
import weakref
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from psygnal import Signal

from engine.emulator import Emulator
from engine.rollout import rollout
from engine.samples import shipped
from ldm_viewer.fit import fit, settled, start_of
from ldm_viewer.frames import Series
from ldm_viewer.preferences import Preferences
from ldm_viewer.reader import open_any
from ldm_viewer.runs import (
    SessionError,
    forked_state,
    frames_of,
    new_run,
    replayed,
    shown,
    truth_beside,
    with_room,
)
from ldm_viewer.shelf import Shelf
from ldm_viewer.state import Beside, Origin, State, Status
from ldm_viewer.worker import ForecastWorker

if TYPE_CHECKING:
    import torch

    from engine.rollout import Frame
    from ldm_viewer.ledger import Ledger


class Session:
    """State and commands of one viewer. `make_rollout` makes the frames: the engine here, or in a process."""

    changed = Signal(State, State)

    def __init__(self, make_rollout: Callable[..., Iterator[Frame]] = rollout) -> None:
        self._make_rollout = make_rollout
        self.shelf = Shelf(shipped())
        self._worker: ForecastWorker | None = None
        self.device = "cpu"  # of the next emulator
        self.threads = Preferences().threads_to_use  # of the next run
        self.state = State(emulators=self.shelf.names)
        _open_sessions.add(self)

    @cached_property
    def ledger(self) -> Ledger:
        """For one thread beside the window, which imports what it needs."""
        from ldm_viewer.ledger import Ledger

        return Ledger()

    # -------------------------------------------------------------------------------------------- choosing

    def open_trajectory(self, path: str | Path) -> None:
        """Show another trajectory; the forecast of the former one ends. Raises TrajectoryError in words."""
        trajectory = open_any(path)
        series = Series.of(trajectory)  # refuses uneven times before anything is replaced
        self._retire()
        found = fit(trajectory, self.state.emulator)
        setup = settled(self.state.setup, found["truth"], series.start_fs)
        self._replace(
            trajectory=trajectory,
            runs=(),
            **self._no_forecast(),
            **found,
            setup=setup,
            time_fs=setup.start_fs,
        )

    def choose_emulator(self, name_or_folder: str | Path) -> None:
        """Load a shipped emulator by name or any other by folder. Raises IncompatibleError in words."""
        emulator = Emulator.load(self.shelf.folder(name_or_folder), self.device)
        self._retire()
        name = self.shelf.put(name_or_folder, emulator.name)
        found = fit(self.state.trajectory, emulator)
        adapted, run = found["adapted"], self.state.shown
        if run is not None and adapted is not None and tuple(adapted.grid) == run.series(0).grid:
            status = Status.STOPPED if self.state.status.active else self.state.status
            forecasts = {"status": status}  # they stay, to be forked and compared
            found["truth"] = truth_beside(adapted, run)
        else:
            forecasts = self._no_forecast() | {"runs": ()}
        self._replace(
            emulator=emulator,
            chosen=name,
            emulators=self.shelf.names,
            **forecasts,
            **found,
            setup=settled(
                self.state.setup,
                Series.of(adapted) if adapted is not None else found["truth"],
                self.state.setup.start_fs,
            ),
        )

    def offer_emulator(self, folder: str | Path) -> str:
        """Put the folder of an emulator on the list, unless it is there; returns its name on it."""
        name = self.shelf.name_of(folder) or self.shelf.put(folder, Path(folder).name)
        if name not in self.state.emulators:
            self._replace(emulators=self.shelf.names)
        return name

    def emulator_address(self) -> str:
        """What `choose_emulator` takes to choose this one again, here or after a restart; empty for none."""
        return self.shelf.address(self.state.chosen)

    def configure(self, **fields: Any) -> None:
        """Change fields of `Setup` for the next forecast; SessionError names a value that makes no sense."""
        setup = replace(self.state.setup, **fields)
        for name in ("frames", "stride", "members"):
            if getattr(setup, name) < 1:
                raise SessionError(f"{name} must be at least 1, not {getattr(setup, name)}")
        if setup.seed < 0:
            raise SessionError(f"seed must be 0 or more, not {setup.seed}")
        if setup != self.state.setup:
            self._replace(setup=setup)

    def look_at(self, time_fs: float) -> None:
        """Move the slider; looking away from the newest frame ends following it."""
        newest = self.state.forecast is not None and np.isclose(time_fs, self.state.forecast.end_fs)
        if time_fs != self.state.time_fs:
            self._replace(time_fs=float(time_fs), follow=bool(self.state.follow and newest))

    def set_follow(self, follow: bool) -> None:
        """Go with the newest frame, or stay."""
        newest = (
            self.state.forecast.end_fs if follow and self.state.forecast is not None else self.state.time_fs
        )
        self._replace(follow=follow, time_fs=newest)

    def show_member(self, member: int | None) -> None:
        """Show one member of the ensemble, or with None its mean."""
        run = self.state.shown
        if member is not None and run is not None and not 0 <= member < run.members:
            raise SessionError(f"member {member} is not one of 0 … {run.members - 1}")
        if member == self.state.member:
            return
        views: dict[str, Any] = {"member": member}
        if run is not None:
            views["film"] = run.series(member)
            views["forecast"] = run.series(member, self.state.ready) if self.state.ready else None
        self._replace(**views)

    def show_beside(self, what: Beside | str) -> None:
        """Choose what stands beside truth and forecast; a spread needs two members."""
        self._replace(beside=Beside(what))

    # -------------------------------------------------------------------------------------------- forecast

    def start(self, *, paused: bool = False) -> None:
        """Begin a new forecast from `setup`; one that runs is given up, its frames stay among `runs`."""
        emulator, adapted, index = start_of(self.state)
        origin_fs = float(adapted.times_fs[index])
        words = f"from {origin_fs:g} fs"
        self._launch(lambda: emulator.initial_state(adapted, index), origin_fs, words, None, paused)

    def fork(self) -> None:
        """Go on from the shown forecast's frame at the slider, with the emulator and seed chosen now."""
        state, run = self.state, self.state.shown
        if run is None:
            raise SessionError("there is no forecast to fork: start one first")
        if state.emulator is None or state.adapted is None:
            raise SessionError(state.obstacle or "no emulator is chosen")
        first = forked_state(run, state.member, state.time_fs, state.emulator)
        index = run.series(0).index_at(state.time_fs)
        origin_fs = run.series(0).time_at(index)
        parent = replace(run.origin, index=index, member=state.member)
        words = f"fork of run {run.number} at {origin_fs:g} fs"
        self._launch(lambda: first, origin_fs, words, parent)

    def remake(self, parent: Origin) -> None:
        """Fork again as a saved session did: its ancestors are computed first, in the worker's thread."""
        emulator, trajectory = self.state.emulator, self.state.trajectory
        start_of(self.state)
        makers = {
            address: Emulator.load(self.shelf.folder(address), self.device) for address in parent.addresses()
        }
        origin_fs = parent.time_fs(makers)
        words = f"fork at {origin_fs:g} fs"
        self._launch(lambda: replayed(parent, makers, trajectory, emulator), origin_fs, words, parent)

    def _launch(
        self,
        make_first: Callable[[], torch.Tensor],
        origin_fs: float,
        words: str,
        parent: Origin | None,
        paused: bool = False,
    ) -> None:
        run = new_run(self.state, self.emulator_address(), origin_fs, words, parent)
        frames = partial(frames_of, run, self._make_rollout, make_first)
        self._retire()
        self._worker = ForecastWorker(run.number, frames, run.film, paused=paused, threads=self.threads)
        gc.collect()  # of closed docks nothing may be frozen: it would stay for good
        gc.freeze()  # else every full collection walks all objects of the window, and stops it meanwhile
        self._replace(
            **self._no_forecast(Status.PAUSED if paused else Status.RUNNING)
            | {"runs": (*with_room(self.state.runs, run.film), run)}
            | shown(self.state, run),
            run=run.number,
            time_fs=origin_fs,
            follow=True,
        )
        self._worker.start()

    def show_run(self, number: int) -> None:
        """Show an earlier forecast, or the latest again; one that runs goes on."""
        run = next((run for run in self.state.runs if run.number == number), None)
        if run is None:
            raise SessionError(f"there is no run {number}; there are {[r.number for r in self.state.runs]}")
        if run is not self.state.shown:
            self._replace(**shown(self.state, run), follow=self.state.follow and number == self.state.run)

    def pause(self) -> None:
        """Hold after the frame under way."""
        if self._worker is not None and self.state.status is Status.RUNNING:
            self._worker.pause()
            self._replace(status=Status.PAUSED)

    def resume(self) -> None:
        """Go on after a pause."""
        if self._worker is not None and self.state.status is Status.PAUSED:
            self._worker.resume()
            self._replace(status=Status.RUNNING, follow=True)

    def step(self) -> None:
        """One more frame, then hold; begins a forecast if none is under way."""
        if not self.state.status.active:
            self.start(paused=True)
        if self._worker is not None:
            self._worker.step()
            self._replace(status=Status.PAUSED, follow=True)

    def stop(self) -> None:
        """End the forecast; its frames stay."""
        if self._worker is not None and self.state.status.active:
            self._worker.stop()
            self._replace(status=Status.STOPPED)

    @property
    def has_news(self) -> bool:
        """Whether `poll` would show another frame."""
        worker, run = self._worker, self.state.shown
        return (
            worker is not None
            and run is not None
            and worker.number == run.number
            and worker.film.ready > self.state.ready
        )

    def poll(self) -> None:
        """Take over what the worker has made ready since the last look. Cheap; call it ten times a second."""
        worker, state = self._worker, self.state
        if worker is None or worker.number != state.run:
            return
        alive, ready = worker.is_alive(), worker.film.ready  # in this order: a dead worker's count is final
        news: dict[str, Any] = {}
        if state.shown.number == worker.number and ready > state.ready:
            news |= {"forecast": state.shown.series(state.member, ready), "seconds": worker.seconds}
            if state.follow:
                news["time_fs"] = news["forecast"].end_fs
        if not alive and worker.ident is not None:
            self._retire()
            if worker.error is not None:
                news |= {"status": Status.FAILED, "message": worker.error}
            elif state.status.active:
                news["status"] = Status.FINISHED
        if news:
            self._replace(**news)

    def close(self, timeout: float = 10.0) -> None:
        """Stop the worker and wait for it, so that no thread outlives the window."""
        self._retire(timeout)
        if self.state.status.active:
            self._replace(status=Status.STOPPED)

    # ------------------------------------------------------------------------------------------- machinery

    def _replace(self, **changes: Any) -> None:
        old, self.state = self.state, replace(self.state, **changes)
        self.changed.emit(self.state, old)

    def _retire(self, timeout: float | None = None) -> None:
        worker, self._worker = self._worker, None
        if worker is not None:
            gc.unfreeze()
            worker.stop()
            if timeout is not None and worker.is_alive():
                worker.join(timeout)

    @staticmethod
    def _no_forecast(status: Status = Status.IDLE) -> dict[str, Any]:
        nothing = dict.fromkeys(("shown", "film", "forecast"))
        return nothing | {"status": status, "seconds": 0.0, "message": ""}


_open_sessions: weakref.WeakSet[Session] = weakref.WeakSet()


@atexit.register
def _close_all() -> None:
    """A thread inside torch while the interpreter goes down can crash it."""
    for session in list(_open_sessions):
        session.close()
