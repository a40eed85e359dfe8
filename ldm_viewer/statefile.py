"""A session as a small JSON file, to make a figure again: data, emulator, setup, moment, view. No Qt.

What runs are made of is written, not their frames: the same seed gives the same forecast.
"""

from __future__ import annotations

import json
import os
from dataclasses import asdict, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ldm_viewer.runs import SessionError
from ldm_viewer.state import Beside, Origin, Setup

if TYPE_CHECKING:
    from ldm_viewer.session import Session

FORMAT = "ldm_viewer state 1"
SUFFIX = ".ldmstate"


def save_state(path: str | Path, session: Session, view: dict[str, Any]) -> Path:
    """Write `session` and the window's `view` aside and rename. SessionError where nothing is open yet."""
    path, state = Path(path), session.state
    if state.trajectory is None:
        raise SessionError("there is nothing to save: open a trajectory first")
    file = state.trajectory.path.resolve()
    run = state.shown
    content = {
        "format": FORMAT,
        "trajectory": str(file),
        "trajectory_from_here": os.path.relpath(file, path.resolve().parent),
        "emulator": session.emulator_address(),
        "setup": asdict(state.setup if run is None else run.setup),
        "forecast": None
        if run is None
        else {"frames": len(run.film), "label": run.label, "fork_of": _told(run.origin.parent)},
        "time_fs": state.time_fs,
        "member": state.member,
        "beside": state.beside.value,
        "view": view,
    }
    part = path.with_name(f".{path.name}.part")
    part.write_text(json.dumps(content, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    os.replace(part, path)
    return path


def open_state(path: str | Path, session: Session) -> dict[str, Any]:
    """Bring a session to what was saved, its forecast under way; returns the view for the window.

    Of a fork, the forecasts before it are computed again first. Raises SessionError, TrajectoryError or
    IncompatibleError in words.
    """
    path = Path(path)
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        if content.get("format") != FORMAT:
            raise SessionError(f"{path.name} has format {content.get('format')!r}, expected {FORMAT!r}")
        beside, time_fs = Beside(content["beside"]), float(content["time_fs"])
        setup = _known(content["setup"])
        address, view = content["emulator"], dict(content["view"])
        file = _found(path, content)
        parent = _origin((content["forecast"] or {}).get("fork_of"))
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        if isinstance(error, SessionError):
            raise
        raise SessionError(f"{path.name} is no state of ldm_viewer: {error}") from error
    if address:
        session.choose_emulator(address)
    session.open_trajectory(file)
    session.configure(**setup)
    session.show_beside(beside)
    if content["forecast"] is not None:
        session.start() if parent is None else session.remake(parent)
        session.show_member(content["member"])
    session.look_at(time_fs)
    return view


def _told(origin: Origin | None) -> dict[str, Any] | None:
    return None if origin is None else asdict(replace(origin, parent=None)) | {"parent": _told(origin.parent)}


def _origin(told: dict[str, Any] | None) -> Origin | None:
    """The inverse of `_told`."""
    if told is None:
        return None
    place = int(told["index"]), int(told["member"])
    return Origin(told["emulator"], Setup(**_known(told["setup"])), _origin(told["parent"]), *place)


def _known(setup: dict[str, Any]) -> dict[str, Any]:
    """Fields that this version knows."""
    names = {field.name for field in fields(Setup)}
    return {name: value for name, value in setup.items() if name in names}


def _found(path: Path, content: dict[str, Any]) -> Path:
    """The trajectory beside the state file, where both were moved together, or where it was."""
    places = [path.resolve().parent / content["trajectory_from_here"], Path(content["trajectory"])]
    for place in places:
        if place.is_file():
            return place
    raise SessionError(f"the trajectory of {path.name} is neither at {places[0]} nor at {places[1]}")
