"""How many of something, for people."""


def counted(count: int, noun: str) -> str:
    """Return a count with its noun, such as `1 trial` or `1,024 trials`; the plural ends in s."""
    return f"{count:,} {noun}{'' if count == 1 else 's'}"


def counted_combinations(size: int, repetitions: int) -> str:
    """Describe the size of a space, such as `24 combinations x 3 repetitions`."""
    times = f" x {repetitions:,} repetitions" if repetitions > 1 else ""
    return counted(size, "combination") + times
