"""A call of a function: one input, one output, and what is streamed in between."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from modal_proto import api_pb2

from tests.support.modal_server.bell import Bell

if TYPE_CHECKING:
    from tests.support.modal_server.workspace import Function

Status = api_pb2.GenericResult.GenericStatus


@dataclass(eq=False)
class Call:
    """One call, from the moment it was accepted.

    Attributes:
        attempt: How many containers died with it.
        chunks: What a generator has yielded; the first has the index 1. A further attempt yields
            under the same indices again, and the client keeps what it got first.
        cancelled: Somebody wants it to end.
        output: How it ended, if it did.
    """

    call_id: str
    input_id: str
    function: Function
    payload: api_pb2.FunctionInput
    invocation_type: int
    attempt: int = 0
    chunks: list[api_pb2.DataChunk] = field(default_factory=list)
    cancelled: bool = False
    output: api_pb2.FunctionGetOutputsItem | None = None
    changed: Bell = field(default_factory=Bell)

    @property
    def name(self) -> str:
        """The method, or the function, that was called."""
        return self.payload.method_name or self.function.handle.function_name

    @property
    def status(self) -> str:
        """How it ended, such as "SUCCESS" or "TERMINATED"; "" while it has not."""
        if self.output is None:
            return ""
        name: str = Status.Name(self.output.result.status)
        return name.removeprefix("GENERIC_STATUS_")

    def finish(
        self,
        result: api_pb2.GenericResult,
        data_format: api_pb2.DataFormat.ValueType = api_pb2.DATA_FORMAT_UNSPECIFIED,
    ) -> None:
        """Give it its output, unless it has one."""
        if self.output is None:
            self.output = api_pb2.FunctionGetOutputsItem(
                result=result, input_id=self.input_id, data_format=data_format
            )
        self.changed.ring()

    def end(self, status: Status.ValueType, why: str = "") -> None:
        """Finish it without a result."""
        self.finish(api_pb2.GenericResult(status=status, exception=why))

    def add_chunks(self, chunks: list[api_pb2.DataChunk]) -> None:
        """Append what a generator yielded."""
        self.chunks += chunks
        self.changed.ring()
