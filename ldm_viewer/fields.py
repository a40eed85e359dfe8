"""Forms that magicgui makes from frozen dataclasses: a widget for each field, its docstring as tooltip."""

from __future__ import annotations

import ast
from collections.abc import Callable
from dataclasses import fields, is_dataclass, replace
from decimal import Decimal
from typing import Any, get_type_hints

from docstring_parser import parse_from_object
from magicgui import widgets

LARGEST = 2**31 - 1  # of a spin box


def explained(config: Any) -> dict[str, str]:
    """Field → its docstring."""
    return {
        item.arg_name: " ".join((item.description or "").split()) for item in parse_from_object(config).params
    }


def form_of(
    config: Any, changed: Callable[[Any], None], leave_out: tuple[str, ...] = ()
) -> widgets.Container:
    """A form for the plain fields of a dataclass; `changed` gets the dataclass with every new value."""
    docs, hints = explained(type(config)), get_type_hints(type(config))
    made = {
        field.name: _widget(
            field.name, getattr(config, field.name), hints[field.name], docs.get(field.name, "")
        )
        for field in fields(config)
        if field.name not in leave_out and not is_dataclass(getattr(config, field.name))
    }
    form = widgets.Container(widgets=list(made.values()), labels=True)
    form.margins = (0, 0, 0, 0)

    def tell() -> None:
        values = {name: _value(widget) for name, widget in made.items()}
        if None not in values.values():
            changed(replace(config, **values))

    form.changed.connect(tell)
    return form


def _widget(name: str, value: Any, hint: Any, doc: str) -> widgets.Widget:
    about = {"name": name, "label": name.replace("_", " "), "tooltip": doc}
    if isinstance(value, bool):
        return widgets.CheckBox(value=value, text="", **about)
    if isinstance(value, int):
        return widgets.SpinBox(value=value, min=0, max=LARGEST, **about)
    if isinstance(value, float):
        step = float(Decimal(10) ** min(-2, Decimal(repr(value)).normalize().as_tuple().exponent - 1))
        return widgets.FloatSpinBox(value=value, min=-1e9, max=1e9, step=step, **about)
    if isinstance(value, tuple):
        return widgets.LineEdit(value=", ".join(map(str, value)), **about)
    return widgets.create_widget(
        value, annotation=hint, name=name, label=about["label"], options={"tooltip": doc}
    )


def _value(widget: widgets.Widget) -> Any:
    """What a widget holds; None while a list of numbers is being typed."""
    if not isinstance(widget, widgets.LineEdit):
        return widget.value
    try:
        numbers = ast.literal_eval(f"({widget.value},)")
    except (SyntaxError, ValueError):
        return None
    return numbers if all(isinstance(number, int) and number > 0 for number in numbers) else None
