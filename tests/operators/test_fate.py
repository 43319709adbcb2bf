"""Where no retry can help, a task fails with its own error and Airflow's ``AirflowFailException`` in one."""

from __future__ import annotations

import logging
import pickle
import traceback
from types import SimpleNamespace
from typing import Any

import pytest
from airflow.providers.common.compat.sdk import AirflowFailException, BaseOperator, TaskDeferred

from airflow_provider_coze import errors as e
from airflow_provider_coze.operators.fate import decided, deciding, for_good
from airflow_provider_coze.protocol.policy import BY_ERROR
from tests import needs
from tests.driving import NOON

FINAL = e.CozeAuthError("The token is invalid.", code=4100, status=401, logid="L1", origin="https://api.coze.cn")
PASSING = e.CozeUnavailableError("Coze has trouble.", code=5000, status=200)


class Failing(BaseOperator):
    """A task that does nothing but raise."""

    def __init__(self, *, failure: BaseException, **kwargs: Any) -> None:
        super().__init__(task_id="fail", **kwargs)
        self.failure = failure
        self.hook = SimpleNamespace(clock=lambda: NOON)
        self._log = self._cached_logger = logging.getLogger("tests.fate")

    @decided
    def execute(self, context: Any) -> Any:
        raise self.failure

    @decided
    def execute_complete(self, context: Any, event: Any = None) -> Any:
        """Go on."""
        return event


def raised(failure: BaseException, **kwargs: Any) -> BaseException:
    with pytest.raises(type(failure)) as caught:
        Failing(failure=failure, **kwargs).execute({})
    return caught.value


def test_an_error_that_no_retry_can_change_is_both_ours_and_airflows() -> None:
    error = raised(FINAL)
    assert isinstance(error, e.CozeAuthError)
    assert isinstance(error, AirflowFailException)
    assert str(error) == "The token is invalid."
    assert error.facts() == FINAL.facts()


def test_an_error_that_can_pass_stays_as_it_is() -> None:
    assert raised(PASSING) is PASSING


@pytest.mark.parametrize("failure", [ValueError("x"), KeyboardInterrupt()])
def test_what_is_no_error_of_coze_stays_as_it_is(failure: BaseException) -> None:
    assert raised(failure) is failure


def test_a_deferral_passes() -> None:
    with pytest.raises(TaskDeferred):
        Failing(failure=TaskDeferred(trigger=None, method_name="execute_complete")).execute({})


@needs.RETRY_POLICIES.mark
def test_a_task_with_a_retry_policy_leaves_the_decision_to_it() -> None:
    assert raised(FINAL, retry_policy=object()) is FINAL


def test_what_is_final_already_is_not_made_so_twice() -> None:
    once = for_good(FINAL)
    assert raised(once) is once


def test_a_method_keeps_its_name_its_arguments_and_its_result() -> None:
    assert Failing.execute_complete.__name__ == "execute_complete"
    assert Failing.execute_complete.__doc__ == "Go on."
    assert Failing(failure=FINAL).execute_complete({}, event={"a": 1}) == {"a": 1}


def test_the_log_says_that_and_why_there_is_no_retry(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    raised(FINAL)
    [said] = [record.getMessage() for record in caplog.records if record.levelname == "INFO"]
    assert said.startswith("Not to be retried. CozeAuthError, code 4100")


def test_the_traceback_leads_to_where_it_happened_and_shows_the_error_once() -> None:
    def decode() -> None:
        raise KeyError("cause")

    def fail() -> None:
        try:
            decode()
        except KeyError as cause:
            raise e.CozeInputError("Wrong.") from cause

    with pytest.raises(e.CozeInputError) as caught, deciding(Failing(failure=FINAL)):
        fail()
    assert isinstance(caught.value.__cause__, KeyError)
    text = "".join(traceback.format_exception(caught.value))
    assert "in fail" in text
    assert text.count("Wrong.") == 2  # the line of code, and the error


def test_who_only_looks_does_not_repeat_a_look_at_an_end() -> None:
    failed = e.CozeChatFailedError("failed", code=5000, chat_id="1")
    with pytest.raises(e.CozeChatFailedError) as caught, deciding(Failing(failure=failed), only_looks=True):
        raise failed
    assert isinstance(caught.value, AirflowFailException)
    assert raised(failed) is failed


@pytest.mark.parametrize("kind", list(BY_ERROR), ids=lambda kind: kind.__name__)
def test_every_error_keeps_its_kind_its_words_and_its_facts_when_it_becomes_final(kind: type[e.CozeError]) -> None:
    plain = kind("words", code=4100, chat_id="1")
    final = for_good(plain)
    assert isinstance(final, kind)
    assert isinstance(final, AirflowFailException)
    assert (type(final).__name__, str(final), final.facts()) == (kind.__name__, "words", plain.facts())
    assert type(for_good(plain)) is type(final)


@pytest.mark.parametrize("kind", list(BY_ERROR), ids=lambda kind: kind.__name__)
def test_a_final_error_crosses_a_deferral_as_ours_and_a_pickle_as_both(kind: type[e.CozeError]) -> None:
    final = for_good(kind("words", code=4100))
    assert type(e.CozeError.from_payload(final.to_payload())) is kind
    back = pickle.loads(pickle.dumps(final))  # noqa: S301 - our own
    assert type(back) is type(final)
    assert (str(back), back.facts()) == ("words", {"code": 4100})


def test_what_only_one_kind_of_error_has_is_kept() -> None:
    asks = e.CozeRunInterruptedError("asks", interrupt={"event_id": "1/2"})
    back = pickle.loads(pickle.dumps(for_good(asks)))  # noqa: S301 - our own
    assert back.interrupt == {"event_id": "1/2"}


def test_a_final_error_can_still_learn_where_the_work_stands() -> None:
    final = for_good(e.CozeAuthError("no", code=4100))
    final.located("The chat goes on.", chat_id="1")
    assert (str(final), final.chat_id) == ("no The chat goes on.", "1")
