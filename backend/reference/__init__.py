"""Reference clips: decoding, downloading and transcribing them."""
