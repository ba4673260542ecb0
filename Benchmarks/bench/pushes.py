"""Pushes, against a sink that only reads: the floor of what a receiver can cost."""
import os
import statistics

from . import servers

# µs of the sink on the machine that the goals were set on.
FLOOR_JSON_UNIX, FLOOR_STREAM = 12.1, 2.2
MODES = (("a connection each", ("json", "array", "capnp")), ("stream", ("capnp", "json")))


def run(bench):
    if not bench.wants_any(f"push/{kind}/{mode}/{form}" for kind in ("unix", "tcp") for mode, forms in MODES for form in forms):
        return
    corpus = bench.corpus("b")
    json = bench.start(servers.Proxy(bench, "push-json"))
    capnp = bench.start(servers.Proxy(bench, "push-capnp", format="capnp"))
    sinks = {kind: bench.start(servers.Sink(bench, kind)) for kind in ("unix", "tcp")}
    for kind in ("unix", "tcp"):
        def load(server, address, mode, form):
            return lambda: bench.measure([server], lambda: bench.push("stream" if mode == "stream" else "conn", address, os.path.join(corpus, form)))

        def address(proxy):
            return f"unix:{proxy.socket}" if kind == "unix" else f"tcp:{servers.HOST}:{proxy.tcp}"

        for mode, forms in MODES:
            for form in forms:
                proxy = capnp if form == "capnp" else json
                goal = {}
                if kind == "unix" and (mode, form) == ("a connection each", "json"):
                    goal = {"sink": round(36 / FLOOR_JSON_UNIX, 2)}
                if kind == "unix" and (mode, form) == ("stream", "capnp"):
                    goal = {"sink": round(4 / FLOOR_STREAM, 2)}
                bench.compare(
                    f"push/{kind}/{mode}/{form}",
                    {"exporter-proxy": load(proxy, address(proxy), mode, form), "sink": load(sinks[kind], sinks[kind].address, mode, form)},
                    goal, unit="push")
    bench.finish(json, capnp, *sinks.values())


def slowness(bench):
    """How many times longer this machine takes than the one that goals in µs were set on, by the sink's cost of a connection with 20 KB."""
    sink = bench.start(servers.Sink(bench, "unix"))
    folder = os.path.join(bench.corpus("b"), "json")
    taken = [bench.measure([sink], lambda: bench.push("conn", sink.address, folder))["cpu_us"] for _ in range(bench.rounds)]
    bench.finish(sink)
    return statistics.median(taken) / FLOOR_JSON_UNIX
