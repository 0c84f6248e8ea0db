"""The door to qwen-tts: one loaded model that makes voice prompts and speaks.

Nothing outside of this package imports `qwen_tts`. Inside, from the request to the sound:

- `loading`: a checkpoint onto a device.
- `reference`: a reference clip into a cloned voice.
- `request_layout`: a text and a voice into what the talker reads.
- `decoder`: codec frames, row by row and step by step, from the talker's layers (`talker`,
  `transformer_layer`, `projection`, `key_values`, `row_states`) and the choice of codes
  (`first_codes`, `residual_codes`, `sampling`).
- `codec_stream`: codec frames into samples, piece by piece, by its layers (`codec_layers`).
- `row_output`: samples checked and marked on their way out.
- `frame_loop`: the loop over all that, which rows join and leave.
- `cuda_graphs`, `replayed_step`: on a GPU, a step that is recorded once and replayed.
- `package_loop`: the plain package in the place of that loop, to compare with.
- `engine`: the API.
"""

from backend.engine.engine import Engine, SpeakingLoop
from backend.engine.frame_loop import FrameLoop
from backend.engine.loading import EngineInfo
from backend.engine.speech_chunk import SpeechChunk
from backend.engine.speech_job import SpeechJob

__all__ = ["Engine", "EngineInfo", "FrameLoop", "SpeakingLoop", "SpeechChunk", "SpeechJob"]
