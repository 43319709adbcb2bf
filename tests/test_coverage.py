"""docs/reference/coverage.md against the code: what it calls covered is tested, and what there is stands on it."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from airflow_provider_coze.emulator.dialects import Cloud
from airflow_provider_coze.emulator.studio.dialect import Studio
from airflow_provider_coze.errors import CozeInputError
from airflow_provider_coze.hooks.coze import CozeHook
from airflow_provider_coze.operators.chat import CozeChatOperator
from airflow_provider_coze.operators.workflow import CozeWorkflowOperator
from airflow_provider_coze.protocol import flows
from airflow_provider_coze.protocol.dialects import dialect_of, spoken
from airflow_provider_coze.protocol.messages import Call, Replay, Request
from airflow_provider_coze.protocol.retry import RetryPolicy
from tests.transports import test_every_operation as tried

PAGE = Path(__file__).parents[1] / "docs" / "reference" / "coverage.md"
COLUMNS = ["requests", "aiohttp", "cloud", "Studio"]
METHOD = r"(?:GET|POST|PUT|DELETE)"


class Row:
    def __init__(self, cells: list[str]) -> None:
        self.what, self.provider = cells[0], cells[1]
        self.says = dict(zip(COLUMNS, cells[2:], strict=True))
        self.operations = re.findall(rf"`({METHOD} [^`]+)`", self.what)
        found = re.match(r"`(\w+\.\w+)`", self.provider)
        self.function = found[1] if found else None
        self.auth = re.findall(r"`auth_type` `(\w+)`", self.provider)

    @property
    def is_covered(self) -> bool:
        return self.says["requests"] == self.says["aiohttp"] == "yes"

    def __repr__(self) -> str:
        return self.what


def _rows() -> list[Row]:
    lines = [re.split(r" ?\| ?", line.strip("| ")) for line in PAGE.read_text("utf-8").splitlines() if line[:1] == "|"]
    assert all(len(line) in (2, 6) for line in lines), [line for line in lines if len(line) not in (2, 6)]
    return [Row(line) for line in lines if len(line) == 6 and line[2] not in ("requests", "---")]


ROWS = _rows()


@pytest.mark.parametrize("kind", ["cloud", "Studio"])
def test_the_page_has_the_emulators_routes_and_no_others(kind: str) -> None:
    routes = {f"{route.method} {route.path}" for route in (Cloud if kind == "cloud" else Studio)._routes}
    shown = {operation for row in ROWS for operation in row.operations if row.says[kind].startswith("yes")}
    assert shown == routes


@pytest.mark.parametrize("name", sorted(tried.OPERATIONS))
def test_every_endpoint_function_is_on_the_page(name: str) -> None:
    assert name in {row.function for row in ROWS}, f"{name} has no row in {PAGE.name}"


@pytest.mark.parametrize("row", ROWS, ids=repr)
def test_what_is_called_covered_is_performed_over_both_transports_and_has_a_route(row: Row) -> None:
    assert set(row.says.values()) <= {"yes", "refused", "–", "yes, personal ones"}
    if row.function:
        assert row.is_covered
        assert tried.has_case(row.function)
    elif row.auth:
        assert row.is_covered
        assert set(row.auth) <= set(tried.AUTH)
    else:
        assert not row.is_covered
    if row.is_covered:
        assert "yes" in (row.says["cloud"], row.says["Studio"])


@pytest.mark.parametrize("row", [row for row in ROWS if not row.is_covered], ids=repr)
def test_what_goes_through_the_hooks_request_is_tried_so_or_called_untested(row: Row) -> None:
    tested = bool(row.operations) and set(row.operations) <= set(tried.REQUESTED)
    through = row.provider.startswith("through `CozeHook.request`")
    assert (row.says["requests"] == "yes") == tested
    assert through or row.provider.startswith("no")
    assert through == (tested or row.provider.endswith("untested"))


@pytest.mark.parametrize(
    "row", [row for row in ROWS if row.operations and row.says["Studio"] in ("yes", "refused")], ids=repr
)
def test_what_studio_does_not_have_is_refused_by_the_dialect_and_nothing_else_is(row: Row) -> None:
    for operation in row.operations:
        method, path = re.sub(r"\{\w+\}", "7", operation).split(" ")
        query = {"include_input_output": "true"} if row.function == "workflow.workflow_info" else {}
        body = {"conversation_id": "7"} if path == "/v1/workflows/chat" else None
        call: Call[object] = Call(Request(method, path, query=query, json=body), dict, Replay.ALWAYS)
        flow = spoken(flows.call(call, RetryPolicy(attempts=1)), dialect_of("studio"))
        if row.says["Studio"] == "yes":
            next(flow)
        else:
            with pytest.raises(CozeInputError, match="Nothing was sent"):
                next(flow)
    if row.function in tried.OPERATIONS and row.says["Studio"] == "refused":
        assert row.function in tried.STUDIO_LACKS


def test_methods_and_parameters_that_the_page_names_exist() -> None:
    for name in (name for name in tried.OPERATIONS if not name.split(".")[1].startswith("stream_")):
        if name.split(".")[0] != "catalogue":  # those are the command line's
            assert hasattr(CozeHook, name.split(".")[1]), name
    text = PAGE.read_text("utf-8")
    for operator in (CozeChatOperator, CozeWorkflowOperator):
        named = re.findall(rf"{operator.__name__}\(([^)]*)\)", text)
        parameters = {part.split("=")[0].strip() for given in named for part in given.split(",")}
        assert parameters <= set(operator.__init__.__annotations__), parameters
