"""What one host does all day: apps push, targets are polled, two Prometheus replicas scrape. The same job is done by exporter-proxy, and by
a Pushgateway and exporter_exporter behind nginx."""
import os
import statistics
import time
import urllib.parse

from . import bench as benching, hostcheck, hostload, processes, servers

APPS, APP_SIZE, PUSH_INTERVAL = 40, 20480, 10
TARGETS, TARGET_SIZE, POLL_INTERVAL = 10, 51200, 15
SCRAPE_INTERVAL = 15
# When within the interval each replica begins: Prometheus spreads them by a hash.
REPLICAS = (0.21, 0.68)
# Both intervals fit into it, so that each run holds the same number of pushes and scrapes.
CYCLE = 30
OURS, THEIRS = "exporter-proxy", "Pushgateway + exporter_exporter + nginx"
# Resident, MB of 10⁶ bytes.
MEMORY_GOAL = 35
# At the speed of a real host: what timers take counts in full.
REAL_TIME = "host/report, in real time"
# Name: (goal for the ratio of CPU time, what the proxy is set to).
MODES = {
    "host/off": (None, {"validate": "off"}),
    "host/report": (0.03, {"validate": "report"}),
    "host/refuse, app_label": (0.06, {"validate": "refuse", "label": "app"}),
    "host/report, Pushgateway's API": (None, {"validate": "report", "groups": True}),
    "host/report, each app its own target": (None, {"validate": "report", "per_app": True}),
    REAL_TIME: (None, {"validate": "report"}),
}
QUICK = ("host/off", "host/report", "host/refuse, app_label")


class Ours:
    """Half of the apps push JSON over the Unix socket, the others text over HTTP: with `groups` in the way that a Pushgateway takes too.
    With `per_app` Prometheus has a target for each app, as `exporter-proxy prometheus-config` prints it."""

    on_demand = False

    def __init__(self, bench, targets, speed, validate, label=None, groups=False, per_app=False):
        self.proxy = bench.start(servers.Proxy(
            bench, "host", tls="required", targets=[f"http://{servers.HOST}:{target.port}/metrics" for target in targets],
            interval=f"{POLL_INTERVAL * 1000 // speed}ms", threads=os.cpu_count(), validate=validate,
            metrics=f'app_label = "{label}"' if label else ""))
        apps = [f"app{index:05d}" for index in range(APPS)]
        pushed = [f"job/{app}" if groups and index % 2 else app for index, app in enumerate(apps)]
        polled = {target.metrics.name: f"external_poll: {servers.HOST}:{target.port}" for target in targets}
        self.reader = hostcheck.Reader(label, polled, [app for index, app in enumerate(apps) if groups and index % 2])
        prefix = "/metrics/job/" if groups else "/apps/"
        self.pushes = [
            hostload.push_http(self.proxy.http, prefix) if index % 2 else hostload.push_json(self.proxy.socket) for index in range(APPS)]
        # By job, the apps in the answer of each path.
        self.jobs = [{"/metrics": [*apps, *polled]}]
        if per_app:
            named = {**dict(zip(pushed, apps)), **{name: app for app, name in polled.items()}}
            self.jobs = [{f"/metrics?app={urllib.parse.quote(name)}": [app] for name, app in named.items()} | {"/metrics/self": []}]
        self.port = self.proxy.port
        self.processes = {OURS: self.proxy.pid}
        self.running = [self.proxy]


class Theirs:
    """All apps push over HTTP, for a Pushgateway has no Unix socket. exporter_exporter asks its targets when it is scraped."""

    on_demand = True

    def __init__(self, bench, targets, speed):
        gateway = bench.start(servers.Pushgateway(bench, tls=False))
        exporter = bench.start(servers.ExporterExporter(bench, {target.metrics.name: target.port for target in targets}))
        front = bench.start(servers.Front(bench, gateway.port, exporter.port))
        apps = [f"app{index:05d}" for index in range(APPS)]
        self.reader = hostcheck.Reader(grouped=apps)
        self.pushes = [hostload.push_http(gateway.port, "/metrics/job/")] * APPS
        self.jobs = [{"/metrics": apps}, {f"/proxy?module={target.metrics.name}": [target.metrics.name] for target in targets}]
        self.port = front.port
        self.processes = {"Pushgateway": gateway.pid, "exporter_exporter": exporter.pid, "nginx": front.pid}
        self.running = [gateway, exporter, front]


def run(bench, speed, quick):
    """Three minutes of a host's time, three times; with `quick` one minute, once."""
    minutes, rounds = (1, 1) if quick else (3, 3)
    wanted = [name for name in (QUICK if quick else MODES) if bench.wants(name)]
    if not wanted:
        return
    samples = {name: [] for name in (*wanted, THEIRS)}
    for _ in range(rounds):
        samples[THEIRS].append(measured(bench, Theirs, speed, minutes))
        for name in wanted:
            samples[name].append(measured(bench, Ours, 1 if name == REAL_TIME else speed, minutes, **MODES[name][1]))
    for name in wanted:
        report(bench, name, MODES[name][0], samples[name], samples[THEIRS])


def report(bench, name, goal, ours, theirs):
    ratios = benching.spread([a["cpu_us"] / b["cpu_us"] for a, b in zip(ours, theirs)])
    bench.add({
        "name": name, "unit": "minute of a host", "per_byte": False, "goal": {THEIRS: goal} if goal else {}, "ratios": {THEIRS: ratios},
        "contenders": {
            contender: {key: benching.spread([sample[key] for sample in taken]) for key in ("cpu_us", "bytes", "resident", "proportional", "peak")}
            for contender, taken in ((OURS, ours), (THEIRS, theirs))},
        "processes": {
            process: {key: benching.spread([sample["processes"][process][key] for sample in taken]) for key in taken[0]["processes"][process]}
            for taken in (ours, theirs) for process in taken[0]["processes"]}})
    resident = [sample["resident"] / 1e6 for sample in ours]
    bench.note(
        f"{name}: memory", statistics.median(resident), "MB resident at most", MEMORY_GOAL,
        f"[{min(resident):.1f}–{max(resident):.1f}]; the others {statistics.median(sample['resident'] for sample in theirs) / 1e6:.1f}")


def measured(bench, contender, speed, minutes, **settings):
    """Runs one contender for so many minutes of a host's time, and returns what it took for each."""
    seconds = minutes * 60 / speed
    targets = [hostload.Target(hostload.Metrics(APPS + index, TARGET_SIZE, 3)) for index in range(TARGETS)]
    server = contender(bench, targets, speed, **settings)
    apps = [hostload.App(hostload.Metrics(index, APP_SIZE, 3), push) for index, push in enumerate(server.pushes)]
    jobs = [hostload.Job(server.port, paths) for _ in REPLICAS for paths in server.jobs]
    warm_up(apps, jobs)
    # One cycle more, so that buffers and heaps have their size.
    load(apps, jobs, speed, CYCLE / speed).run()
    usage = Usage(server.processes)
    usage.of(load(apps, jobs, speed, seconds))
    for ended in (*jobs, *targets):
        ended.stop()
    bench.finish(*reversed(server.running))
    verify(server, apps, targets, jobs)
    return usage.per_minute(minutes) | {"bytes": sum(job.mean_size() for job in jobs) / len(REPLICAS)}


def warm_up(apps, jobs):
    """Does everything once."""
    for app in apps:
        app.once()
    for job in jobs:
        for path in job.paths:
            job.once(path)


def load(apps, jobs, speed, seconds):
    """The timetable of pushes and scrapes."""
    timetable = hostload.Timetable(seconds)
    for index, app in enumerate(apps):
        timetable.add(PUSH_INTERVAL / speed, [(index / len(apps), app.once)])
    jobs_each = len(jobs) // len(REPLICAS)
    for index, job in enumerate(jobs):
        timetable.add(SCRAPE_INTERVAL / speed, job.spread(REPLICAS[index // jobs_each]))
    return timetable


class Usage:
    """CPU time and memory of processes and of their children."""

    def __init__(self, names):
        self.names = names
        self.spent = self.peaks = None
        # By process: the largest sum over its children, of what is sampled each second.
        self.most = {name: {"resident": 0, "proportional": 0} for name in names}
        self.most_together = {"resident": 0, "proportional": 0}

    def cpu_ns(self):
        return {name: sum(map(processes.cpu_ns, processes.family(pid))) for name, pid in self.names.items()}

    def of(self, timetable):
        """Runs it, and measures from its begin until its last action has ended."""
        before = self.cpu_ns()
        timetable.start()
        while timetable.is_running():
            self.sample()
            time.sleep(min(1, max(0.01, timetable.end - time.monotonic())))
        timetable.join()
        self.spent = {name: spent - before[name] for name, spent in self.cpu_ns().items()}
        self.peaks = {name: sum(processes.memory(pid)["peak"] for pid in processes.family(pid)) for name, pid in self.names.items()}

    def sample(self):
        now = {name: [processes.memory(pid) for pid in processes.family(pid)] for name, pid in self.names.items()}
        for kind, most in self.most_together.items():
            sums = {name: sum(taken[kind] for taken in memory) for name, memory in now.items()}
            for name, value in sums.items():
                self.most[name][kind] = max(self.most[name][kind], value)
            self.most_together[kind] = max(most, sum(sums.values()))

    def per_minute(self, minutes):
        cpu_us = {name: spent / 1000 / minutes for name, spent in self.spent.items()}
        return {
            "cpu_us": sum(cpu_us.values()), "peak": sum(self.peaks.values()), **self.most_together,
            "processes": {name: {"cpu_us": cpu_us[name], "peak": self.peaks[name], **self.most[name]} for name in self.names}}


def verify(server, apps, targets, jobs):
    """Each answer must hold the last version of each app."""
    expected = {source.metrics.name: hostcheck.Expected(source.metrics) for source in (*apps, *targets)}
    taken = {app.metrics.name: app.pushes for app in apps}
    polled = {target.metrics.name: target.answers for target in targets}
    for job in jobs:
        for scrape in job.scrapes:
            found = server.reader.read(scrape.body)
            if found.keys() != set(job.paths[scrape.path]):
                raise SystemExit(f"{scrape.path} holds {sorted(found)}")
            for name, samples in found.items():
                allowed = (
                    hostcheck.versions(scrape, taken[name]) if name in taken
                    else hostcheck.versions(scrape, polled[name], server.on_demand, hostcheck.TAKEN))
                hostcheck.check(scrape, samples, name, expected[name], allowed)
