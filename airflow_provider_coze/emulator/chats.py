"""The life of a chat: created, in_progress, requires_action, completed, failed, canceled. No HTTP.

What the bot will say is worked out when the chat starts, and becomes visible when the chat is over: that is what makes the
bytes of a stream, the message list and the bill agree.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from airflow_provider_coze.emulator.definitions import Bot, Failure, Inputs, Interrupt, Tokens, ToolCall, Turn
from airflow_provider_coze.emulator.progress import Progress
from airflow_provider_coze.emulator.store import Conversation, LedgerEntry, Message, Store

__all__ = ["Asked", "Asking", "Chat", "PendingCall", "estimated", "start_chat", "words"]


@dataclass(frozen=True, slots=True)
class PendingCall:
    """A tool call with the id its output has to come back under."""

    id: str
    call: ToolCall


@dataclass(slots=True)
class Asked:
    """What came with the request that started the chat."""

    text: str
    files: list[str] = field(default_factory=list)
    user_id: str = ""
    meta_data: dict[str, str] = field(default_factory=dict)
    variables: dict[str, str] = field(default_factory=dict)
    parameters: dict[str, Any] = field(default_factory=dict)


@dataclass(slots=True)
class Asking:
    """A question of a chatflow. It has no id: whatever comes next in the conversation is the answer."""

    workflow_id: str
    execute_id: str
    interrupt: Interrupt
    inputs: Inputs  # with the answers so far
    refused_answers: int = 0


@dataclass(slots=True)
class Chat:
    """One turn of a bot, or of a chatflow."""

    id: str
    store: Store
    conversation: Conversation
    owner: str
    bot: Bot
    asked: Asked
    turn: Turn
    created_at: float
    progress: Progress
    saved: bool  # False: auto_save_history was false, so nothing of it can be read afterwards
    entry: LedgerEntry
    section_id: str
    status: str = "in_progress"
    ended_at: float | None = None
    error: Failure | None = None
    planned_answer: str = ""
    planned_error: Failure | None = None
    planned_calls: list[PendingCall] = field(default_factory=list)
    asking: Asking | None = None  # chatflows only
    tokens: Tokens = field(default_factory=Tokens)
    messages: list[Message] = field(default_factory=list)  # its own, without the question
    questions: list[Message] = field(default_factory=list)
    tool_messages: list[Message] = field(default_factory=list)
    cancel_asked: bool = False  # Coze Studio only, where cancelling stops nothing

    def settle(self) -> None:
        """Bring the status up to date with the clock and the reads so far."""
        now = self.store.now()
        if self.status not in ("created", "in_progress") or not self.progress.over(now):
            return
        at = self.progress.ended_at(now)
        if self.planned_calls:
            self.status = "requires_action"
            return
        self.ended_at = at
        for question in self.questions:
            question.listed = True
        if self.planned_error is not None:
            self.status, self.error = "failed", self.planned_error
            return
        self.status = "requires_action" if self.asking else "completed"
        self.messages = self.closing_messages(at)
        if self.saved:
            self.conversation.messages.extend(self.messages)
            self.conversation.updated_at = int(at)

    def closing_messages(self, at: float) -> list[Message]:
        """Make the messages of a completed chat, in the order in which Coze lists them: the verbose one first."""
        if self.messages:
            return self.messages
        made = [self._message("answer", self.planned_answer, at, listed=True)]
        made[0].reasoning = self.bot.reasoning
        if self.bot.finish_message:
            content = {
                "msg_type": "generate_answer_finish",
                "data": f'{{"finish_reason":{1 if self.asking else 0},"FinData":""}}',
                "from_module": None,
                "from_unit": None,
            }
            made.insert(0, self._message("verbose", json.dumps(content, separators=(",", ":")), at))
        if self.asking:
            content = {"msg_type": "interrupt", "data": "", "from_module": None, "from_unit": None}
            made.insert(0, self._message("verbose", json.dumps(content, separators=(",", ":")), at))
        made.extend(self.tool_messages)
        made.extend(self._message("follow_up", question, at) for question in self.bot.follow_ups)
        return made

    def cancel(self) -> bool:
        """Flip the status, and only that: the full reply stays billed. False: it was over, or paused, already."""
        self.settle()
        if self.status not in ("created", "in_progress"):
            return False
        self.status, self.ended_at = "canceled", self.store.now()
        for question in self.questions:
            question.listed, question.in_context = True, False
        return True

    def submit(self, outputs: Mapping[str, str], *, polled: bool) -> None:
        """Go on with the outputs of the pending tool calls, by call id."""
        by_name = {pending.call.name: outputs[pending.id] for pending in self.planned_calls}
        now = self.store.now()
        for pending in self.planned_calls:
            called = json.dumps({"name": pending.call.name, "arguments": dict(pending.call.arguments)})
            self.tool_messages.append(self._message("function_call", called, now))
            self.tool_messages.append(self._message("tool_response", outputs[pending.id], now))
        self.planned_calls = []
        self.turn.tool_outputs = {**self.turn.tool_outputs, **by_name}
        self.status = "in_progress"
        self.progress = Progress(self.bot.duration_of(self.turn), now, polled=polled)
        self.plan()
        self.entry.continued += 1
        self.entry.tokens += self.tokens.total

    def plan(self) -> None:
        """Work out how the chat will go on: with calls of tools, or to its end."""
        try:
            self.planned_calls = [
                PendingCall(f"CALL-{self.store.new_id()}", call) for call in self.bot.calls_for(self.turn)
            ]
            self.planned_answer = "" if self.planned_calls else self.bot.answer_to(self.turn)
        except Failure as failure:
            self.planned_error = failure.again()
        if self.bot.tokens is not None:
            self.tokens = self.bot.tokens
        elif self.planned_error is None:
            self.tokens = estimated([*self.turn.history, self.turn], self.bot.reasoning + self.planned_answer)

    def _message(self, type: str, content: str, at: float, *, listed: bool = False) -> Message:
        return self.store.new_message(
            self.conversation,
            role="assistant",
            type=type,
            content=content,
            at=at,
            bot_id=self.bot.id,
            chat_id=self.id,
            listed=listed,
        )


def start_chat(
    store: Store,
    *,
    bot: Bot,
    conversation: Conversation,
    owner: str,
    asked: Asked,
    questions: Sequence[Message],
    saved: bool,
    polled: bool,
    question_listed_at_once: bool,
    marker: dict[str, Any],
    chatflow_id: str | None = None,
    execute_id: str | None = None,
    asking: Asking | None = None,
    continued: LedgerEntry | None = None,
) -> Chat:
    """Start a chat, which from now on is billed.

    :param chatflow_id: Set for a run of a chatflow, which the ledger lists as a workflow, under its *execute_id*.
    :param asking: The chatflow will ask instead of answering.
    :param continued: The entry of the run that goes on with this chat.
    """
    now = store.now()
    history = [
        message.content
        for message in conversation.messages
        if message.type in ("question", "answer")
        and message.in_context
        and message.section_id == conversation.section_id
    ]
    turn = Turn(
        asked.text,
        files=asked.files,
        history=history,
        meta_data=asked.meta_data,
        parameters=asked.parameters,
        user_id=asked.user_id,
        variables=asked.variables,
    )
    chat_id = store.new_id()
    entry = continued or LedgerEntry(
        kind="workflow" if chatflow_id else "chat",
        id=execute_id or chat_id,
        conversation_id=conversation.id,
        bot_id=bot.id or None,
        workflow_id=chatflow_id,
        marker=marker,
        tokens=0,
        started_at=now,
    )
    chat = Chat(
        id=chat_id,
        store=store,
        conversation=conversation,
        owner=owner,
        bot=bot,
        asked=asked,
        turn=turn,
        created_at=now,
        progress=Progress(bot.duration_of(turn), now, polled=polled),
        saved=saved,
        entry=entry,
        section_id=conversation.section_id,
        questions=list(questions),
        asking=asking,
    )
    chat.plan()
    entry.tokens += chat.tokens.total
    if continued is None:
        store.ledger.append(entry)
    else:
        entry.continued += 1
    store.add_chat(chat)
    if saved:
        for question in chat.questions:
            question.listed = question_listed_at_once
            conversation.messages.append(question)
    return chat


def estimated(asked: Sequence[str], answer: str) -> Tokens:
    """Guess a number of tokens; Coze's own numbers depend on the model and are "for reference only" there too."""
    return Tokens(input=sum(len(text) for text in asked) // 4 + 1, output=len(answer) // 4 + 1 if answer else 0)


def words(text: str) -> list[str]:
    """Cut *text* as a stream would: pieces that make the text again when put together."""
    pieces: list[str] = []
    for piece in text.splitlines(keepends=True):
        start = 0
        while start < len(piece):
            end = piece.find(" ", start)
            end = len(piece) if end < 0 else end + 1
            pieces.append(piece[start:end])
            start = end
    return pieces or [text]
