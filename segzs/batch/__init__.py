"""Many images: what is found in one as a record, and a whole directory, resumable, here or on a cluster.

>>> from segzs.batch.directory import label_directory
>>> from segzs.batch.labelling import Labeller
>>> for result in label_directory(Labeller.of(segzs.load()), "photos", "out"):  # doctest: +SKIP
...     print(result.path)
"""
