"""Label many images: a directory, resumable, in this process or on a Ray cluster.

>>> from segzs.dataset.directory import label_directory
>>> from segzs.dataset.labeller import Labeller
>>> for result in label_directory(Labeller.of(segzs.load()), "photos", "out"):  # doctest: +SKIP
...     print(result.file)
"""
