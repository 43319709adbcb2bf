"""Word the ends that are no answers: what happened, where, what Coze is doing now, what a retry does."""

from __future__ import annotations

from airflow_provider_coze import errors as e
from airflow_provider_coze.protocol import codes
from airflow_provider_coze.protocol.models import Chat, RunHistory, mapping
from airflow_provider_coze.protocol.statuses import Phase, chat_phase, run_phase
from airflow_provider_coze.protocol.wording import in_brackets

__all__ = ["chat_error", "chat_timeout", "run_error"]

#: Of work that was left going on.
_WAITED_AGAIN = "A retry of this task waits for it again, unless durable is False."
#: Of work that waits for somebody.
_FOUND_AGAIN = "A retry of this task finds it as it stands then, unless durable is False: that pays for a new one."


def chat_error(chat: Chat, *, waited: float) -> e.CozeOutcomeError:
    """Return the error of a chat that has no answer (yet).

    :param waited: seconds since we began to wait for it.
    """
    what = f"Chat {chat.id!r} in conversation {chat.conversation_id!r}"
    ids = {"chat_id": chat.id, "conversation_id": chat.conversation_id, "bot_id": chat.bot_id or None}
    where = in_brackets(chat.logid)
    anew = "A retry of this task starts, and pays for, a new chat."
    match chat_phase(chat.status):
        case Phase.FAILED:
            reason = chat.last_error
            why = f" with code {reason.code}: {reason.msg!r}" if reason else ", and Coze gave no reason"
            known = codes.BY_CODE.get(reason.code) if reason else None
            advice = f" That code means: {known.meaning}. {known.advice}" if known else ""
            return e.CozeChatFailedError(
                f"{what} ended as {chat.status!r}{why}{where}.{advice} What it used up to then is billed. {anew}",
                code=reason.code if reason else None,
                msg=reason.msg if reason else None,
                logid=chat.logid,
                **ids,
            )
        case Phase.CANCELLED:
            return e.CozeChatCanceledError(
                f"{what} was cancelled in Coze{where}; what it used up to then is billed. {anew}",
                logid=chat.logid,
                **ids,
            )
        case Phase.NEEDS_INPUT:
            calls = [dict(call) for call in chat.tool_calls]
            if not calls:
                return e.CozeChatRequiresActionError(
                    f"{what} asks a question{where} and waits: the next message in its conversation is the answer. What it used so far is "
                    f"billed. {_FOUND_AGAIN}",
                    tool_calls=[],
                    logid=chat.logid,
                    **ids,
                )
            names = sorted({str(mapping(call.get("function")).get("name") or call.get("type")) for call in calls})
            return e.CozeChatRequiresActionError(
                f"{what} is waiting for the outputs of {len(calls)} tool call(s) {names}{where}; it does not go on without them, "
                f"and cannot be cancelled. Submit them with CozeHook.submit_tool_outputs, or take the tool off the bot. {_FOUND_AGAIN}",
                tool_calls=calls,
                logid=chat.logid,
                **ids,
            )
        case _:
            return chat_timeout(chat, waited=waited)


def chat_timeout(chat: Chat, *, waited: float, canceled: bool | None = None) -> e.CozeChatTimeoutError:
    """Return the error of a chat that took too long.

    :param canceled: whether it was cancelled because of that; None: nobody tried.
    """
    match canceled:
        case True:
            now = (
                "It has been cancelled, which does not take back what it used up to then. A retry of this task starts, and pays for, a "
                "new chat."
            )
        case False:
            now = f"It could not be cancelled, so Coze may go on with it and charge for it. {_WAITED_AGAIN}"
        case None:
            now = f"Coze goes on with it and charges for it. {_WAITED_AGAIN}"
    where = in_brackets(chat.logid)
    return e.CozeChatTimeoutError(
        f"Chat {chat.id!r} in conversation {chat.conversation_id!r} had no answer after {waited:.0f} s{where}. {now} "
        "To wait longer, raise timeout.",
        chat_id=chat.id,
        conversation_id=chat.conversation_id,
        bot_id=chat.bot_id or None,
        logid=chat.logid,
    )


def run_error(history: RunHistory, *, workflow_id: str, waited: float) -> e.CozeOutcomeError:
    """Return the error of a run that has no result (yet).

    :param waited: seconds since we began to wait for it.
    """
    what = f"Run {history.execute_id!r} of workflow {workflow_id!r}"
    facts = {
        "workflow_id": workflow_id,
        "execute_id": history.execute_id or None,
        "debug_url": history.debug_url,
        "logid": history.logid,
    }
    seen = [f"logid {history.logid}"] if history.logid else []
    seen += [f"see {history.debug_url}"] if history.debug_url else []
    where = f" ({', '.join(seen)})" if seen else ""
    anew = "A retry of this task starts, and pays for, a new run."
    match run_phase(history.execute_status, interrupted=history.interrupt is not None):
        case Phase.FAILED:
            known = codes.BY_CODE.get(history.error_code)
            advice = f" That code means: {known.meaning}. {known.advice}" if known else ""
            return e.CozeRunFailedError(
                f"{what} ended as {history.execute_status!r} with code {history.error_code}: {history.error_message!r}{where}."
                f"{advice} What it used up to then is billed. {anew}",
                code=history.error_code or None,
                msg=history.error_message or None,
                **facts,
            )
        case Phase.CANCELLED:
            return e.CozeRunCanceledError(
                f"{what} was cancelled in Coze{where}; what it used up to then is billed. {anew}", **facts
            )
        case Phase.NEEDS_INPUT:
            interrupt = dict(history.interrupt or {})
            return e.CozeRunInterruptedError(
                f"{what} asks a question (interrupt type {interrupt.get('type')}, event {interrupt.get('event_id')}) and does not "
                f"go on without an answer{where}. Answer it with POST /v1/workflows/resume (CozeHook.request), "
                f"or take the question out of the workflow. {_FOUND_AGAIN}",
                interrupt=interrupt,
                **facts,
            )
        case _:
            return e.CozeRunTimeoutError(
                f"{what} was still {history.execute_status or 'invisible'!r} after {waited:.0f} s{where}. Coze goes on with it and "
                f"charges for it, because a run cannot be cancelled. {_WAITED_AGAIN} To wait longer, raise timeout.",
                **facts,
            )
