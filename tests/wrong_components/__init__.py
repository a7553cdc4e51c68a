"""For each check of ``imgtrans.testing``, and each thing it may say, a component that is wrong."""

from wrong_components import datasets, fields, losses, measures, networks, weights

WRONG = {
    case: wrong
    for module in (fields, networks, weights, losses, datasets, measures)
    for case, wrong in module.WRONG.items()
}
"""Check, and what is wrong where several are; the component; what the check says."""
