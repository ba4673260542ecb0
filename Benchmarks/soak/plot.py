"""The samples of a run as one SVG: a panel for each figure over the same time, with a mark for each restart."""
import csv
import json
import math

from bench.plot import FAINT, INK, MISSED, PLAIN, MET, line, text

WIDTH, LEFT, RIGHT, HEIGHT, GAP, TOP = 860, 70, 20, 110, 44, 70
QUIET = "#f1f1f1"
# Title, unit, factor, {field: (name, colour)}.
LOGARITHMIC = "Scrapes, within 5 s"
PANELS = [
    ("Memory", "MB", 1e-6, {"resident": ("resident", PLAIN), "proportional": ("proportional (PSS)", MET), "private": ("private", MISSED)}),
    ("Open descriptors", "", 1, {"descriptors": ("", PLAIN)}),
    ("Threads", "", 1, {"threads": ("", PLAIN)}),
    ("Longest event-loop lag within a minute", "ms", 1000, {"lag": ("", PLAIN)}),
    ("Time that an event loop waits for a core, of each 5 s", "ms", 1000, {"loop_wait": ("", PLAIN)}),
    (LOGARITHMIC, "ms", 1000, {"p50": ("p50", MET), "slowest": ("slowest", PLAIN)}),
    ("CPU, cores", "", 1, {"cpu": ("program", PLAIN), "soak_cpu": ("what makes the load", MET)}),
]
MARKS = {"stop": (INK, "SIGTERM"), "kill": (MISSED, "SIGKILL"), "full disk": ("#c9a227", "disk full")}


def draw(folder):
    """Reads the samples and events of a run's folder, and writes `plot.svg` there."""
    with open(f"{folder}/samples.csv") as file:
        rows = [{key: value if key == "phase" else float(value) if value else None for key, value in row.items()} for row in csv.DictReader(file)]
    try:
        with open(f"{folder}/events.jsonl") as file:
            events = [json.loads(entry) for entry in file]
    except FileNotFoundError:
        events = []
    if rows:
        with open(f"{folder}/plot.svg", "w") as file:
            file.write(svg(rows, events))


def svg(rows, events):
    end = rows[-1]["seconds"]
    height = TOP + len(PANELS) * (HEIGHT + GAP)

    def x(seconds):
        return LEFT + (WIDTH - LEFT - RIGHT) * seconds / end

    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{height}" font-family="sans-serif">',
        f'<rect width="{WIDTH}" height="{height}" fill="white"/>',
        text(10, 22, f"exporter-proxy under mixed load for {end / 60:.0f} minutes (grey: no load)", 14)]
    at = LEFT
    for kind, (color, name) in MARKS.items():
        parts += [line(at, 38, at + 16, 38, color, "3 2"), text(at + 21, 42, name, 11)]
        at += 110
    for index, panel in enumerate(PANELS):
        parts += draw_panel(panel, rows, events, TOP + index * (HEIGHT + GAP), x)
    parts.append(text(WIDTH - RIGHT, height - GAP + 30, "minutes", 10, "end"))
    return "\n".join([*parts, "</svg>"]) + "\n"


def draw_panel(panel, rows, events, top, x):
    title, unit, factor, fields = panel
    rows = [row for row in rows if all(row[field] is not None for field in fields)]
    highest = nice(max(max(row[field] for row in rows) * factor for field in fields))
    ticks = {0: 0, 0.5: highest * 0.5, 1: highest}
    lowest = None
    if title == LOGARITHMIC:
        lowest, decades = 1, max(math.ceil(math.log10(highest)), 1)
        ticks = {decade / decades: 10 ** decade for decade in range(decades + 1)}

    def y(value):
        share = math.log10(max(value * factor, lowest)) / decades if lowest else value * factor / highest
        return top + HEIGHT - HEIGHT * share

    parts = []
    for phase in ("before", "after"):
        of = [row["seconds"] for row in rows if row["phase"] == phase]
        if of:
            parts.append(f'<rect x="{x(of[0]):.1f}" y="{top}" width="{x(of[-1]) - x(of[0]):.1f}" height="{HEIGHT}" fill="{QUIET}"/>')
    for share, value in ticks.items():
        level = top + HEIGHT - HEIGHT * share
        parts += [line(LEFT, level, WIDTH - RIGHT, level, INK if share == 0 else FAINT), text(LEFT - 6, level + 4, f"{value:g}", 11, "end")]
    parts.append(text(LEFT, top - 8, title + (f", {unit}" if unit else ""), 12))
    for event in events:
        if event["kind"] in MARKS:
            parts.append(line(x(event["seconds"]), top, x(event["seconds"]), top + HEIGHT, MARKS[event["kind"]][0], "3 2"))
    name_at = WIDTH - RIGHT
    for field, (name, color) in reversed(fields.items()):
        parts += [f'<polyline points="{points}" fill="none" stroke="{color}" stroke-width="1.3"/>' for points in lives(rows, field, x, y)]
        if name:
            parts.append(text(name_at, top - 8, name, 11, "end", color))
            name_at -= 8 * len(name) + 14
    end = rows[-1]["seconds"]
    step = next(step for step in (30, 60, 300, 600, 900, 1800, 3600, 7200, 86400) if end / step <= 10 or step == 86400)
    for moment in range(0, int(end) + 1, step):
        parts.append(text(x(moment), top + HEIGHT + 14, f"{moment // 60}" if step >= 60 else f"{moment / 60:g}", 10, "middle"))
    return parts


def lives(rows, field, x, y):
    """One line for each process. Of very many samples the lowest and the highest of a few pixels are enough."""
    per_point = max(1, len(rows) // 700)
    for life in sorted({row["life"] for row in rows}):
        of = [row for row in rows if row["life"] == life]
        points = []
        for at in range(0, len(of), per_point):
            group = of[at:at + per_point]
            chosen = {id(row): row for row in (min(group, key=lambda row: row[field]), max(group, key=lambda row: row[field]))}
            points += sorted(chosen.values(), key=lambda row: row["seconds"])
        yield " ".join(f"{x(row['seconds']):.1f},{y(row[field]):.1f}" for row in points)


def nice(value):
    """The next round number, for the top of an axis."""
    scale = 1.0
    while value > scale * 10:
        scale *= 10
    while value <= scale and scale > 1e-3:
        scale /= 10
    return next(step * scale for step in (1, 1.5, 2, 3, 4, 5, 6, 8, 10) if value <= step * scale)
