"""The language model's weights on a processor: packed in the fastest format that is exact enough."""
