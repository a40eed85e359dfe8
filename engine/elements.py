"""Names of the chemical elements, so that the engine can speak of a composition without ASE."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

SYMBOLS = (
    "X H He Li Be B C N O F Ne Na Mg Al Si P S Cl Ar K Ca Sc Ti V Cr Mn Fe Co Ni Cu Zn Ga Ge As Se Br "
    "Kr Rb Sr Y Zr Nb Mo Tc Ru Rh Pd Ag Cd In Sn Sb Te I Xe Cs Ba La Ce Pr Nd Pm Sm Eu Gd Tb Dy Ho Er "
    "Tm Yb Lu Hf Ta W Re Os Ir Pt Au Hg Tl Pb Bi Po At Rn Fr Ra Ac Th Pa U Np Pu Am Cm Bk Cf Es Fm Md "
    "No Lr Rf Db Sg Bh Hs Mt Ds Rg Cn Nh Fl Mc Lv Ts Og "
).split()


def composition(species: Iterable[int]) -> dict[str, int]:
    """How many atoms of each element, {"Li": 32}, in order of the atomic number."""
    return {SYMBOLS[number]: count for number, count in sorted(Counter(int(z) for z in species).items())}


def formula(counts: dict[str, int] | None) -> str:
    """Li32 for {"Li": 32}, carbon and hydrogen first if there is carbon (Hill); "unknown" for None."""
    if not counts:
        return "unknown"
    first = [s for s in ("C", "H") if s in counts] if "C" in counts else []
    ordered = first + sorted(s for s in counts if s not in first)
    return "".join(f"{s}{counts[s] if counts[s] > 1 else ''}" for s in ordered)
