"""Units, order and grid of CUBE, CHGCAR and XSF, against files written by hand and by other libraries."""

import gzip

import numpy as np
import pytest

from engine.formats import FILE_NAMES, Volume, format_of, read_volume, write_volume
from engine.trajectory import TrajectoryError

BOHR = 0.529177210  # Å
CELL = np.array([[5.0, 0.3, -0.2], [1.1, 6.0, 0.4], [-0.7, 0.9, 7.0]])
GRID = (4, 5, 7)
FORMATS = tuple(FILE_NAMES)


def plane_wave(grid=GRID):
    """0.05 e^{0.4 cos 2π(x + 2y − z)} Å⁻³: every axis and sign matters."""
    x, y, z = np.meshgrid(*(np.arange(n) / n for n in grid), indexing="ij")
    return 0.05 * np.exp(0.4 * np.cos(2 * np.pi * (x + 2 * y - z)) + 0.1 * np.sin(2 * np.pi * z))


@pytest.fixture
def volume():
    rng = np.random.default_rng(0)
    species = np.array([3, 1, 3, 8])
    return Volume(plane_wave(), CELL, species, rng.random((4, 3)) @ CELL, rng.normal(size=(4, 3)))


# by hand

CUBE = """made by hand
values in e/Bohr^3
    2    {origin}
    2    3.000000    0.000000    0.000000
    3    0.500000    2.000000    0.000000
    2    0.000000    0.000000    4.000000
   82    0.000000    1.000000    2.000000    3.000000
    1    0.000000    0.500000    0.000000    0.000000
 0.01 0.02
 0.03 0.04 0.05 0.06
 0.07 0.08 0.09 0.10 0.11 0.12
"""


def test_cube_is_in_bohr_and_z_runs_fastest(tmp_path):
    path = tmp_path / "hand.cube"
    path.write_text(CUBE.format(origin="0.0 0.0 0.0"))
    found = read_volume(path)
    assert found.density.shape == (2, 3, 2)
    np.testing.assert_allclose(found.density.ravel(), 0.01 * np.arange(1, 13) / BOHR**3, rtol=1e-8)
    np.testing.assert_allclose(found.cell, np.array([[6, 0, 0], [1.5, 6, 0], [0, 0, 8]]) * BOHR, rtol=1e-8)
    np.testing.assert_allclose(found.positions, np.array([[1, 2, 3], [0.5, 0, 0]]) * BOHR, rtol=1e-8)
    assert found.species.tolist() == [82, 1]


def test_electrons_of_a_cube_are_the_sum_times_the_voxel_in_bohr(tmp_path):
    path = tmp_path / "few.cube"
    path.write_text(
        CUBE.format(origin="0.0 0.0 0.0").replace("3.000000    0.000000    0.000000\n", "0.2 0.0 0.0\n", 1)
    )
    assert read_volume(path).electrons == pytest.approx(0.78 * (0.2 * 2 * 4), rel=1e-8)


def test_ions_move_with_the_origin_of_the_grid(tmp_path):
    path = tmp_path / "shifted.cub"
    path.write_text(CUBE.format(origin="0.5 1.0 -1.0"))
    np.testing.assert_allclose(
        read_volume(path).positions, np.array([[0.5, 1, 4], [0, -1, 1]]) * BOHR, atol=1e-8
    )


CHGCAR = """LiH by hand
   {scale}
     2.000000    0.000000    0.000000
     0.500000    3.000000    0.000000
     0.000000    0.000000    4.000000
   Li   H
     1     1
Direct
  0.250000  0.500000  0.750000
  0.000000  0.000000  0.000000

    2    3    2
 0.10000000000E+01 0.20000000000E+01 0.30000000000E+01 0.40000000000E+01 0.50000000000E+01
 0.60000000000E+01 0.70000000000E+01 0.80000000000E+01 0.90000000000E+01 0.10000000000E+02
 0.11000000000E+02 0.12000000000E+02
{rest}"""

AUGMENTATION = """augmentation occupancies   1   7
  0.2743786E+00 -0.3307158E-01  0.0000000E+00  0.0000000E+00  0.0000000E+00
  0.1205362E-02  0.1205362E-02
augmentation occupancies   2   2
  0.1 0.2
"""
MAGNETISATION = (
    "  0.1000000E+01  0.0000000E+00\n    2    3    2\n" + " -0.50000000000E+02" * 12 + "\n" + AUGMENTATION
)


@pytest.mark.parametrize(
    "rest", ["", AUGMENTATION, AUGMENTATION + MAGNETISATION], ids=["bare", "paw", "spin"]
)
@pytest.mark.parametrize("scale", [1.0, 1.5])
def test_chgcar_is_rho_times_volume_and_x_runs_fastest(tmp_path, rest, scale):
    path = tmp_path / "CHGCAR"
    path.write_text(CHGCAR.format(scale=scale, rest=rest))
    found = read_volume(path)
    cell = scale * np.array([[2, 0, 0], [0.5, 3, 0], [0, 0, 4]])
    volume = 24 * scale**3
    np.testing.assert_allclose(found.density.ravel(order="F"), np.arange(1, 13) / volume, rtol=1e-12)
    np.testing.assert_allclose(found.cell, cell, rtol=1e-12)
    np.testing.assert_allclose(found.positions, [[0.25, 0.5, 0.75] @ cell, [0, 0, 0]], atol=1e-12)
    assert found.species.tolist() == [3, 1]
    assert found.electrons == pytest.approx(np.mean(np.arange(1, 13)))  # the mean of ρ·V, whatever the volume


XSF = """# by hand
CRYSTAL
PRIMVEC
 2.0 0.0 0.0
 0.0 3.0 0.0
 0.0 0.5 4.0
PRIMCOORD
 1 1
 Li 1.0 1.5 2.0
BEGIN_BLOCK_DATAGRID_3D
3D_field
{begin}
 {shape}
 {origin}
 {span}
 {data}
END_DATAGRID_3D
END_BLOCK_DATAGRID_3D
"""
XSF_CELL = np.array([[2, 0, 0], [0, 3, 0], [0, 0.5, 4]])


def xsf_text(data, span, begin="BEGIN_DATAGRID_3D_rho", origin=(0, 0, 0)):
    return XSF.format(
        begin=begin,
        shape="{} {} {}".format(*data.shape),
        origin="{} {} {}".format(*origin),
        span="\n".join("{:.8f} {:.8f} {:.8f}".format(*row) for row in span),
        data=" ".join(map(str, data.ravel(order="F"))),
    )


@pytest.mark.parametrize("begin", ["BEGIN_DATAGRID_3D_rho", "DATAGRID_3D_UNKNOWN"])
def test_xsf_general_grid_loses_its_repeated_end(tmp_path, begin):
    rho = 0.01 * np.arange(1, 25).reshape(2, 3, 4)
    (tmp_path / "general.xsf").write_text(xsf_text(np.pad(rho, [(0, 1)] * 3, mode="wrap"), XSF_CELL, begin))
    found = read_volume(tmp_path / "general.xsf")
    np.testing.assert_allclose(found.density, rho, rtol=1e-12)
    np.testing.assert_allclose(found.cell, XSF_CELL)
    np.testing.assert_allclose(found.positions, [[1, 1.5, 2]])


@pytest.mark.parametrize("steps", [-1, 1], ids=["periodic", "as ASE writes"])
def test_xsf_grid_without_the_repeat_is_kept_whole(tmp_path, steps):
    rho = 0.01 * np.arange(1, 25).reshape(2, 3, 4)
    span = XSF_CELL * (np.array(rho.shape) + steps)[:, None] / np.array(rho.shape)[:, None]
    (tmp_path / "periodic.xsf").write_text(xsf_text(rho, span, origin=(0.5, 0, 0)))
    found = read_volume(tmp_path / "periodic.xsf")
    np.testing.assert_allclose(found.density, rho, rtol=1e-12)
    np.testing.assert_allclose(found.positions, [[0.5, 1.5, 2]])


def test_xsf_written_by_ase(tmp_path, volume):
    from ase import Atoms
    from ase.io import write

    write(tmp_path / "ase.xsf", Atoms("Pb", [[1, 1, 1]], cell=CELL, pbc=True), data=volume.density)
    np.testing.assert_allclose(read_volume(tmp_path / "ase.xsf").density, volume.density, atol=0.51e-6)


def test_xsf_that_cannot_be_one_period_is_refused(tmp_path):
    rho = 0.01 * np.arange(1, 25).reshape(2, 3, 4)
    for name, text, words in [
        ("open.xsf", xsf_text(rho, XSF_CELL), "last planes must repeat the first"),
        ("part.xsf", xsf_text(rho, 0.7 * XSF_CELL), "density of one whole cell is needed"),
        ("slab.xsf", xsf_text(rho, XSF_CELL).replace("CRYSTAL", "SLAB"), "not a CRYSTAL"),
    ]:
        (tmp_path / name).write_text(text)
        with pytest.raises(TrajectoryError, match=f"{name}.*{words}"):
            read_volume(tmp_path / name)


# round trips

DENSITY_DIGITS = {
    "cube": 0.51e-6,
    "chgcar": 0.51e-10,
    "xsf": 0.51e-9,
}  # relative, from the digits of each format


@pytest.mark.parametrize("kind", FORMATS)
def test_round_trip_keeps_density_cell_and_ions(tmp_path, volume, kind):
    path = tmp_path / FILE_NAMES[kind].format(7)
    assert format_of(write_volume(path, volume, kind)) == kind
    assert [p.name for p in tmp_path.iterdir()] == [path.name]
    found = read_volume(path)
    in_cube = kind == "cube"  # prints lengths to 6 decimals of a Bohr, the cell per voxel
    np.testing.assert_allclose(found.density, volume.density, rtol=DENSITY_DIGITS[kind] * 10)
    np.testing.assert_allclose(found.cell, CELL, atol=0.51e-6 * BOHR * max(GRID) if in_cube else 1e-13)
    np.testing.assert_allclose(found.positions, volume.positions, atol=0.51e-6 * BOHR if in_cube else 1e-13)
    np.testing.assert_array_equal(found.species, volume.species)
    assert found.electrons == pytest.approx(volume.electrons, rel=1e-5 if in_cube else 1e-9)
    if kind == "xsf":
        np.testing.assert_allclose(found.forces, volume.forces, atol=1e-11)


@pytest.mark.parametrize("kind", FORMATS)
def test_packed_files_are_read(tmp_path, volume, kind):
    path = write_volume(tmp_path / FILE_NAMES[kind].format(0), volume, kind)
    packed = path.with_name(path.name + ".gz")
    packed.write_bytes(gzip.compress(path.read_bytes()))
    np.testing.assert_array_equal(read_volume(packed).density, read_volume(path).density)


def test_cube_without_ions(tmp_path):
    found = read_volume(write_volume(tmp_path / "bare.cube", Volume(plane_wave(), CELL), "cube"))
    assert found.species is None and found.positions is None
    np.testing.assert_allclose(found.density, plane_wave(), rtol=1e-6)
    for kind in ("chgcar", "xsf"):
        with pytest.raises(TrajectoryError, match="needs ions"):
            write_volume(tmp_path / "bare", Volume(plane_wave(), CELL), kind)
    assert [p.name for p in tmp_path.iterdir()] == ["bare.cube"]


def test_pymatgen_agrees_on_what_we_write(tmp_path, volume):
    from pymatgen.io.common import VolumetricData
    from pymatgen.io.vasp.outputs import Chgcar

    theirs = Chgcar.from_file(str(write_volume(tmp_path / "CHGCAR", volume, "chgcar")))
    np.testing.assert_allclose(theirs.data["total"] / theirs.structure.volume, volume.density, rtol=1e-9)
    np.testing.assert_allclose(theirs.structure.cart_coords, volume.positions, atol=1e-12)
    theirs = VolumetricData.from_cube(str(write_volume(tmp_path / "a.cube", volume, "cube")))
    np.testing.assert_allclose(theirs.data["total"] / BOHR**3, volume.density, rtol=1e-5)
    np.testing.assert_allclose(theirs.structure.lattice.matrix, CELL, atol=1e-5)
    xcrysden = pytest.importorskip("pymatgen.io.xcrysden")
    (grid,) = xcrysden.XSF.from_file(str(write_volume(tmp_path / "a.xsf", volume, "xsf"))).grids.values()
    np.testing.assert_allclose(grid.data[0][:-1, :-1, :-1], volume.density, rtol=1e-8)
    np.testing.assert_allclose(grid.data[0][-1], grid.data[0][0], rtol=1e-12)
    np.testing.assert_allclose(grid.lattice, CELL, atol=1e-12)


# refusals


def test_wrong_unit_is_noticed_by_its_electrons_and_can_be_named(tmp_path, volume):
    from ase import Atoms
    from ase.io import write

    rho = volume.density * 30 / volume.electrons  # 30 of at most 33 electrons
    path = tmp_path / "angstrom.cube"
    write(path, Atoms("Li11", np.zeros((11, 3)), cell=CELL, pbc=True), data=rho)
    with pytest.raises(TrajectoryError, match="integrates to 202.5 electrons, but its ions have only 33"):
        read_volume(path)
    np.testing.assert_allclose(read_volume(path, unit="e/A3").density, rho, rtol=1e-6)
    np.testing.assert_allclose(read_volume(path, unit="e/Bohr3").density, rho / BOHR**3, rtol=1e-6)
    with pytest.raises(TrajectoryError, match="CHGCAR always holds"):
        read_volume(write_volume(tmp_path / "CHGCAR", volume, "chgcar"), unit="e/Bohr3")


@pytest.mark.parametrize("kind", FORMATS)
def test_truncated_file_is_named(tmp_path, volume, kind):
    path = write_volume(tmp_path / FILE_NAMES[kind].format(0), volume, kind)
    text = path.read_text()
    for share in (0.02, 0.2, 0.6, 0.9):
        path.write_text(text[: int(share * len(text))])
        with pytest.raises(TrajectoryError, match=path.name):
            read_volume(path)


def test_other_files_are_refused(tmp_path):
    (tmp_path / "density.dat").write_text("1 2 3")
    (tmp_path / "nan.cube").write_text(CUBE.format(origin="0 0 0").replace("0.05", "nan"))
    for name, words in [
        ("density.dat", r"none of \*.cube, \*.xsf"),
        ("missing.cube", "no file"),
        ("nan.cube", "1 of 12 values are not finite"),
    ]:
        with pytest.raises(TrajectoryError, match=words):
            read_volume(tmp_path / name)


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("a.cube", "cube"),
        ("A.CUB", "cube"),
        ("x.xsf", "xsf"),
        ("CHGCAR", "chgcar"),
        ("run1_CHGCAR.vasp", "chgcar"),
    ]
    + [
        ("CHG", "chgcar"),
        ("AECCAR0", "chgcar"),
        ("CHGCAR_00012", "chgcar"),
        ("chgcar.h5", None),
        ("POSCAR", None),
        ("change.txt", None),
    ],
)
def test_format_by_name(name, kind):
    assert format_of(name) == kind
