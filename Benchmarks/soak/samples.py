"""What the program takes, every few seconds; and at the end, whether it gave everything back."""
import csv
import json
import os
import statistics
import time

from bench import processes
from measure import quantiles

NAME = "samples.csv"
INTERVAL = 5
# Together with what makes the load: half of one core, so that the machine can do other things.
CORES = 0.5
# The kinds of `exporter_proxy_held_bytes`.
HELD = ("reading", "pushing", "polling", "answering", "handshaking")
FIELDS = [
    "seconds", "phase", "life", "resident", "proportional", "private", "threads", "descriptors", "cpu", "soak_cpu", "pace", "lag", "loop_wait",
    *HELD, "apps", "stored_bytes", "scrapes", "pushes", "polls", "p50", "p99", "slowest", "violations"]
# What may remain when all peers have left, beyond what was there before they came.
MAY_REMAIN = {"resident": 16 << 20, "descriptors": 4, "threads": 8}
HELD_MAY_REMAIN = 256 << 10
# What may be added in an hour of load, and from its first minutes to its last, within one life of the process that is long enough to tell; of
# the lowest value in each two minutes, because the number of peers goes up and down.
MAY_GROW = {"resident": 5 << 20, "descriptors": 10, "threads": 2}
LONG_LIFE, WARM = 900, 300


def are_in(folder):
    """Whether a run has written samples into the folder, also one of another version with further fields."""
    try:
        with open(f"{folder}/{NAME}") as file:
            return file.readline().startswith(",".join(FIELDS[:3]) + ",")
    except (OSError, UnicodeDecodeError):
        return False


def proportional(pid):
    """Bytes, with pages that are shared counted in part."""
    with open(f"/proc/{pid}/smaps_rollup") as file:
        for line in file:
            if line.startswith("Pss:"):
                return int(line.split()[1]) * 1024
    return 0


def loop_waits(pid):
    """How long each event loop has been ready to run without a core, in nanoseconds. It explains a lag that is the machine's."""
    waits = {}
    for task in os.listdir(f"/proc/{pid}/task"):
        try:
            with open(f"/proc/{pid}/task/{task}/comm") as file:
                if not file.read().startswith("NIO-ELT"):
                    continue
            with open(f"/proc/{pid}/task/{task}/schedstat") as file:
                waits[task] = int(file.read().split()[1])
        except OSError:
            # A thread that has ended.
            continue
    return waits


class Samples:
    def __init__(self, run, program, scraping, targets, operations):
        self.run, self.program, self.scraping, self.targets, self.operations = run, program, scraping, targets, operations
        self.rows = []
        self.latencies = []
        self.file = open(f"{run.output}/{NAME}", "w", newline="")
        self.writer = csv.DictWriter(self.file, FIELDS)
        self.writer.writeheader()
        # From now on this is the folder of a run.
        self.file.flush()
        self.before = None
        self.waits = {}

    def start(self):
        self.run.start("samples", self._go)

    def _go(self):
        while not self.run.is_ended.wait(INTERVAL):
            if self.program.process.poll() is not None and "restart" not in self.run.windows.open_names():
                self.run.violation("the program never ends by itself", f"exit status {self.program.process.returncode}")
                self.run.is_ended.set()
                return
            try:
                self.take()
            except (OSError, KeyError, TypeError, AttributeError) as error:
                # Between two lives there is nothing to read.
                if "restart" not in self.run.windows.open_names() and self.program.process.poll() is None:
                    self.run.violation("the program can be measured", repr(error))

    def _cpu(self, pid):
        """Seconds of this process and its children since the last call, and those of the program."""
        now = {"time": time.monotonic(), "soak": time.process_time_ns(), "program": processes.cpu_ns(pid), "pid": pid}
        hostile = self.operations.hostile_process
        if hostile:
            now["soak"] += processes.cpu_ns(hostile.pid)
        before, self.before = self.before, now
        if before is None or before["pid"] != pid:
            return None, None
        seconds = (now["time"] - before["time"]) * 1e9
        return (now["program"] - before["program"]) / seconds, (now["soak"] - before["soak"]) / seconds

    def take(self):
        life, pid = self.run.life, self.program.pid
        memory = processes.memory(pid)
        cpu, soak_cpu = self._cpu(pid)
        with open(f"/proc/{pid}/status") as file:
            threads = int(next(line for line in file if line.startswith("Threads:")).split()[1])
        descriptors = len(os.listdir(f"/proc/{pid}/fd"))
        own = self.program.own_metrics()
        latencies = self.scraping.take_latencies()
        self.latencies += latencies
        spread = quantiles([seconds for _, seconds in latencies])
        waits, before = loop_waits(pid), self.waits
        self.waits = waits
        waited = max((wait - before[task] for task, wait in waits.items() if task in before), default=0) / 1e9
        if cpu is not None:
            # Slowly, and never so slow that nothing happens.
            self.run.pace = min(max(self.run.pace * (1.1 if cpu + soak_cpu > CORES else 0.95), 0.5), 8)
        row = {
            "seconds": round(self.run.elapsed, 1), "phase": self.run.phase, "life": life, "resident": memory["resident"],
            "proportional": proportional(pid), "private": memory["private"], "threads": threads, "descriptors": descriptors,
            "cpu": cpu and round(cpu, 4), "soak_cpu": soak_cpu and round(soak_cpu, 4), "pace": round(self.run.pace, 2),
            "lag": own.get("event_loop_lag_seconds", 0), "loop_wait": round(waited, 4), "apps": int(own["apps"]),
            "stored_bytes": int(own["stored_bytes"]), "scrapes": self.run.counts["scrapes"], "pushes": self.run.counts["pushes acknowledged"],
            "polls": sum(origin.polls for origin in self.targets.origins), "p50": round(spread["p50"], 5), "p99": round(spread["p99"], 5),
            "slowest": round(spread["max"], 5), "violations": self.run.counts["violations"]}
        for kind in HELD:
            row[kind] = int(own[f'held_bytes{{kind="{kind}"}}'])
        if self.run.life != life:
            return
        self.rows.append(row)
        self.writer.writerow(row)
        self.file.flush()

    # MARK: At the end

    def of_phase(self, phase, share=0.5):
        """The last part of a quiet phase, when everything has come to rest."""
        rows = [row for row in self.rows if row["phase"] == phase]
        return rows[int(len(rows) * (1 - share)):]

    def judge(self):
        """Checks what remains and what grows; the summary, as a value."""
        phases = {}
        for phase in ("before", "load", "restarts", "after"):
            rows = self.of_phase(phase) if phase in ("before", "after") else [row for row in self.rows if row["phase"] == phase]
            if rows:
                taken = quantiles([seconds for of, seconds in self.latencies if of == phase])
                phases[phase] = {
                    **{key: middle([row[key] for row in rows if row[key] is not None]) for key in (
                        "resident", "proportional", "private", "threads", "descriptors", "lag", "loop_wait", "cpu", "soak_cpu")},
                    "held": max(sum(row[kind] for kind in HELD) for row in rows),
                    "scrape": taken}
        log = [{"level": level, "message": message, "count": number} for (level, message), number in self.program.log_counts.most_common()]
        return {
            "minutes": round(self.run.elapsed / 60, 1), "phases": phases, "lives": self._lives(), "violations": self.run.counts["violations"],
            "counts": dict(sorted(self.run.counts.items())), "log": log}

    def check(self, summary):
        """At the very end of a run."""
        phases = summary["phases"]
        if "before" not in phases or "after" not in phases:
            self.run.violation("the run has a quiet begin and end", str(list(phases)))
            return
        for key, most in MAY_REMAIN.items():
            before, after = phases["before"][key]["median"], phases["after"][key]["median"]
            if after > before + most:
                self.run.violation(f"{key} come back", f"{before} before, {after} after the load; {most} more may remain")
        if phases["after"]["held"] > HELD_MAY_REMAIN:
            self.run.violation("nothing is held for peers that have left", f"{phases['after']['held']} bytes")
        for life in summary["lives"]:
            for key, most in MAY_GROW.items():
                if life["growth"] and life["growth"][key] > most:
                    self.run.violation(f"{key} do not grow", f"life {life['life']}: {life['growth'][key]} an hour; {most} may be added")

    def _lives(self):
        lives = []
        for life in sorted({row["life"] for row in self.rows}):
            rows = [row for row in self.rows if row["life"] == life]
            load = [row for row in rows if row["phase"] in ("load", "restarts")]
            load = [row for row in load if row["seconds"] >= load[0]["seconds"] + WARM]
            seconds = load[-1]["seconds"] - load[0]["seconds"] if load else 0
            # A single step, such as the first use of a pool of threads, looks steep in less than an hour.
            growth = {
                key: round(min(slope(load, key) * 3600, added(load, key)), 2) for key in MAY_GROW} if seconds >= LONG_LIFE else None
            lives.append({
                "life": life, "seconds": round(rows[-1]["seconds"] - rows[0]["seconds"]), "growth": growth,
                "resident": [rows[0]["resident"], max(row["resident"] for row in rows), rows[-1]["resident"]]})
        return lives


def middle(values):
    return {"median": statistics.median(values), "max": max(values)} if values else {"median": 0, "max": 0}


def lowest(rows, key, window=120):
    """The lowest value of each window, with its time in seconds."""
    values = {}
    for row in rows:
        at = int(row["seconds"] // window)
        values[at] = min(values.get(at, row[key]), row[key])
    return [(at * window, value) for at, value in values.items()]


def added(rows, key):
    """How much higher the lowest value of the last window is than that of the first."""
    points = lowest(rows, key)
    return points[-1][1] - points[0][1]


def slope(rows, key):
    """How much the lowest value of each window grows in a second, by least squares."""
    points = lowest(rows, key)
    mean_x, mean_y = (statistics.fmean(point[index] for point in points) for index in (0, 1))
    spread = sum((x - mean_x) ** 2 for x, _ in points)
    return sum((x - mean_x) * (y - mean_y) for x, y in points) / spread if spread else 0.0


def markdown(summary):
    """The summary for people."""
    names = {"before": "before, quiet", "load": "mixed load", "restarts": "with restarts", "after": "after, quiet"}
    columns = [
        "", "resident, MB: median, most", "proportional", "threads", "descriptors", "event-loop lag, ms: median, most",
        "an event loop waits for a core, ms of 5 s", "scrape, ms: p50, p99, slowest", "cores: program, soak"]
    lines = [f"{summary['minutes']} minutes, {summary['violations']} violations.", "", f"| {' | '.join(columns)} |", "|---" * len(columns) + "|"]
    for phase, of in summary["phases"].items():
        megabytes = [f"{of[key]['median'] / 1e6:.1f}, {of[key]['max'] / 1e6:.1f}" for key in ("resident", "proportional")]
        numbers = [f"{of[key]['median']:.0f}, {of[key]['max']}" for key in ("threads", "descriptors")]
        lag = " | ".join(f"{of[key]['median'] * 1000:.1f}, {of[key]['max'] * 1000:.1f}" for key in ("lag", "loop_wait"))
        scrape = ", ".join(f"{of['scrape'][key] * 1000:.1f}" for key in ("p50", "p99", "max"))
        cores = f"{of['cpu']['median']:.2f}, {of['soak_cpu']['median']:.2f}"
        lines.append(f"| {' | '.join([names[phase], *megabytes, *numbers, lag, scrape, cores])} |")
    lines += ["", "| process | minutes | resident, MB: first, most, last | in an hour: resident MB, descriptors, threads |", "|---|---|---|---|"]
    for life in summary["lives"]:
        growth = life["growth"]
        grown = f"{growth['resident'] / 1e6:.2f}, {growth['descriptors']:.1f}, {growth['threads']:.1f}" if growth else ""
        resident = ", ".join(f"{value / 1e6:.1f}" for value in life["resident"])
        lines.append(f"| {life['life']} | {life['seconds'] / 60:.1f} | {resident} | {grown} |")
    lines += ["", "| done | number |", "|---|---|"]
    lines += [f"| {name} | {number:,} |" for name, number in summary["counts"].items()]
    lines += ["", "| log | lines |", "|---|---|"]
    lines += [f"| {entry['level']}: {entry['message'].replace('|', ' ')} | {entry['count']:,} |" for entry in summary["log"]]
    return "\n".join(lines) + "\n"


def write(run, summary):
    for name, text in (("summary.json", json.dumps(summary, indent=1)), ("summary.md", markdown(summary))):
        with open(f"{run.output}/{name}", "w") as file:
            file.write(text)
