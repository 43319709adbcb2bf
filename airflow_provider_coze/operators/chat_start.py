"""Get the chat of a task: the one that an earlier try sent, or a new one that a later try can find.

Between any two lines here the process may die. What is left then is the record, and the conversation, which is made and stored
before the chat is sent.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from airflow_provider_coze.errors import CozeConversationBusyError, CozeNotFoundError, CozeOutcomeUnknownError
from airflow_provider_coze.hooks.coze import CozeHook
from airflow_provider_coze.operators.chat_stream import streamed_chat
from airflow_provider_coze.operators.file_inputs import FileInputs
from airflow_provider_coze.operators.purchase import Purchase, remote_of
from airflow_provider_coze.protocol import busy, flows, recovery
from airflow_provider_coze.protocol.endpoints.chat import create_chat, stream_chat
from airflow_provider_coze.protocol.messages import Call, Flow
from airflow_provider_coze.protocol.models import Chat
from airflow_provider_coze.protocol.recovery import MARKER_FIELD, marked
from airflow_provider_coze.protocol.statuses import chat_phase
from airflow_provider_coze.protocol.streams import ChatFold
from airflow_provider_coze.state.reattach import Attach, Reconcile, Remote, Unknown
from airflow_provider_coze.state.record import Intent, Submitted, fingerprint_in

__all__ = ["ChatStart", "StartedChat", "unkept_chat"]


#: How far back a conversation is read where nobody can say when the DAG run began.
_LONG_AGO_SECONDS = 30 * 86_400.0


@dataclass(frozen=True, slots=True)
class StartedChat:
    """A chat, and when it was sent."""

    chat: Chat
    since: float  # Unix seconds


class ChatStart:
    """Start the chat of one try, or find the one before it.

    :param on_unknown: ``fail`` or ``resend``.
    :param on_busy: what to do about another chat in the user's own conversation: ``wait``, ``new``, ``cancel`` or ``fail``.
    :param until: Unix seconds: how long a chat whose id was lost is looked for. None: without end.
    :param streams: whether the answer is read as it grows.
    :param before: is called before a new chat is sent, and may refuse it.
    """

    def __init__(
        self,
        hook: CozeHook,
        purchase: Purchase,
        log: Any,
        *,
        on_unknown: str,
        on_busy: str = "fail",
        until: float | None,
        streams: bool = False,
        before: Callable[[], object] = lambda: None,
    ) -> None:
        self._before = before
        self._hook, self._purchase, self._log = hook, purchase, log
        self._on_unknown, self._on_busy, self._until, self._streams = on_unknown, on_busy, until, streams
        self._seen: Chat | None = None
        self._files: FileInputs | None = None

    def chat(self, arguments: Mapping[str, Any], shared: Callable[[], str | None] | None = None) -> StartedChat:
        """Return the chat.

        :param arguments: those of :func:`~airflow_provider_coze.protocol.endpoints.chat.create_chat`; with *shared*, the
            conversation_id is what was chosen, such as ``dag_run``: that stays the same, whatever conversation it means.
        :param shared: finds or makes the conversation that was chosen; asked only when a chat has to be sent.
        :raises CozeOutcomeUnknownError: nobody can tell whether one was sent, and *on_unknown* says to fail then.
        :raises CozeStateError: the record cannot be read or written; nothing was sent.
        """
        decision, record = self._purchase.decided(arguments, self._look)
        match decision, record:
            case Attach(), Submitted():
                assert self._seen is not None  # noqa: S101 - what _look saw made the decision
                return StartedChat(self._seen, record.at)
            case Reconcile(), Intent() as intent:
                return self._sent(_placed(arguments, shared), intent, in_doubt=True)
            case Unknown(reason), Submitted() if self._on_unknown == "fail":
                raise CozeOutcomeUnknownError(
                    f"Chat {record.ids.get('chat_id')!r} in conversation {record.ids.get('conversation_id')!r} was sent by an earlier try "
                    f"of this task, and {reason}. It is billed. Nothing more was sent; a retry looks again. To ask, and pay, anew, set "
                    'on_unknown="resend".',
                    chat_id=record.ids.get("chat_id"),
                    conversation_id=record.ids.get("conversation_id"),
                )
        arguments = _placed(arguments, shared)
        return self._sent(arguments, self._intend(arguments), in_doubt=False)

    def _look(self, record: Submitted) -> Remote:
        known = Chat(id=record.ids.get("chat_id", ""), conversation_id=record.ids.get("conversation_id", ""), status="")
        try:
            self._seen = self._hook.perform(flows.read_chat(known, self._hook.retry))
        except CozeNotFoundError:
            return Remote.GONE
        return remote_of(chat_phase(self._seen.status))

    def _intend(self, arguments: Mapping[str, Any]) -> Intent:
        """Upload the files, then store the intent and where the chat will be; only then is there something that can be lost."""
        self._before()
        self._files = FileInputs(self._hook, self._log)
        _with_files(arguments, self._files)
        if own := arguments["conversation_id"]:
            return self._purchase.intend(own)
        intent = self._purchase.intend()
        conversation = self._hook.perform(
            recovery.open_conversation(
                bot_id=arguments["bot_id"], meta_data={MARKER_FIELD: intent.marker}, retry=self._hook.retry
            )
        )
        return self._purchase.intend(conversation.id)

    def _sent(self, arguments: Mapping[str, Any], intent: Intent, *, in_doubt: bool) -> StartedChat:
        chat: Chat | None = None
        try:
            chat, intent = self._asked(arguments, intent, in_doubt=in_doubt)
        except CozeOutcomeUnknownError as error:
            if self._on_unknown == "fail":
                raise
            self._log.warning('%s It is sent again, because on_unknown is "resend"', error)
        if chat is None or (in_doubt and remote_of(chat_phase(chat.status)) is Remote.FAILED):
            # Of an earlier try, whose chat ended without an answer: what a retry is for.
            chat, intent = self._asked(arguments, self._intend(arguments), in_doubt=False)
        bought = self._bought(intent, chat)
        return StartedChat(chat, bought.at)

    def _bought(self, intent: Intent, chat: Chat) -> Submitted:
        known = self._purchase.last
        ids = {"conversation_id": chat.conversation_id, "chat_id": chat.id}
        if isinstance(known, Submitted) and known.marker == intent.marker and known.ids == ids:
            return known  # noted while its stream went on
        return self._purchase.bought(intent, **ids)

    def _asked(self, arguments: Mapping[str, Any], intent: Intent, *, in_doubt: bool) -> tuple[Chat, Intent]:
        """Send the chat, and return it and the intent that it fulfils: another one if it went to another conversation."""
        sent_at = intent.at  # or later, if it waited for its turn
        if self._streams and not in_doubt:
            try:
                if (chat := self._streamed(arguments, intent)) is not None:
                    return chat, intent
                in_doubt, sent_at = True, self._hook.clock()
            except CozeConversationBusyError:
                if self._on_busy == "fail":
                    raise
        try:
            found = self._hook.perform(self._flow(arguments, intent, sent_at, in_doubt=in_doubt))
        except CozeConversationBusyError:
            if arguments[
                "conversation_id"
            ]:  # in turn: there was no room, and nothing is in doubt, so no later try has to wonder
                self._purchase.nothing_bought()
            raise
        if found is not None:
            return found, intent
        self._log.info(
            "Conversation %s has a chat in progress; this one gets a conversation of its own", intent.sent_to
        )
        elsewhere = {**arguments, "conversation_id": None}
        intent = self._intend(elsewhere)
        chat = self._hook.perform(self._flow(elsewhere, intent, intent.at, in_doubt=False))
        assert chat is not None  # noqa: S101 - a conversation of its own is never busy
        return chat, intent

    def _streamed(self, arguments: Mapping[str, Any], intent: Intent) -> Chat | None:
        given = {**self._with_marker(arguments, intent.marker), "conversation_id": intent.sent_to or ""}
        given.pop("auto_save_history")
        return streamed_chat(
            self._hook,
            stream_chat(**given),
            ChatFold(conversation_id=intent.sent_to or ""),
            log=self._log,
            named=lambda chat: self._bought(intent, chat),
            until=self._until,
        )

    def _flow(
        self, arguments: Mapping[str, Any], intent: Intent, sent_at: float, *, in_doubt: bool
    ) -> Flow[Chat | None]:
        conversation_id = intent.sent_to or ""
        own = bool(arguments["conversation_id"])
        call = create_chat(**{**self._with_marker(arguments, intent.marker), "conversation_id": conversation_id})

        search = recovery.Search(
            conversation_id=conversation_id,
            marker=intent.marker,
            dedicated=not own,
            sent_at=sent_at,
            clock=self._hook.clock,
            until=self._until,
        )
        if own:
            return self._in_turn(call, search, in_doubt=in_doubt)
        return recovery.send_chat(call, search, self._hook.retry, in_doubt=in_doubt)

    def _in_turn(self, call: Call[Chat], search: recovery.Search, *, in_doubt: bool) -> Flow[Chat | None]:
        """Send the chat when the conversation has room for it. None: it has to go elsewhere."""
        turn: busy.Turn | None = busy.Turn(
            conversation_id=search.conversation_id,
            on_busy=self._on_busy,
            retry=self._hook.retry,
            clock=self._hook.clock,
            since=self._hook.clock(),
            until=self._until,
            marker=search.marker,
        )
        while turn is not None:
            start = recovery.send_chat(call, search, self._hook.retry, in_doubt=in_doubt)
            got = yield from busy.attempt(start, turn, in_doubt=in_doubt)
            if isinstance(got, Chat):
                return got
            in_doubt, turn = got.in_doubt, (yield from busy.make_room(got))
            if turn is not None and self._purchase.has_past and not in_doubt:
                # What was in the way may have been an earlier try's own chat, which Coze did not show before.
                found = yield from self._shown_since(search)
                if found is not None:
                    return found
        return None

    def _shown_since(self, search: recovery.Search) -> Flow[Chat | None]:
        """Look once more for the chat of an earlier try in a conversation that was busy."""
        key, since = self._purchase.key, self._purchase.began
        question = yield from recovery.find_question(
            conversation_id=search.conversation_id,
            key=key,
            since=search.sent_at - _LONG_AGO_SECONDS if since is None else since,
            retry=self._hook.retry,
        )
        marker = "" if question is None else question.meta_data.get(MARKER_FIELD, "")
        if fingerprint_in(marker) != fingerprint_in(search.marker):
            return None
        return (yield from recovery.find_chat(replace(search, marker=marker), self._hook.retry))

    def _with_marker(self, arguments: Mapping[str, Any], marker: str) -> dict[str, Any]:
        """Put the marker where Coze shows it again: with the chat, and with its question."""
        arguments = _with_files(arguments, self._files or FileInputs(self._hook, self._log))
        options = dict(arguments["options"])
        options["meta_data"] = {**(options.get("meta_data") or {}), MARKER_FIELD: marker}
        return {
            **arguments,
            "additional_messages": marked(arguments["additional_messages"], marker),
            "options": options,
        }


def _placed(arguments: Mapping[str, Any], shared: Callable[[], str | None] | None) -> Mapping[str, Any]:
    return arguments if shared is None else {**arguments, "conversation_id": shared()}


def _with_files(arguments: Mapping[str, Any], files: FileInputs) -> dict[str, Any]:
    """Return the arguments with their files uploaded, once."""
    options = dict(arguments["options"])
    if options.get("parameters") is not None:
        options["parameters"] = files.in_parameters(options["parameters"])
    messages = files.in_messages(arguments["additional_messages"])
    return {**arguments, "additional_messages": messages, "options": options}


def unkept_chat(
    hook: CozeHook,
    arguments: Mapping[str, Any],
    log: Any,
    *,
    on_busy: str,
    until: float | None,
    streams: bool,
) -> StartedChat:
    """Send a chat of which no record is kept, so that no later try can find it.

    :param arguments: those of :func:`~airflow_provider_coze.protocol.endpoints.chat.create_chat`.
    :raises CozeError: it was refused, or its reply was lost.
    """
    given = _with_files(arguments, FileInputs(hook, log))
    conversation_id = str(given["conversation_id"] or "")
    if streams:
        streamed = {name: value for name, value in given.items() if name != "auto_save_history"}
        fold = ChatFold(conversation_id=conversation_id)
        chat = streamed_chat(hook, stream_chat(**streamed), fold, log=log, named=lambda _: None, until=until)
        if chat is None:
            raise CozeOutcomeUnknownError(
                "A chat was sent, and its stream broke off before it named the chat, so what became of it cannot be told; it may be going "
                "on, and billed. durable is False, so a retry of the task asks, and pays, anew."
            )
        return StartedChat(chat, hook.clock())
    if not conversation_id or on_busy == "fail":
        return StartedChat(hook.perform(flows.call(create_chat(**given), hook.retry)), hook.clock())
    turn = busy.Turn(
        conversation_id=conversation_id,
        on_busy=on_busy,
        retry=hook.retry,
        clock=hook.clock,
        since=hook.clock(),
        until=until,
    )
    found = hook.perform(busy.start_when_free(lambda _: flows.call(create_chat(**given), hook.retry), turn))
    if found is None:  # on_busy="new"
        found = hook.perform(flows.call(create_chat(**{**given, "conversation_id": None}), hook.retry))
    return StartedChat(found, hook.clock())
