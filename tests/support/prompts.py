"""Voice prompts as somebody else might send them."""

from __future__ import annotations

import json

LENGTH_BYTES = 8  # safetensors begins with the length of its JSON header


def without_consent(prompt: bytes) -> bytes:
    """The same voice prompt of the GPU side, without its consent record."""
    end = LENGTH_BYTES + int.from_bytes(prompt[:LENGTH_BYTES], "little")
    header = json.loads(prompt[LENGTH_BYTES:end])
    said = header["__metadata__"]
    header["__metadata__"] = {name: said[name] for name in said if "consent" not in name}
    assert header["__metadata__"] != said
    written = json.dumps(header).encode()
    return len(written).to_bytes(LENGTH_BYTES, "little") + written + prompt[end:]
