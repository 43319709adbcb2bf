"""Put the addresses of Coze's pages where the links of a task read them, as soon as each is known. No link ever fails a task."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from airflow_provider_coze.errors import CozeError
from airflow_provider_coze.links import CozeBotLink, CozeLink, CozeRunLink, CozeWorkflowLink
from airflow_provider_coze.protocol.pages import Pages

if TYPE_CHECKING:
    from airflow_provider_coze.compat import Context

__all__ = ["link_run", "link_subject", "linked"]


@contextlib.contextmanager
def linked(task: Any, context: Context, *, begins: bool) -> Iterator[None]:
    """Link a try to its bot or workflow from its beginning on, and to the run that its error is about.

    :param begins: False: it goes on after a deferral, and has been linked.
    """
    if begins:
        link_subject(task, context)
    try:
        yield
    except CozeError as error:
        link_run(task, context, error.debug_url)
        raise


def link_subject(task: Any, context: Context) -> None:
    """Link a try to what its arguments name, as far as the connection says where that is."""
    with contextlib.suppress(
        Exception
    ):  # what is wrong with the connection or Airflow's API, the task finds and says itself
        if _has(task, CozeBotLink):
            _push(context, CozeBotLink, _pages(task).bot(_text(task.bot_id)))
        # A workflow of an app has a page of another kind, of which nothing is documented.
        if _has(task, CozeWorkflowLink) and not getattr(task, "app_id", None):
            _push(context, CozeWorkflowLink, _pages(task).workflow(_text(task.workflow_id)))


def link_run(task: Any, context: Context, debug_url: str | None) -> None:
    """Link a try to its run, and to the workflow where the run says it is."""
    if not debug_url:
        return
    with contextlib.suppress(Exception):
        if _has(task, CozeRunLink):
            _push(context, CozeRunLink, _pages(task).run(debug_url))
        if _has(task, CozeWorkflowLink) and not getattr(task, "app_id", None):
            _push(context, CozeWorkflowLink, _pages(task).workflow(_text(task.workflow_id), debug_url))


def _has(task: Any, kind: type[CozeLink]) -> bool:
    return bool(task.do_xcom_push) and any(isinstance(link, kind) for link in task.operator_extra_links)


def _pages(task: Any) -> Pages:
    settings = task.hook.settings
    return Pages(settings.base_url, settings.dialect, settings.workspace_id)


def _push(context: Context, kind: type[CozeLink], page: str | None) -> None:
    if page is not None:
        context["ti"].xcom_push(key=kind.key, value=page)


def _text(value: object) -> object:
    """Return an id as text again that native rendering has made a number of."""
    return str(value) if isinstance(value, int) else value
