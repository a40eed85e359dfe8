"""What the command palette and the layers' menus can tell the window: each is a button or a dock of it."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ldm_viewer.panel import MainPanel

PLUGIN = "ldm_viewer"
LAYER_MENU = "napari/layers/context"


def panel() -> MainPanel:
    """The panel of the current window, opened where there is none. LookupError without a window."""
    import napari

    viewer = napari.current_viewer()
    if viewer is None:
        raise LookupError("there is no napari window")
    return viewer.window.add_plugin_dock_widget(PLUGIN, "Forecast", tabify=True)[1]


def _do(name: str, *arguments: Any) -> None:
    here = panel()
    here.tell(getattr(here.session, name), *arguments)


def run() -> None:
    """Start, pause or go on, as the panel's first button."""
    panel().run.native.click()


def step() -> None:
    """One more frame, then hold."""
    _do("step")


def stop() -> None:
    """End the forecast; its frames stay."""
    _do("stop")


def fork() -> None:
    """Go on from the forecast's frame at the slider."""
    _do("fork")


def follow() -> None:
    """Go with the newest frame, or stay."""
    here = panel()
    here.session.set_follow(not here.session.state.follow)


def from_here() -> None:
    """A new forecast from the frame at the slider: the forecast's where it is the layer, else the truth's."""
    here = panel()
    stage = here.stage
    if stage.viewer.layers.selection.active is stage.triptych.forecast and here.session.state.forecast:
        here.tell(here.session.fork)
    elif here.tell(here.session.configure, start_fs=here.session.state.time_fs):
        here.tell(here.session.start)


def sample() -> None:
    """Open the bundled unseen data."""
    panel().sample.native.click()


def save_state() -> None:
    """Write data, emulator, seed and view to a small file."""
    panel().save.native.click()


def open_state() -> None:
    """Make a saved figure again."""
    panel().open.native.click()


def preferences() -> None:
    """Device, redraw rate, threads."""
    panel().ask_preferences()


def back() -> None:
    """One frame back."""
    _move(-1)


def forward() -> None:
    """One frame forward."""
    _move(1)


def _move(frames: int) -> None:
    time = panel().time
    time.value = min(max(time.value + frames, time.min), time.max)


def dock(name: str) -> Callable[[], None]:
    """A command that opens a dock, or brings it to the front."""

    def show() -> None:
        opened, _ = panel().stage.viewer.window.add_plugin_dock_widget(PLUGIN, name, tabify=True)
        opened.show()
        opened.raise_()

    return show


def fill_layer_menu() -> None:
    """Our lines in the menu of a layer; napari's manifest has no place for them, its registry has."""
    from app_model.types import Action, MenuRule
    from napari._app_model import get_app_model

    told = {
        "from_here": ("Forecast from here", from_here),
        "histogram": ("Histogram", dock("Histogram")),
        "structure": ("S(q)", dock("S(q)")),
        "relaxation": ("F(q,t)", dock("F(q,t)")),
        "slices": ("Slices", dock("Slices")),
    }
    app = get_app_model()
    for order, (name, (title, callback)) in enumerate(told.items()):
        identifier = f"{PLUGIN}.layer.{name}"
        if identifier not in app.commands:
            rule = MenuRule(id=LAYER_MENU, group="0_ldm_viewer", order=order)
            app.register_action(Action(id=identifier, title=title, callback=callback, menus=[rule]))
