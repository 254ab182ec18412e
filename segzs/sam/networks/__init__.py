"""The networks of the SAM families."""
