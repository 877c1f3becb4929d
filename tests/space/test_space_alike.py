"""What all combinations of a space share."""

from hypothesis import given
from trees import configs, naive

from dahps_core.model.combination import canonical
from dahps_core.space import SearchSpace


@given(configs())
def test_what_all_combinations_share_is_found_without_enumeration(config):
    first, *rest = naive(config)
    shared = {
        key: canonical(value)
        for key, value in first.items()
        if all(key in other and canonical(other[key]) == canonical(value) for other in rest)
    }
    found = SearchSpace.from_config(config).alike()
    assert {key: canonical(value) for key, value in found.items()} == shared
