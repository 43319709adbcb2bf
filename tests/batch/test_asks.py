"""The shapes of a batch show no row, no question and no answer, wherever they are printed."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from rich.pretty import pretty_repr

from airflow_provider_coze.batch.asks import Answered, Ask, Item, Live
from airflow_provider_coze.batch.results import RowResult

SECRET = "what the customer wrote"
ITEM, ANSWERED = Item(7, {"text": SECRET}, SECRET, "h7"), Answered({7: SECRET}, None, {"chat_id": "c9"})
SHAPES = [
    (ITEM, "h7"),
    (ANSWERED, "c9"),
    (Live(Ask((ITEM,)), "marker", 1.0, answered=ANSWERED), "marker"),
    (RowResult(7, "h7", SECRET, ids={"chat_id": "c9"}, value={"text": SECRET}), "c9"),
]


@pytest.mark.parametrize("show", [repr, pretty_repr], ids=["repr", "rich"])
@pytest.mark.parametrize(("shape", "helps"), SHAPES, ids=[type(shape).__name__ for shape, _ in SHAPES])
def test_what_people_wrote_is_shown_nowhere(shape: object, helps: str, show: Callable[[object], str]) -> None:
    shown = show(shape)
    assert SECRET not in shown
    assert helps in shown, "what helps to find it is"
