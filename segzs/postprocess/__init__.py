"""What happens to masks and names after the models: selection, merging, maps."""
