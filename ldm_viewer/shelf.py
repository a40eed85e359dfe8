"""The emulators to choose from: names, and the folders they stand for."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path


class Shelf:
    """Begins with what is shipped; other folders are put beside."""

    def __init__(self, shipped: Mapping[str, Path]) -> None:
        self._shipped, self._folders = frozenset(shipped), dict(shipped)

    @property
    def names(self) -> tuple[str, ...]:
        """In the order in which they came."""
        return tuple(self._folders)

    def folder(self, name_or_folder: str | Path) -> Path:
        """Where an emulator lies; what is no name is a folder."""
        return Path(self._folders.get(str(name_or_folder), name_or_folder))

    def name_of(self, folder: str | Path) -> str | None:
        """The name of a folder that is there already."""
        return next((name for name, other in self._folders.items() if other == Path(folder)), None)

    def put(self, name_or_folder: str | Path, wanted: str) -> str:
        """Add a folder under the name that is wanted, or its own where that is taken; returns the name."""
        name = str(name_or_folder)
        if name not in self._folders:
            name = wanted if wanted not in self._folders else name
            self._folders[name] = Path(name_or_folder)
        return name

    def address(self, name: str) -> str:
        """What leads to it again after a restart: the name of a shipped one, else its folder."""
        return name if name in self._shipped else str(self._folders.get(name, ""))
