"""The fixtures of ``tests.tasks``, for the tests of decorators."""

from tests import tasks

coze_site, coze, run = tasks.coze_site, tasks.coze, tasks.run
