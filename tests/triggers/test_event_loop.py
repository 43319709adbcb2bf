"""Airflow imports, makes and runs triggers on one event loop: what is imported there holds up all of them.

Each test has a process of its own, because in this one everything is imported already.
"""

from __future__ import annotations

import json
import subprocess
import sys
import textwrap
import time
from typing import Any

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from airflow_provider_coze.emulator.default_world import SLEEPER, SLEEPER_BOT
from airflow_provider_coze.emulator.definitions import OAuthApp
from airflow_provider_coze.hooks.coze import CozeHook
from airflow_provider_coze.triggers.base import DEFAULT_CONN_ID
from airflow_provider_coze.triggers.chat import CozeChatTrigger
from airflow_provider_coze.triggers.workflow import CozeWorkflowTrigger
from tests.tasks import Coze

#: `make test` runs them, and `make unit`, which has a minute, does without.
pytestmark = pytest.mark.matrix

HEAVY = ("requests", "aiohttp", "jwt", "cryptography", "tenacity")


def printed(source: str) -> Any:
    """Run a program and return the JSON that it prints last."""
    done = subprocess.run([sys.executable, "-c", textwrap.dedent(source)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


def test_the_modules_of_the_triggers_import_no_library_and_nothing_of_the_protocol() -> None:
    new = printed(f"""
        import json, sys
        import airflow.triggers.base
        # Airflow has some of them by now; from here on nobody can import them.
        sys.modules.update(dict.fromkeys({HEAVY!r}))
        before = set(sys.modules)
        import airflow_provider_coze.triggers.chat, airflow_provider_coze.triggers.workflow
        print(json.dumps(sorted(set(sys.modules) - before)))
    """)
    assert {
        name.removeprefix("airflow_provider_coze.") for name in new if name.startswith("airflow_provider_coze.")
    } == {
        *("compat", "compat.people", "errors", "hooks", "hooks.loading"),
        *("triggers", "triggers.base", "triggers.chat", "triggers.workflow"),
    }


def test_the_default_connection_is_that_of_the_hook() -> None:
    assert CozeHook.default_conn_name == DEFAULT_CONN_ID


@pytest.fixture
def signed(request: pytest.FixtureRequest, coze: Coze, monkeypatch: pytest.MonkeyPatch) -> str:
    """Connect in the way that the test is given; return it."""
    if request.param == "a private key":
        key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        public = key.public_key().public_bytes(
            serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
        )
        private = key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        coze.world.oauth_apps.append(OAuthApp(client_id="1180", public_keys={"fingerprint": public.decode()}))
        app = {"auth_type": "oauth_jwt", "client_id": "1180", "public_key_id": "fingerprint"}
        connection = coze.connection(password=None, **app, private_key=private.decode())
        monkeypatch.setenv("AIRFLOW_CONN_COZE_DEFAULT", connection)
    return str(request.param)


@pytest.mark.parametrize(
    ("signed", "kind"), [("a token", CozeChatTrigger), ("a private key", CozeWorkflowTrigger)], indirect=["signed"]
)
def test_what_a_trigger_needs_is_imported_beside_the_loop(coze: Coze, signed: str, kind: type) -> None:
    coze.time.now = time.time()  # that of the other process
    trigger: CozeChatTrigger | CozeWorkflowTrigger
    if kind is CozeChatTrigger:
        question = {"role": "user", "content": "sleep 0: done", "content_type": "text"}
        chat = coze.hook().create_chat(bot_id=SLEEPER_BOT, user_id="u", additional_messages=[question])
        trigger = CozeChatTrigger(conversation_id=chat.conversation_id, chat_id=chat.id, started_at=time.time())
    else:
        run = coze.hook().run_workflow(workflow_id=SLEEPER, parameters={"seconds": 0}, is_async=True)
        trigger = CozeWorkflowTrigger(workflow_id=SLEEPER, execute_id=run.execute_id, started_at=time.time())

    seen = printed(f"""
        import asyncio, json, sys, threading
        from {kind.__module__} import {kind.__name__}

        # Airflow 2 brings some of it before there is a loop.
        seen = {{"on the loop": [], "beside it": [name for name in ("aiohttp", "jwt") if name in sys.modules]}}

        class Witness:
            def find_spec(self, name, path=None, target=None):
                on_loop = threading.current_thread() is threading.main_thread()
                seen["on the loop" if on_loop else "beside it"].append(name)

        async def run():
            sys.meta_path.insert(0, Witness())
            trigger = {kind.__name__}(**{trigger.serialize()[1]!r})
            return [event.payload async for event in trigger.run()]

        [event] = asyncio.run(run())
        assert event["status"] in ("completed", "Success"), event
        print(json.dumps(seen))
    """)
    ours = ("airflow_provider_coze", *HEAVY)
    assert [name for name in seen["on the loop"] if name.partition(".")[0] in ours] == []
    expected = {"airflow_provider_coze.hooks.coze", "aiohttp"} | ({"jwt"} if signed == "a private key" else set())
    assert expected <= set(seen["beside it"])
