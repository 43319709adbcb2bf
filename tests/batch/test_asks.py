"""The shapes of a batch show no row, no question and no answer, wherever they are printed."""

from __future__ import annotations

import pytest
from rich.pretty import pretty_repr

from airflow_provider_coze.batch.asks import Answered, Item
from airflow_provider_coze.batch.results import RowResult

SECRET = "what the customer wrote"
SHAPES = [
    Item(7, {"text": SECRET}, SECRET, "h7"),
    Answered({7: SECRET}, None, {"chat_id": "9"}),
    RowResult(7, "h7", SECRET, ids={"chat_id": "9"}, value={"text": SECRET}),
]


@pytest.mark.parametrize("show", [repr, pretty_repr], ids=["repr", "rich"])
@pytest.mark.parametrize("shape", SHAPES, ids=lambda shape: type(shape).__name__)
def test_what_people_wrote_is_shown_nowhere(shape: object, show: object) -> None:
    shown = show(shape)  # type: ignore[operator]
    assert SECRET not in shown
    assert "7" in shown or "chat_id" in shown, "what helps to find it is"
