"""Each promise of docs/reliability.md, tried a few times; tests/campaign.py tries more."""

import pytest
from campaign import every, tried

PROMISES = {key: promise for key, promise in every().items() if promise.short}


@pytest.mark.parametrize("key", PROMISES, ids=lambda key: f"{key}: {PROMISES[key].says}")
def test_promised(key):
    figure = tried(PROMISES[key], PROMISES[key].short)
    assert figure.kept, "\n".join(figure.broken)
