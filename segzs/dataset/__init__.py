"""Many images: what is found in one as a record, and a whole directory, resumable, here or on a cluster.

>>> from segzs.dataset.directory import label_directory
>>> from segzs.dataset.labeller import Labeller
>>> for result in label_directory(Labeller.of(segzs.load()), "photos", "out"):  # doctest: +SKIP
...     print(result.file)
"""
