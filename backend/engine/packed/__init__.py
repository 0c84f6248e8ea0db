"""The language model on a processor: its weights are packed in the fastest format that will do."""
