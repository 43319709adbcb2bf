"""What can be looked up: the account, its plan, workspaces, bots, workflows.

Sources: docs.coze.cn/developer_guides/list_workspace, bots_list_draft_published, get_metadata_draft_published,
get_workflow_list, get_workflow_info, list_workflow_version, get_benefit; /v1/users/me is in Coze's SDKs only.
"""

from __future__ import annotations

from typing import Any

from airflow_provider_coze.emulator.cloud.envelope import missing, page_bounds, succeeded, whole_number
from airflow_provider_coze.emulator.cloud.signature import inputs_and_outputs
from airflow_provider_coze.emulator.definitions import Bot, Workflow
from airflow_provider_coze.emulator.schema import STRING, Shape, required
from airflow_provider_coze.emulator.wire import Call, Refusal, Reply, Route

__all__ = ["ROUTES", "bot_info", "bot_json"]

#: Nobody creates or edits anything here, so everything is as old as this.
MADE_AT = 1764547200
ICON = "https://example.com/icon.png"


def me(call: Call) -> Reply:
    """``GET /v1/users/me``; no permission point is documented for it."""
    name = call.world.user_name
    return succeeded(
        call, {"user_id": call.token.user_id, "user_name": name, "nick_name": name.title(), "avatar_url": ICON}
    )


def workspaces(call: Call) -> Reply:
    """``GET /v1/workspaces``."""
    workspace: dict[str, Any] = {
        "id": call.world.workspace_id,
        "name": "Emulator",
        "icon_url": ICON,
        "role_type": "owner",
        "workspace_type": "personal" if call.world.plan.startswith("personal") else "team",
        "enterprise_id": "",
        "owner_uid": call.world.user_id,
        "admin_uids": [],
        "description": "",
        "joined_status": "joined",
    }
    first, end = page_bounds(call, ("page_num",), default_size=20, max_size=50)
    return succeeded(call, {"workspaces": [workspace][first:end], "total_count": 1})


def bots(call: Call) -> Reply:
    """``GET /v1/bots``; documents call the page ``page_num``, the official Python client ``page_index``."""
    require_workspace(call)
    shown = [bot for bot in call.world.bots if _wanted(call, bot.published)]
    first, end = page_bounds(call, ("page_num", "page_index"), default_size=20, max_size=50)
    items = [
        {
            "id": bot.id,
            "name": bot.name,
            "icon_url": ICON,
            "folder_id": "",
            "updated_at": MADE_AT,
            "description": bot.description,
            "is_published": bot.published,
            **({"published_at": MADE_AT} if bot.published else {}),
            "owner_user_id": call.world.user_id,
        }
        for bot in shown[first:end]
    ]
    return succeeded(call, {"items": items, "total": len(shown)})


def published_bots(call: Call) -> Reply:
    """``GET /v1/space/published_bots_list``, the older listing, which clients still use."""
    if call.query["space_id"] != call.world.workspace_id:
        raise _foreign_workspace()
    shown = [bot for bot in call.world.bots if bot.published]
    first, end = page_bounds(call, ("page_index",), default_size=20, max_size=50)
    bots = [
        {
            "bot_id": bot.id,
            "bot_name": bot.name,
            "description": bot.description,
            "icon_url": ICON,
            "publish_time": str(MADE_AT),
        }
        for bot in shown[first:end]
    ]
    return succeeded(call, {"space_bots": bots, "total": len(shown)})


def bot_info(call: Call) -> Reply:
    """``GET /v1/bots/{bot_id}``, and the older ``/v1/bot/get_online_info``."""
    bot_id = call.ids.get("bot_id") or call.query.get("bot_id", "")
    bot = call.world.bot(bot_id)
    if bot is None:
        raise missing("bot_id", bot_id)
    if not bot.published and call.query.get("is_published", "true").lower() != "false":
        raise Refusal(4015, f"The bot_id {bot.id} has not been published to the channel Agent As API.")
    return succeeded(call, bot_json(call, bot))


def bot_json(call: Call, bot: Bot) -> dict[str, Any]:
    """Return the Bot object; a bot of the emulator has no prompt, model or plugin to show."""
    return {
        "bot_id": bot.id,
        "name": bot.name,
        "description": bot.description,
        "icon_url": ICON,
        "create_time": MADE_AT,
        "update_time": MADE_AT,
        "version": "1764547200000" if bot.published else "",
        "bot_mode": 0,
        "prompt_info": {"prompt": ""},
        "onboarding_info": {"prologue": "", "suggested_questions": []},
        "plugin_info_list": [],
        "workflow_info_list": [],
        "variables": [],
        "owner_user_id": call.world.user_id,
    }


def workflows(call: Call) -> Reply:
    """``GET /v1/workflows``. 30 a page is the documented maximum; the official Python client asks for 100, and gets 30."""
    require_workspace(call)
    mode, app_id = call.query.get("workflow_mode"), call.query.get("app_id")
    if mode and mode not in ("workflow", "chatflow"):
        raise Refusal(4000, f"Request parameter error (emulator: workflow_mode={mode!r})")
    shown = [
        workflow
        for workflow in call.world.workflows
        if _wanted(call, workflow.published, drafts=("unpublished_draft",))
        and (not mode or workflow.mode == mode)
        and (not app_id or workflow.app_id == app_id)
    ]
    number = whole_number(call, "page_num", 1, 1, 1_000_000)
    size = min(whole_number(call, "page_size", 10, 1, 1_000), 30)
    first, end = (number - 1) * size, number * size
    return succeeded(
        call,
        {
            "items": [_workflow_json(call, workflow, as_text=True) for workflow in shown[first:end]],
            "has_more": len(shown) > end,
        },
    )


def workflow_info(call: Call) -> Reply:
    """``GET /v1/workflows/{id}``; times are numbers here and strings in the list."""
    workflow = _workflow_of(call)
    data: dict[str, Any] = {"workflow_detail": _workflow_json(call, workflow, as_text=False)}
    if call.query.get("include_input_output", "").lower() == "true":
        data.update(inputs_and_outputs(workflow))
    return succeeded(call, data)


def versions(call: Call) -> Reply:
    """``GET /v1/workflows/{id}/versions``: the one there is."""
    workflow = _workflow_of(call)
    whole_number(call, "page_size", 10, 1, 30)
    item: dict[str, Any] = {
        "workflow_id": workflow.id,
        "version": "v0.0.1",
        "description": workflow.description,
        "created_at": str(MADE_AT),
        "updated_at": str(MADE_AT),
        "creator": _creator(call),
    }
    if call.query.get("include_input_output", "").lower() == "true":
        item.update(inputs_and_outputs(workflow))
    items = [item] if workflow.published and not call.query.get("page_token") else []
    return succeeded(call, {"items": items, "has_more": False, "next_page_token": ""})


def benefits(call: Call) -> Reply:
    """``GET /v1/commerce/benefit/benefits/get``: the plan and the calls per second it allows."""
    plan = call.world.limits
    data: dict[str, Any] = {"basic_info": {"user_level": plan.level}}
    resource = call.query.get("resource_id", "")
    if "api_run_qps" in call.query.get("benefit_type_list", "").split(",") and resource:
        totals = {"chat": plan.chat, "workflow": plan.workflow, "plugin": plan.workflow}
        if resource not in totals:
            raise Refusal(4000, f"Request parameter error (emulator: resource_id={resource!r})")
        info = {"used": 0, "total": totals[resource], "start_at": 0, "end_at": 0, "strategy": "by_quota"}
        data["benefit_info"] = [
            {
                "resource_id": resource,
                "benefit_type": "api_run_qps",
                "basic": {"item_info": info, "status": "valid"},
                "extra": [],
                "effective": {"item_info": info, "status": "valid"},
            }
        ]
    return succeeded(call, data)


def require_workspace(call: Call) -> None:
    """Refuse a workspace that is not the world's.

    :raises Refusal: 4101.
    """
    if call.query["workspace_id"] != call.world.workspace_id:
        raise _foreign_workspace()


def _foreign_workspace() -> Refusal:
    return Refusal(
        4101,
        "Your token does not have permission to access resource. "
        "Please verify whether the resource ID or token is correct.",
    )


def _wanted(call: Call, published: bool, *, drafts: tuple[str, ...] = ("published_draft", "unpublished_draft")) -> bool:
    status = call.query.get("publish_status") or "published_online"
    if status == "all":
        return True
    if status not in ("published_online", *drafts):
        raise Refusal(4000, f"Request parameter error (emulator: publish_status={status!r})")
    return published == status.startswith("published")


def _workflow_of(call: Call) -> Workflow:
    workflow = call.world.workflow(call.ids["workflow_id"])
    if workflow is None:
        raise missing("workflow_id", call.ids["workflow_id"])
    return workflow


def _workflow_json(call: Call, workflow: Workflow, *, as_text: bool) -> dict[str, Any]:
    return {
        "workflow_id": workflow.id,
        "workflow_name": workflow.name,
        "description": workflow.description,
        "icon_url": ICON,
        "app_id": workflow.app_id or "0",
        "created_at": str(MADE_AT) if as_text else MADE_AT,
        "updated_at": str(MADE_AT) if as_text else MADE_AT,
        "creator": _creator(call),
    }


def _creator(call: Call) -> dict[str, str]:
    return {"id": call.world.user_id, "name": call.world.user_name}


_WORKSPACE: Shape = {"workspace_id": required(STRING)}

ROUTES = [
    Route("GET", "/v1/users/me", me),
    Route(
        "GET",
        "/v1/workspaces",
        workspaces,
        "listWorkspace",
        {
            "page_num": STRING,
            "page_size": STRING,
            "enterprise_id": STRING,
            "user_id": STRING,
            "coze_account_id": STRING,
        },
    ),
    Route(
        "GET",
        "/v1/bots",
        bots,
        "listBot",
        {
            **_WORKSPACE,
            "publish_status": STRING,
            "connector_id": STRING,
            "page_num": STRING,
            "page_index": STRING,
            "page_size": STRING,
        },
    ),
    Route(
        "GET",
        "/v1/space/published_bots_list",
        published_bots,
        "listBot",
        {"space_id": required(STRING), "page_index": STRING, "page_size": STRING},
    ),
    Route("GET", "/v1/bots/{bot_id}", bot_info, "getMetadata", {"is_published": STRING}),
    Route("GET", "/v1/bot/get_online_info", bot_info, "getMetadata", {"bot_id": required(STRING)}),
    Route(
        "GET",
        "/v1/workflows",
        workflows,
        "listWorkflow",
        {
            **_WORKSPACE,
            "page_num": STRING,
            "page_size": STRING,
            "workflow_mode": STRING,
            "app_id": STRING,
            "publish_status": STRING,
        },
    ),
    Route("GET", "/v1/workflows/{workflow_id}", workflow_info, "getMetaData", {"include_input_output": STRING}),
    Route(
        "GET",
        "/v1/workflows/{workflow_id}/versions",
        versions,
        "listVersion",
        {"page_token": STRING, "page_size": STRING, "publish_status": STRING, "include_input_output": STRING},
    ),
    Route(
        "GET",
        "/v1/commerce/benefit/benefits/get",
        benefits,
        "getBenefit",
        {"benefit_type_list": STRING, "resource_id": STRING},
    ),
]
