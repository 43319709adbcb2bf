"""What Airflow's discovery gets to see of the provider."""

from __future__ import annotations

import importlib
import json
import re
import subprocess
import sys
from importlib.metadata import entry_points, version
from pathlib import Path
from typing import Any

import airflow
import jsonschema
import pytest

from airflow_provider_coze.errors import CozeConnectionConfigError
from airflow_provider_coze.get_provider_info import get_provider_info
from airflow_provider_coze.settings import EXTRAS, parse
from tests import needs

INFO = get_provider_info()
CONNECTION = INFO["connection-types"][0]
FIELDS: dict[str, Any] = CONNECTION["conn-fields"]
AIRFLOW = Path(airflow.__file__).parent


def schema(name: str) -> dict[str, Any]:
    loaded: dict[str, Any] = json.loads((AIRFLOW / name).read_text())
    return loaded


def test_airflow_accepts_the_provider_info() -> None:
    jsonschema.validate(INFO, schema("provider_info.schema.json"))


#: What Airflow's schema has and this provider has none of; the reason is beside each. A key of neither kind fails the test below.
NOT_OURS = {
    "hook-class-names": "deprecated by connection-types",
    "filesystems": "Coze has no file system: its files have ids, and no names or folders",
    "dialects": "of SQL",
    "transfers": "of data between two systems; a batch reads and writes files of any storage by itself",
    "bundles": "places that DAGs come from",
    "secrets-backends": "keeps no secrets of others",
    "email-backends": "sends no mail",
    "logging": "keeps no logs",
    "remote-logging": "keeps no logs",
    "auth-backends": "lets nobody into Airflow",
    "auth-managers": "lets nobody into Airflow",
    "executors": "runs no tasks",
    "db-managers": "has no tables in Airflow's database",
    "plugins": "needs none: nothing of ours is a page or a macro",
    "queues": "Coze has no message queue",
}


def test_every_key_of_airflows_schema_is_used_or_is_none_of_ours() -> None:
    known = set(schema("provider_info.schema.json")["properties"])
    assert known - set(INFO) <= set(NOT_OURS)
    assert not set(INFO) & set(NOT_OURS)


@needs.FORM_METADATA.mark
def test_the_connection_type_meets_the_strict_schema_for_provider_authors() -> None:
    strict = schema("provider.yaml.schema.json")["properties"]["connection-types"]
    jsonschema.validate(INFO["connection-types"], strict)


def test_every_field_is_named_typed_and_described() -> None:
    for name, described in FIELDS.items():
        assert set(described) == {"label", "description", "schema"}, name
        assert described["label"], name
        assert described["description"].endswith("."), name
        assert described["schema"]["type"][1:] == ["null"], name


def test_the_form_and_the_parser_know_the_same_fields_in_the_same_order() -> None:
    assert list(FIELDS) == list(EXTRAS)


def test_what_the_form_fills_in_is_what_the_parser_assumes() -> None:
    defaults = {name: described["schema"].get("default") for name, described in FIELDS.items()}
    assert parse(host=None, password="t", extra=defaults) == parse(host=None, password="t", extra=None)


def accepted(name: str, value: object) -> bool:
    try:
        parse(host="http://studio:8888", password="t", extra={name: value})
    except CozeConnectionConfigError as error:
        return f"- `{name}` is" not in str(error)
    return True


@pytest.mark.parametrize("name", FIELDS)
def test_the_form_and_the_parser_have_the_same_limits(name: str) -> None:
    described = FIELDS[name]["schema"]
    for value in described.get("enum", []):
        assert accepted(name, value)
    for limit, beyond in (("minimum", -0.001), ("maximum", 1)):
        if limit in described:
            assert accepted(name, described[limit])
            assert not accepted(name, described[limit] + beyond)
    if "maxLength" in described:
        assert accepted(name, "x" * described["maxLength"])
        assert not accepted(name, "x" * (described["maxLength"] + 1))
    if "pattern" in described:
        for value in ("7511", "/v1/workflow/run", "a b", "/run?x", "x"):
            assert accepted(name, value) == bool(re.search(described["pattern"], value))


def test_fields_with_secrets_are_hidden_by_the_form_and_named_so_that_airflow_masks_them() -> None:
    hidden = {name for name, described in FIELDS.items() if described["schema"].get("format") == "password"}
    assert hidden == {"private_key", "proxy"}
    assert {name for name in FIELDS if re.search("private_key|secret|passw", name)} <= hidden


@needs.REACT_FORM.mark
def test_the_web_form_gets_every_field_and_no_default_is_masked(tmp_path: Path) -> None:
    """Airflow 3.3 sends *** as the value of a field whose name sounds secret, if it has a default; the form would save it."""
    code = (
        "from airflow.api_fastapi.core_api.services.ui.connections import HookMetaService as service\n"
        "form, = [hook for hook in service.hook_meta_data() if hook.connection_type == 'coze']\n"
        "import json; print(json.dumps({name: field['value'] for name, field in form.extra_fields.items()}))"
    )
    # In a process of its own, because the service of 3.1 leaves stand-ins for WTForms behind.
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=env(tmp_path))
    values = json.loads(out.stdout.splitlines()[-1])
    assert list(values) == list(FIELDS)
    for name, value in values.items():
        assert value in (FIELDS[name]["schema"].get("default"), str(FIELDS[name]["schema"].get("default")))


def env(home: Path) -> dict[str, str]:
    return {"AIRFLOW_HOME": str(home), "PATH": "/usr/bin:/bin", "COLUMNS": "300"}


def named_paths() -> list[str]:
    modules = [
        path
        for key in ("hooks", "operators", "sensors", "triggers")
        for item in INFO[key]
        for path in item["python-modules"]
    ]
    uris = [item[key] for item in INFO["asset-uris"] for key in ("handler", "factory", "to_openlineage_converter")]
    return [
        *modules,
        CONNECTION["hook-class-name"],
        *INFO["cli"],
        *INFO["extra-links"],
        *INFO["notifications"],
        *uris,
    ] + [item["class-name"] for item in INFO.get("task-decorators", [])]


@pytest.mark.parametrize("path", named_paths())
def test_every_path_that_is_named_can_be_imported(path: str) -> None:
    try:
        importlib.import_module(path)
    except ModuleNotFoundError as error:
        module, _, name = path.rpartition(".")
        if error.name not in (path, module):
            raise
        assert hasattr(importlib.import_module(module), name)


def test_the_hook_agrees_with_what_is_said_of_it() -> None:
    module, _, name = CONNECTION["hook-class-name"].rpartition(".")
    hook = getattr(importlib.import_module(module), name)
    assert (hook.conn_type, hook.hook_name) == (CONNECTION["connection-type"], CONNECTION["hook-name"])


def test_the_names_are_those_of_the_distribution() -> None:
    assert INFO["package-name"] == "airflow-provider-coze"
    (found,) = [
        e for e in entry_points(group="apache_airflow_provider") if e.dist and e.dist.name == INFO["package-name"]
    ]
    assert found.load()() == INFO


def test_discovery_imports_nothing_of_ours_or_of_airflow() -> None:
    code = (
        "import sys; before = set(sys.modules)\n"
        "from airflow_provider_coze.get_provider_info import get_provider_info; get_provider_info()\n"
        "print(*sorted(set(sys.modules) - before))"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    loaded = {name.partition(".")[0] for name in out.stdout.split()} - set(sys.stdlib_module_names)
    assert loaded == {"airflow_provider_coze"}
    assert [name for name in out.stdout.split() if name.startswith("airflow_provider_coze.")] == [
        "airflow_provider_coze.get_provider_info"
    ]


def test_each_call_returns_a_description_of_its_own() -> None:
    """Airflow keeps what it gets; a caller that changes it must not change what others get."""
    get_provider_info()["connection-types"][0]["conn-fields"].clear()
    assert get_provider_info() == INFO


def test_airflow_knows_the_default_of_our_option_and_it_can_be_set(monkeypatch: pytest.MonkeyPatch) -> None:
    option = INFO["config"]["coze"]["options"]["min_deferral_seconds"]
    assert float(option["default"]) == 8.0
    from airflow.providers.common.compat.sdk import conf

    monkeypatch.setenv("AIRFLOW__COZE__MIN_DEFERRAL_SECONDS", "0")
    assert conf.getfloat("coze", "min_deferral_seconds") == 0.0


@pytest.mark.airflow
@pytest.mark.parametrize(
    "command",
    [
        "list",
        "get airflow-provider-coze",
        "hooks",
        "links",
        "behaviours",
        "triggers",
        "widgets",
        "notifications",
        "configs",
    ],
)
def test_airflow_providers_shows_us(command: str, tmp_path: Path) -> None:
    """Each of these starts Airflow, which takes some seconds; hooks imports ours."""
    if command in ("behaviours", "widgets") and version("apache-airflow").startswith(("3.0.", "3.1.")):
        pytest.skip("these Airflow versions list no fields of anybody here unless flask-appbuilder is installed")
    cli = [sys.executable, "-m", "airflow", "providers", *command.split(), "--output", "plain"]
    out = subprocess.run(cli, capture_output=True, text=True, check=True, env=env(tmp_path), timeout=100)
    shown = {
        "list": "airflow-provider-coze",
        "get airflow-provider-coze": version("airflow-provider-coze"),
        "hooks": "coze_conn_id",
        "links": "airflow_provider_coze.links.CozeRunLink",
        "configs": "min_deferral_seconds",
        "behaviours": "coze",
        "triggers": "airflow_provider_coze.triggers.workflow",
        "widgets": "extra__coze__private_key",
        "notifications": "airflow_provider_coze.notifications.coze.CozeNotifier",
    }
    assert shown[command] in out.stdout
