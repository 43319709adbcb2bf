"""The rows of the table: what a user would call a feature, and which tests stand for it."""

from __future__ import annotations

import re
from dataclasses import dataclass


@dataclass(frozen=True)
class Feature:
    """A row. A test belongs to it if *tests* is found in its id, such as ``tests.operators.test_chat::test_it[plain]``."""

    name: str
    tests: str
    but: str = r"^$"  #: of those, not these
    #: The first Airflow that has it: before, there is no such thing, whatever tests of parts of it say.
    since: str | None = None

    def has(self, test: str) -> bool:
        """Tell whether a test stands for it."""
        return re.search(self.tests, test) is not None and re.search(self.but, test) is None


_PEOPLE = r"function|problem|what_was_asked|many_fields|what_a_model|page_about"
_DEADLINES = r"deadline|a_triggerer_runs_it|an_executor_runs_it"

FEATURES = (
    Feature("Operators that wait on a worker", r"tests\.operators\..*\[(.*-)?plain"),
    Feature(
        "Operators that wait in the triggerer", r"tests\.operators\..*\[(.*-)?deferred|tests\.operators\.test_deferral"
    ),
    Feature("Triggers", r"tests\.triggers\.", but=r"_kill"),
    Feature("Sensors: poke, reschedule, deferred", r"tests\.sensors\.", but=r"triggered|test_starting"),
    Feature("… that begin in the triggerer", r"tests\.sensors\..*(triggered|test_starting)", since="3.3"),
    Feature("Decorators `@task.coze_…`", r"tests\.decorators\."),
    Feature("Batches", r"tests\.batch\.|tests\.operators\.test_batch|tests\.test_batch_soak"),
    Feature("Typed output, outputs in files", r"tests\.operators\.test_(outputs|typed)", but=r"memory://"),
    Feature(
        "Paid once: a retry goes on",
        r"tests\.operators\.test_(paid_once|later_tries)|tests\.state\.test_(reattach|record)",
    ),
    Feature("… by Airflow's own task state store", r"tests\.state\.test_stores.*task_state_store", since="3.3"),
    Feature("… by records in `[coze] state_path`", r"tests\.state\.test_stores.*\[(file|path)"),
    Feature("Paths of file systems that no provider registers", r"memory://", since="3.2"),
    Feature("No retry where none can help", r"tests\.operators\.test_(fate|error_codes)", but=r"retry_policy"),
    Feature("`CozeRetryPolicy`", r"tests\.test_retry_policy", since="3.3"),
    Feature("A person ends a running task: cancelled", r"tests\.operators\.test_(kill|batch_kill)"),
    Feature("A person ends a deferred task: cancelled", r"tests\.triggers\..*_kill", since="3.3"),
    Feature("Questions that a function answers", r"tests\.operators\.test_(questions|asked_runs).*function"),
    Feature("Questions that people answer", r"tests\.operators\.test_(questions|asked_runs)", but=_PEOPLE, since="3.1"),
    Feature("… without a triggerer", r"test_people_get_a_form_and_no_worker", since="3.3"),
    Feature("`CozeNotifier`", r"tests\.notifications\.", but=_DEADLINES),
    Feature("… for deadlines", rf"tests\.notifications\..*({_DEADLINES})", but=r"an_executor", since="3.1"),
    Feature("… for deadlines, in executors", r"an_executor_runs_it", since="3.3"),
    Feature("Links to bots, workflows and runs", r"tests\.test_links|tests\.operators\.test_linking"),
    Feature("Assets `coze://…`", r"tests\.test_assets", but=r"airflow_asks_us"),
    Feature("Lineage, metrics and spans", r"tests\.test_(lineage|observing)"),
    Feature(
        "Connection: fields, limits, both kinds of tokens",
        r"tests\.hooks\.|tests\.test_settings",
        but=r"test_connection_form",
    ),
    Feature("Connection form by widgets", r"tests\.hooks\.test_connection_form"),
    Feature("Connection form of Airflow 3's UI", r"test_the_web_form_gets_every_field", since="3.1"),
    Feature("Connection form by metadata", r"test_the_connection_type_meets_the_strict", since="3.2"),
    Feature("`python -m airflow_provider_coze.cli`", r"tests\.cli\.", but=r"airflow_coze_runs"),
    Feature("`airflow coze`", r"test_airflow_coze_runs", since="3.2"),
    Feature("`airflow providers` shows all there is", r"tests\.test_provider_info.*airflow_providers_shows"),
    Feature("Secrets in no log, error or event", r"tests\.test_secrets"),
    Feature(
        "What knows no Airflow: protocol, transports, emulator", r"tests\.(protocol|transports|emulator|properties)\."
    ),
    Feature("All examples are DAGs without errors", r"tests\.versions\.test_smoke.*example|list_import_errors"),
    Feature("The quickstart on a real Airflow", r"tests\.airflow\.test_quickstart"),
)
