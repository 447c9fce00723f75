"""``rivermill-operator simulate``: the operator's own decisions against models of KEDA and the HPA, on one event simulation.

Pure but for ``cli``, ``matrix`` (processes) and ``trace`` (files). Standard library only, but for ``plots`` (an extra).
"""
