"""Results as text, as Markdown and as JSON."""
import json
import os
import platform


def amount(value):
    """Three significant digits."""
    if value == 0:
        return "0"
    digits = max(0, 2 - len(str(int(abs(value)))) + 1)
    return f"{value:,.{min(digits, 2)}f}"


def verdict(result, peer):
    """Whether a goal is met, by the median."""
    goal, ratio = result["goal"].get(peer), result["ratios"].get(peer)
    if goal is None or not ratio:
        return ""
    return f"goal {goal}: " + ("met" if ratio["median"] <= goal else "MISSED")


def lines(result):
    if "value" in result:
        limit = f"  (goal {amount(result['limit'])}: {'met' if result['value'] <= result['limit'] else 'MISSED'})" if result["limit"] else ""
        return f"{result['name']:42} {amount(result['value']):>9} {result['unit']}{limit}  {result['detail']}"
    if "points" in result:
        text = [f"{result['name']}  ({result['unit']}, by {result['axis']})"]
        for point, values in result["points"]:
            text.append(f"    {point:>26,} {amount(values['median']):>9}     [{amount(values['min'])}–{amount(values['max'])}]")
        return "\n".join(text)
    text = [f"{result['name']}  (server's CPU per {result['unit']})"]
    for contender, values in result["contenders"].items():
        cpu = values["cpu_us"]
        line = f"    {contender:26} {amount(cpu['median']):>9} µs  [{amount(cpu['min'])}–{amount(cpu['max'])}]"
        if "per_second" in values:
            line += f"  {amount(values['per_second']['median']):>9}/s"
        if "resident" in values:
            line += f"  resident {amount(values['resident']['median'] / 1e6)} MB"
        if values.get("p50_us", {}).get("median"):
            line += f"  p50 {amount(values['p50_us']['median'])} p99 {amount(values['p99_us']['median'])} µs"
        if "bytes" in values:
            line += f"  {amount(values['bytes']['median'])} bytes"
        ratio = result["ratios"].get(contender)
        if ratio:
            per_byte = " per byte" if result["per_byte"] else ""
            line += f"  → {ratio['median']:.3f}× [{ratio['min']:.3f}–{ratio['max']:.3f}]{per_byte} {verdict(result, contender)}"
        text.append(line)
    return "\n".join(text)


def markdown(results):
    rows = ["| workload | ours | peer | CPU, ours | CPU, peer | ratio (spread) | goal |", "|---|---|---|---|---|---|---|"]
    figures = ["| figure | value | goal |", "|---|---|---|"]
    curves = ["| curve | by | values |", "|---|---|---|"]
    for result in results:
        if "value" in result:
            limit = f"≤ {amount(result['limit'])} {result['unit']}" if result["limit"] else ""
            figures.append(f"| {result['name']} | {amount(result['value'])} {result['unit']} {result['detail']} | {limit} |")
            continue
        if "points" in result:
            values = ", ".join(f"{point:,}: {amount(values['median'])}" for point, values in result["points"])
            curves.append(f"| {result['name']}, {result['unit']} | {result['axis']} | {values} |")
            continue
        ours = next(iter(result["contenders"]))
        for peer, ratio in result["ratios"].items():
            if not ratio:
                continue
            goal = result["goal"].get(peer)
            mine, theirs = result["contenders"][ours], result["contenders"][peer]
            per_byte = ", per byte" if result["per_byte"] else ""
            rows.append(
                f"| {result['name']} | {ours} | {peer} | {amount(mine['cpu_us']['median'])} µs | {amount(theirs['cpu_us']['median'])} µs "
                f"| {ratio['median']:.2f} ({ratio['min']:.2f}–{ratio['max']:.2f}{per_byte}) | {'≤ ' + str(goal) if goal else ''} |")
    return "\n".join(rows) + "\n\n" + "\n".join(figures) + "\n\n" + "\n".join(curves) + "\n"


def write_json(path, results, settings):
    with open(path, "w") as file:
        json.dump({
            "machine": {"cores": os.cpu_count(), "kernel": platform.release(), "processor": processor()},
            "settings": settings, "results": results}, file, indent=1)
        file.write("\n")


def processor():
    with open("/proc/cpuinfo") as file:
        names = [line.split(":", 1)[1].strip() for line in file if line.startswith("model name")]
    return names[0] if names else platform.machine()
