"""Pictures, one after the other, into a movie file or a folder of PNGs: a whole one, or none. No Qt.

H.264 and GIF go through ffmpeg (of `imageio-ffmpeg`) in its own process; its complaints are told in words.
"""

from __future__ import annotations

import errno
import os
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from itertools import chain
from pathlib import Path

import numpy as np

Progress = Callable[[int, int], bool | None]
"""Called as (done, total) after each picture; False cancels."""

KINDS = {"MP4": ".mp4", "GIF": ".gif", "PNG folder": ""}
MP4 = (  # plays in PowerPoint and Keynote: 4:2:0, colours tagged as they are converted, index at the front
    *("-vf", "scale=out_color_matrix=bt709:out_range=tv,format=yuv420p", "-c:v", "libx264"),
    *("-preset", "veryfast", "-crf", "17", "-movflags", "+faststart"),
    *("-colorspace", "bt709", "-color_primaries", "bt709", "-color_trc", "bt709", "-color_range", "tv"),
)
PICTURE = "frame_{:04d}.png"
PATIENCE = 0.1  # seconds between two looks at a cancel while ffmpeg finishes
REASONS = {
    errno.ENOSPC: "the disk is full",
    errno.EDQUOT: "the disk quota is used up",
    errno.EFBIG: "the file would be larger than the disk allows",
    errno.EACCES: "there is no permission to write there",
    errno.EPERM: "there is no permission to write there",
    errno.EROFS: "the disk is read-only",
    errno.EEXIST: "a part of its path is a file, not a folder",
    errno.ENOTDIR: "a part of its path is a file, not a folder",
}


class MovieCancelled(Exception):  # noqa: N818 (nothing went wrong)
    """The progress callback asked to stop; no file is left."""


def write_movie(
    path: str | Path,
    pictures: Iterable[np.ndarray],
    total: int,
    fps: float = 25,
    progress: Progress | None = None,
) -> Path:
    """Write `total` pictures, (H, W, 3 or 4) uint8 of one even size, as .mp4, .gif, or a folder of PNGs.

    A path without suffix is a folder; one that is there is replaced only if it holds nothing but such
    pictures. Made aside and renamed. Raises MovieCancelled, OSError in words, ValueError for another suffix.
    """
    path = Path(path)
    check_target(path)
    if total < 1:
        raise ValueError("there is nothing to film: no frame lies in the chosen time")
    part = path.with_name(f".{path.stem}.part{path.suffix}")
    watched = _watched(pictures, total, progress)
    with told(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        _remove(part)
        try:
            if path.suffix:
                _encode(part, watched, fps, lambda: _ask(progress, total, total))
            else:
                _draw_all(part, watched)
                _remove(path)
            os.replace(part, path)
        finally:
            _remove(part)
    return path


def check_target(path: Path) -> None:
    """ValueError for a suffix that is not known, OSError for a folder that holds something else."""
    if path.suffix.lower() not in KINDS.values():
        raise ValueError(
            f"a movie is written as .mp4 or .gif, or without a suffix as a folder of PNG pictures, "
            f"not as {path.suffix}"
        )
    if path.is_dir() and (path.suffix or not all(file.match("frame_*.png") for file in path.iterdir())):
        raise OSError(f"{path} is a folder that holds other files; choose another name")


@contextmanager
def told(path: Path) -> Iterator[None]:
    """What the system refuses, in words that name the file."""
    try:
        yield
    except OSError as error:
        reason = REASONS.get(error.errno, error.strerror or str(error))
        raise OSError(f"{path.name} was not written: {reason} ({path.parent})") from error


def _watched(pictures: Iterable[np.ndarray], total: int, progress: Progress | None) -> Iterator[np.ndarray]:
    """The pictures, each reported once whoever takes them has dealt with it."""
    _ask(progress, 0, total)
    for done, picture in enumerate(pictures, start=1):
        yield picture
        _ask(progress, done, total)


def _ask(progress: Progress | None, done: int, total: int) -> None:
    if progress is not None and progress(done, total) is False:
        raise MovieCancelled(f"cancelled after {done} of {total} frames")


def _draw_all(folder: Path, pictures: Iterable[np.ndarray]) -> None:
    from PIL import Image

    folder.mkdir()
    for number, picture in enumerate(pictures, start=1):
        image = Image.fromarray(np.ascontiguousarray(picture[..., :3]))
        image.save(folder / PICTURE.format(number), compress_level=1)


def _encode(part: Path, pictures: Iterator[np.ndarray], fps: float, ask: Callable[[], None]) -> None:
    """Feed ffmpeg, and kill it where anything goes wrong."""
    first = next(pictures)
    height, width, channels = first.shape
    if width % 2 or height % 2:
        raise ValueError(f"size {width}×{height} will not do: H.264 needs even sides")
    part.touch()
    with tempfile.TemporaryDirectory() as place, tempfile.TemporaryFile() as said:
        options = MP4 if part.suffix.lower() == ".mp4" else _palette(first, Path(place) / "palette.png")
        process = subprocess.Popen(
            [
                *(_ffmpeg(), "-y", "-hide_banner", "-loglevel", "error", "-f", "rawvideo"),
                *("-pix_fmt", "rgba" if channels == 4 else "rgb24", "-s", f"{width}x{height}"),
                *("-r", str(fps), "-i", "-", *options, "-an", str(part)),
            ],
            stdin=subprocess.PIPE,
            stderr=said,
        )
        try:
            with suppress(BrokenPipeError):  # it has ended, and has said why
                for picture in chain((first,), pictures):
                    process.stdin.write(np.ascontiguousarray(picture).data)
                process.stdin.close()
            while process.poll() is None:
                ask()
                with suppress(subprocess.TimeoutExpired):
                    process.wait(PATIENCE)
        finally:
            process.kill()
            process.wait()
            with suppress(OSError):
                process.stdin.close()
        said.seek(0)
        complaint = said.read().decode(errors="replace").strip()
        if complaint or process.returncode:  # it may end with 0 although the disk was full
            raise _reason(complaint)


def _palette(first: np.ndarray, path: Path) -> tuple[str, ...]:
    """Options for a GIF in the 256 colours of its first picture, which shows the colour bars: no flicker."""
    from PIL import Image

    chosen = Image.fromarray(np.ascontiguousarray(first[..., :3])).quantize(256, Image.Quantize.MEDIANCUT)
    colors = np.zeros((256, 3), np.uint8)
    known = np.asarray(chosen.getpalette(), np.uint8).reshape(-1, 3)
    colors[: len(known)] = known
    Image.fromarray(colors.reshape(16, 16, 3)).save(path)
    return "-i", str(path), "-lavfi", "paletteuse=dither=none", "-c:v", "gif"


def _ffmpeg() -> str:
    import imageio_ffmpeg

    return imageio_ffmpeg.get_ffmpeg_exe()


def _reason(said: str) -> OSError:
    """The system's refusal that ffmpeg reports, or its own last line."""
    for number in REASONS:
        if os.strerror(number) in said:
            return OSError(number, os.strerror(number))
    lines = said.strip().splitlines() or ["ffmpeg ended without a word"]
    return OSError(errno.EIO, lines[-1])


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
