"""Every component keeps the promises of its kind."""

from imgtrans.testing import parametrize_with_checks


@parametrize_with_checks("imgtrans_attention")
def test_component(component, check):
    check(component)
