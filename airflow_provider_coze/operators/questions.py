"""Who answers when a workflow asks: nobody, a function, or people through a form of Airflow.

What is kept where, so that a killed worker finds the same question and loses no answer: the answer stays in Airflow's form of the task
instance, which outlives tries and clears; which question the form was last used for is noted in the record of what the task has bought;
the XCom ``question`` is for people, and for the way back from a deferral.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import timedelta
from typing import Any, NoReturn

from airflow_provider_coze.compat import TaskAwaitingInput, ask_people, has_forms
from airflow_provider_coze.errors import (
    CozeChatRequiresActionError,
    CozeOutcomeError,
    CozeRunInterruptedError,
    CozeTriggerEventError,
)
from airflow_provider_coze.operators.asked import QUESTION_XCOM, Answered, Asked, Asker, seconds
from airflow_provider_coze.operators.base import min_deferral_seconds
from airflow_provider_coze.operators.question_form import (
    NUMBER,
    SEND,
    answer_in,
    body_of,
    form_of,
    number_in,
    shown_number,
    subject_of,
)
from airflow_provider_coze.protocol.answers import Answer, answer_problems, resume_data
from airflow_provider_coze.protocol.models import mapping
from airflow_provider_coze.protocol.questions import Question
from airflow_provider_coze.triggers.question import CozeQuestionTrigger

__all__ = ["Answering"]

#: Values of ``on_interrupt`` beside a function.
_MODES = ("fail", "hitl")


class Answering:
    """What an operator does when its workflow asks.

    :param on_interrupt: ``fail``; ``hitl``: people answer through Airflow; or a function that gets the
        :class:`~airflow_provider_coze.protocol.questions.Question` on the worker and returns the answer: a text, or a value for each
        field. A retry can call it again for the same question.
    :param users: who may answer: ids of users, or ``{"id", "name"}``. None: everybody who may edit the task.
    :param notifiers: notifiers of Airflow, run once for each question; ``coze_question`` is in their context.
    :param timeout: seconds, or a timedelta, that people have for each question. None: no end.
    :param default: the answer when nobody answers in time, or a function of the question that returns it. None: the task fails.
    """

    def __init__(
        self,
        on_interrupt: str | Callable[[Question], Answer] = "fail",
        *,
        users: Sequence[str | Mapping[str, str]] | None = None,
        notifiers: Any = None,
        timeout: float | timedelta | None = None,
        default: Answer | Callable[[Question], Answer] | None = None,
    ) -> None:
        self._on_interrupt, self._users, self._default = on_interrupt, users, default
        self._timeout = timeout.total_seconds() if isinstance(timeout, timedelta) else timeout
        self._notifiers = (
            [] if notifiers is None else list(notifiers) if isinstance(notifiers, list | tuple) else [notifiers]
        )

    @property
    def fails(self) -> bool:
        """Whether a question fails the task."""
        return self._on_interrupt == "fail"

    def problems(self) -> list[str]:
        """Return what is wrong with the arguments, by the names that operators have for them."""
        found = []
        if not callable(self._on_interrupt) and self._on_interrupt not in _MODES:
            found.append(f"on_interrupt must be a function or one of {_MODES}, not {self._on_interrupt!r}")
        if self._on_interrupt == "hitl" and not has_forms():
            found.append(
                'on_interrupt="hitl" needs Airflow 3.1 or later, which can ask people; a function works on every version'
            )
        if self._timeout is not None and (isinstance(self._timeout, str) or not (seconds(self._timeout) or 0) > 0):
            found.append(f"hitl_timeout must be a number of seconds over 0 or a timedelta, not {self._timeout!r}")
        if self._users is not None and not (isinstance(self._users, list | tuple) and all(map(_user, self._users))):
            found.append("hitl_users must be a list of ids of users, or of objects with their id and name")
        if self._default is not None and not callable(self._default) and not isinstance(self._default, str | Mapping):
            found.append(f"hitl_default must be a text, an object or a function, not a {type(self._default).__name__}")
        return found

    def ask(self, asker: Asker, question: Question) -> Answered:
        """Return the answer of the function, or wait for people without a worker: then it does not return.

        The question is asked once. If it is with people already, the form is left as it is, and an answer in it is found.

        :raises CozeInputError: the function's answer does not fit the question.
        """
        if callable(self._on_interrupt):
            return Answered(question, resume_data(question, self._on_interrupt(question)))
        found = asker.noted()
        last, number, asked_at = found.get("event_id", ""), found.get(NUMBER, ""), seconds(found.get("asked_at"))
        count = int(number) if number.isdecimal() and len(number) < 10 else 0
        if last == question.event_id and count:
            asked = Asked(question, count, asker.now if asked_at is None else asked_at, found.get("shown") == "yes")
            if asked_at is None:  # the time for the last one to answer was up
                self._note(asker, asked)
                self._notify(asker, asked)
            self._publish(asker, asked)
            self._park(asker, asked, look_first=True)
        is_same_run = last.partition("/")[0] == question.event_id.partition("/")[0]
        self._show(asker, Asked(question, count + 1 if is_same_run else 1, asker.now), notify=True)

    def answer_of(self, asker: Asker, event: object, asked: object = None) -> Answered:
        """Return the answer that a task was resumed with. If there is none, or it does not fit, the wait goes on: it does not return.

        :param asked: what the resuming method got under this name.
        :raises CozeRunInterruptedError: nobody has answered in time, and there is no default.
        :raises CozeTriggerEventError: the event is none of Airflow's.
        """
        known = Asked.from_payload(asked if asked is not None else asker.pulled())
        found = mapping(event)
        is_late = self._deadline(known) is not None and asker.now >= (self._deadline(known) or 0.0)
        if found.get("missing") is True:
            self._show(asker, known, notify=False)
        if found.get("error_type") == "timeout" or (found.get("unanswered") is True and is_late):
            return self._without(asker, known)
        if found.get("unanswered") is True:
            self._park(asker, known)
        params = found.get("params_input")
        if "error" in found or not isinstance(params, Mapping):
            raise CozeTriggerEventError(
                f"The task was resumed with {sorted(map(str, found)) if found else 'no event'}, which is no answer to its question. Run "
                f"{known.question.execute_id!r} waits in Coze, and is billed as far as it went. A retry of the task finds the question "
                "and the answer, if there is one, unless durable is False."
            )
        return self._checked(asker, known, params)

    def _checked(self, asker: Asker, asked: Asked, params: Mapping[str, Any]) -> Answered:
        """Return the answer if it is one to this question, and ask again if it is not: that costs nothing."""
        number, answer = number_in(params), answer_in(asked.question, params)
        if number != asked.number and not (number is None and asked.shown):
            said = "does not say which question it is to" if number is None else f"is to question {number}"
            problems = [f"the answer {said}, and question {asked.number} waits: set {NUMBER}"]
        elif answer is None:
            problems = ["the answer is empty"]
        else:
            problems = answer_problems(asked.question, answer)
        if problems:
            asker.operator.log.warning("Not sent, and asked again: %s", "; ".join(problems))
            self._show(asker, asked, notify=False, problems=problems)
        asker.operator.log.info("Question %d (event %s) is answered", asked.number, asked.question.event_id)
        return Answered(asked.question, resume_data(asked.question, answer))

    def _without(self, asker: Asker, asked: Asked) -> Answered:
        """Return the default, because nobody has answered."""
        default = self._default(asked.question) if callable(self._default) else self._default
        problems = answer_problems(asked.question, default) if default is not None else ["there is no hitl_default"]
        if not problems:
            asker.operator.log.info("Question %d was not answered in time; taking hitl_default", asked.number)
            return Answered(asked.question, resume_data(asked.question, default))
        if asker.notes is not None:
            asker.notes.note(asked_at="")  # another try gives people their time anew
        facts: dict[str, Any] = {
            "interrupt": {"event_id": asked.question.event_id, "type": asked.question.interrupt_type}
        }
        facts |= {"workflow_id": asker.workflow_id, "execute_id": asked.question.execute_id or None}
        kind: type[CozeOutcomeError] = CozeRunInterruptedError
        if asker.bot_id:
            facts = {"bot_id": asker.bot_id, "chat_id": asked.question.execute_id}
            kind = CozeChatRequiresActionError
        raise kind(
            f"Nobody has answered question {asked.number} of {asker.work(asked.question)} within "
            f"{self._timeout or 0:g} s (event {asked.question.event_id}), and {'; '.join(problems)}. It waits in Coze, and is billed "
            "as far as it went. To wait once more, clear the task: it goes on with the same one, unless durable is False.",
            **facts,
        )

    def _show(self, asker: Asker, asked: Asked, *, notify: bool, problems: Sequence[str] = ()) -> NoReturn:
        """Put the question into the form, which removes the answer to the one before, and wait."""
        question, number = asked.question, asked.number
        subject = subject_of(question, number, asker.who)
        body = body_of(question, number, asker.page("xcom"))
        kept = ask_people(
            asker.context["ti"],
            subject=subject,
            body=body,
            options=[SEND],
            params=form_of(question, number),
            users=[user for each in self._users or () if (user := _user(each))],
        )
        shown = (kept["subject"], kept["body"]) == (subject, body)
        if not shown and shown_number(mapping(kept["params"])) == number:
            number += 1  # the form is of an earlier run, whose first question was another: it must not be answered in its place
        asked = replace(asked, number=number, shown=shown)
        # After the form: a try that is killed in between asks once more, and none waits for a form that was never made.
        self._note(asker, asked)
        self._publish(asker, asked, problems)
        if notify:
            self._notify(asker, asked)
        self._park(asker, asked)

    def _note(self, asker: Asker, asked: Asked) -> None:
        if asker.notes is not None:
            shown = "yes" if asked.shown else ""
            texts = {"event_id": asked.question.event_id, NUMBER: str(asked.number), "asked_at": repr(asked.asked_at)}
            asker.notes.note(**texts, shown=shown)

    def _publish(self, asker: Asker, asked: Asked, problems: Sequence[str] = ()) -> None:
        """Push the XCom also where the operator pushes none: the form points to it."""
        value = {**asked.to_payload(), "answer_at": asker.page("required_actions"), "problems": list(problems)}
        asker.context["ti"].xcom_push(key=QUESTION_XCOM, value=value)
        asker.operator.log.info(
            "Question %d (event %s) is with people, and no worker waits: see %s",
            asked.number,
            asked.question.event_id,
            value["answer_at"],
        )

    def _notify(self, asker: Asker, asked: Asked) -> None:
        told = {**asker.context, "coze_question": {**asked.to_payload(), "answer_at": asker.page("required_actions")}}
        for notifier in self._notifiers:
            try:
                notifier(told)
            except Exception as error:
                # The run is paid for, and the question is there for everybody who looks.
                asker.operator.log.warning("A notifier failed: %s", type(error).__name__)

    def _park(self, asker: Asker, asked: Asked, *, look_first: bool = False) -> NoReturn:
        """Wait for people without a worker.

        :param look_first: an answer may be there already. Airflow 3.3 would resume the task in the same moment, which its scheduler can
            take for a failure of the try (https://github.com/apache/airflow/issues/66374), so the triggerer looks a little later.
        """
        deadline = self._deadline(asked)
        kwargs = {**(asker.kwargs or {}), "asked": asked.to_payload()}
        if TaskAwaitingInput is not None and not look_first:
            left = None if deadline is None else timedelta(seconds=max(1.0, deadline - asker.now))
            raise TaskAwaitingInput(method_name=asker.resume_method, kwargs=kwargs, timeout=left)
        trigger = CozeQuestionTrigger(
            ti_id=str(asker.context["ti"].id),
            not_before=asker.now + min_deferral_seconds(),
            deadline=deadline,
            once=TaskAwaitingInput is not None,
        )
        asker.operator.defer(trigger=trigger, method_name=asker.resume_method, kwargs=kwargs)
        raise AssertionError("defer() does not return")  # pragma: no cover

    def _deadline(self, asked: Asked) -> float | None:
        return None if self._timeout is None else asked.asked_at + self._timeout


def _user(each: object) -> dict[str, str] | None:
    if isinstance(each, str) and each.strip():
        return {"id": each, "name": each}
    found = mapping(each)
    user_id, name = found.get("id"), found.get("name") or found.get("id")
    return {"id": user_id, "name": name} if isinstance(user_id, str) and user_id and isinstance(name, str) else None
