"""``rivermill-operator simulate``: the operator's own decisions against models of KEDA and the HPA, on one event simulation.

Pure but for ``cli`` and ``matrix`` (processes); standard library only.
"""
