"""The results of the workload `host` in the documents: their tables and the plot."""
import os
import re

from . import host, plot, report

# What one core has in a minute, µs.
CORE = 60_000_000
LABELS = {
    "host/off": 'exporter-proxy, `validate = "off"`',
    "host/report": 'exporter-proxy, `validate = "report"` (default)',
    "host/refuse, app_label": 'exporter-proxy, `validate = "refuse"` and `app_label`',
    "host/report, Pushgateway's API": "by default, the HTTP half pushed to a Pushgateway's paths",
    "host/report, each app its own target": "by default, each app a target of its own",
    host.REAL_TIME: "by default, in real time",
}
COLORS = {"Pushgateway": "#c58b3c", "exporter_exporter": "#8a6bb0", "nginx": "#5b7fa6", host.OURS: "#2a7f62"}
LEFT, WIDTH, ROW = 370, 860, 24


def write(root, results):
    """Into docs/ and README.md."""
    results = [result for result in results if result["name"] in host.MODES]
    if not results:
        raise SystemExit("nothing to write: no workload `host` was run")
    replace(os.path.join(root, "docs", "performance.md"), table(results))
    replace(os.path.join(root, "README.md"), short_table(results))
    with open(os.path.join(root, "docs", "host.svg"), "w") as file:
        file.write(svg(results))


def replace(path, block):
    """What is between the two marks."""
    with open(path) as file:
        text = file.read()
    changed, count = re.subn(r"(<!-- host: [^>]*-->\n).*?(<!-- end of host -->)", lambda match: match[1] + block + match[2], text, flags=re.S)
    if count != 1:
        raise SystemExit(f"{path} has no place for the table of the workload host")
    with open(path, "w") as file:
        file.write(changed)


def megabytes(values):
    return f"{values['median'] / 1e6:.1f}"


def milliseconds(values):
    return report.amount(values["median"] / 1000)


def spread(values, scale, digits):
    return f"{values['median'] * scale:,.{digits}f} ({values['min'] * scale:,.{digits}f}–{values['max'] * scale:,.{digits}f})"


def table(results):
    first = results[0]
    theirs = first["contenders"][host.THEIRS]
    rows = ["| | CPU, ms for each minute | ratio | goal | resident, MB | proportional, MB | peak, MB |", "|---|---|---|---|---|---|---|"]
    for name, values in first["processes"].items():
        if name != host.OURS:
            rows.append(
                f"| {name} | {milliseconds(values['cpu_us'])} | | | {megabytes(values['resident'])} | {megabytes(values['proportional'])} | "
                f"{megabytes(values['peak'])} |")
    rows.append(
        f"| these three | {spread(theirs['cpu_us'], 1e-3, 0)} | 1 | | {spread(theirs['resident'], 1e-6, 1)} | "
        f"{megabytes(theirs['proportional'])} | {megabytes(theirs['peak'])} |")
    for result in results:
        ours, ratio, goal = result["contenders"][host.OURS], result["ratios"][host.THEIRS], result["goal"].get(host.THEIRS)
        verdict = "" if goal is None else f"≤ {goal}" + ("" if ratio["median"] <= goal else ", **missed**") + " "
        rows.append(
            f"| {LABELS[result['name']]} | {spread(ours['cpu_us'], 1e-3, 0)} | {spread(ratio, 1, 3)} | {verdict}| "
            f"{spread(ours['resident'], 1e-6, 1)} | {megabytes(ours['proportional'])} | {megabytes(ours['peak'])} |")
    return "\n" + "\n".join(rows) + "\n\n"


def short_table(results):
    theirs = results[0]["contenders"][host.THEIRS]
    rows = ["| | CPU of one core | ratio | resident memory |", "|---|---|---|---|",
            f"| Pushgateway + exporter_exporter + nginx | {theirs['cpu_us']['median'] / CORE * 100:.1f} % | 1 | {theirs['resident']['median'] / 1e6:.0f} MB |"]
    for result in results:
        if result["name"] in ("host/report", "host/refuse, app_label"):
            ours = result["contenders"][host.OURS]
            rows.append(
                f"| {LABELS[result['name']]} | {ours['cpu_us']['median'] / CORE * 100:.2f} % | {result['ratios'][host.THEIRS]['median']:.3f} | "
                f"{ours['resident']['median'] / 1e6:.0f} MB |")
    return "\n" + "\n".join(rows) + "\n\n"


def svg(results):
    """CPU time and resident memory, a bar for each contender; that of several processes has a piece for each."""
    def pieces(kind, scale):
        found = [(host.THEIRS, [(name, values[kind]["median"] * scale) for name, values in results[0]["processes"].items() if name != host.OURS])]
        return found + [(LABELS[result["name"]].replace("`", ""), [(host.OURS, result["contenders"][host.OURS][kind]["median"] * scale)])
                        for result in results]

    panel = 50 + ROW * (len(results) + 1)
    height = 2 * panel + 40
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{height}" font-family="sans-serif">',
        f'<rect width="{WIDTH}" height="{height}" fill="white"/>']
    parts += bars("CPU time, ms for each minute", pieces("cpu_us", 1e-3), 30)
    parts += bars("resident memory, MB", pieces("resident", 1e-6), 30 + panel)
    x = LEFT
    for name, color in COLORS.items():
        parts.append(f'<rect x="{x}" y="{height - 24}" width="12" height="12" fill="{color}"/>')
        parts.append(plot.text(x + 17, height - 14, name, 11))
        x += 40 + 7 * len(name)
    return "\n".join([*parts, "</svg>"]) + "\n"


def bars(title, rows, top):
    most = max(sum(value for _, value in pieces) for _, pieces in rows)
    parts = [plot.text(10, top, title, 14)]
    for index, (label, pieces) in enumerate(rows):
        x, y = LEFT, top + 14 + ROW * index
        parts.append(plot.text(LEFT - 8, y + 12, label, 11, "end"))
        for name, value in pieces:
            width = value / most * (WIDTH - LEFT - 70)
            parts.append(f'<rect x="{x:.1f}" y="{y}" width="{max(width, 1):.1f}" height="{ROW - 8}" fill="{COLORS[name]}"/>')
            x += width
        parts.append(plot.text(x + 6, y + 12, report.amount(sum(value for _, value in pieces)), 11))
    return parts
