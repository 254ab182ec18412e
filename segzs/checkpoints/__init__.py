"""Models as data: names, presets, checkpoints; found, verified and fetched here."""
