"""The connection form for Airflow before 3.2, made from the description in ``get_provider_info``. Defines no field itself.

Airflow 3.2 and later read the description and never call this. flask-appbuilder and WTForms are imported inside the
function: Airflow 3 does not have them, and 3.1 puts stand-ins in their place for the time of the call.
"""

from __future__ import annotations

from typing import Any

from airflow_provider_coze.get_provider_info import get_provider_info

__all__ = ["field_behaviour", "form_widgets"]

#: What Airflow 2's form sends back for a secret that is to stay as it is saved (airflow/www/views.py of 2.11.2,
#: SENSITIVE_FIELD_PLACEHOLDER); Airflow 3 has ``***`` for that, and its page takes care of it.
_UNCHANGED = "RATHER_LONG_SENSITIVE_FIELD_PLACEHOLDER"


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

    class SecretWidget(BS3PasswordFieldWidget):  # type: ignore[misc]
        """A password field that is not empty where something is saved: Airflow 2 deletes an extra whose field comes back empty.

        It holds Airflow's word for "unchanged", and never the secret. Drop when 3.0 is the floor.
        """

        def __call__(self, field: Any, **options: Any) -> Any:
            is_saved = bool(field.data) and not field.raw_data  # raw: typed into a form that is shown once more
            self.hide_value = False
            value = _UNCHANGED if is_saved or field.data == _UNCHANGED else ""
            return super().__call__(field, **{**options, "value": value})

    widgets = {}
    for name, described in _connection_type()["conn-fields"].items():
        schema = described["schema"]
        field_class, widget, default = StringField, BS3TextFieldWidget(), schema.get("default")
        if schema.get("format") == "password":
            field_class, widget = PasswordField, SecretWidget()
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
