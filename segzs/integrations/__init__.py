"""segzs inside other annotation tools: Label Studio's ML backend, CVAT's functions."""
