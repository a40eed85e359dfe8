"""An export beside the window: what it tells while it runs, how it ends, and what a cancel leaves."""

from __future__ import annotations

import threading
from pathlib import Path

from ldm_viewer.encoder import MovieCancelled
from ldm_viewer.export import CANCELLED, Export


def test_it_tells_how_far_it_is_and_where_the_file_lies(tmp_path: Path) -> None:
    half, go_on = threading.Event(), threading.Event()

    def make(tell: object) -> Path:
        for done in range(5):
            assert tell(done, 4) is True
            if done == 2:
                half.set()
                go_on.wait(10)
        return tmp_path / "talk.mp4"

    export = Export(make)
    assert export.words() == "preparing…"
    export.start()
    assert half.wait(10)
    assert export.words().startswith("2 of 4, ") and export.words().endswith(" s left")
    go_on.set()
    export.join(10)
    assert not export.is_alive() and export.path == tmp_path / "talk.mp4" and not export.error


def test_a_cancel_ends_what_it_would_have_to_wait_for(tmp_path: Path) -> None:
    """As the process that draws surfaces: it is closed, and what it was asked for fails."""
    closed = threading.Event()

    def make(tell: object) -> Path:
        closed.wait(10)
        raise OSError("the process ended")

    export = Export(make, closed.set)
    export.start()
    export.cancel()
    assert export.words() == "cancelling…"
    export.join(10)
    assert not export.is_alive() and export.error == CANCELLED and export.path is None


def test_a_cancel_between_two_frames(tmp_path: Path) -> None:
    begun = threading.Event()

    def make(tell: object) -> Path:
        begun.set()
        while tell(1, 2):
            pass
        raise MovieCancelled("cancelled after 1 of 2 frames")

    export = Export(make)
    export.start()
    assert begun.wait(10)
    export.cancel()
    export.join(10)
    assert not export.is_alive() and export.error == CANCELLED


def test_what_fails_is_said_in_words() -> None:
    def make(tell: object) -> Path:
        raise OSError("talk.mp4 was not written: the disk is full (/media/stick)")

    export = Export(make)
    export.start()
    export.join(10)
    assert not export.is_alive()
    assert export.error == "not exported: talk.mp4 was not written: the disk is full (/media/stick)"
