"""The whole emulator as a function: a request in, an answer out. No sockets, no threads of its own, no waiting.

``handle`` returns an answer with instructions (not before, in pieces, break off), for a server to follow. ``respond`` is the
in-memory form: it follows them by moving the emulator's clock.
"""

from __future__ import annotations

import json
import secrets
import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any, Literal

from airflow_provider_coze.emulator.auth import bearer
from airflow_provider_coze.emulator.control import control
from airflow_provider_coze.emulator.default_world import default_world
from airflow_provider_coze.emulator.definitions import AccessToken, Bot, Workflow
from airflow_provider_coze.emulator.dialects import Cloud, Dialect
from airflow_provider_coze.emulator.faults import Fault, Script, applied, refusal_of
from airflow_provider_coze.emulator.limits import Buckets
from airflow_provider_coze.emulator.memory import received
from airflow_provider_coze.emulator.routes import checked_body, checked_query
from airflow_provider_coze.emulator.store import LedgerEntry, Store
from airflow_provider_coze.emulator.wire import Call, ConnectionDropped, Refusal, Reply, Route
from airflow_provider_coze.emulator.world import World
from airflow_provider_coze.protocol.messages import Request, Response

__all__ = ["ConnectionDropped", "Emulator"]

CONTROL_PREFIX = "/_emulator/"


class Emulator:
    """A Coze.

    :param world: None: the default world.
    :param token: None: a random one per instance.
    :param clock: Seconds since 1970; ``advance`` adds to what it says.
    """

    def __init__(
        self,
        world: World | None = None,
        *,
        dialect: Literal["cloud", "studio"] = "cloud",
        token: str | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.world = default_world() if world is None else world
        self.dialect_name = dialect
        self.token = token or f"pat_emulator_{secrets.token_hex(16)}"
        self.served = False  # a server sets it; rate limits are on by default only then
        self.connections_accepted = 0  # TCP, counted by the server
        self.connections_open = 0
        self._clock = clock
        self._offset = 0.0
        self._dialect = _dialect(dialect)
        self._lock = threading.RLock()
        self._told: list[Callable[[], None]] = []
        self._fresh()

    # --- what a test does with it

    def respond(self, request: Request) -> Response:
        """Answer in memory. Delays are skipped by moving the clock forward.

        Unlike over a socket, the control plane is there while connections are refused.

        :raises ConnectionDropped: There is no answer: a scripted fault, the 90 s cut, or the request's own ``read_seconds``.
        """
        if not request.path.startswith(CONTROL_PREFIX) and (refusal := self._refusal()) is not None:
            refusal.count_refusal()
            raise ConnectionDropped("the connection was refused", after_commit=False, refused=True)
        return received(self, request, self.handle(request))

    def script(
        self,
        fault: Fault,
        *,
        on: str | None = None,
        times: int | None = 1,
        skip: int = 0,
        share: float = 1.0,
        seed: int = 0,
    ) -> Script:
        """Order something to go wrong.

        :param on: ``"POST /v3/chat"`` or ``"/v1/workflow/*"``; None: at every request but those to the control plane.
        :param times: How many requests it hits. None: all of them.
        :param skip: How many matching requests pass before.
        :param share: Between 0 and 1: hit matching requests by chance, which *seed* makes repeatable.
        :raises ValueError: The fault cannot be ordered so.
        """
        if fault.kind == "refuse":
            if on is not None or skip or share != 1.0:
                raise ValueError("a refused connection has no request, so there is no on, skip or share")
            if fault.connections is not None and self.served:
                raise ValueError("a server cannot count the connections that are refused; give seconds instead")
        script = Script(fault, on=on, times=times, skip=skip, share=share, seed=seed, begun_at=self.now())
        with self._lock:
            self.scripts.append(script)
        self._tell()
        return script

    def clear_faults(self) -> None:
        """Forget the faults that were ordered; a token that has expired stays so."""
        with self._lock:
            self.scripts.clear()
        self._tell()

    def advance(self, seconds: float) -> float:
        """Move the clock forward; answers that are due by then are sent. Returns the new time."""
        with self._lock:
            self._offset += seconds
            now = self.now()
        self._tell()
        return now

    def now(self) -> float:
        """Read the emulator's clock: Unix seconds."""
        return self._clock() + self._offset

    def reset(self) -> None:
        """Forget what happened: chats, runs, conversations, files, ledger, scripts, statistics, issued tokens, clock moves.

        The world stays, with what was added to it.
        """
        with self._lock:
            self._offset = 0.0
            self._fresh()
        self._tell()

    def add_bot(self, bot: Bot | None = None, **fields: Any) -> Bot:
        """Add a bot to the world, or replace one."""
        with self._lock:
            return self.world.add_bot(bot, **fields)

    def add_workflow(self, workflow: Workflow | None = None, **fields: Any) -> Workflow:
        """Add a workflow to the world, or replace one."""
        with self._lock:
            return self.world.add_workflow(workflow, **fields)

    @property
    def ledger(self) -> list[LedgerEntry]:
        """Every execution that was started, in order: what Coze would bill."""
        with self._lock:
            return list(self.store.ledger)

    def connection(self, base_url: str) -> str:
        """Return the value for ``AIRFLOW_CONN_COZE_DEFAULT``."""
        value: dict[str, Any] = {"conn_type": "coze", "host": base_url, "password": self.token}
        if self.dialect_name != "cloud":
            value["extra"] = {"dialect": self.dialect_name}
        return json.dumps(value)

    # --- what a server does with it

    def handle(self, request: Request) -> Reply:
        """Carry a request out and return its answer, with the times at which it may be sent."""
        with self._lock:
            if request.path.startswith(CONTROL_PREFIX):
                return control(self, request)
            return self._handled(request)

    @property
    def refusing(self) -> bool:
        """Whether connections are to be refused now."""
        return self._refusal() is not None

    def tell_of_changes(self, told: Callable[[], None]) -> None:
        """Have *told* called when the clock is moved or faults are ordered, in the thread that does it."""
        self._told.append(told)

    def stop_telling(self, told: Callable[[], None]) -> None:
        """Undo :meth:`tell_of_changes`."""
        self._told.remove(told)

    # --- inside

    def _fresh(self) -> None:
        self.store = Store(self.now)
        self.scripts: list[Script] = []
        self.requests: Counter[str] = Counter()
        self._buckets = Buckets()
        self._logids = 0

    def _tell(self) -> None:
        for told in list(self._told):
            told()

    def _refusal(self) -> Script | None:
        now = self.now()
        return next((script for script in list(self.scripts) if script.refuses(now)), None)

    def _handled(self, request: Request) -> Reply:
        method, path = request.method.upper(), request.path
        logid = self._new_logid()
        found = self._dialect.table(self.world).find(method, path)
        self.requests[f"{method} {found[0].path if found else path}"] += 1
        fault = next((script.fault for script in self.scripts if script.meets(method, path)), None)
        if fault is not None and fault.kind == "expire":
            self.store.expired.add(bearer(_lower(request.headers)))
        elif fault is not None and not fault.after_commit:
            reply = self._ordered_answer(fault, found[0] if found else None, logid)
            reply.carried_out = False
            return self._dialect.stamped(applied(fault, reply, self.now()), logid)
        if found is None:
            reply = self._dialect.unknown_path(method, path, logid)
        else:
            route, ids = found
            try:
                reply = route.handler(self._call(request, route, ids, logid))
            except Refusal as refusal:
                reply = self._dialect.refused(refusal, route, logid)
                if refusal.code == 4013 and self.world.retry_after is not None:
                    reply.headers["retry-after"] = f"{self.world.retry_after:g}"
        if fault is not None and fault.kind == "answer":
            ordered = self._ordered_answer(fault, found[0] if found else None, logid)
            ordered.ready_at = reply.ready_at
            reply = ordered
        elif fault is not None:
            reply = applied(fault, reply, self.now())
        return self._dialect.stamped(reply, logid)

    def _call(self, request: Request, route: Route, ids: Mapping[str, str], logid: str) -> Call:
        headers = _lower(request.headers)
        own = AccessToken(self.token, user_id=self.world.user_id)
        token = self._dialect.admit(headers, route, own, self.world, self.store) if route.signed else own
        self._count_against_limits(route)
        known_only = self.world.refuse_unknown_fields
        return Call(
            method=route.method,
            path=request.path,
            ids=ids,
            query=checked_query(route, request.query, known_only=known_only),
            body=checked_body(route, request, known_only=known_only),
            headers=headers,
            files=request.files,
            world=self.world,
            store=self.store,
            logid=logid,
            token=token,
        )

    def _count_against_limits(self, route: Route) -> None:
        if not route.signed:
            return
        self.store.calls += 1
        if self.world.call_allowance is not None and self.store.calls > self.world.call_allowance:
            # Documented: "every API is refused"; undocumented: the code. This one is Coze's for a used-up free quota.
            raise Refusal(4028, "Your free quota has been used up.")
        limited = self.served if self.world.rate_limits is None else self.world.rate_limits
        if limited and route.rate and not self._buckets.take(route.rate, self.world.limits, self.now()):
            raise Refusal(
                4013,
                "The request frequency exceeds the limit. Please try again later.",
                status=self.world.rate_limit_status,
            )

    def _ordered_answer(self, fault: Fault, route: Route | None, logid: str) -> Reply:
        if fault.body is not None:
            return Reply(fault.status, dict(fault.headers), fault.body.encode())
        reply = self._dialect.refused(refusal_of(fault), route, logid)
        reply.status = fault.status
        reply.headers.update(fault.headers)
        return reply

    def _new_logid(self) -> str:
        # As Coze writes them: a time of 14 digits, then hexadecimals.
        self._logids += 1
        return time.strftime("%Y%m%d%H%M%S", time.gmtime(self.now())) + f"{self._logids:018X}"


def _lower(headers: Mapping[str, str]) -> dict[str, str]:
    return {name.lower(): value for name, value in headers.items()}


def _dialect(name: str) -> Dialect:
    if name == "cloud":
        return Cloud()
    if name == "studio":
        from airflow_provider_coze.emulator.studio.dialect import Studio

        return Studio()
    raise ValueError(f"dialect {name!r} is neither 'cloud' nor 'studio'")
