"""Speech without a GPU or a download: a stock voice, adapted toward the recording."""
