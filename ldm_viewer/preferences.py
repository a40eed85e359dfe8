"""What a user wants of every session, in a small JSON file of the configuration folder. No Qt."""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass, fields
from pathlib import Path

from platformdirs import user_config_path

MOST_THREADS = 4  # one forecast is too small to feed more
FOLDER = "LDM_VIEWER_CONFIG"  # environment variable: another folder than the user's own


@dataclass(frozen=True)
class Preferences:
    """Each field is a row of the dialog, its text below the tooltip."""

    device: str = "cpu"
    """Where emulators compute: cpu, or cuda where there is one"""
    redraws: int = 30
    """Views that may be drawn anew in a second; fewer leave more to the forecast"""
    threads: int = 0
    """Processor threads of the forecast; 0: all but one, four at most"""

    def __post_init__(self) -> None:
        if not (self.device == "cpu" or self.device.split(":")[0] in ("cuda", "mps")):
            raise ValueError(f"device must be cpu, cuda or mps, not {self.device!r}")
        if not 1 <= self.redraws <= 60:
            raise ValueError(f"redraws must be 1 to 60 a second, not {self.redraws}")
        if self.threads < 0:
            raise ValueError(f"threads must be 0 or more, not {self.threads}")

    @property
    def threads_to_use(self) -> int:
        """Of the forecast; the GUI keeps a core."""
        return self.threads or min(MOST_THREADS, max(1, (os.cpu_count() or 2) - 1))


def devices() -> tuple[str, ...]:
    """Those that PyTorch finds here."""
    import torch

    found = ["cpu"]
    if torch.cuda.is_available():
        found += ["cuda"]
    if torch.backends.mps.is_available():
        found += ["mps"]
    return tuple(found)


def file() -> Path:
    """Where they are kept."""
    folder = os.environ.get(FOLDER)
    return (Path(folder) if folder else user_config_path("ldm_viewer", appauthor=False)) / "preferences.json"


def load() -> Preferences:
    """What was kept; the defaults where nothing is, and where what is there makes no sense."""
    try:
        kept = json.loads(file().read_text(encoding="utf-8"))
        known = {field.name: type(getattr(Preferences(), field.name)) for field in fields(Preferences)}
        return Preferences(**{name: kind(kept[name]) for name, kind in known.items() if name in kept})
    except (OSError, ValueError, TypeError, AttributeError):
        return Preferences()


def save(preferences: Preferences) -> Path:
    """Keep them for the next session: written aside and renamed."""
    path = file()
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".{path.name}.part")
    part.write_text(json.dumps(asdict(preferences), indent=1) + "\n", encoding="utf-8")
    os.replace(part, path)
    return path
