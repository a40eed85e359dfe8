"""Each observable against a field whose answer is known on paper."""

import numpy as np
import pytest

from engine import observables as obs
from engine.reciprocal import modes, voxel_volume, wave_vectors
from engine.recorder import Bins, Recorder

CUBE = 8.66 * np.eye(3)
TRICLINIC = np.array([[8.0, 0.0, 0.0], [2.1, 7.5, 0.0], [-1.3, 1.7, 9.2]])
GRID = (12, 10, 14)


def fractions(grid):
    """Fractional coordinates of the grid points, (3, Nx, Ny, Nz)."""
    return np.stack(np.meshgrid(*(np.arange(n) / n for n in grid), indexing="ij"))


def wave(grid, numbers, phase=0.0):
    """cos(2π n·s − phase), the plane wave with these reciprocal numbers."""
    return np.cos(2 * np.pi * np.tensordot(numbers, fractions(grid), axes=1) - phase)


def noise(frames, grid, seed=0):
    return np.random.default_rng(seed).lognormal(-2.9, 0.27, (frames, *grid))


def brute_force(density, cell, low, high, power):
    """(S16)–(S18) as printed: a direct sum over every r and every q of the full grid."""
    grid = density.shape
    positions = fractions(grid).reshape(3, -1).T @ cell
    numbers = np.stack(np.meshgrid(*(np.fft.fftfreq(n, 1 / n) for n in grid), indexing="ij"), -1).reshape(
        -1, 3
    )
    vectors = 2 * np.pi * numbers @ np.linalg.inv(cell).T
    length = np.linalg.norm(vectors, axis=1)
    vectors = vectors[(length >= low) & (length < high) & (length > 0)]
    amplitude = np.exp(-1j * vectors @ positions.T) @ density.ravel() * voxel_volume(grid, cell)
    return np.mean(np.abs(amplitude) ** power)


@pytest.mark.parametrize("cell", [CUBE, TRICLINIC], ids=["cube", "triclinic"])
def test_structure_factor_is_the_direct_sum(cell):
    density = noise(1, GRID)[0]
    edges = np.array([0.5, 1.2, 2.0, 2.9])
    electrons = obs.electron_count(density, cell)[0]
    amplitude = obs.structure_factor(density, cell, edges)
    intensity = obs.structure_factor(density, cell, edges, kind="intensity")
    for shell, (low, high) in enumerate(zip(edges[:-1], edges[1:], strict=True)):
        assert amplitude.values[0, shell] == pytest.approx(brute_force(density, cell, low, high, 1), abs=1e-9)
        expected = brute_force(density, cell, low, high, 2) / electrons
        assert intensity.values[0, shell] == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize("cell", [CUBE, TRICLINIC], ids=["cube", "triclinic"])
def test_plane_wave_puts_half_its_amplitude_at_q_and_half_at_minus_q(cell):
    height, numbers = 0.01, np.array([1, -2, 2])
    density = 0.05 + height * wave(GRID, numbers)
    q = np.linalg.norm(2 * np.pi * numbers @ np.linalg.inv(cell).T)
    volume = abs(np.linalg.det(cell))
    curve = obs.structure_factor(density, cell, [q - 0.02, q + 0.02])
    vectors = (
        2 * np.pi * np.stack(np.meshgrid(*[np.arange(-4, 5)] * 3), -1).reshape(-1, 3) @ np.linalg.inv(cell).T
    )
    count = np.sum(np.abs(np.linalg.norm(vectors, axis=1) - q) < 0.02)
    assert curve.values[0, 0] == pytest.approx(2 * (height / 2 * volume) / count, abs=1e-6)
    intensity = obs.structure_factor(density, cell, [q - 0.02, q + 0.02], kind="intensity")
    assert intensity.values[0, 0] == pytest.approx(
        2 * (height * volume / 2) ** 2 / count / (0.05 * volume), abs=1e-6
    )


def test_two_waves_go_to_their_own_shells_and_the_others_stay_empty():
    density = 0.05 + 0.004 * wave(GRID, (1, 0, 0)) + 0.002 * wave(GRID, (0, 0, 3), phase=0.7)
    unit = 2 * np.pi / 8.66
    curve = obs.structure_factor(density, CUBE, [0.9 * unit, 1.1 * unit, 2.9 * unit, 3.1 * unit])
    volume = 8.66**3
    # |n| = 1 has 6 vectors, |n| = 3 has 30: (3,0,0) and (2,2,1) with all signs and orders
    assert curve.values[0, 0] == pytest.approx(2 * 0.002 * volume / 6, abs=1e-6)
    assert curve.values[0, 2] == pytest.approx(2 * 0.001 * volume / 30, abs=1e-6)
    assert curve.values[0, 1] == pytest.approx(0.0, abs=1e-9)
    assert curve.q[0] == pytest.approx(unit, abs=1e-12)


def test_every_vector_of_the_full_grid_is_counted_once():
    for grid in [(4, 6, 8), (5, 4, 7)]:
        density = noise(1, grid)[0]
        full = np.abs(np.fft.fftn(density) * voxel_volume(grid, CUBE)) ** 2
        full[0, 0, 0] = 0
        curve = obs.structure_factor(density, CUBE, [0.0, 1e3], kind="intensity", electrons=1.0)
        assert curve.values[0, 0] * (full.size - 1) == pytest.approx(full.sum(), rel=1e-12)


def test_parseval_holds_between_modes_and_the_variance_of_the_field():
    density, grid = noise(1, GRID)[0], GRID
    volume = abs(np.linalg.det(TRICLINIC))
    curve = obs.structure_factor(density, TRICLINIC, [0.0, 1e3], kind="intensity", electrons=1.0)
    assert curve.values[0, 0] * (np.prod(grid) - 1) / volume**2 == pytest.approx(density.var(), rel=1e-12)


def test_a_shell_without_wave_vectors_is_not_a_number_and_bad_shells_are_refused():
    curve = obs.structure_factor(noise(1, GRID), CUBE, [0.1, 0.2, 0.8])
    assert np.isnan(curve.values[0, 0]) and np.isfinite(curve.values[0, 1])
    with pytest.raises(ValueError, match="rising"):
        obs.structure_factor(noise(1, GRID), CUBE, [1.0, 0.5])
    with pytest.raises(ValueError, match="'power'"):
        obs.structure_factor(noise(1, GRID), CUBE, kind="power")


def test_wave_vectors_of_a_triclinic_cell_keep_the_phase_of_lattice_vectors():
    phases = wave_vectors((6, 6, 6), TRICLINIC) @ TRICLINIC.T / (2 * np.pi)
    assert np.abs(phases - np.rint(phases)).max() < 1e-12


def test_modes_follow_a_shift_by_their_phase():
    density = noise(1, GRID)[0]
    shifted = np.roll(density, (1, 2, 3), axis=(0, 1, 2))
    displacement = np.array([1, 2, 3]) / np.array(GRID) @ TRICLINIC
    phase = np.exp(-1j * wave_vectors(GRID, TRICLINIC) @ displacement)
    assert np.abs(modes(shifted, TRICLINIC)[0] - phase * modes(density, TRICLINIC)[0]).max() < 1e-9


def test_electron_count_of_a_uniform_density_is_density_times_volume():
    density = np.full((2, *GRID), 0.05)
    density[1] += 0.01 * wave(GRID, (1, 1, 0))
    assert obs.electron_count(density, TRICLINIC) == pytest.approx(0.05 * np.linalg.det(TRICLINIC), abs=1e-9)
    with pytest.raises(ValueError, match="no volume"):
        obs.electron_count(density, np.ones((3, 3)))


def test_travelling_wave_relaxes_as_the_cosine_of_its_phase():
    omega, dt = 2 * np.pi / 97.0, 2.0
    frames = np.stack([0.05 + 0.01 * wave(GRID, (1, 1, 0), phase=omega * dt * k) for k in range(120)])
    lags = np.arange(0, 201, 20.0)
    curve = obs.intermediate_scattering(frames, CUBE, dt, lags, [[0.9, 1.1]])
    assert curve[:, 0] == pytest.approx(np.cos(omega * lags), abs=1e-6)


def test_two_waves_of_one_shell_relax_with_their_powers_as_weights():
    dt, first, second = 1.0, 2 * np.pi / 60, 2 * np.pi / 25
    frames = np.stack(
        [
            0.05 + 0.01 * wave(GRID, (1, 0, 0), first * k) + 0.005 * wave(GRID, (0, 1, 0), second * k)
            for k in range(80)
        ]
    )
    lags = np.arange(0, 60, 5.0)
    curve = obs.intermediate_scattering(frames, CUBE, dt, lags, [[0.7, 0.75]])
    expected = (0.01**2 * np.cos(first * lags) + 0.005**2 * np.cos(second * lags)) / (0.01**2 + 0.005**2)
    assert curve[:, 0] == pytest.approx(expected, abs=1e-6)


def test_standing_wave_over_whole_periods_relaxes_as_a_harmonic_oscillator():
    """Whole periods of origins and of lag: ⟨cos ω(τ+t) cos ωτ⟩ = ½ cos ωt is met exactly."""
    period = 20
    frames = np.stack(
        [0.05 + 0.01 * np.cos(2 * np.pi * k / period) * wave(GRID, (0, 0, 2)) for k in range(100)]
    )
    curve = obs.intermediate_scattering(frames, CUBE, 1.0, [0, 20, 40, 60], [[1.4, 1.5]])
    assert curve[:, 0] == pytest.approx(1.0, abs=1e-6)
    half = obs.intermediate_scattering(frames, CUBE, 1.0, [10, 30, 50], [[1.4, 1.5]])
    # cos ω(τ+10) = −cos ωτ exactly; 90, 70 and 50 origins are whole half-periods, so the mean of cos² is ½
    assert half[:, 0] == pytest.approx(-1.0, abs=1e-6)


def test_field_carried_around_the_cell_comes_back():
    """A rigid field moving one voxel a frame along x: of the shell |n| = 1 a third turns, two thirds stay."""
    frame = 0.05 + 0.01 * (wave(GRID, (1, 0, 0)) + wave(GRID, (0, 1, 0)) + wave(GRID, (0, 0, 1)))
    frames = np.stack([np.roll(frame, k, axis=0) for k in range(4 * GRID[0])])
    lags = np.arange(0, 2 * GRID[0], 1.0)
    curve = obs.intermediate_scattering(frames, CUBE, 1.0, lags, [[0.7, 0.75]])
    assert curve[:, 0] == pytest.approx((2 + np.cos(2 * np.pi * lags / GRID[0])) / 3, abs=1e-6)


def test_shuffled_frames_lose_their_relaxation_but_keep_their_structure():
    """The reason for F(q,t): S(q) cannot tell a film from a shuffled deck."""
    frames = np.stack([0.05 + 0.01 * wave(GRID, (1, 1, 0), phase=0.05 * k) for k in range(400)])
    deck = frames[np.random.default_rng(0).permutation(400)]
    film_structure = obs.structure_factor(frames, CUBE).values.mean(axis=0)
    deck_structure = obs.structure_factor(deck, CUBE).values.mean(axis=0)
    assert np.allclose(film_structure, deck_structure, rtol=1e-12, equal_nan=True)
    film = obs.intermediate_scattering(frames, CUBE, 1.0, [10], [[0.9, 1.1]])[0, 0]
    shuffled = obs.intermediate_scattering(deck, CUBE, 1.0, [10], [[0.9, 1.1]])[0, 0]
    assert film == pytest.approx(np.cos(0.5), abs=1e-6)
    assert abs(shuffled) < 0.2


def test_lags_that_do_not_fit_are_refused_in_words():
    frames = noise(5, GRID)
    with pytest.raises(ValueError, match="multiples of the frame step 2.0 fs"):
        obs.intermediate_scattering(frames, CUBE, 2.0, [0, 3])
    with pytest.raises(ValueError, match="there are 5"):
        obs.intermediate_scattering(frames, CUBE, 2.0, [0, 10])


def test_cosine_transform_of_a_gaussian_is_a_gaussian_of_unit_area():
    width, lag = 60.0, 2.0
    times = lag * np.arange(400)
    frequencies, spectrum = obs.dynamic_structure_factor(np.exp(-(times**2) / (2 * width**2))[:, None], lag)
    expected = width / np.sqrt(2 * np.pi) * np.exp(-((frequencies * width) ** 2) / 2)
    assert spectrum[:, 0] == pytest.approx(expected, abs=1e-6)
    area = 2 * np.sum(spectrum[:, 0]) * frequencies[1] - spectrum[0, 0] * frequencies[1]
    assert area == pytest.approx(1.0, abs=1e-6)


def test_a_sound_wave_shows_at_its_frequency():
    times = 2.0 * np.arange(600)
    curve = np.exp(-((times / 250.0) ** 2)) * np.cos(2 * np.pi * times / 100.0)
    frequencies, spectrum = obs.dynamic_structure_factor(curve[:, None], 2.0)
    assert frequencies[np.argmax(spectrum[:, 0])] == pytest.approx(2 * np.pi / 100.0, abs=frequencies[1])


def test_histogram_is_a_density_and_keeps_what_leaves_the_range():
    values = np.array([0.1, 0.1, 0.25, 0.3, 0.99, 7.0, -3.0])  # one of them on a border
    density = obs.histogram(values, np.linspace(0.0, 1.0, 5))
    assert density == pytest.approx(np.array([3, 2, 0, 2]) / 7 / 0.25, abs=1e-12)
    with pytest.raises(ValueError, match="NaN"):
        obs.histogram(np.array([np.nan]), np.array([0.0, 1.0]))


def test_histogram_of_lognormal_quantiles_is_the_lognormal_law():
    """Quantiles of equal probability have no sampling noise: each bin holds its share to 1/n."""
    from scipy.stats import lognorm

    law = lognorm(s=0.271, scale=np.exp(-2.911))
    count = 2_000_000
    values = law.ppf((np.arange(count) + 0.5) / count)
    edges = obs.value_edges(values.max())
    share = np.diff(law.cdf(edges))
    share[-1] += law.sf(edges[-1])
    assert obs.histogram(values, edges) * np.diff(edges) == pytest.approx(share, abs=1e-6)


def test_lithium_gets_the_bins_of_the_design():
    for maximum in (0.1385, 0.1400, 0.1985):
        assert obs.value_edges(maximum)[[0, -1]] == pytest.approx([0.0, 0.25])
        assert len(obs.value_edges(maximum)) == 251
    with pytest.raises(ValueError, match="positive"):
        obs.value_edges(-1.0)


@pytest.mark.parametrize("cell", [CUBE, TRICLINIC], ids=["cube", "triclinic"])
def test_peaks_are_found_between_grid_points(cell):
    centre = np.array([0.137, 0.521, 0.902])
    s = fractions(GRID) - centre[:, None, None, None]
    density = 0.05 + 0.01 * np.cos(2 * np.pi * s).sum(axis=0) + 0.002 * np.cos(4 * np.pi * s).sum(axis=0)
    (found,) = obs.peaks(density, cell)
    assert found.shape == (1, 3)
    assert found[0] == pytest.approx(centre @ cell, abs=1e-6)


def test_a_crystal_has_its_lattice_as_peaks_with_freud_seeing_its_neighbours():
    freud = pytest.importorskip("freud")
    density = 0.05 + 0.01 * np.cos(2 * np.pi * 3 * fractions((16, 16, 16))).sum(axis=0)
    (found,) = obs.peaks(density, CUBE)
    assert len(found) == 27
    box = freud.box.Box.from_matrix(CUBE.T)
    query = freud.locality.AABBQuery(box, found - CUBE.sum(axis=0) / 2)
    neighbours = query.query(found - CUBE.sum(axis=0) / 2, {"num_neighbors": 6, "exclude_ii": True})
    assert np.asarray(neighbours.toNeighborList().distances) == pytest.approx(8.66 / 3, abs=1e-5)


def test_a_uniform_density_has_no_peaks():
    assert obs.peaks(np.full(GRID, 0.05), CUBE)[0].shape == (0, 3)


# ---- the recorder says the same as the functions, for any cut into blocks ----


def recorded(frames, block, cell=TRICLINIC, **options):
    recorder = Recorder(frames.shape[1:], cell, 2.0, Bins.of(frames.min(), frames.max()), **options)
    for start in range(0, len(frames), block):
        recorder.update(frames[start : start + block])
    return recorder.record()


@pytest.mark.parametrize("block", [1, 7, 40])
def test_recorder_agrees_with_the_functions_for_any_block_size(block):
    frames = noise(40, GRID)
    record = recorded(frames, block)
    electrons = obs.electron_count(frames, TRICLINIC)
    assert record.electrons == pytest.approx(electrons, rel=1e-12)
    assert record.value_density == pytest.approx(obs.histogram(frames, record.bins.value), rel=1e-12)
    assert record.log_density == pytest.approx(obs.histogram(np.log(frames), record.bins.log), rel=1e-12)
    assert (record.log_mean, record.log_std) == pytest.approx(
        (np.log(frames).mean(), np.log(frames).std()), rel=1e-9
    )
    amplitude = obs.structure_factor(frames, TRICLINIC).values.mean(axis=0)
    intensity = obs.structure_factor(frames, TRICLINIC, kind="intensity").values.mean(axis=0)
    assert np.allclose(record.amplitude, amplitude, rtol=1e-12, equal_nan=True)
    assert np.allclose(record.intensity, intensity, rtol=1e-12, equal_nan=True)
    lags = np.array([0.0, 4.0, 20.0])
    assert record.relaxation(lags) == pytest.approx(
        obs.intermediate_scattering(frames, TRICLINIC, 2.0, lags), rel=1e-9
    )
    change = np.sqrt(np.mean((frames[1:] - frames[:-1]) ** 2)) / frames.std()
    assert record.step_vrmse == pytest.approx(change, rel=1e-9)


def test_recorder_compares_frames_a_step_apart():
    frames = noise(23, GRID)
    change = np.sqrt(np.mean((frames[5:] - frames[:-5]) ** 2)) / frames.std()
    for block in (2, 9):
        assert recorded(frames, block, step=5).step_vrmse == pytest.approx(change, rel=1e-9)


def test_parts_of_a_record_are_records_of_the_parts():
    frames = noise(40, GRID)
    whole, first = recorded(frames, 8), recorded(frames[:4], 8)
    assert whole.tenth().log_std == pytest.approx(first.log_std, rel=1e-12)
    assert np.allclose(whole.tenth().fine_intensity, first.fine_intensity, rtol=1e-12, equal_nan=True)
    assert len(whole.tenth(last=True)) == 4


def test_recorder_stops_at_the_first_broken_frame():
    frames = noise(10, GRID)
    bins = Bins.of(frames.min(), frames.max())
    frames[6, 0, 0, 0] = np.nan
    recorder = Recorder(GRID, CUBE, 2.0, bins)
    recorder.update(frames[:5])
    recorder.update(frames[5:])
    recorder.update(noise(3, GRID))
    assert recorder.broken_at == 6
    assert len(recorder.record()) == 6
    with pytest.raises(ValueError, match="no frame"):
        Recorder(GRID, CUBE, 2.0, bins).record()


def test_a_broken_frame_is_counted_whole():
    """NaN and ∞ count in the last bin, −∞ in the first: a broken forecast has a histogram all the same."""
    values = np.array([[0.05, 0.55, np.nan, np.inf, -np.inf]], dtype=np.float32)
    assert obs.counts(values, np.linspace(0, 1, 11))[0].tolist() == [2, 0, 0, 0, 0, 1, 0, 0, 0, 2]


def test_bins_of_several_widths_are_refused():
    with pytest.raises(ValueError, match="equal bins only"):
        obs.counts(np.ones((1, 4)), np.array([0.0, 1.0, 3.0]))
