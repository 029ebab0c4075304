"""The thread of the models, and what becomes of a job whose client leaves."""

from __future__ import annotations

import asyncio
import gc
import threading
import weakref
from collections.abc import Iterator
from typing import Any

import pytest

pytest.importorskip("fastapi")

from edge_glass.fusion.edge.config import GraphError
from edge_glass.fusion.serve.answerer import refusing
from edge_glass.fusion.serve.context import Context
from edge_glass.fusion.serve.departure import WorkResponse
from edge_glass.fusion.serve.failure import RequestError
from edge_glass.fusion.serve.limits import Limits
from edge_glass.fusion.serve.served import Served
from edge_glass.fusion.serve.traffic import Traffic
from edge_glass.fusion.serve.worker import Worker


class Image:
    """Stands for the bytes that a job holds."""


@pytest.mark.parametrize("kind", ["run", "stream"])
def test_a_job_whose_client_left_frees_its_image_before_its_turn(kind: str) -> None:
    async def scenario() -> None:
        worker, busy, ran = Worker(4), threading.Event(), []
        first = asyncio.create_task(worker.run(busy.wait))
        await asyncio.sleep(0)

        def wait() -> tuple[asyncio.Task[Any], weakref.ref[Image]]:
            image = Image()

            def job() -> Iterator[Image]:
                ran.append(1)
                return iter([image])

            work = worker.run(job) if kind == "run" else anext(worker.stream(job))
            return asyncio.create_task(_of(work)), weakref.ref(image)

        waiting, image = wait()
        await asyncio.sleep(0.01)  # it is in the queue of the thread now
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        gc.collect()
        try:
            assert image() is None
        finally:
            busy.set()
        await first
        await worker.run(lambda: None)
        assert not ran
        worker.close()

    asyncio.run(scenario())


async def _of(work: Any) -> Any:
    return await work


def test_a_stream_that_nobody_reads_ends_its_job() -> None:
    async def scenario() -> None:
        worker = Worker(4)
        ended, go_on = threading.Event(), threading.Event()

        def job() -> Iterator[bytes]:
            try:
                yield b"first"
                go_on.wait(10)
                yield b"second"
                yield b"third, which must not be asked for"
                raise AssertionError
            finally:
                ended.set()

        work = worker.stream(job)

        async def receive() -> dict[str, Any]:
            await asyncio.sleep(0.05)
            return {"type": "http.disconnect"}

        async def send(message: Any) -> None:
            if message.get("body"):
                await asyncio.sleep(60)  # a client that does not read, and leaves

        response = WorkResponse(work, work, "text/plain", {})
        scope = {"type": "http", "asgi": {"spec_version": "2.3"}, "method": "POST"}
        await response(scope, receive, send)
        go_on.set()
        assert await asyncio.to_thread(ended.wait, 5)
        with pytest.raises(StopAsyncIteration):
            await anext(work)
        worker.close()

    asyncio.run(scenario())


def test_a_fault_of_the_server_is_counted_as_500() -> None:
    context = Context(served=Served(), limits=Limits(), worker=Worker(1))

    async def broken(_scope: Any, _receive: Any, _send: Any) -> None:
        raise ZeroDivisionError

    scope = {"type": "http", "method": "POST", "headers": []}
    with pytest.raises(ZeroDivisionError):
        asyncio.run(Traffic(broken, context)(scope, broken, broken))  # type: ignore[arg-type]
    assert b'edge_glass_requests_total{route="other",status="500"} 1.0' in context.metrics.text()
    assert context.worker.num_requests == 0


def test_a_broken_graph_is_no_fault_of_the_client() -> None:
    with pytest.raises(GraphError), refusing("messages"):
        raise GraphError("/home/me/models/decode.onnx does not run")
    with pytest.raises(RequestError, match="70 positions"), refusing("messages"):
        raise ValueError("70 positions, but the model has 64")
