"""The connection form for Airflow before 3.2, made from the description in ``get_provider_info``. Defines no field itself.

Airflow 3.2 and later read the description and never call this. flask-appbuilder and WTForms are imported inside the
function: Airflow 3 does not have them, and 3.1 puts stand-ins in their place for the time of the call.
"""

from __future__ import annotations

from typing import Any

from airflow_provider_coze.get_provider_info import get_provider_info

__all__ = ["field_behaviour", "form_widgets"]


def form_widgets() -> dict[str, Any]:
    """Return a WTForms field per extra, for ``get_connection_form_widgets`` of the hook."""
    # Only these: Airflow 2.11 drops a hook that uses another field class (airflow/providers_manager.py, _import_hook), and
    # 3.1 has stand-ins for no others (airflow/api_fastapi/core_api/services/ui/connections.py). A number is thus a text
    # field, whose content settings.parse converts.
    from flask_appbuilder.fieldwidgets import (  # type: ignore[import-not-found]
        BS3PasswordFieldWidget,
        BS3TextFieldWidget,
    )
    from flask_babel import lazy_gettext  # type: ignore[import-not-found]
    from wtforms import IntegerField, PasswordField, StringField  # type: ignore[import-untyped]
    from wtforms.validators import Optional, any_of  # type: ignore[import-untyped]

    widgets = {}
    for name, described in _connection_type()["conn-fields"].items():
        schema = described["schema"]
        field_class, widget, default = StringField, BS3TextFieldWidget(), schema.get("default")
        if schema.get("format") == "password":
            field_class, widget = PasswordField, BS3PasswordFieldWidget()
        elif "integer" in schema["type"]:
            field_class = IntegerField
        elif default is not None:
            default = str(default)
        widgets[name] = field_class(
            lazy_gettext(described["label"]),
            validators=[Optional(), *([any_of(schema["enum"])] if "enum" in schema else [])],
            description=described["description"],
            default=default,
            widget=widget,
        )
    return widgets


def field_behaviour() -> dict[str, Any]:
    """Return what to hide, rename and hint at, for ``get_ui_field_behaviour`` of the hook."""
    return {key.replace("-", "_"): value for key, value in _connection_type()["ui-field-behaviour"].items()}


def _connection_type() -> dict[str, Any]:
    found: dict[str, Any] = get_provider_info()["connection-types"][0]
    return found
