"""The quality of masks and names on annotated images: truth, measurement, statistics, reports and comparisons."""
