"""Instructions for each request, counted by callgrind: the same on an idle and on a busy machine, so CI can hold them to limits."""
import json
import os
import re
import subprocess
import time

from . import pushes, servers

# More than that above the limit file's figure fails: compilers and libraries differ a little, a lost fast path by far more.
TOLERANCE = 1.25


def run(bench, root, profiles):
    path = os.path.join(root, "Benchmarks", "instructions.json")
    with open(path) as file:
        limits = json.load(file)
    # Valgrind cannot read the compiler's newer debugging information; the names of functions stay.
    stripped = os.path.join(bench.work, "exporter-proxy")
    subprocess.run(["strip", "--strip-debug", "-o", stripped, bench.program], check=True)
    bench.program = stripped
    if profiles:
        profiles = os.path.abspath(profiles)
        os.makedirs(profiles, exist_ok=True)
    counted = {name: count(bench, name, profiles, *scenario) for name, scenario in scenarios(bench).items() if bench.wants(name)}
    if bench.wants(POLLED):
        counted[POLLED] = count_polls(bench, profiles)
    failures = 0
    for name, value in counted.items():
        limit = limits.get(name)
        passed = limit is not None and value <= limit * TOLERANCE
        failures += not passed
        print(f"{name:34} {value:>12,} instructions, {limit or 0:>12,} recorded  {'' if passed else 'PASSES THE LIMIT'}", flush=True)
    if os.environ.get("RECORD"):
        with open(path, "w") as file:
            json.dump({**limits, **counted}, file, indent=1)
            file.write("\n")
        return 0
    if failures:
        print(f"script/bench: error: {failures} hot paths take more than {TOLERANCE - 1:.0%} more instructions than {path} says; "
              "if that is meant, RECORD=1 script/bench --guard writes the new figures")
    return 1 if failures else 0


def scenarios(bench):
    """Name: (TLS, format, corpus, requests, load)."""
    def scrape(tls, gzip=False, kind="keep"):
        # Longer apart than scrapes share what the proxy says of itself: each has it written anew, as in real life.
        return lambda proxy, count: bench.get(proxy.port, "/metrics", tls, kind, gzip=gzip, connections=1, count=count, pause_us=3000)

    def handshake(version, kind):
        return lambda proxy, count: bench.get(proxy.port, "/-/healthy", version, kind, connections=1, count=count)

    def push(mode, form, address):
        folder = os.path.join(bench.corpus("b"), form)
        return lambda proxy, count: bench.push(mode, address(proxy), folder, connections=1, count=count)

    def unix(proxy):
        return f"unix:{proxy.socket}"

    def push_over_http(proxy, count):
        pushes.requests(bench, proxy.http, pushes.text_pushes(bench.corpus("b")), count)

    def changed(proxy, count):
        for _ in range(count):
            bench.push("conn", unix(proxy), one, connections=1, count=1)
            bench.get(proxy.port, "/metrics", "1.3", gzip=True, connections=1, count=1)

    one = bench.folder("one-message")
    source = os.path.join(bench.corpus("b"), "json", "app00003")
    if not os.path.exists(os.path.join(one, "app00003")):
        os.symlink(source, os.path.join(one, "app00003"))
    return {
        "scrape, small, plain": ("off", "json", "a", 500, scrape("off")),
        "scrape, small, TLS": ("required", "json", "a", 500, scrape("1.3")),
        "scrape, small, TLS, gzip": ("required", "json", "a", 500, scrape("1.3", gzip=True)),
        "scrape, 2 MB, plain": ("off", "json", "b", 100, scrape("off")),
        "scrape, 2 MB, TLS, gzip": ("required", "json", "b", 50, scrape("1.3", gzip=True)),
        "scrape, 2 MB, one app changed": ("required", "json", "b", 20, changed),
        "handshake, full": ("required", "json", "a", 50, handshake("1.3", "new")),
        "handshake, resumed": ("required", "json", "a", 50, handshake("1.3", "resumed")),
        "push, JSON, a connection each": ("off", "json", "b", 300, push("conn", "json", unix)),
        "push, JSON, stream": ("off", "json", "b", 300, push("stream", "json", unix)),
        "push, HTTP, text, a kept connection": ("off", "json", "b", 300, push_over_http),
        "push, Cap'n Proto, stream": ("off", "capnp", "b", 500, push("stream", "capnp", unix)),
    }


POLLED = "poll"


def count_polls(bench, profiles):
    """Instructions of one poll more: nginx, which is the targets, counts them."""
    corpus = bench.corpus("targets")
    # Under callgrind and on a busy machine, more targets would not be polled within their second.
    names = sorted(os.listdir(os.path.join(corpus, "apps")))[:40]
    nginx = bench.start(servers.Nginx(bench, origins=len(names)))
    for name in names:
        os.symlink(os.path.join(corpus, "apps", name), os.path.join(nginx.root, name))
    proxy, output = start(bench, profiles, POLLED, "off", "json", [f"http://{nginx.origin(index)}/plain/{name}" for index, name in enumerate(names)])
    time.sleep(2)
    control(proxy, "--zero")
    before = nginx.requests()
    time.sleep(10)
    control(proxy, "--dump")
    polls = nginx.requests() - before
    bench.finish(proxy, nginx)
    return instructions(output) // polls


def count(bench, name, profiles, tls, form, corpus, requests, load):
    """Instructions of one request more, beginning when the first ones have warmed everything up."""
    proxy, output = start(bench, profiles, name, tls, form)
    if form == "json":
        proxy.fill(bench, bench.corpus(corpus))
    load(proxy, max(10, requests // 10))
    control(proxy, "--zero")
    load(proxy, requests)
    control(proxy, "--dump")
    bench.finish(proxy)
    return instructions(output) // requests


def start(bench, profiles, name, tls, form, targets=()):
    # Background checks run on a thread of their own: their instructions would be counted with the requests'.
    folder = bench.folder(f"callgrind-{re.sub('[^a-z0-9]+', '-', name.lower())}")
    output = os.path.join(profiles or folder, os.path.basename(folder))
    wrapper = ["valgrind", "--tool=callgrind", f"--callgrind-out-file={output}", "--quiet"]
    return bench.start(servers.Proxy(bench, os.path.basename(folder), tls=tls, format=form, threads=1, targets=targets,
                                     validate="off", wrapper=wrapper)), output


def control(proxy, command):
    subprocess.run(["callgrind_control", command, str(proxy.pid)], check=True, capture_output=True)


def instructions(output):
    with open(f"{output}.1") as file:
        return int(re.search(r"^(?:summary|totals): (\d+)", file.read(), re.M).group(1))
