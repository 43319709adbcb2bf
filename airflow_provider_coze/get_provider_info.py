"""What Airflow's provider discovery reads. Imports nothing: an error here would take every ``airflow`` command down.

The fields of the connection form are described here and nowhere else. Airflow 3.2 and later read ``conn-fields``; for
older ones ``hooks.connection_form`` makes widgets from it. What the fields may hold is checked by ``settings``.
"""

from __future__ import annotations

from typing import Any

__all__ = ["get_provider_info"]


def get_provider_info() -> dict[str, Any]:
    """Return the provider's description, in the shape of Airflow's ``provider_info.schema.json``."""
    return {
        "package-name": "airflow-provider-coze",
        "name": "Coze",
        "description": "Run `Coze <https://www.coze.cn/>`__ (扣子) bots and workflows.",
        "integrations": [
            {
                "integration-name": "Coze",
                "external-doc-url": "https://www.coze.cn/docs/developer_guides",
                "tags": ["ai"],
            }
        ],
        "hooks": [{"integration-name": "Coze", "python-modules": ["airflow_provider_coze.hooks.coze"]}],
        "operators": [
            {
                "integration-name": "Coze",
                "python-modules": [
                    "airflow_provider_coze.operators.chat",
                    "airflow_provider_coze.operators.chat_batch",
                    "airflow_provider_coze.operators.chatflow",
                    "airflow_provider_coze.operators.file",
                    "airflow_provider_coze.operators.workflow",
                    "airflow_provider_coze.operators.workflow_batch",
                ],
            }
        ],
        "sensors": [{"integration-name": "Coze", "python-modules": ["airflow_provider_coze.sensors.coze"]}],
        "triggers": [
            {
                "integration-name": "Coze",
                "python-modules": [
                    "airflow_provider_coze.triggers.batch",
                    "airflow_provider_coze.triggers.chat",
                    "airflow_provider_coze.triggers.question",
                    "airflow_provider_coze.triggers.workflow",
                ],
            }
        ],
        "connection-types": [
            {
                "connection-type": "coze",
                "hook-class-name": "airflow_provider_coze.hooks.coze.CozeHook",
                "hook-name": "Coze",
                "ui-field-behaviour": {
                    # A URI may fill schema and port; in a form the base URL says both.
                    "hidden-fields": ["schema", "port", "login"],
                    "relabeling": {"host": "Base URL", "password": "Access token"},
                    "placeholders": {
                        "host": "https://api.coze.cn",
                        "password": "personal or service access token; empty with oauth_jwt",
                    },
                },
                "conn-fields": _connection_fields(),
            }
        ],
        # Airflow 2 shows no link whose class is not named here.
        "extra-links": [
            "airflow_provider_coze.links.CozeBotLink",
            "airflow_provider_coze.links.CozeRunLink",
            "airflow_provider_coze.links.CozeWorkflowLink",
        ],
        "asset-uris": [_asset_uris()],
        "dataset-uris": [_asset_uris()],  # Airflow 2's name of it
        "task-decorators": [
            {"name": name, "class-name": f"airflow_provider_coze.decorators.{home}.{name}_task"}
            for name, home in (("coze_batch", "batch"), ("coze_chat", "chat"), ("coze_workflow", "workflow"))
        ],
        "notifications": ["airflow_provider_coze.notifications.coze.CozeNotifier"],
        # Airflow 3.2 and later; before, `python -m airflow_provider_coze.cli` does the same.
        "cli": ["airflow_provider_coze.cli.definition.get_coze_cli_commands"],
        "config": {
            "coze": {
                "description": "Options of airflow-provider-coze that hold for every connection.",
                "options": {
                    "min_deferral_seconds": {
                        "description": (
                            "A deferred wait for Coze ends no earlier than this many seconds after it was deferred. "
                            "With LocalExecutor, Airflow's scheduler can take the end of a shorter deferral for a task "
                            "that died, and fail the try (https://github.com/apache/airflow/issues/66374). "
                            "Set it to 0 where the executor is not affected, for example with CeleryExecutor."
                        ),
                        "version_added": "0.1.0",
                        "type": "float",
                        "example": "0",
                        "default": "8.0",
                    },
                    "state_path": {
                        "description": (
                            "Where tasks note what they have bought from Coze, so that a retry goes on with it instead of "
                            "paying again: a URL that fsspec reaches, or a folder that all workers share. Empty: Airflow's "
                            "own task state store (3.3 and later); before that, chats are found again in Coze itself, and "
                            "runs are not."
                        ),
                        "version_added": "0.1.0",
                        "type": "string",
                        "example": "s3://aws_default@my-bucket/airflow/coze-state",
                        "default": "",
                    },
                    "capture_content": {
                        "description": (
                            "Write questions, answers, and the arguments and results of tools into OpenTelemetry spans. They "
                            "may hold personal data, and whoever reads the traces reads them."
                        ),
                        "version_added": "0.1.0",
                        "type": "boolean",
                        "example": "True",
                        "default": "False",
                    },
                },
            }
        },
    }


def _asset_uris() -> dict[str, Any]:
    return {
        "schemes": ["coze"],
        "handler": "airflow_provider_coze.assets.coze.sanitize_uri",
        "factory": "airflow_provider_coze.assets.coze.create_asset",
        "to_openlineage_converter": "airflow_provider_coze.assets.coze.convert_asset_to_openlineage",
    }


def _connection_fields() -> dict[str, Any]:
    """Return the extras of a connection: label, help text and JSON schema of each, in the order of the form.

    Every type allows null, which is what a form sends for a field that was emptied.
    """
    return {
        "auth_type": {
            "label": "Authentication",
            "description": "token: the access token above. oauth_jwt: tokens are minted with the private key below.",
            "schema": {"type": ["string", "null"], "enum": ["token", "oauth_jwt"], "default": "token"},
        },
        "client_id": {
            "label": "OAuth app id",
            "description": "Only with oauth_jwt: the id of the OAuth app (service type).",
            "schema": {"type": ["string", "null"]},
        },
        "public_key_id": {
            "label": "Public key fingerprint",
            "description": "Only with oauth_jwt: the fingerprint Coze shows next to the app's public key.",
            "schema": {"type": ["string", "null"]},
        },
        "private_key": {
            "label": "Private key",
            "description": "Only with oauth_jwt: the whole PEM file. Line breaks may be missing or written as \\n.",
            "schema": {"type": ["string", "null"], "format": "password"},
        },
        "token_ttl": {
            "label": "Token lifetime (s)",
            "description": "Only with oauth_jwt: how long a minted token lives, 60 to 86399. Empty: 3600.",
            # No default: Airflow 3.3 takes the name for a secret's and would show *** in the field.
            "schema": {"type": ["integer", "null"], "minimum": 60, "maximum": 86399},
        },
        "session_name": {
            "label": "Session name",
            "description": "Only with oauth_jwt: keeps the conversations of this end user apart from those of others.",
            "schema": {"type": ["string", "null"], "maxLength": 256},
        },
        "dialect": {
            "label": "Server",
            "description": "cloud: coze.cn and coze.com. studio: the open-source Coze Studio, hosted by yourself.",
            "schema": {"type": ["string", "null"], "enum": ["cloud", "studio"], "default": "cloud"},
        },
        "workspace_id": {
            "label": "Workspace id",
            "description": "The digits after /space/ in the console's address. The Test button checks that the token covers it.",
            "schema": {"type": ["string", "null"], "pattern": "^[0-9]{1,20}$"},
        },
        "connect_seconds": {
            "label": "Connect timeout (s)",
            "description": "How long to wait for a connection to Coze, 0.1 to 300.",
            "schema": {"type": ["number", "null"], "minimum": 0.1, "maximum": 300, "default": 5},
        },
        "read_seconds": {
            "label": "Read timeout (s)",
            "description": "How long to wait for the next bytes, 0.1 to 3600. Coze ends a synchronous run after 90 s.",
            "schema": {"type": ["number", "null"], "minimum": 0.1, "maximum": 3600, "default": 100},
        },
        "proxy": {
            "label": "Proxy",
            # A password field, because the URL may hold one.
            "description": "http://[user:password@]host:port, for this connection only.",
            "schema": {"type": ["string", "null"], "format": "password"},
        },
        "verify": {
            "label": "Verify TLS",
            "description": "true, false (any certificate is accepted), or the absolute path of a CA bundle.",
            "schema": {"type": ["string", "null"], "default": "true"},
        },
        "chat_qps": {
            "label": "Chat requests per second",
            "description": "Most per second and process, status reads included. plan: what Coze grants. Empty: no limit.",
            "schema": {"type": ["string", "null"], "pattern": "^([0-9]+([.][0-9]+)?|plan)$"},
        },
        "workflow_qps": {
            "label": "Workflow requests per second",
            "description": "Most per second and process, status reads included. plan: what Coze grants. Empty: no limit.",
            "schema": {"type": ["string", "null"], "pattern": "^([0-9]+([.][0-9]+)?|plan)$"},
        },
        "upload_qps": {
            "label": "Uploads per second",
            "description": "Most uploads of files per second and process. Personal plans have 10, others 20.",
            "schema": {"type": ["number", "null"], "minimum": 0.01, "maximum": 10000, "default": 10},
        },
        "workflow_run_path": {
            "label": "Workflow run path",
            "description": "Where workflow runs are posted. Older documents of Coze show /v3/workflows/run.",
            "schema": {"type": ["string", "null"], "pattern": "^(/[A-Za-z0-9._~-]+)+$", "default": "/v1/workflow/run"},
        },
    }
