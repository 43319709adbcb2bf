"""A test with the fixture of the emulator, as its page shows it; ``tests/emulator/test_page.py`` runs it with a task of its own."""

from __future__ import annotations

# [START pays_once]
from airflow_provider_coze.emulator import scenarios
from airflow_provider_coze.emulator.definitions import Polls


def test_my_dag_pays_once(coze_emulator, run_my_task):
    bot = coze_emulator.add_bot(answer="42 rows", duration=Polls(2))
    coze_emulator.script(scenarios.reset(after_commit=True), on="POST /v3/chat")
    assert run_my_task(bot.id) == "42 rows"
    assert len(coze_emulator.ledger) == 1  # nothing was paid for twice


# [END pays_once]
