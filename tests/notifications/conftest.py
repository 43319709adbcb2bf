"""The fixtures of ``tests.tasks``, for the tests of notifiers."""

from tests import tasks

coze_site, coze = tasks.coze_site, tasks.coze
