"""``CozeHook``: an Airflow connection turned into something that performs flows, on a worker or on an event loop.

Paths, bodies and answers are in ``protocol``, bytes in ``transports``. Here the two meet the connection's settings, its
tokens and its budget.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import logging
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, Concatenate, ParamSpec, TypeAlias, TypeVar
from urllib.parse import unquote, urlsplit

from airflow_provider_coze.compat import BaseHook, get_async_connection, mask_secret
from airflow_provider_coze.hooks.connecting import read_together, reading
from airflow_provider_coze.hooks.connection_form import field_behaviour, form_widgets
from airflow_provider_coze.hooks.connection_test import tested
from airflow_provider_coze.hooks.gate import Held, Lines, lines_of
from airflow_provider_coze.hooks.hurry import hurried, in_a_hurry, no_time
from airflow_provider_coze.hooks.loading import load
from airflow_provider_coze.hooks.plan import granted
from airflow_provider_coze.hooks.streaming import AsyncEvents, Events, opened, until_then
from airflow_provider_coze.observing.metrics import are_counted, observed
from airflow_provider_coze.protocol import flows
from airflow_provider_coze.protocol.auth import Credential, TokenCaches, signed
from airflow_provider_coze.protocol.dialects import Dialect, dialect_of, spoken
from airflow_provider_coze.protocol.endpoints import account, chat, conversation, file, workflow
from airflow_provider_coze.protocol.messages import (
    AsyncGate,
    Call,
    Flow,
    JsonValue,
    Replay,
    Request,
    StreamCall,
)
from airflow_provider_coze.protocol.retry import RetryPolicy
from airflow_provider_coze.settings import OAuthJWT, Settings, parse

if TYPE_CHECKING:
    from airflow_provider_coze.compat import Connection

__all__ = ["CozeHook"]

log = logging.getLogger(__name__)

T = TypeVar("T")
P = ParamSpec("P")
G = TypeVar("G")
Clock: TypeAlias = Callable[[], float]
Asleep: TypeAlias = Callable[[float], Awaitable[object]]

#: Shared by all hooks of this process: one token for all callers. The budget is shared by them as well, see ``gate``.
_TOKENS = TokenCaches(on_mint=mask_secret)


def _verb(endpoint: Callable[P, Call[T]]) -> Callable[Concatenate[CozeHook, P], T]:
    """Make a method of one operation: same arguments, same docstring, performed with the hook's connection and retries."""

    @functools.wraps(endpoint)
    def verb(self: CozeHook, /, *args: P.args, **kwargs: P.kwargs) -> T:
        return self.perform(flows.call(endpoint(*args, **kwargs), self.retry))

    return verb


class CozeHook(BaseHook):
    """Talk to Coze with the credentials of an Airflow connection of type ``coze``.

    Every operation that this package knows is a method. :meth:`request` reaches the others. Flows of
    ``airflow_provider_coze.protocol.flows`` are performed by :meth:`perform`, or on an event loop by :meth:`aperform`.

    :param coze_conn_id: the connection.
    :param retry: how failing requests are repeated. Billed ones never are, unless nothing can have been started.
    """

    conn_name_attr = "coze_conn_id"
    default_conn_name = "coze_default"
    conn_type = "coze"
    hook_name = "Coze"

    def __init__(self, coze_conn_id: str = default_conn_name, *, retry: RetryPolicy | None = None) -> None:
        super().__init__()
        self.coze_conn_id = coze_conn_id
        self.retry = retry or RetryPolicy()
        self._settings: Settings | None = None
        self._dress: tuple[Settings, Dialect, Credential] | None = None
        self._known_on_loop: tuple[asyncio.AbstractEventLoop, Clock, Asleep, Settings, AsyncGate] | None = None
        #: Time, for tests to replace.
        self.clock: Clock = time.time
        self.sleep: Callable[[float], object] = time.sleep
        self.asleep: Asleep = asyncio.sleep

    @classmethod
    def get_connection_form_widgets(cls) -> dict[str, Any]:
        """Return the form's fields for Airflow 2.11 to 3.1; later ones read them from the provider info."""
        return form_widgets()

    @classmethod
    def get_ui_field_behaviour(cls) -> dict[str, Any]:
        """Return the labels of the form's fields for Airflow 2.11 to 3.1."""
        return field_behaviour()

    @property
    def settings(self) -> Settings:
        """The connection, checked; read once.

        :raises CozeConnectionConfigError: one error that names every wrong field.
        """
        if self._settings is None:
            with reading(self.coze_conn_id):
                connection = self.get_connection(self.coze_conn_id)
            self._settings = _settings_of(connection, self.coze_conn_id)
        return self._settings

    async def asettings(self) -> Settings:
        """Return the connection, checked, without blocking the event loop; read once."""
        if self._settings is None:
            self._settings = await read_together(self.coze_conn_id, self._aread)
        return self._settings

    async def _aread(self) -> Settings:
        with reading(self.coze_conn_id):
            connection = await get_async_connection(self.coze_conn_id, self)
        return _settings_of(connection, self.coze_conn_id)

    def get_conn(self) -> Settings:
        """Return the connection's settings; Coze's API has no connection that could be kept open."""
        return self.settings

    def perform(self, flow: Flow[T], *, hurry: bool = False) -> T:
        """Perform a flow here and now, blocking.

        :param hurry: the process is about to be killed: give up after some 3 s.
        :raises CozeError: whatever the flow ends in.
        """
        # requests is imported where it is used: the triggerer, which imports this module, never needs it.
        from airflow_provider_coze.transports.sync import SyncTransport, drive

        settings = self.settings
        if hurry:
            flow = hurried(self._watched(flow, settings, None)[0])
            with SyncTransport(in_a_hurry(settings)) as transport:
                return drive(flow, transport, no_time)
        flow, gate = self._watched(flow, settings, self._lines(settings).gate(self.clock, self.sleep))
        with SyncTransport(settings) as transport:
            return drive(flow, transport, self.sleep, gate)

    async def aperform(self, flow: Flow[T]) -> T:
        """Perform a flow on the running event loop.

        :raises CozeError: whatever the flow ends in.
        """
        settings, lines_gate = await self._on_loop()
        from airflow_provider_coze.transports.aio import AioTransport, adrive

        flow, gate = self._watched(flow, settings, lines_gate)
        async with AioTransport(settings) as transport:
            return await adrive(flow, transport, self.asleep, gate)

    @contextlib.contextmanager
    def stream(self, call: StreamCall, *, until: float | None = None) -> Iterator[Events]:
        """Open a stream and hand out its events as they come; the end of the block closes it. Blocks while it waits for one.

        What Coze refuses is raised on entering, and repeated before that where nothing can have been started. An event may let
        itself be waited for as long as any answer (``read_seconds``); the whole stream may take any time.

        :param until: Unix seconds: when to give up. None: never.
        :raises CozeStreamTimeoutError: *until* passed.
        :raises CozeTransportError: on entering: no answer came; inside: the stream broke off.
        """
        from airflow_provider_coze.transports.sync import SyncTransport, drive

        settings = self.settings
        call, retry = until_then(call, self.retry, until, self.clock)
        flow, gate = self._watched(opened(call, retry), settings, self._lines(settings).gate(self.clock, self.sleep))
        with SyncTransport(settings) as transport:
            response = drive(flow, transport, self.sleep, gate)
            with contextlib.closing(Events(response)) as events:
                yield events

    @contextlib.asynccontextmanager
    async def astream(self, call: StreamCall, *, until: float | None = None) -> AsyncIterator[AsyncEvents]:
        """Open a stream as :meth:`stream` does, on the running event loop."""
        settings, lines_gate = await self._on_loop()
        from airflow_provider_coze.transports.aio import AioTransport, adrive

        call, retry = until_then(call, self.retry, until, self.clock)
        flow, gate = self._watched(opened(call, retry), settings, lines_gate)
        async with AioTransport(settings) as transport:
            response = await adrive(flow, transport, self.asleep, gate)
            with contextlib.closing(AsyncEvents(response)) as events:
                yield events

    @contextlib.asynccontextmanager
    async def pooled(self) -> AsyncIterator[None]:
        """Keep the connection pool of this event loop open across several :meth:`aperform`."""
        settings = await self._ready()
        from airflow_provider_coze.transports.aio import AioTransport

        async with AioTransport(settings):
            yield

    async def _on_loop(self) -> tuple[Settings, AsyncGate]:
        """Return what every flow on the running event loop needs; found once, because batches perform thousands."""
        loop, known = asyncio.get_running_loop(), self._known_on_loop
        if known is None or known[0] is not loop or known[1:3] != (self.clock, self.asleep):
            settings = await self._ready()
            lines = await self._alines(settings)
            gate = lines.agate(self.clock, self.asleep)
            known = self._known_on_loop = loop, self.clock, self.asleep, settings, gate
        return known[3:]

    async def _ready(self) -> Settings:
        """Return the settings when what an event loop needs to use them has been imported."""
        settings = await self.asettings()
        signs = ["jwt"] if isinstance(settings.auth, OAuthJWT) else []  # imported to sign, see protocol.auth
        await load("airflow_provider_coze.transports.aio", *signs)
        return settings

    def _lines(self, settings: Settings) -> Lines:
        """Return where requests wait for their turn, when it is known how many a second there may be."""
        lines = lines_of(settings, self.clock)
        for budget in lines.unread():
            self._allow(lines, budget, self.perform(granted(budget)))
        return lines

    async def _alines(self, settings: Settings) -> Lines:
        lines = lines_of(settings, self.clock)
        for budget in lines.unread():
            self._allow(lines, budget, await self.aperform(granted(budget)))
        return lines

    def _allow(self, lines: Lines, budget: str, rate: float | str) -> None:
        if isinstance(rate, str):
            log.warning("What the plan grants is not known, and %s_qps holds nothing back: %s", budget, rate)
        lines.allow(budget, None if isinstance(rate, str) else rate)

    def _watched(self, flow: Flow[T], settings: Settings, gate: G) -> tuple[Flow[T], G]:
        """Dress a flow, and have Airflow's metrics told what happens to it and how long it waits at the gate."""
        if not are_counted():
            return self._dressed(flow, settings), gate
        held = Held(gate, self.clock)
        return observed(flow, lambda bare: self._dressed(bare, settings), lambda: held.seconds), held  # type: ignore[return-value]

    def _dressed(self, flow: Flow[T], settings: Settings) -> Flow[T]:
        """Wrap a flow in what the connection adds: its dialect, its token. The outermost comes last."""
        dialect, credential = self._dress_of(settings)
        return signed(spoken(flow, dialect), credential, clock=self.clock)

    def _dress_of(self, settings: Settings) -> tuple[Dialect, Credential]:
        """Return what all flows of a connection are dressed in; made once, because batches perform thousands."""
        if self._dress is None or self._dress[0] is not settings:
            dialect = dialect_of(settings.dialect, settings.workflow_run_path)
            self._dress = settings, dialect, _TOKENS.for_(settings.auth, settings.base_url)
        return self._dress[1:]

    def request(
        self,
        method: str,
        path: str,
        *,
        query: Mapping[str, str] | None = None,
        json: JsonValue = None,
        headers: Mapping[str, str] | None = None,
        may_repeat: bool | None = None,
    ) -> Mapping[str, Any]:
        """Call any operation of the API, with this connection's token, errors and retries.

        :param path: below the base URL, such as ``/v1/bots``; ids in it percent-encoded.
        :param json: the body.
        :param headers: such as ``{"Agw-Js-Conv": "str"}``, which the knowledge operations want; the token is added anyway.
        :param may_repeat: whether it may be sent again when its answer is lost. None: a GET may, everything else may not.
        :returns: the whole answer, ``code`` (0) and ``data`` included.
        :raises CozeError: no answer, or one that says no.
        """
        verb = method.upper()
        repeat = verb == "GET" if may_repeat is None else may_repeat
        what: Call[Mapping[str, Any]] = Call(
            Request(
                verb,
                path if path.startswith("/") else f"/{path}",
                query=dict(query or {}),
                json=json,
                headers=dict(headers or {}),
            ),
            parse=dict,
            replay=Replay.ALWAYS if repeat else Replay.IF_NEVER_SENT,
        )
        return self.perform(flows.call(what, self.retry))

    create_chat = _verb(chat.create_chat)
    retrieve_chat = _verb(chat.retrieve_chat)
    cancel_chat = _verb(chat.cancel_chat)
    chat_messages = _verb(chat.chat_messages)
    submit_tool_outputs = _verb(chat.submit_tool_outputs)
    create_conversation = _verb(conversation.create_conversation)
    retrieve_conversation = _verb(conversation.retrieve_conversation)
    list_conversations = _verb(conversation.list_conversations)
    conversation_messages = _verb(conversation.conversation_messages)
    rename_conversation = _verb(conversation.rename_conversation)
    modify_message = _verb(conversation.modify_message)
    run_workflow = _verb(workflow.run_workflow)
    resume_workflow = _verb(workflow.resume_workflow)
    run_history = _verb(workflow.run_history)
    node_output = _verb(workflow.node_output)
    workflow_info = _verb(workflow.workflow_info)
    upload_file = _verb(file.upload_file)
    retrieve_file = _verb(file.retrieve_file)
    list_workspaces = _verb(account.list_workspaces)
    current_user = _verb(account.current_user)
    benefits = _verb(account.benefits)

    def test_connection(self) -> tuple[bool, str]:
        """Say whether the host answers and accepts the token, for Airflow's Test button. Free, and two calls at most.

        A token that lacks only the permission to list workspaces passes: chats and workflows do not need it.
        """
        return tested(self)


def _settings_of(connection: Connection, conn_id: str) -> Settings:
    """Parse a connection. Its extra is read as text: Airflow's own decoding talks to the supervisor, which an event loop must not."""
    settings = parse(
        host=connection.host,
        password=connection.password,
        extra=connection.extra,
        schema=connection.schema,
        port=connection.port,
        login=connection.login,
        conn_id=conn_id,
    )
    if isinstance(settings.auth, OAuthJWT):
        mask_secret(settings.auth.private_key)
    proxy_password = urlsplit(settings.proxy).password if settings.proxy else None
    if proxy_password:
        mask_secret(proxy_password)
        mask_secret(unquote(proxy_password))
    return settings
