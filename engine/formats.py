"""One density on one grid, as other codes write it: Gaussian CUBE, VASP CHGCAR, XCrySDen XSF.

Parsing is left to ASE (CUBE, XSF) and pymatgen (CHGCAR); what they leave open is settled here:
    CUBE    header in Bohr, values in e/Bohr³ by convention; neither library converts the values
    CHGCAR  values are ρ·V, magnetisation and augmentation follow; only the first block is the density
    XSF     header in Å; no convention for values (Å⁻³ here); a "general grid" ends with its first plane again
A `Volume` is always in Å and Å⁻³, its first grid point at the origin of the cell.
"""

from __future__ import annotations

import gzip
import io
import os
import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np

from engine.h5md import TrajectoryError

if TYPE_CHECKING:
    from ase import Atoms

Format = Literal["cube", "chgcar", "xsf"]
Unit = Literal["convention", "e/Bohr3", "e/A3"]

FILE_NAMES = {"cube": "density_{:05d}.cube", "chgcar": "CHGCAR_{:05d}", "xsf": "density_{:05d}.xsf"}
SPAN_TOLERANCE = 1e-4  # of the cell; XSF files print few digits
REPEAT_TOLERANCE = 1e-3  # of the largest value; between an end plane and its copy


@dataclass(frozen=True)
class Volume:
    """ρ in Å⁻³ (Nx, Ny, Nz), lattice vectors in Å as rows; ions, where known, as Z, Å and eV/Å."""

    density: np.ndarray
    cell: np.ndarray
    species: np.ndarray | None = None
    positions: np.ndarray | None = None
    forces: np.ndarray | None = None

    @property
    def electrons(self) -> float:
        """∫ρ dV = V ⟨ρ⟩."""
        return float(self.density.mean(dtype=np.float64) * abs(np.linalg.det(self.cell)))


def format_of(path: str | Path) -> Format | None:
    """Which of the formats a file is, by its name; None for any other."""
    name = Path(path).name.lower()
    name = name.removesuffix(".gz")
    if name.endswith((".cube", ".cub")):
        return "cube"
    if name.endswith(".xsf"):
        return "xsf"
    if name.endswith((".h5", ".hdf5", ".h5md")):  # a trajectory made of them has their name
        return None
    if re.search(r"chgcar|aeccar|parchg|^chg\b|^chg_", name):
        return "chgcar"
    return None


def read_volume(path: str | Path, unit: Unit = "convention") -> Volume:
    """Read a file. `unit` says what its values are where they do not follow the convention of their format.

    Raises TrajectoryError for an unknown name, a damaged file, NaN, or more electrons than the ions can have.
    """
    path = Path(path)
    kind = format_of(path)
    if kind is None:
        raise TrajectoryError(
            f"{path.name} is none of *.cube, *.xsf, *CHGCAR*; that is how the format of a density is told."
        )
    if not path.is_file():
        raise TrajectoryError(f"There is no file {path}.")
    try:
        volume = _READERS[kind](path)
    except TrajectoryError:
        raise
    except Exception as error:  # the libraries raise anything from AssertionError to StopIteration on damage
        raise TrajectoryError(
            f"{path.name} cannot be read as {kind.upper()}; it is damaged or incomplete "
            f"({type(error).__name__}: {str(error) or 'no detail'})."
        ) from error
    _require_finite(volume, path)
    scaled = _with_unit(volume, kind, unit)
    if unit == "convention" and kind != "chgcar":
        _require_possible(scaled, path)
    return scaled


def write_volume(path: str | Path, volume: Volume, kind: Format, comment: str = "electron density") -> Path:
    """Write a file of the given format in the units of its convention (XSF: Å⁻³), aside and then renamed."""
    path = Path(path)
    if kind != "cube" and volume.species is None:
        raise TrajectoryError(
            f"A {kind.upper()} file needs ions, and this density comes without; write CUBE."
        )
    part = path.with_name(path.name + ".part")
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        _WRITERS[kind](part, volume, comment)
        os.replace(part, path)
    finally:
        part.unlink(missing_ok=True)
    return path


def bohr() -> float:
    """Å per Bohr, as ASE has it, so that header and values of a file agree."""
    from ase.units import Bohr

    return Bohr


def _with_unit(volume: Volume, kind: Format, unit: Unit) -> Volume:
    if unit == "convention":
        unit = "e/Bohr3" if kind == "cube" else "e/A3"
    elif kind == "chgcar":
        raise TrajectoryError("A CHGCAR always holds ρ·V; leave its unit at the convention.")
    return replace(volume, density=volume.density / bohr() ** 3) if unit == "e/Bohr3" else volume


def _require_finite(volume: Volume, path: Path) -> None:
    """Refuse what is no field whatever one does with it; ρ ≤ 0 is left to who uses it."""
    bad = int((~np.isfinite(volume.density)).sum())
    if bad:
        raise TrajectoryError(f"{path.name}: {bad} of {volume.density.size} values are not finite numbers.")


def _require_possible(volume: Volume, path: Path) -> None:
    """Notice a field in another unit than the format's by its having more electrons than its ions."""
    if volume.species is not None and volume.electrons > 1.1 * volume.species.sum():
        raise TrajectoryError(
            f"{path.name} integrates to {volume.electrons:.4g} electrons, but its ions have only "
            f"{volume.species.sum()}: its values may be in another unit than its format takes for granted. "
            "Say which with --unit e/A3 or --unit e/Bohr3; what is said is not questioned."
        )


# CUBE


def _read_cube(path: Path) -> Volume:
    from ase.io.cube import read_cube

    found = read_cube(io.StringIO(_text(path)))
    if len(found["datas"]) != 1:
        raise TrajectoryError(f"{path.name} holds {len(found['datas'])} fields; a density is one.")
    return _volume(found["data"], found["atoms"], found["origin"])


def _write_cube(path: Path, volume: Volume, comment: str) -> None:
    from ase.io.cube import write_cube

    with path.open("w") as file:
        write_cube(
            file,
            _atoms(volume),
            data=volume.density.astype(np.float64) * bohr() ** 3,
            comment=comment + ", e/Bohr3",
        )
        file.write("\n")


# CHGCAR


def _read_chgcar(path: Path) -> Volume:
    from pymatgen.io.vasp.outputs import Chgcar

    poscar, data, _augmentation = Chgcar.parse_file(str(path))
    structure = poscar.structure
    cell = np.array(structure.lattice.matrix)
    return Volume(
        density=data["total"] / abs(np.linalg.det(cell)),
        cell=cell,
        species=np.array([site.specie.Z for site in structure]),
        positions=np.array(structure.cart_coords),
    )


def _write_chgcar(path: Path, volume: Volume, comment: str) -> None:
    """By ASE, which prints cell and ions to 16 digits; pymatgen prints 6."""
    from ase.calculators.vasp import VaspChargeDensity

    file = VaspChargeDensity(None)
    file.atoms, file.chg = [_atoms(volume)], [volume.density.astype(np.float64)]
    file.write(str(path), format="chgcar")


# XSF


def _read_xsf(path: Path) -> Volume:
    from ase.io.xsf import read_xsf

    # Quantum ESPRESSO opens its grid with DATAGRID_3D, which the format allows and ASE does not know
    text = re.sub(r"^(\s*)DATAGRID_3D", r"\1BEGIN_DATAGRID_3D", _text(path), flags=re.MULTILINE)
    data, origin, span, atoms = read_xsf(io.StringIO(text), read_data=True)
    if not atoms.pbc.all():
        raise TrajectoryError(
            f"{path.name} is not a CRYSTAL; only cells periodic in all directions can be used."
        )
    return _volume(_periodic_part(data, span, atoms.cell.array, path), atoms, origin)


def _periodic_part(data: np.ndarray, span: np.ndarray, cell: np.ndarray, path: Path) -> np.ndarray:
    """The N points of a period from a grid that spans it with N + 1, N, or (as ASE writes) claims to with N.

    A general grid of n points spans n − 1 steps: the whole cell when its end repeats its beginning, and
    (n − 1)/n of it when not. ASE writes the latter and calls its span (n + 1)/n.
    """
    points = np.array(data.shape)[:, None]

    def spans(fraction: np.ndarray) -> bool:
        return bool(np.abs(span - fraction * cell).max() < SPAN_TOLERANCE * np.abs(cell).max())

    if spans(np.ones_like(points)):
        mismatch = max(np.abs(data.take(0, axis) - data.take(-1, axis)).max() for axis in range(3))
        if mismatch > REPEAT_TOLERANCE * np.abs(data).max():
            raise TrajectoryError(
                f"{path.name}: the grid spans the whole cell, so its last planes must repeat the first, "
                f"but they differ by {mismatch:.3g}. A grid without the repeat spans (n − 1)/n of the cell."
            )
        return data[:-1, :-1, :-1]
    if spans((points - 1) / points) or spans((points + 1) / points):
        return data
    raise TrajectoryError(
        f"{path.name}: the grid spans {np.linalg.norm(span, axis=1).round(4).tolist()} Å, the cell "
        f"{np.linalg.norm(cell, axis=1).round(4).tolist()} Å; the density of one whole cell is needed."
    )


def _write_xsf(path: Path, volume: Volume, comment: str) -> None:
    """Header by ASE; the grid here, since ASE prints it to 6 decimals and with a span of its own."""
    from ase.io.xsf import write_xsf

    with path.open("w") as file:
        file.write(f"# {comment}, e/A3\n")
        write_xsf(file, [_atoms(volume)])
        data = np.pad(volume.density.astype(np.float64), [(0, 1)] * 3, mode="wrap")
        file.write("BEGIN_BLOCK_DATAGRID_3D\n density\n BEGIN_DATAGRID_3D_density\n")
        file.write(" {} {} {}\n 0.0 0.0 0.0\n".format(*data.shape))
        np.savetxt(file, volume.cell, fmt=" %.14f")
        np.savetxt(file, data.ravel(order="F"), fmt="%.9e")
        file.write(" END_DATAGRID_3D\nEND_BLOCK_DATAGRID_3D\n")


# common


def _text(path: Path) -> str:
    """A text file, unpacked if need be (pymatgen does so by itself)."""
    with gzip.open(path, "rt") if path.suffix == ".gz" else path.open() as file:
        return file.read()


def _volume(data: np.ndarray, atoms: Atoms, origin: np.ndarray) -> Volume:
    """Move the ions so that the first grid point is the origin of the cell."""
    known = len(atoms) > 0
    forces = atoms.calc.results.get("forces") if atoms.calc is not None else None
    return Volume(
        density=np.ascontiguousarray(data),
        cell=np.array(atoms.cell.array),
        species=np.array(atoms.numbers) if known else None,
        positions=atoms.positions - origin if known else None,
        forces=forces,
    )


def _atoms(volume: Volume) -> Atoms:
    from ase import Atoms
    from ase.calculators.singlepoint import SinglePointCalculator

    atoms = Atoms(volume.species, volume.positions, cell=volume.cell, pbc=True)
    if volume.forces is not None:
        atoms.calc = SinglePointCalculator(atoms, forces=np.asarray(volume.forces, dtype=np.float64))
    return atoms


_READERS: dict[str, Callable[[Path], Volume]] = {"cube": _read_cube, "chgcar": _read_chgcar, "xsf": _read_xsf}
_WRITERS: dict[str, Callable[[Path, Volume, str], None]] = {
    "cube": _write_cube,
    "chgcar": _write_chgcar,
    "xsf": _write_xsf,
}
