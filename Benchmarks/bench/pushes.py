"""Pushes, against a sink that only reads: the floor of what a receiver can cost; over HTTP, against JSON over TCP and a Pushgateway."""
import os
import socket
import statistics
import time

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


def run_http(bench):
    """20 KB as text over a kept HTTP connection beside the same as JSON over a kept TCP connection, and a group of 200 samples beside a
    Pushgateway that takes the same."""
    if not bench.wants_any(["push/http/text", "push/http/group"]):
        return
    corpus = bench.corpus("b")
    proxy = bench.start(servers.Proxy(bench, "push-http"))
    texts = text_pushes(corpus)
    bench.compare(
        "push/http/text",
        {
            "exporter-proxy": lambda: bench.measure([proxy], lambda: requests(bench, proxy.http, texts)),
            "JSON over TCP": lambda: bench.measure(
                [proxy], lambda: bench.push("stream", f"tcp:{servers.HOST}:{proxy.tcp}", os.path.join(corpus, "json"), connections=1)),
        },
        {"JSON over TCP": 1.25}, unit="push")
    gateway = bench.start(servers.Pushgateway(bench, tls=False))
    samples = "# TYPE bench_total counter\n" + "".join(f'bench_total{{path="/some/path/{n}",method="GET"}} {n}.5\n' for n in range(200))
    groups = [request("PUT", f"/metrics/job/bench/instance/{n}", samples.encode()) for n in range(20)]
    bench.compare(
        "push/http/group",
        {
            "exporter-proxy": lambda: bench.measure([proxy], lambda: requests(bench, proxy.http, groups)),
            "prometheus-pushgateway": lambda: bench.measure([gateway], lambda: requests(bench, gateway.port, groups)),
        },
        {"prometheus-pushgateway": 0.1}, unit="push")
    bench.finish(proxy, gateway)


def text_pushes(corpus):
    """A `PUT` of each app of a corpus."""
    apps = os.path.join(corpus, "apps")
    pushes = []
    for name in sorted(os.listdir(apps)):
        with open(os.path.join(apps, name), "rb") as file:
            pushes.append(request("PUT", f"/apps/{name}", file.read()))
    return pushes


def request(method, path, body):
    # With the type that client libraries send.
    return (f"{method} {path} HTTP/1.1\r\nHost: {servers.HOST}\r\nContent-Type: text/plain; version=0.0.4; charset=utf-8\r\n"
            f"Content-Length: {len(body)}\r\n\r\n").encode() + body


def requests(bench, port, messages, number=None):
    """Sends the messages in turn over one kept connection, each after the answer to the one before: `number` of them, or for `bench.seconds`."""
    connection = socket.create_connection((servers.HOST, port))
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    begin = time.monotonic()
    count = size = 0
    while count < number if number else time.monotonic() - begin < bench.seconds:
        message = messages[count % len(messages)]
        connection.sendall(message)
        answer = b""
        while b"\r\n\r\n" not in answer:
            answer += connection.recv(65536)
        if not answer.startswith(b"HTTP/1.1 20"):
            raise SystemExit(f"a push was answered: {answer.decode(errors='replace')}")
        count += 1
        size += len(message)
    seconds = time.monotonic() - begin
    connection.close()
    return {"count": count, "bytes": size, "seconds": seconds}
