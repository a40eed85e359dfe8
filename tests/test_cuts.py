"""Cuts through three atoms, and the two directions that latents vary in: exact answers."""

from __future__ import annotations

import numpy as np
import pytest
from waves import CELL, wave

from ldm_viewer.components import Encoder, Plane
from ldm_viewer.planes import Oblique
from ldm_viewer.session import Session


def test_a_cut_through_three_atoms_shows_the_density_there() -> None:
    cell = np.diag([4.0, 4.0, 4.0])
    atoms = np.array([[0.5, 0.5, 0.5], [3.5, 0.5, 0.5], [0.5, 2.0, 1.5]])  # the second wraps to −0.5
    cut = Oblique.through(atoms, cell)
    np.testing.assert_allclose(cut.across, [-1, 0, 0], atol=1e-12)
    assert cut.across @ cut.up == pytest.approx(0) and np.linalg.norm(cut.up) == pytest.approx(1)
    normal = np.cross(cut.across, cut.up)
    nearest = np.array([[0.5, 0.5, 0.5], [-0.5, 0.5, 0.5], [0.5, 2.0, 1.5]])
    np.testing.assert_allclose((nearest - cut.middle) @ normal, 0, atol=1e-12)
    picture = cut.picture(wave(10.0, (32, 32, 32)), cell)
    n = len(picture)
    steps = ((np.arange(n) + 0.5) / n - 0.5) * cut.side
    x, y, _ = np.moveaxis(
        cut.middle + steps[:, None, None] * cut.across + steps[None, :, None] * cut.up, -1, 0
    )
    expected = 0.05 * (1 + 0.4 * np.cos(2 * np.pi * (x / 4 - 0.1)) + 0.2 * np.cos(2 * np.pi * y / 4))
    np.testing.assert_allclose(picture, expected, atol=1e-5)


def test_atoms_on_a_line_give_no_plane() -> None:
    with pytest.raises(ValueError, match="on one line"):
        Oblique.through(np.array([[0.0, 0, 0], [1, 1, 1], [1.5, 1.5, 1.5]]), CELL)


def test_an_ellipse_in_many_dimensions_is_found_in_its_plane() -> None:
    frame, _ = np.linalg.qr(np.random.default_rng(0).normal(size=(500, 2)))
    angles = np.linspace(0, 2 * np.pi, 60, endpoint=False)
    flat = np.stack([3 * np.cos(angles), np.sin(angles)], axis=1)
    plane = Plane.of(flat @ frame.T + 7.0)
    np.testing.assert_allclose(plane.shares, [0.9, 0.1], atol=1e-9)
    np.testing.assert_allclose(plane.directions @ plane.directions.T, np.eye(2), atol=1e-9)
    found = plane.project(flat @ frame.T + 7.0)
    np.testing.assert_allclose(np.abs(found), np.abs(flat), atol=1e-9)


def test_latents_of_truth_and_forecast_lie_in_one_plane(session: Session) -> None:
    from metronome import until

    session.configure(start_fs=20.0, frames=3)
    session.start()
    state = until(session, lambda s: not s.status.active)
    encoder, paths = Encoder(), None
    for _ in range(12):
        paths = encoder.read(state)
    assert not paths.behind and paths.truth.shape == (39, 2) and paths.forecast.shape == (3, 2)
    assert 0 < paths.shares[1] <= paths.shares[0] <= 1
    latents = [state.emulator.encode(state.emulator.initial_state(state.adapted, i))[0] for i in range(1, 40)]
    plane = Plane.of(np.stack([latent.numpy().ravel() for latent in latents]))
    own = np.stack([latent[0].numpy().ravel() for latent in state.shown.film.latents[:3]])
    np.testing.assert_allclose(paths.forecast, plane.project(own), atol=1e-4)
