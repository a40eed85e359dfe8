"""A series of CUBE, CHGCAR or XSF files made into one trajectory by a process of its own. No Qt.

Parsing text holds Python's lock for seconds: beside the window it would stop it. The process tells its
progress line by line; ending it leaves nothing half written.
"""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path

from engine.formats import Unit


@dataclass(frozen=True)
class Order:
    """What to make of which files; `floor` in Å⁻³, 0 for none: then ρ ≤ 0 is refused."""

    files: tuple[str, ...]
    output: str
    dt_fs: float = 1.0
    unit: Unit = "convention"
    floor: float = 0.0


class Gathering:
    """The process at work; ask it as often as you like."""

    def __init__(self, order: Order) -> None:
        self.order = order
        self.done, self.total, self.error = 0, len(order.files), ""
        self._process = subprocess.Popen(
            [sys.executable, "-m", "ldm_viewer.gather"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self._process.stdin.write(json.dumps(asdict(order)))
        self._process.stdin.close()
        self._listener = threading.Thread(target=self._listen, daemon=True)
        self._listener.start()

    @property
    def over(self) -> bool:
        """Whether it ended; then `error` says why, or nothing."""
        return not self._listener.is_alive()

    def cancel(self) -> None:
        """End it and remove what it had written aside."""
        self._process.kill()
        self._listener.join()
        self.error = self.error or "cancelled"
        Path(f"{self.order.output}.part").unlink(missing_ok=True)

    def _listen(self) -> None:
        for line in self._process.stdout:
            news = json.loads(line)
            self.done, self.error = news.get("done", self.done), news.get("error", self.error)
        if self._process.wait() and not self.error:
            self.error = f"the process that reads the files ended (code {self._process.returncode})"


def free_name(files: Sequence[Path]) -> Path:
    """Where the trajectory may go: beside the folder of the files, under its name, nothing overwritten."""
    folder = files[0].resolve().parent
    wanted = folder.with_name(f"{folder.name}.h5") if folder.name else folder / "series.h5"
    number = 2
    while wanted.exists():
        wanted = wanted.with_name(f"{folder.name}-{number}.h5")
        number += 1
    return wanted


def _main() -> None:
    from engine.series import import_series

    order = Order(**json.load(sys.stdin))

    def tell(**news: object) -> None:
        with suppress(BrokenPipeError):
            print(json.dumps(news), flush=True)

    try:
        import_series(
            order.files,
            order.output,
            dt_fs=order.dt_fs,
            unit=order.unit,
            floor=order.floor or None,
            progress=lambda done, total: tell(done=done),
        )
    except (ValueError, OSError) as error:
        tell(error=str(error))
        sys.exit(1)


if __name__ == "__main__":
    _main()
