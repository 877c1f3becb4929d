"""Random trees with all words at once, few combinations each."""

from hypothesis import strategies as st

VALUES = st.lists(st.sampled_from([1, 2, 3, "a", "b", None]), min_size=1, max_size=3, unique=True)
INTERVALS = st.sampled_from(
    [
        {"interval": [1, 5]},
        {"interval": [0.0, 2.0], "step": 0.5},
        {"interval": [1, 9], "step": 4},
        {"interval": [0.1, 10.0], "log": True, "points": 3},
    ]
)


@st.composite
def nodes(draw, depth=0, prefix="k"):
    if depth > 2 or draw(st.integers(0, 3)) == 0:
        return None
    key = f"{prefix}{depth}"
    if draw(st.booleans()):
        words = draw(INTERVALS)
        node = {"key": key, **words, "default": draw(nodes(depth + 1, f"{prefix}i"))}
    else:
        values = draw(VALUES)
        node = {"key": key, "values": values, "default": draw(nodes(depth + 1, f"{prefix}d"))}
        cases = draw(st.lists(st.sampled_from(values), max_size=2, unique=True))
        node["cases"] = {case: draw(nodes(depth + 1, f"{prefix}c")) for case in cases}
        if draw(st.booleans()):
            node["weights"] = [draw(st.integers(1, 5)) for _ in values]
    if draw(st.booleans()):
        node["then"] = draw(nodes(depth + 1, f"{prefix}t"))
    return node
