"""What it costs to check and to label metrics: beside the same push unchecked, and beside promtool."""
import os
import resource
import shutil
import statistics
import subprocess
import time

from . import servers

# The goals: a checked push, and a labelled one, beside one that is passed on unseen.
CHECKED, LABELLED = 2.0, 2.5
# The program reads the file and starts, which the figure includes.
CHECKS_PER_SECOND = 0.2


def run(bench):
    pushes(bench)
    reported(bench)
    files(bench)


def pushes(bench):
    """A JSON push of 20 KB over a connection of its own."""
    names = ("checks/push/refuse", "checks/push/refuse, app_label")
    if not bench.wants_any(names):
        return
    folder = os.path.join(bench.corpus("b"), "json")

    def load(proxy):
        return lambda: bench.measure([proxy], lambda: bench.push("conn", f"unix:{proxy.socket}", folder))

    unseen = bench.start(servers.Proxy(bench, "checks-off", validate="off"))
    refusing = bench.start(servers.Proxy(bench, "checks-refuse", validate="refuse"))
    labelling = bench.start(servers.Proxy(bench, "checks-label", validate="refuse", metrics='app_label = "app"'))
    for name, proxy, goal in ((names[0], refusing, CHECKED), (names[1], labelling, LABELLED)):
        bench.compare(name, {"exporter-proxy": load(proxy), "off": load(unseen)}, {"off": goal}, unit="push")
    bench.finish(unseen, refusing, labelling)


def reported(bench):
    """Scrapes while a thousand apps change at once and are checked in the background."""
    name = "checks/report/p99 of a scrape"
    if not bench.wants(name):
        return
    corpus = bench.corpus("c")
    ratios = []
    proxies = {mode: bench.start(servers.Proxy(bench, f"checks-{mode}", validate=mode)) for mode in ("off", "report")}
    for _ in range(bench.rounds):
        p99 = {}
        for mode, proxy in proxies.items():
            proxy.fill(bench, corpus)
            p99[mode] = bench.get(proxy.port, "/-/healthy", connections=1, pause_us=500, seconds=max(bench.seconds, 2))["p99_us"]
        ratios.append(p99["report"] / p99["off"])
    bench.note(name, statistics.median(ratios), "× that with off", 2, f"[{min(ratios):.2f}–{max(ratios):.2f}], 1,000 apps of 20 KB changed")
    bench.finish(*proxies.values())


def files(bench):
    """`exporter-proxy lint` beside `promtool check metrics`, on the metrics of corpus (b) as one text."""
    name = "checks/lint"
    if not bench.wants(name):
        return
    folder = os.path.join(bench.corpus("b"), "apps")
    path = os.path.join(bench.folder("lint"), "metrics.prom")
    size = 0
    with open(path, "wb") as file:
        for app in sorted(os.listdir(folder)):
            with open(os.path.join(folder, app), "rb") as source:
                size += file.write(source.read())
    promtool = servers.find("promtool", os.path.join(os.path.dirname(bench.build), "tools", "usr", "bin", "promtool"))

    def lint():
        return measured([bench.program, "lint", path], None, size)

    def check():
        with open(path, "rb") as file:
            return measured([promtool, "check", "metrics"], file, size)

    contenders = {"exporter-proxy": lint}
    if promtool and shutil.which(promtool):
        contenders["promtool"] = check
    bench.compare(name, contenders, {"promtool": CHECKS_PER_SECOND} if "promtool" in contenders else None, unit="text of 2 MB")


def measured(command, stdin, size):
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    start = time.monotonic()
    subprocess.run(command, stdin=stdin, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=False)
    seconds = time.monotonic() - start
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    spent = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return {"count": 1, "seconds": seconds, "cpu_us": spent * 1e6, "per_second": 1 / seconds, "bytes": size}
