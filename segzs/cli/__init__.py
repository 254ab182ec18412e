"""The command line: `parser` and one module per command."""
