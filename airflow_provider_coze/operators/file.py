"""Upload a file on its own, for tasks that use it by its id; and ``coze_file``, which uploads it where it is used.

What only a run needs is imported where it is used; see the package.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any

from airflow_provider_coze.compat import BaseOperator
from airflow_provider_coze.errors import CozeInputError
from airflow_provider_coze.operators.base import DEFAULT_CONN_ID
from airflow_provider_coze.operators.fate import decided
from airflow_provider_coze.operators.file_sources import CozeFile, as_file, as_source, coze_file
from airflow_provider_coze.protocol.file_limits import is_url

if TYPE_CHECKING:
    from airflow_provider_coze.compat import Context
    from airflow_provider_coze.hooks.coze import CozeHook

__all__ = ["CozeFile", "CozeFileUploadOperator", "coze_file"]


class CozeFileUploadOperator(BaseOperator):
    """Upload a file to Coze and return its id, which ``coze_file(file_id=…)`` puts into a run or a chat. Not billed.

    Coze keeps it for three months, for the account that uploaded it. XComs beside the id: ``bytes`` and ``file_name``. A retry, or
    another run of the task, uploads it again.

    :param source: a path on the worker, the address of anything fsspec reads (``s3://connection@bucket/key``), an
        ``ObjectStoragePath``, or bytes. Not an http address: Coze fetches those itself, so pass them as they are.
    :param filename: what Coze is told that it is called; it tells types by the extension. None: as the source is called.
    :param coze_conn_id: the connection, of type ``coze``.

    :raises CozeInputError: the file is not there, or not one that Coze takes; nothing was sent.
    :raises CozeTransportError: the storage did not hand it out, or Coze did not answer.
    :raises CozeAPIError: Coze refused it.
    """

    template_fields: Sequence[str] = ("source", "filename", "coze_conn_id")
    ui_color = "#d9e4ff"

    def __init__(
        self,
        *,
        source: Any,
        filename: str | None = None,
        coze_conn_id: str = DEFAULT_CONN_ID,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.source = as_source(source)
        self.filename = filename
        self.coze_conn_id = coze_conn_id

    @cached_property
    def hook(self) -> CozeHook:
        """The hook of the operator's connection."""
        from airflow_provider_coze.hooks.coze import CozeHook

        return CozeHook(self.coze_conn_id)

    @decided
    def execute(self, context: Context) -> str:
        """Look at the file, upload it, and return its id."""
        from airflow_provider_coze.operators.file_inputs import FileInputs

        file = as_file(self.source, self.filename)
        if is_url(file.source):
            raise CozeInputError(
                f"Task {self.task_id!r} has nothing to upload: Coze fetches a web address itself, so pass it on as it is. Nothing "
                "was sent; a retry without a change fails the same way."
            )
        sent = FileInputs(self.hook, self.log).uploaded(file)
        if self.do_xcom_push:
            context["ti"].xcom_push(key="bytes", value=sent.bytes)
            context["ti"].xcom_push(key="file_name", value=sent.file_name)
        return sent.id
