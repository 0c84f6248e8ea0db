"""An app with one of everything that the loopback server has to support; it needs only modal."""

from __future__ import annotations

import asyncio
import os
import time
from pathlib import Path
from typing import TYPE_CHECKING

import modal

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

GREETING = os.environ.get("GREETING", "Hello")
SECRETS = os.environ.get("SECRETS", "")

app = modal.App(os.environ.get("APP_NAME", "small"))
volume = modal.Volume.from_name("shelf", create_if_missing=True)
image = modal.Image.debian_slim(python_version="3.12").env(
    # A container must come to the same secrets as whoever deployed, or Modal refuses to start it.
    {"GREETING": GREETING, "SECRETS": SECRETS, "SHELF": "/vol/shelf/books"}
)
secrets = [modal.Secret.from_name(name) for name in SECRETS.split()]


class Base:
    """A class like the real one: loaded once, async methods, several calls at once."""

    @modal.enter()
    def load(self) -> None:
        """Load."""
        self.cancelled: list[str] = []
        self.busy = self.most_busy = 0

    @modal.method()
    async def greet(self, name: str) -> str:
        """Answer at once."""
        return f"{GREETING}, {name}!"

    @modal.method()
    async def nap(self, seconds: float, name: str = "") -> str:
        """Take some time; return the container's name."""
        self.busy += 1
        self.most_busy = max(self.most_busy, self.busy)
        try:
            await asyncio.sleep(seconds)
        except asyncio.CancelledError:
            self.cancelled.append(name)
            raise
        finally:
            self.busy -= 1
        return os.environ["MODAL_TASK_ID"]

    @modal.method()
    async def count(self, until: int, pause: float = 0.0) -> AsyncGenerator[object, None]:
        """Yield the call's id and then numbers, each with the time it was made."""
        yield modal.current_function_call_id()
        for number in range(until):
            await asyncio.sleep(pause)
            yield number, time.monotonic()

    @modal.method()
    async def what_happened(self) -> dict[str, object]:
        """Tell what the container has been through."""
        return {"busy": self.busy, "most_busy": self.most_busy, "cancelled": self.cancelled}

    @modal.method()
    async def variable(self, name: str) -> str | None:
        """Read the container's environment."""
        return os.environ.get(name)


@app.cls(
    image=image,
    gpu=["L4", "A10"],
    volumes={"/vol/shelf": volume},
    secrets=secrets,
    timeout=60,
    scaledown_window=60,
    max_containers=1,
)
@modal.concurrent(max_inputs=4)
class Small(Base):
    """Has one container."""


@app.cls(image=image, secrets=secrets, max_containers=2)
@modal.concurrent(max_inputs=4)
class Growing(Base):
    """Has two containers when one does not suffice."""


@app.cls(image=image, secrets=secrets, max_containers=1, scaledown_window=2)
@modal.concurrent(max_inputs=4)
class Idling(Base):
    """Its container soon ends when it has nothing to do."""


@app.cls(image=image, secrets=secrets, max_containers=1, timeout=1)
@modal.concurrent(max_inputs=4)
class Hasty(Base):
    """Lets no call take long."""


@app.cls(image=image, secrets=secrets, max_containers=1)
class Broken:
    """Cannot be loaded."""

    @modal.enter()
    def load(self) -> None:
        """Fail to load."""
        raise RuntimeError("the model cannot be loaded")

    @modal.method()
    async def greet(self, name: str) -> str:
        """Would answer."""
        return name


@app.function(image=image, volumes={"/vol/shelf": volume})
def put_book(title: str) -> int:
    """Write to the volume, on a machine without a GPU."""
    print(f"putting {title} on the shelf")  # noqa: T201 - shown by `modal run`
    folder = Path(os.environ["SHELF"])
    folder.mkdir(exist_ok=True)
    (folder / title).touch()
    volume.commit()
    return len(list(folder.iterdir()))


@app.local_entrypoint()
def main(name: str = "you") -> None:
    """Run on the caller's machine."""
    print(Small().greet.remote(name))  # noqa: T201 - likewise
