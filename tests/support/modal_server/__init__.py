"""A Modal of our own on loopback, for tests: what the stock client, CLI and containers talk to.

`modal_server(folder)` answers the part of Modal's gRPC interface (`modal_proto.api_grpc` of modal
1.6.4) that this project uses, and runs containers as subprocesses of this machine. Nothing in the
`modal` package is replaced: `modal deploy`, `modal run`, `modal.Cls.from_name(...)` and
`python -m modal._container_entrypoint` are the real ones, pointed here by `MODAL_SERVER_URL`.

What it does as Modal does, so far as the client's source and Modal's documentation tell:

- A container sees the source files that were mounted, the image's and the secrets' environment
  variables, and hardly anything of the machine's own environment.
- A container takes up to `max_inputs` inputs at once, or fewer if it says so; a new one starts only
  when those there are full and `max_containers` allows it; an idle one ends after
  `scaledown_window` seconds.
- A function keeps its id when its app is deployed again, so old handles reach the new code; an app
  that was stopped takes its ids with it, and old handles meet `NotFoundError`.
- Cancelling a call reaches the container by its heartbeat, and the coroutine is cancelled there. If
  that comes in the moment before the coroutine begins, modal 1.6.4 ends it without an answer: the
  call goes on until its timeout, and its place in the container stays taken.
- Inputs of a container that died are given to the next one.

What it cannot show:

- Image builds. Every image counts as built, and containers run in this very Python environment, so
  a version missing from the image's list is not noticed.
- Volumes. They are plain folders, shared at once: commit and reload do nothing. Nor can their mount
  path be made without root, so where an environment variable of the image or of a secret names a
  path below it, the container gets the folder's path instead.
- GPUs, processors, memory limits, regions, and how long Modal takes to find a machine: a container
  starts as fast as a process, or after `faults.cold_start_seconds`.
- Modal's own retry policy, rate limits, and preemption.
- Web endpoints, schedules, `.map`, `@modal.batched`, sandboxes, queues and dicts.
- Memory snapshots. A class's `@modal.enter(snap=True)` runs before its `@modal.enter(snap=False)`,
  as in the container of which Modal takes the snapshot, but in every container, and none is taken.
  So it isn't seen whether a process survives one, nor how fast it is restored.
"""

from tests.support.modal_server.server import ModalServer, modal_server

__all__ = ["ModalServer", "modal_server"]
