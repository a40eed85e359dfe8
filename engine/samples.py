"""What ships with the package: a real excerpt of AIMD and the emulators trained on it."""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path

DEFAULT = "spectral"


def sample_path(name: str) -> Path:
    """Path of a file in `sample_data`: "li32_train.h5" or "li32_test.h5"."""
    path = Path(str(files("sample_data") / name))
    if not path.exists():
        raise FileNotFoundError(
            f"no sample {name!r}; there are {sorted(p.name for p in path.parent.glob('*.h5'))}"
        )
    return path


def shipped() -> dict[str, Path]:
    """Name → folder of the emulators in `sample_data`, the default first."""
    root = Path(str(files("sample_data") / "emulators"))
    folders = sorted(p.parent for p in root.glob("*/card.json"))
    return {p.name: p for p in sorted(folders, key=lambda p: p.name != DEFAULT)}


def emulator_folder(model: str | Path | None = None) -> Path:
    """Folder of an emulator that a user names: a shipped one (by itself the default), or a path.

    Behind "@" may stand a sampler, which stays there.
    """
    name, at, way = str(model or DEFAULT).partition("@")
    found = shipped().get(name)
    return found.with_name(found.name + at + way) if found else Path(model)
