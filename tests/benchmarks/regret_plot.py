"""Lines with bands, as SVG, without a library."""

import math
from collections.abc import Iterable

WIDTH, HEIGHT, MARGIN = 380, 250, 46
COLOURS = ("#666666", "#1b7837", "#2166ac", "#d6604d", "#e08214", "#762a83", "#c51b7d")

Points = list[tuple[float, float]]


def drawn(panels: dict[str, dict[str, Points]], x: str, y: str) -> str:
    """A panel for each name, a line for each name in it: (mean, half of its band) at equal distances.

    The legend takes the place of one more panel.
    """
    height = (len(panels) // 2 + 1) * HEIGHT
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {2 * WIDTH} {height}" '
        'font-family="sans-serif" font-size="12"><rect width="100%" height="100%" fill="white"/>'
    ]
    drawings = [_panel(title, lines, x, y) for title, lines in panels.items()]
    for number, drawing in enumerate([*drawings, _legend(next(iter(panels.values())))]):
        parts.append(f'<g transform="translate({number % 2 * WIDTH},{number // 2 * HEIGHT})">')
        parts += [*drawing, "</g>"]
    return "\n".join([*parts, "</svg>\n"])


def _legend(names: Iterable[str]) -> list[str]:
    parts = []
    for number, (name, colour) in enumerate(zip(names, COLOURS, strict=False)):
        top = 48 + 24 * number
        parts.append(f'<path d="M{MARGIN} {top - 4}h24" stroke="{colour}" stroke-width="2.5"/>')
        parts.append(f'<text x="{MARGIN + 32}" y="{top}">{name}</text>')
    return parts


def _panel(title: str, lines: dict[str, Points], x: str, y: str) -> list[str]:
    """The vertical axis is logarithmic."""
    lowest = min(max(value - half, value / 3, 1e-4) for points in lines.values() for value, half in points)
    highest = max(value + half for points in lines.values() for value, half in points)
    low, high = math.log10(lowest), math.log10(highest)

    def at(index: int, value: float, n: int) -> str:
        across = MARGIN + (WIDTH - MARGIN - 14) * (index + 1) / n
        up = (math.log10(max(value, lowest)) - low) / (high - low or 1)
        return f"{across:.1f} {HEIGHT - MARGIN - (HEIGHT - MARGIN - 28) * up:.1f}"

    frame = f"M{MARGIN} 28V{HEIGHT - MARGIN}H{WIDTH - 14}"
    parts = [f'<text x="{WIDTH / 2}" y="18" text-anchor="middle" font-weight="bold">{title}</text>']
    parts.append(f'<path d="{frame}" fill="none" stroke="black"/>')
    for part in (0, 0.5, 1):
        left = MARGIN + (WIDTH - MARGIN - 14) * part
        label = f'<text x="{left}" y="{HEIGHT - MARGIN + 16}" text-anchor="middle">{part:g}</text>'
        value = 10 ** (low + (high - low) * part)
        top = HEIGHT - MARGIN - (HEIGHT - MARGIN - 28) * part
        parts += [label, f'<text x="{MARGIN - 4}" y="{top + 4:.0f}" text-anchor="end">{value:.2g}</text>']
    parts.append(f'<text x="{WIDTH / 2}" y="{HEIGHT - 14}" text-anchor="middle">{x}</text>')
    parts.append(f'<text x="{WIDTH - 14}" y="40" text-anchor="end">{y}</text>')
    for colour, points in zip(COLOURS, lines.values(), strict=False):
        n = len(points)
        upper = [at(i, value + half, n) for i, (value, half) in enumerate(points)]
        lower = [at(i, value - half, n) for i, (value, half) in enumerate(points)]
        outline = "L".join([*upper, *reversed(lower)])
        middle = "L".join(at(i, value, n) for i, (value, _) in enumerate(points))
        parts.append(f'<path d="M{outline}Z" fill="{colour}" opacity="0.15"/>')
        parts.append(f'<path d="M{middle}" fill="none" stroke="{colour}" stroke-width="1.8"/>')
    return parts
