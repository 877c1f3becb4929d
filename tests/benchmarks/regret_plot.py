"""Lines with bands, as SVG, without a library."""

import math

WIDTH, HEIGHT, MARGIN = 380, 250, 46
COLOURS = ("#666666", "#1b7837", "#2166ac", "#d6604d", "#e08214", "#762a83")

Points = list[tuple[float, float]]


def drawn(panels: dict[str, dict[str, Points]], x: str, y: str) -> str:
    """A panel for each name, a line for each name in it: (mean, half of its band) at equal distances."""
    rows = (len(panels) + 1) // 2
    names = list(next(iter(panels.values())))
    height = rows * HEIGHT + 24 * ((len(names) + 2) // 3) + 10
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {2 * WIDTH} {height}" '
        'font-family="sans-serif" font-size="12"><rect width="100%" height="100%" fill="white"/>'
    ]
    for number, (title, lines) in enumerate(panels.items()):
        parts.append(f'<g transform="translate({number % 2 * WIDTH},{number // 2 * HEIGHT})">')
        parts += _panel(title, lines, x, y)
        parts.append("</g>")
    for number, name in enumerate(names):
        left, top = 40 + number % 3 * 240, rows * HEIGHT + 20 + number // 3 * 22
        parts.append(f'<path d="M{left} {top - 4}h24" stroke="{COLOURS[number]}" stroke-width="2.5"/>')
        parts.append(f'<text x="{left + 30}" y="{top}">{name}</text>')
    return "\n".join([*parts, "</svg>\n"])


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
    parts.append(f'<text x="{MARGIN + 6}" y="40">{y}</text>')
    for colour, points in zip(COLOURS, lines.values(), strict=False):
        n = len(points)
        upper = [at(i, value + half, n) for i, (value, half) in enumerate(points)]
        lower = [at(i, value - half, n) for i, (value, half) in enumerate(points)]
        outline = "L".join([*upper, *reversed(lower)])
        middle = "L".join(at(i, value, n) for i, (value, _) in enumerate(points))
        parts.append(f'<path d="M{outline}Z" fill="{colour}" opacity="0.15"/>')
        parts.append(f'<path d="M{middle}" fill="none" stroke="{colour}" stroke-width="1.8"/>')
    return parts
