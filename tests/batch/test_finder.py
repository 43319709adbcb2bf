"""Lost chats of a batch, looked for one lot after the other."""

from __future__ import annotations

import asyncio

from airflow_provider_coze.batch.asks import Ask
from airflow_provider_coze.batch.past import Past
from airflow_provider_coze.batch.plan import Doubt
from tests.batch.stage import Stage, rows


def test_a_chat_that_is_lost_while_others_are_looked_for_is_found_by_the_next_search(stage: Stage) -> None:
    stage.emulator.world.made_conversations_listed = True
    doubts = asyncio.run(lost(stage, "first", "second"))
    finder = stage.finder(Past())
    for doubt in doubts:
        found = asyncio.run(finder.find_listed([doubt]))
        assert found[doubt.marker] is not None


async def lost(stage: Stage, *words: str) -> list[Doubt]:
    """Send chats without conversations of their own, and forget what came back."""
    doubts = []
    for item in rows(*words):
        doubts.append(Doubt(Ask((item,)), f"marker {item.index}", stage.time()))
        await stage.perform(stage.kind("chat").start(doubts[-1].ask, doubts[-1].marker, None))
    return doubts
