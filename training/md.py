"""Ab-initio molecular dynamics with GPAW and ASE: what one run is, and what is computed at one of its steps.

A run is melt (Langevin, hot) → equilibrate (Langevin) → produce (Bussi, all steps stored), at constant volume
and with the centre of mass at rest. At every step the electrons are solved for (Kohn–Sham, PAW, plane waves).
    N ions, grid (Nx, Ny, Nz); Å, fs, eV, K, Å⁻³.  Bussi et al., J. Chem. Phys. 126, 014101 (2007).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

if TYPE_CHECKING:
    from ase import Atoms
    from ase.md.md import MolecularDynamics

LITHIUM_A = 4.33  # Å, the FCC lattice constant whose 2×2×2 cell has the paper's distribution of ln ρ
INSTALL = (
    "GPAW is not installed. Install the system packages libxc-dev and libopenblas-dev (for several processes "
    "also libopenmpi-dev and openmpi-bin), then `pip install 'ldm_viewer[gpaw]'`."
)


class SimulationError(ValueError):
    """A simulation that cannot be started, continued or trusted, said in words."""


@dataclass(frozen=True)
class SimulationConfig:
    """Everything that decides the numbers of a run; stored with it, and compared when it is resumed."""

    frames: int = 1000
    """Stored frames; may be raised later to continue a finished run."""
    dt_fs: float = 2.0
    """Time step in fs; every step of the production is stored."""
    temperature_K: float = 800.0
    """Temperature of equilibration and production."""
    thermostat_fs: float = 100.0
    """Relaxation time of the Bussi thermostat."""
    melt_steps: int | None = None
    """Hot Langevin steps that destroy the crystal; None: 150 for built-in lithium, 0 for a structure file."""
    melt_temperature_K: float = 1600.0
    """Temperature of the melt."""
    equilibration_steps: int = 350
    """Langevin steps at `temperature_K` before the first stored frame."""
    friction_per_ps: float = 20.0
    """Langevin friction of melt and equilibration in 1/ps."""
    seed: int = 1
    """Seed of velocities and thermostats."""
    ecut_eV: float = 300.0
    """Plane-wave cutoff of the wave functions."""
    grid: tuple[int, int, int] | None = None
    """Density grid; None: the smallest even one of factors 2, 3, 5 with points at most `spacing_A` apart."""
    spacing_A: float = 0.271
    """Largest distance of grid points in Å (32³ for the built-in lithium); unused when `grid` is given."""
    xc: str = "PBE"
    """Exchange–correlation functional, by GPAW's name."""
    kpts: tuple[int, int, int] = (1, 1, 1)
    """Monkhorst–Pack k-points; (1, 1, 1) is Γ."""
    setups: dict[str, str] = field(default_factory=dict)
    """Element → GPAW set-up where it is not the default one (lithium's default has one valence electron)."""
    smearing_eV: float = 0.1
    """Width of the Fermi–Dirac occupation."""
    density_tolerance: float = 1e-3
    """Convergence of the density, e per valence electron (at 1e-3 it errs by 1 % of a Li frame's change)."""
    eigenstate_tolerance: float = 1e-4
    """Convergence of the wave functions, eV² per valence electron."""
    energy_tolerance: float = 1e-3
    """Convergence of the energy, eV per valence electron."""
    mixing: tuple[float, int, float] = (0.25, 5, 1.0)
    """Pulay mixing: β, old densities, weight of long waves; raise the weight to 50 for cells beyond 15 Å."""
    all_electron: bool = False
    """Store the all-electron density as well, on the same grid."""
    dtype: Literal["float16", "float32"] = "float16"
    """Number type of stored densities."""

    def __post_init__(self) -> None:
        """Raises SimulationError for a value that no run can have."""
        at_least = {"frames": 1, "equilibration_steps": 0, "melt_steps": 0, "friction_per_ps": 0}
        for name, least in at_least.items():
            value = getattr(self, name)
            if value is not None and not value >= least:
                raise SimulationError(f"{name} is {value}; it must be at least {least}.")
        positive = ("dt_fs", "temperature_K", "melt_temperature_K", "thermostat_fs", "ecut_eV", "spacing_A")
        for name in (
            *positive,
            "smearing_eV",
            "density_tolerance",
            "eigenstate_tolerance",
            "energy_tolerance",
        ):
            if not getattr(self, name) > 0:
                raise SimulationError(f"{name} is {getattr(self, name)}; it must be positive.")

    @property
    def first_frame(self) -> int:
        """Number of the step that is stored as frame 0."""
        return (self.melt_steps or 0) + self.equilibration_steps

    @property
    def last_step(self) -> int:
        """Number of the last step; step 0 is the start, before anything has moved."""
        return self.first_frame + self.frames - 1


PRESETS: dict[str, SimulationConfig] = {
    "small": SimulationConfig(),  # 4 s a step on one core: 1.7 h for 2 ps
    "paper": SimulationConfig(  # 680 eV, 10 ps of 2 fs, 800 K, PBE as printed; 48³
        frames=5000, ecut_eV=680.0, spacing_A=0.1805, equilibration_steps=850
    ),
}


def lithium() -> Atoms:
    """32 Li, FCC 2×2×2, cubic cell of 8.66 Å: the paper's system before it melts."""
    from ase.build import bulk

    return bulk("Li", "fcc", a=LITHIUM_A, cubic=True) * (2, 2, 2)


def prepare(config: SimulationConfig, structure: Path | None) -> tuple[SimulationConfig, Atoms]:
    """The atoms of a structure file (default: lithium) and the config with grid and melt decided for them.

    Raises SimulationError for a file that cannot be read, is not periodic, or does not fit the cutoff.
    """
    from ase.constraints import FixCom
    from ase.units import Bohr, Hartree

    atoms = lithium() if structure is None else _read_structure(Path(structure))
    melt = config.melt_steps if config.melt_steps is not None else (150 if structure is None else 0)
    grid = config.grid or fitting_grid(atoms.cell.lengths(), config.spacing_A)
    coarsest = np.pi * Bohr / np.sqrt(2 * config.ecut_eV / Hartree)  # h = π/k, ħ²k²/2m = E
    spacing = max(atoms.cell.lengths() / grid)
    if spacing > coarsest:
        raise SimulationError(
            f"The grid {grid} has points {spacing:.3f} Å apart; a cutoff of {config.ecut_eV:g} eV needs at "
            f"most {coarsest:.3f} Å. Lower spacing_A (or give a finer grid), or lower ecut_eV."
        )
    if not atoms.constraints:
        atoms.set_constraint(FixCom())  # forces on a grid do not quite add up to zero: the ions would drift
    return replace(config, melt_steps=melt, grid=tuple(int(n) for n in grid)), atoms


def _read_structure(path: Path) -> Atoms:
    """Whatever ASE reads; of several images the last."""
    from ase.io import read

    try:
        atoms = read(path)
    except Exception as error:  # ASE's readers raise anything from KeyError to their own types
        raise SimulationError(
            f"{path} cannot be read as a structure: {error or type(error).__name__}."
        ) from error
    if not all(atoms.pbc) or not atoms.cell.rank == 3:
        raise SimulationError(
            f"{path.name} has periodicity {atoms.pbc.tolist()} and cell lengths {atoms.cell.lengths()} Å; "
            "a cell periodic in all three directions is needed."
        )
    if len(atoms) < 2:
        raise SimulationError(
            f"{path.name} has {len(atoms)} atom; dynamics with a fixed centre of mass needs 2."
        )
    return atoms


def fitting_grid(lengths: np.ndarray, spacing_A: float) -> tuple[int, int, int]:
    """Smallest even N = 2^a 3^b 5^c with length / N ≤ spacing, for each of three cell lengths in Å."""

    def smooth(n: int) -> bool:
        for prime in (2, 3, 5):
            while n % prime == 0:
                n //= prime
        return n == 1

    def smallest(length: float) -> int:
        n = 2 * int(np.ceil(length / spacing_A / 2 - 1e-9))
        while not smooth(n):
            n += 2
        return n

    return tuple(smallest(float(length)) for length in lengths)


def start(atoms: Atoms, config: SimulationConfig, rng: np.random.Generator) -> None:
    """Give the atoms Maxwell–Boltzmann velocities of the first stage, unless their file brought some."""
    from ase.units import kB

    if not atoms.get_momenta().any():
        hot = config.melt_temperature_K if config.melt_steps else config.temperature_K
        spread = np.sqrt(atoms.get_masses() * kB * hot)[:, None]
        atoms.set_momenta(spread * rng.standard_normal((len(atoms), 3)))  # FixCom stops the centre of mass


def stage(config: SimulationConfig, step: int) -> Literal["melt", "equilibrate", "produce"]:
    """Name of the stage that the move from `step` to `step + 1` belongs to."""
    if step < (config.melt_steps or 0):
        return "melt"
    return "equilibrate" if step < config.first_frame else "produce"


def integrator(
    atoms: Atoms, config: SimulationConfig, name: str, rng: np.random.Generator
) -> MolecularDynamics:
    """ASE's integrator of a stage; `.step()` moves the atoms by dt. All its state is in atoms and rng."""
    from ase import units
    from ase.md.bussi import Bussi
    from ase.md.langevin import Langevin

    dt = config.dt_fs * units.fs
    if name == "produce":
        return Bussi(atoms, dt, config.temperature_K, config.thermostat_fs * units.fs, rng=rng)
    temperature = config.melt_temperature_K if name == "melt" else config.temperature_K
    friction = config.friction_per_ps / (1000 * units.fs)
    return Langevin(atoms, dt, temperature_K=temperature, friction=friction, fixcm=False, rng=rng)


def calculator(config: SimulationConfig, log: Path, saved: Path | None = None) -> Any:
    """GPAW for this config; with `saved` (a file of its own) it continues to rounding as if never stopped."""
    from gpaw import GPAW, PW, FermiDirac

    if saved is not None:
        gpaw = GPAW(str(saved), txt=str(log))
        if hasattr(gpaw, "set_positions"):  # GPAW < 26 would leave the wave functions behind the atoms
            gpaw.set_positions(gpaw.atoms)
        return gpaw
    beta, old, weight = config.mixing
    return GPAW(
        mode=PW(config.ecut_eV),
        xc=config.xc,
        gpts=config.grid,
        kpts=config.kpts,
        setups=dict(config.setups),
        occupations=FermiDirac(config.smearing_eV),
        convergence={
            "density": config.density_tolerance,
            "eigenstates": config.eigenstate_tolerance,
            "energy": config.energy_tolerance,
        },
        mixer={"backend": "pulay", "beta": beta, "nmaxold": old, "weight": weight},
        symmetry={"point_group": False},  # moving atoms have none
        txt=str(log),
    )


def solve(atoms: Atoms, config: SimulationConfig, with_density: bool) -> Mapping[str, Any]:
    """What is stored of a step: energies eV, forces eV/Å (N, 3), temperature K, densities Å⁻³ if asked.

    The potential energy is the free energy E − TS: the forces are its gradient, not the extrapolated one's.
    """
    result = {
        "potential_energy": atoms.get_potential_energy(force_consistent=True),
        "energy_extrapolated": atoms.get_potential_energy(),
        "kinetic_energy": atoms.get_kinetic_energy(),
        "temperature": atoms.get_temperature(),  # of the degrees of freedom that the constraints leave
        "force": atoms.get_forces(apply_constraint=False),
    }
    if with_density:
        density = pseudo_density(atoms.calc)
        result["density"] = storable(density, config.dtype, "pseudo density")
        result["electrons"] = float(density.mean() * atoms.get_volume())
        if config.all_electron:
            whole = atoms.calc.get_all_electron_density(gridrefinement=1)
            result["density_all_electron"] = storable(whole, config.dtype, "all-electron density")
    return result


def pseudo_density(gpaw: Any) -> np.ndarray:
    """Pseudo electron density Σ f|ψ̃|² + ñ_core in Å⁻³, (Nx, Ny, Nz), summed over spins, on every process."""
    if hasattr(gpaw, "dft"):  # GPAW ≥ 26, whose get_pseudo_density() adds the compensation charges
        field = gpaw.dft.densities().pseudo_densities(add_compensation_charges=False)
        field = field.gather(broadcast=True)
        return np.asarray(field.data).sum(axis=0)
    return gpaw.get_pseudo_density()


def storable(density: np.ndarray, dtype: str, name: str) -> np.ndarray:
    """The density as `dtype`; raises SimulationError unless all of it is positive and finite in that type."""
    low, high = density.min(), density.max()
    if not (low > 0 and np.isfinite(high)):
        raise SimulationError(
            f"The {name} runs from {low:g} to {high:g} Å⁻³; it must be positive, the model works on ln ρ. "
            "Raise ecut_eV, take a finer grid, or choose a structure without vacuum."
        )
    with np.errstate(over="ignore", under="ignore"):
        stored = density.astype(dtype)
    if not (stored.min() > 0 and np.isfinite(stored.max())):
        raise SimulationError(
            f"The {name} runs from {low:g} to {high:g} Å⁻³, more than {dtype} holds; use float32."
        )
    return stored
