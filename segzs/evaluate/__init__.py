"""How good masks and names are on annotated pictures: truth, measurements, statistics, reports, comparisons."""
