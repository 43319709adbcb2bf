"""What exists at run time: conversations, messages, files, chats, runs, and the ledger of what would have been billed. No HTTP."""

from __future__ import annotations

import builtins
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

from airflow_provider_coze.emulator.definitions import AccessToken

if TYPE_CHECKING:
    from airflow_provider_coze.emulator.chats import Chat
    from airflow_provider_coze.emulator.runs import Run

__all__ = ["Conversation", "LedgerEntry", "Message", "Store", "StoredFile"]

#: Coze's ids are snowflakes: Unix seconds in the upper half. Below this floor they would have fewer than 19 digits.
_ID_FLOOR = 1_000_000_000_000_000_000


@dataclass(slots=True)
class Message:
    """One message of a conversation."""

    id: str
    conversation_id: str
    section_id: str
    role: str
    type: str
    content: str
    content_type: str
    created_at: int
    updated_at: int
    bot_id: str = ""
    chat_id: str = ""
    meta_data: dict[str, str] = field(default_factory=dict)
    in_context: bool = True  # False: of a cancelled turn, which Coze does not keep as context
    listed: bool = True  # in the conversation's message list; function calls and follow-ups never are
    born_at: float = 0.0  # on the emulator's clock; created_at is what Coze tells of it
    reasoning: str = ""  # reasoning_content


@dataclass(slots=True)
class Conversation:
    """A conversation; ``bot_id`` is empty unless it was created for a bot, and only then can it be listed."""

    id: str
    owner: str
    bot_id: str
    name: str
    created_at: int
    updated_at: int
    meta_data: dict[str, str]
    connector_id: str
    section_id: str
    messages: list[Message] = field(default_factory=list)
    app_id: str = ""
    born_at: float = 0.0  # on the emulator's clock; created_at is what Coze tells of it


@dataclass(frozen=True, slots=True)
class StoredFile:
    """An uploaded file. Its content is for workflows: Coze has no way to get it back."""

    id: str
    owner: str
    file_name: str
    bytes: int
    created_at: int
    content: builtins.bytes = field(default=b"", repr=False)


@dataclass(slots=True)
class LedgerEntry:
    """One execution that was started, and that Coze would therefore bill."""

    kind: str  # "chat" or "workflow"
    id: str  # chat id or execute_id
    conversation_id: str | None
    bot_id: str | None
    workflow_id: str | None
    marker: dict[str, Any]  # chat: meta_data, message_meta_data. workflow: parameters
    tokens: int
    started_at: float  # on the emulator's clock
    continued: int = 0  # further billed requests for the same execution: tool outputs, resumes

    def as_json(self) -> dict[str, Any]:
        """Return the entry as JSON types."""
        return asdict(self)


class Store:
    """All of it, and the only maker of ids. ``reset`` of the emulator replaces the store."""

    def __init__(self, now: Callable[[], float]) -> None:
        self.now = now
        self.conversations: dict[str, Conversation] = {}
        self.chats: dict[str, Chat] = {}
        self._chats_in: dict[str, list[Chat]] = {}
        self.runs: dict[str, Run] = {}
        self.files: dict[str, StoredFile] = {}
        self.ledger: list[LedgerEntry] = []
        self.issued: dict[str, AccessToken] = {}  # tokens of the OAuth endpoint
        self.expired: set[str] = set()  # tokens that were good before
        self.used_jti: set[tuple[str, str]] = set()
        self.calls = 0
        self._last_id = _ID_FLOOR

    def new_id(self) -> str:
        """Return a 19-digit id, greater than every one before it."""
        # The step is a prime, so ids differ in their last digits too: a float cannot hold them, and a test would notice.
        self._last_id = max(self._last_id + 1_048_583, (int(self.now()) << 32) + 65_537)
        return str(self._last_id)

    def uploaded(self, file_id: str, owner: str) -> StoredFile | None:
        """Return a file of an account; None: it has no such file."""
        file = self.files.get(file_id)
        return file if file is not None and file.owner == owner else None

    def add_chat(self, chat: Chat) -> None:
        """Keep *chat*."""
        self.chats[chat.id] = chat
        self._chats_in.setdefault(chat.conversation.id, []).append(chat)

    def chats_in(self, conversation: Conversation) -> list[Chat]:
        """Return the chats of *conversation*, up to date, oldest first."""
        chats = self._chats_in.get(conversation.id, [])
        for chat in chats:
            chat.settle()
        return chats

    def new_conversation(
        self,
        *,
        owner: str,
        bot_id: str = "",
        name: str = "",
        meta_data: Mapping[str, str] | None = None,
        connector_id: str = "1024",
        app_id: str = "",
    ) -> Conversation:
        """Create a conversation with an empty first section."""
        born_at = self.now()
        now = int(born_at)
        conversation = Conversation(
            id=self.new_id(),
            owner=owner,
            bot_id=bot_id,
            name=name,
            created_at=now,
            updated_at=now,
            meta_data=dict(meta_data or {}),
            connector_id=connector_id,
            section_id=self.new_id(),
            app_id=app_id,
            born_at=born_at,
        )
        self.conversations[conversation.id] = conversation
        return conversation

    def new_message(
        self,
        conversation: Conversation,
        *,
        role: str,
        type: str,
        content: str,
        content_type: str = "text",
        at: float | None = None,
        bot_id: str = "",
        chat_id: str = "",
        meta_data: Mapping[str, str] | None = None,
        listed: bool = True,
    ) -> Message:
        """Make a message for *conversation* without adding it."""
        born_at = self.now() if at is None else at
        now = int(born_at)
        return Message(
            id=self.new_id(),
            conversation_id=conversation.id,
            section_id=conversation.section_id,
            role=role,
            type=type,
            content=content,
            content_type=content_type,
            created_at=now,
            updated_at=now,
            bot_id=bot_id,
            chat_id=chat_id,
            meta_data=dict(meta_data or {}),
            listed=listed,
            born_at=born_at,
        )
