"""Networks that open_clip does not have."""
