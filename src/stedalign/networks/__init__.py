"""The networks: architectures, what their outputs mean, and weights on disk that know what they were trained for.

Begin with ``registry`` (all networks by name) and ``network`` (images in, a ``Prediction`` out); ``checkpoint`` reads
and writes weights. A new network is one file like ``alexnet`` and one entry in ``registry``; one of the
user's own needs the file alone.
"""
