"""Search the segments of a labelled directory by words or by an image."""
