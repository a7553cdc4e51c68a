"""For each check of ``imgtrans.testing``, and each thing it may say, a component that is wrong."""

from wrong_components import (
    datasets,
    feature_networks,
    fields,
    losses,
    metrics,
    networks,
    weights,
)

MODULES = (fields, networks, weights, losses, datasets, metrics, feature_networks)

WRONG = {case: wrong for module in MODULES for case, wrong in module.WRONG.items()}
"""Check, and what is wrong where several are; the component; what the check says."""
