"""The fixtures of ``tests.tasks``, for the tests of operators."""

from tests import tasks

coze_site, coze, studio, run, airflow = tasks.coze_site, tasks.coze, tasks.studio, tasks.run, tasks.airflow
