"""The arrows of the design: training → engine ← ldm_viewer, and an engine that needs no window."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
HEAVY = {"qtpy", "PyQt6", "PySide6", "napari", "magicgui", "ase", "gpaw", "pymatgen"}


def imported_at_top(path: Path) -> set[str]:
    """Top-level packages that a file imports when it is itself imported."""
    names = set()
    for node in ast.parse(path.read_text()).body:
        if isinstance(node, ast.Import):
            names |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            names.add((node.module or "").split(".")[0])
    return names


def imported_anywhere(path: Path) -> set[str]:
    tree = ast.parse(path.read_text())
    modules = [n.module or "" for n in ast.walk(tree) if isinstance(n, ast.ImportFrom)]
    modules += [alias.name for n in ast.walk(tree) if isinstance(n, ast.Import) for alias in n.names]
    return {name.split(".")[0] for name in modules}


@pytest.mark.parametrize("path", sorted((ROOT / "engine").glob("*.py")), ids=lambda p: p.stem)
def test_engine_leans_on_nobody(path):
    assert not imported_anywhere(path) & {"training", "ldm_viewer"}
    assert not imported_at_top(path) & HEAVY


@pytest.mark.parametrize("path", sorted((ROOT / "ldm_viewer").rglob("*.py")), ids=lambda p: p.stem)
def test_viewer_does_not_lean_on_training(path):
    assert "training" not in imported_anywhere(path)


@pytest.mark.parametrize("name", ["session", "state"])
def test_session_knows_no_toolkit(name):
    assert not imported_anywhere(ROOT / "ldm_viewer" / f"{name}.py") & {
        "qtpy",
        "napari",
        "magicgui",
        "superqt",
    }


def test_importing_the_rollout_loads_no_window_and_no_simulator():
    code = "import sys, engine.rollout; print(*{m.split('.')[0] for m in sys.modules})"
    loaded = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    ).stdout.split()
    assert not set(loaded) & HEAVY


def test_files_are_read_without_torch():
    code = "import sys, engine, engine.trajectory, engine.samples; print('torch' in sys.modules)"
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert said.strip() == "False"


def test_distribution_and_manifest_have_the_one_name():
    from importlib.metadata import distribution

    import yaml

    assert distribution("ldm_viewer").metadata["Name"] == "ldm_viewer"
    manifest = yaml.safe_load((ROOT / "ldm_viewer" / "napari.yaml").read_text())
    assert manifest["name"] == "ldm_viewer"
