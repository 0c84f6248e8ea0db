"""The door to qwen-tts: one loaded model that makes voice prompts and speaks.

Nothing outside of this package imports `qwen_tts`. Inside, from the request to the sound:

- `loading`: a checkpoint onto a device.
- `reference`: a reference clip into a cloned voice.
- `request_layout`: a text and a voice into what the talker reads.
- `talker_rows`, `residual_codes`, `sampling`: codec frames, step by step.
- `codec_stream`: codec frames into samples, piece by piece.
- `row_output`: samples checked and marked on their way out.
- `batch`, `speaking`: the loop over all that.
- `engine`: the API.
"""

from backend.engine.batch import SpeechChunk
from backend.engine.engine import Engine, SpeechJob
from backend.engine.loading import EngineInfo

__all__ = ["Engine", "EngineInfo", "SpeechChunk", "SpeechJob"]
