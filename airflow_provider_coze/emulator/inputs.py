"""What bots and workflows are given: a text or a mapping, as their callables want to see it, with the rest as attributes.

No HTTP, no clock; and nothing that says how they answer, which is in ``definitions``.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from airflow_provider_coze.emulator.store import StoredFile

__all__ = ["Inputs", "Turn"]


class Turn(str):
    """What a bot is asked: the text of the last message, and everything else that came with it as attributes."""

    __slots__ = ("files", "history", "meta_data", "parameters", "tool_outputs", "user_id", "variables")

    files: list[str]  # that came with the last message: names of uploaded ones, addresses of the others
    history: list[str]  # earlier messages of the conversation, oldest first
    meta_data: Mapping[str, str]  # of the chat
    parameters: Mapping[str, Any]
    tool_outputs: Mapping[str, str]  # function name → output, once they have been submitted
    user_id: str
    variables: Mapping[str, str]

    def __new__(
        cls,
        text: str,
        *,
        files: Sequence[str] = (),
        history: Sequence[str] = (),
        meta_data: Mapping[str, str] | None = None,
        parameters: Mapping[str, Any] | None = None,
        tool_outputs: Mapping[str, str] | None = None,
        user_id: str = "",
        variables: Mapping[str, str] | None = None,
    ) -> Turn:
        """Make the string; the rest is optional so that a bot's callable can be tested with ``Turn("…")``."""
        turn = super().__new__(cls, text)
        turn.files = list(files)
        turn.history = list(history)
        turn.meta_data = meta_data or {}
        turn.parameters = parameters or {}
        turn.tool_outputs = tool_outputs or {}
        turn.user_id = user_id
        turn.variables = variables or {}
        return turn

    def __reduce__(self) -> tuple[Any, ...]:
        return (str, (str(self),))


class Inputs(dict[str, Any]):
    """What a workflow is run with: the parameters, and everything else as attributes."""

    answers: list[str]  # to its questions so far, in order
    message: str  # the last message, for a chatflow
    user_id: str
    bot_id: str

    def __init__(
        self,
        parameters: Mapping[str, Any] | None = None,
        *,
        answer: str | None = None,
        answers: Sequence[str] = (),
        message: str = "",
        user_id: str = "",
        bot_id: str = "",
        uploads: Callable[[str], StoredFile | None] | None = None,
    ) -> None:
        super().__init__(parameters or {})
        self.answers = list(answers) if answer is None else [*answers, answer]
        self.message = message
        self.user_id = user_id
        self.bot_id = bot_id
        self._uploads = uploads

    def answered(self, answer: str) -> Inputs:
        """Return a copy with one answer more."""
        return Inputs(
            self,
            answers=[*self.answers, answer],
            message=self.message,
            user_id=self.user_id,
            bot_id=self.bot_id,
            uploads=self._uploads,
        )

    def file(self, name: str) -> StoredFile:
        """Return the uploaded file that a parameter refers to; its ``content`` is what was uploaded.

        :raises ValueError: The parameter is an address, which the emulator does not fetch, or refers to no file of the account.
        """
        told = json.loads(self[name])
        file = self._uploads(str(told["file_id"])) if self._uploads is not None else None
        if file is None:
            raise ValueError(f"{name} refers to no uploaded file")
        return file

    @property
    def answer(self) -> str | None:
        """The latest answer; None: nothing was asked, or not answered yet."""
        return self.answers[-1] if self.answers else None
