# SPDX-License-Identifier: Apache-2.0
"""A line chart as SVG."""

WIDTH, HEIGHT = 760, 460
LEFT, RIGHT, TOP, BOTTOM = 80, 30, 60, 70
# Okabe and Ito's colours, told apart by all; marks differ as well.
COLOURS = ["#0072B2", "#D55E00", "#009E73", "#CC79A7", "#000000"]
MARKS = ["circle", "square", "triangle", "diamond", "circle"]


def text(x, y, content, size=14, anchor="middle", extra=""):
    safe = content.replace("&", "&amp;").replace("<", "&lt;")
    return (f'<text x="{x:.1f}" y="{y:.1f}" font-size="{size}" text-anchor="{anchor}" '
            f'{extra}>{safe}</text>')


def line(x1, y1, x2, y2, colour):
    return f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" stroke="{colour}"/>'


def mark(kind, x, y, colour):
    if kind == "circle":
        return f'<circle cx="{x:.1f}" cy="{y:.1f}" r="5" fill="{colour}"/>'
    corners = {"square": [(-5, -5), (5, -5), (5, 5), (-5, 5)],
               "triangle": [(0, -6), (6, 5), (-6, 5)],
               "diamond": [(0, -7), (6, 0), (0, 7), (-6, 0)]}[kind]
    points = " ".join(f"{x + dx:.1f},{y + dy:.1f}" for dx, dy in corners)
    return f'<polygon points="{points}" fill="{colour}"/>'


def step_for(top):
    """A round number, so that four to ten steps reach the top."""
    step = 1
    while True:
        for factor in (1, 2, 5):
            if top <= 9 * step * factor:
                return step * factor
        step *= 10


def line_chart(series, title, x_label, y_label):
    """series: name -> [(x, y)]. The x axis runs from its largest value down; y from 0 or below."""
    xs = sorted({x for points in series.values() for x, _ in points}, reverse=True)
    ys = [y for points in series.values() for _, y in points]
    step = step_for(max(1, max(ys)))
    low = min(0, -step * (-min(ys) // step + 1) if min(ys) < -0.02 * step else 0)
    high = step * (int(max(ys) / step) + 1)
    span = max(1, xs[0] - xs[-1])

    def at_x(x):
        return LEFT + 25 + (xs[0] - x) / span * (WIDTH - LEFT - RIGHT - 50)

    def at_y(y):
        return TOP + (high - y) / (high - low) * (HEIGHT - TOP - BOTTOM)

    parts = [f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{HEIGHT}" '
             f'viewBox="0 0 {WIDTH} {HEIGHT}" font-family="sans-serif">',
             f'<rect width="{WIDTH}" height="{HEIGHT}" fill="white"/>',
             text(WIDTH / 2, 28, title, 18)]
    for tick in range(int(low), int(high) + 1, step):
        parts += [line(LEFT, at_y(tick), WIDTH - RIGHT, at_y(tick), "#000" if tick == 0 else "#ddd"),
                  text(LEFT - 10, at_y(tick) + 5, str(tick), anchor="end")]
    for x in xs:
        parts += [line(at_x(x), HEIGHT - BOTTOM, at_x(x), HEIGHT - BOTTOM + 5, "#000"),
                  text(at_x(x), HEIGHT - BOTTOM + 22, str(x))]
    parts += [text((LEFT + WIDTH - RIGHT) / 2, HEIGHT - 20, x_label),
              text(24, (TOP + HEIGHT - BOTTOM) / 2, y_label,
                   extra=f'transform="rotate(-90 24 {(TOP + HEIGHT - BOTTOM) / 2:.0f})"')]
    for index, (name, points) in enumerate(series.items()):
        colour, kind = COLOURS[index % len(COLOURS)], MARKS[index % len(MARKS)]
        path = " ".join(f"{at_x(x):.1f},{at_y(y):.1f}" for x, y in points)
        parts.append(f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="2"/>')
        parts += [mark(kind, at_x(x), at_y(y), colour) for x, y in points]
        parts += [mark(kind, LEFT + 24, TOP + 14 + 22 * index, colour),
                  text(LEFT + 38, TOP + 19 + 22 * index, name, anchor="start")]
    return "\n".join(parts + ["</svg>"]) + "\n"
