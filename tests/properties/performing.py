"""Flows that are performed with whatever answers an example holds, in virtual time and without a transport."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

from airflow_provider_coze.errors import CozeError, CozeTransportError
from airflow_provider_coze.protocol.dialects import dialect_of, spoken
from airflow_provider_coze.protocol.messages import Flow, Response, Send, Sleep
from tests.driving import VirtualTime
from tests.properties.judging import assert_sound, assert_storable
from tests.properties.strategies import answers, of_operation

__all__ = ["driven", "ends_well", "several"]


def driven(flow: Flow[Any], responses: list[Response | CozeTransportError], time: VirtualTime) -> Any:
    """Perform *flow* with these answers; None when it asks for more of them."""
    answer: Response | None = None
    failure: CozeTransportError | None = None
    left = iter(responses)
    try:
        while True:
            effect = flow.send(answer) if failure is None else flow.throw(failure)
            answer = failure = None
            if isinstance(effect, Sleep):
                assert 0 <= effect.seconds <= 600
                time.sleep(effect.seconds)
                continue
            assert isinstance(effect, Send)
            assert 0 <= effect.after <= 600
            time.sleep(effect.after)
            effect.request.path.encode()
            "".join(effect.request.query.values()).encode()
            match next(left, None):
                case None:
                    return None
                case CozeTransportError() as failure:
                    pass
                case response:
                    answer = response
    except StopIteration as done:
        return done.value
    finally:
        flow.close()


@st.composite
def several(draw: st.DrawFn, *names: str) -> list[Response | CozeTransportError]:
    def lost() -> CozeTransportError:
        return CozeTransportError("No answer.", never_sent=draw(st.booleans()))

    one = st.one_of([of_operation(name) for name in names] * 3 + [answers, st.builds(lost)])
    return draw(st.lists(one, min_size=1, max_size=5))


def ends_well(flow: Flow[Any], responses: list[Response | CozeTransportError], time: VirtualTime, dialect: str) -> None:
    try:
        found = driven(spoken(flow, dialect_of(dialect)), responses, time)
    except CozeError as error:
        assert_sound(error)
    else:
        repr(found)
        assert_storable(found)
