"""What an answer says to each of its rows: the whole of it to a single one, its parts to several."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from airflow_provider_coze.batch import packing
from airflow_provider_coze.protocol.messages import JsonValue
from airflow_provider_coze.protocol.typed_output import Mismatch, OutputType

__all__ = ["Reader"]


@dataclass(frozen=True, slots=True)
class Reader:
    """Reads answers.

    :param output_type: what the output of each row has to be. None: it is taken as it comes.
    """

    output_type: OutputType | None = None

    def read(self, answer: JsonValue, indexes: Sequence[int]) -> tuple[dict[int, JsonValue], dict[int, str]]:
        """Return the output of each row, and what is wrong with the answer for the others. A row is in one of the two."""
        if len(indexes) == 1:
            found: dict[int, JsonValue] = {indexes[0]: answer}
            missing: dict[int, str] = {}
        else:
            found, missing = packing.unpack(answer, indexes)
        if self.output_type is None:
            return found, missing
        outputs: dict[int, JsonValue] = {}
        for index, output in found.items():
            try:
                outputs[index] = self.output_type.read(output)
            except Mismatch as mismatch:
                missing[index] = str(mismatch)
        return outputs, missing
