"""A server for annotators: one `Session` that HTTP routes and the notebook widget share, and tools' protocols."""
