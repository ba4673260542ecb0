"""The results as one SVG: a bar for each ratio to a peer, then the curves."""
import math
from xml.sax.saxutils import escape

WIDTH, LEFT, ROW, TOP = 860, 330, 22, 56
MET, MISSED, PLAIN, INK, FAINT = "#2a7f62", "#c0504d", "#5b7fa6", "#222", "#ccc"
PANEL_WIDTH, PANEL_HEIGHT = 380, 190


def text(x, y, words, size=12, anchor="start", color=INK):
    return f'<text x="{x:.1f}" y="{y:.1f}" font-size="{size}" text-anchor="{anchor}" fill="{color}">{escape(words)}</text>'


def line(x1, y1, x2, y2, color=FAINT, dash=""):
    return f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" stroke="{color}" stroke-dasharray="{dash}"/>'


def svg(results):
    rows = [(r["name"], peer, ratio, r["goal"].get(peer)) for r in results if "ratios" in r for peer, ratio in r["ratios"].items() if ratio]
    curves = [r for r in results if "points" in r]
    bars_end = TOP + ROW * len(rows) + 30
    panels = -(-len(curves) // 2)
    height = bars_end + panels * (PANEL_HEIGHT + 50) + 20
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{height}" font-family="sans-serif">',
        f'<rect width="{WIDTH}" height="{height}" fill="white"/>',
        text(10, 22, "Server's CPU per request: exporter-proxy ÷ peer (left of 1× it costs less; the mark is the goal)", 14)]
    parts += bars(rows, bars_end)
    for index, curve in enumerate(curves):
        parts += panel(curve, 40 + (index % 2) * (PANEL_WIDTH + 50), bars_end + 30 + (index // 2) * (PANEL_HEIGHT + 50))
    return "\n".join([*parts, "</svg>"]) + "\n"


def bars(rows, end):
    """On a logarithmic scale from 0.01 to 10."""
    def x(ratio):
        return LEFT + (math.log10(min(max(ratio, 0.01), 10)) + 2) / 3 * (WIDTH - LEFT - 60)

    parts = []
    for tick in (0.01, 0.1, 1, 10):
        parts.append(line(x(tick), TOP - 14, x(tick), end - 20, INK if tick == 1 else FAINT))
        parts.append(text(x(tick), TOP - 18, f"{tick:g}×", 11, "middle"))
    for index, (name, peer, ratio, goal) in enumerate(rows):
        y, median = TOP + ROW * index, ratio["median"]
        color = PLAIN if goal is None else MET if median <= goal else MISSED
        left, right = sorted((x(1), x(median)))
        parts.append(text(LEFT - 8, y + 12, f"{name} ÷ {peer}", 11, "end"))
        parts.append(f'<rect x="{left:.1f}" y="{y + 2}" width="{max(right - left, 1):.1f}" height="{ROW - 9}" fill="{color}"/>')
        parts.append(line(x(ratio["min"]), y + 8, x(ratio["max"]), y + 8, INK))
        if goal is not None:
            parts.append(line(x(goal), y, x(goal), y + ROW - 5, INK, "2 2"))
        parts.append(text(WIDTH - 52, y + 12, f"{median:.2f}×", 11))
    return parts


def panel(curve, left, top):
    points = [(point, values["median"]) for point, values in curve["points"]]
    highest = max(value for _, value in points) * 1.15

    def x(index):
        return left + PANEL_WIDTH * (index + 0.5) / len(points)

    def y(value):
        return top + PANEL_HEIGHT - PANEL_HEIGHT * value / highest

    parts = [
        text(left, top - 8, f"{curve['name']}: {curve['unit']}", 12), line(left, top + PANEL_HEIGHT, left + PANEL_WIDTH, top + PANEL_HEIGHT, INK)]
    path = " ".join(f"{x(i):.1f},{y(value):.1f}" for i, (_, value) in enumerate(points))
    parts.append(f'<polyline points="{path}" fill="none" stroke="{PLAIN}" stroke-width="2"/>')
    for index, (point, value) in enumerate(points):
        parts.append(f'<circle cx="{x(index):.1f}" cy="{y(value):.1f}" r="3" fill="{PLAIN}"/>')
        parts.append(text(x(index), y(value) - 7, f"{value:,.0f}" if value >= 100 else f"{value:.1f}", 11, "middle"))
        parts.append(text(x(index), top + PANEL_HEIGHT + 15, f"{point:,}", 11, "middle"))
    parts.append(text(left + PANEL_WIDTH, top + PANEL_HEIGHT + 29, curve["axis"], 11, "end"))
    return parts
