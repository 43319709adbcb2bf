"""The form of older Airflow versions, with stand-ins for the libraries that Airflow 3 does not have."""

from __future__ import annotations

import importlib
import json
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import airflow
import jsonschema
import pytest

from airflow_provider_coze.get_provider_info import get_provider_info
from airflow_provider_coze.hooks.connection_form import field_behaviour, form_widgets

CONNECTION = get_provider_info()["connection-types"][0]
FIELDS: dict[str, Any] = CONNECTION["conn-fields"]


class Field:
    """Takes what the fields of WTForms 3 and Airflow 3.1's stand-ins for them both take; anything else is a TypeError."""

    def __init__(
        self, label: str, validators: Any = None, description: str = "", default: Any = None, widget: Any = None
    ):
        self.label, self.validators, self.description = label, validators, description
        self.default, self.widget = default, widget


class StringField(Field): ...


class IntegerField(Field): ...


class PasswordField(Field): ...


class TextWidget: ...


class PasswordWidget:
    """Shows nothing unless it is told to, as WTForms' does."""

    hide_value = True

    def __call__(self, field: Any, **options: Any) -> dict[str, Any]:
        return {**options, "value": ""} if self.hide_value else options


class Optional: ...


class AnyOf:
    def __init__(self, values: Any) -> None:
        self.values = values


@pytest.fixture
def widgets(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    stand_ins = {
        "wtforms": {"StringField": StringField, "IntegerField": IntegerField, "PasswordField": PasswordField},
        "wtforms.validators": {"Optional": Optional, "any_of": AnyOf},
        "flask_babel": {"lazy_gettext": lambda text: f"translated {text}"},
        "flask_appbuilder": {},
        "flask_appbuilder.fieldwidgets": {"BS3TextFieldWidget": TextWidget, "BS3PasswordFieldWidget": PasswordWidget},
    }
    for name, members in stand_ins.items():
        module = ModuleType(name)
        for member, value in members.items():
            setattr(module, member, value)
        monkeypatch.setitem(sys.modules, name, module)
    return form_widgets()


def test_there_is_a_widget_for_every_described_field(widgets: dict[str, Any]) -> None:
    assert list(widgets) == list(FIELDS)
    for name, widget in widgets.items():
        assert widget.label == f"translated {FIELDS[name]['label']}"
        assert widget.description == FIELDS[name]["description"]


def test_secrets_get_password_fields_and_whole_numbers_integer_fields(widgets: dict[str, Any]) -> None:
    others = {name: type(widget) for name, widget in widgets.items() if type(widget) is not StringField}
    assert others == {"private_key": PasswordField, "proxy": PasswordField, "token_ttl": IntegerField}
    for widget in widgets.values():
        assert isinstance(widget.widget, PasswordWidget if type(widget) is PasswordField else TextWidget)


class Filled:
    """A field of a form that is being shown: from a saved connection, or again, after something in it was wrong."""

    def __init__(self, data: str | None, typed: bool = False) -> None:
        self.data, self.raw_data = data, [data] if typed else None


UNCHANGED = "RATHER_LONG_SENSITIVE_FIELD_PLACEHOLDER"


@pytest.mark.parametrize(
    ("field", "shown"),
    [
        (Filled(None), ""),
        (Filled("", typed=True), ""),
        (Filled("the secret"), UNCHANGED),
        (Filled("another secret", typed=True), ""),
        (Filled(UNCHANGED, typed=True), UNCHANGED),
    ],
)
def test_a_saved_secret_is_sent_back_as_unchanged_and_never_shown(
    widgets: dict[str, Any], field: Filled, shown: str
) -> None:
    """Airflow 2 deletes an extra whose field comes back empty, and keeps the one that comes back as this word."""
    assert widgets["private_key"].widget(field, id="x") == {"id": "x", "value": shown}


def test_the_real_form_library_shows_no_secret_and_the_word_for_unchanged() -> None:
    wtforms = pytest.importorskip("wtforms", reason="Airflow 3 has none")
    pytest.importorskip("flask_appbuilder", reason="Airflow 3 has none")
    views = importlib.import_module("airflow.www.views")
    assert views.SENSITIVE_FIELD_PLACEHOLDER == UNCHANGED
    fields = {name: field for name, field in form_widgets().items() if name in ("private_key", "proxy")}
    for field in fields.values():  # their labels want the application that translates them
        field.args = ()
    form = type("SavedForm", (wtforms.Form,), fields)(data={"private_key": "the secret"})
    assert f'value="{UNCHANGED}"' in form.private_key()
    assert 'value=""' in form.proxy()
    assert "the secret" not in form.private_key()


def test_every_field_may_be_left_empty_and_choices_are_offered(widgets: dict[str, Any]) -> None:
    for name, widget in widgets.items():
        first, *rest = widget.validators
        assert isinstance(first, Optional)
        assert [check.values for check in rest] == [v for v in [FIELDS[name]["schema"].get("enum")] if v]


def test_defaults_are_filled_in_as_the_field_needs_them(widgets: dict[str, Any]) -> None:
    assert widgets["connect_seconds"].default == "5"
    assert widgets["verify"].default == "true"
    assert widgets["chat_qps"].default is None


def test_labels_and_hidden_fields_are_what_airflow_expects_of_a_hook() -> None:
    behaviour = field_behaviour()
    schema = json.loads((Path(airflow.__file__).parent / "customized_form_field_behaviours.schema.json").read_text())
    jsonschema.validate(behaviour, schema)
    assert behaviour["hidden_fields"] == CONNECTION["ui-field-behaviour"]["hidden-fields"]
    assert behaviour["relabeling"]["password"] == "Access token"


def test_the_form_library_is_not_needed_to_import_the_module() -> None:
    code = (
        "import sys; sys.modules.update(dict.fromkeys(['wtforms', 'flask_babel', 'flask_appbuilder']))\n"
        "import airflow_provider_coze.hooks.connection_form as form; form.field_behaviour()"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
