"""Scrapes and handshakes, against nginx and a Pushgateway."""
import os
import socket
import ssl
import time

from . import servers


FORMS = ("plain", "plain, 10 ms apart", "tls", "tls+gzip/ready", "tls+gzip/fly", "tls+gzip/changed")
HANDSHAKES = (("1.3", "full", 1.0), ("1.3", "resumed", None), ("1.2", "full", 1.0), ("1.2", "resumed", None))


def run(bench, nginx, quick):
    for name in ("a", "b", "c") if quick else ("a", "b", "c", "d"):
        if bench.wants_any(f"scrape/{name}/{form}" for form in FORMS):
            of_corpus(bench, nginx, name, quick)
    if bench.wants_any(f"handshake/{kind}/TLS {version}" for version, kind, _ in HANDSHAKES):
        handshakes(bench, nginx)


def of_corpus(bench, nginx, name, quick):
    corpus = bench.corpus(name)
    plain = bench.start(servers.Proxy(bench, f"plain-{name}"))
    secure = bench.start(servers.Proxy(bench, f"tls-{name}", tls="required"))
    for proxy in (plain, secure):
        proxy.fill(bench, corpus)
    # nginx serves the very bytes that the proxy does, its own metrics included.
    body = servers.fetch(plain.port, "/metrics")[1]
    nginx.serve(name, body)

    def ours(proxy, gzip=False):
        return lambda: bench.measure([proxy], lambda: bench.get(proxy.port, "/metrics", "1.3" if proxy.tls else "off", gzip=gzip))

    def theirs(path, tls, gzip=False):
        port = nginx.tls_port if tls else nginx.port
        return lambda: bench.measure([nginx], lambda: bench.get(port, f"/{path}/{name}", "1.3" if tls else "off", gzip=gzip))

    def apart(server, port, path):
        # Long enough apart that each scrape writes the proxy's own metrics again, as real ones do.
        return lambda: bench.measure(
            [server], lambda: bench.get(port, path, connections=1, pause_us=10000, seconds=max(bench.seconds, 3)))

    static = {} if name == "d" else {"nginx, the same file": 1.0}
    bench.compare(f"scrape/{name}/plain", {"exporter-proxy": ours(plain), "nginx, the same file": theirs("plain", False)}, static)
    if name == "a":
        bench.compare(
            "scrape/a/plain, 10 ms apart",
            {"exporter-proxy": apart(plain, plain.port, "/metrics"), "nginx, the same file": apart(nginx, nginx.port, f"/plain/{name}")},
            {"nginx, the same file": 1.3})
    bench.compare(f"scrape/{name}/tls", {"exporter-proxy": ours(secure), "nginx, the same file": theirs("plain", True)}, static)
    bench.compare(
        f"scrape/{name}/tls+gzip/ready",
        {"exporter-proxy": ours(secure, True), "nginx, ready-made gzip": theirs("ready", True, True)},
        {"nginx, ready-made gzip": 1.5}, per_byte=True)
    on_the_fly = {"exporter-proxy": ours(secure, True)}
    if not (quick and name == "c"):
        on_the_fly["nginx, gzip on the fly"] = chunked(bench, nginx, nginx.tls_port, f"/fly/{name}")
    if name == "a" or (name == "b" and not quick):
        gateway = bench.start(servers.Pushgateway(bench))
        gateway.fill(corpus)
        on_the_fly["pushgateway, gzip"] = chunked(bench, gateway, gateway.port, "/metrics")
    if len(on_the_fly) > 1:
        goal = {"nginx, gzip on the fly": 0.05} if name in "bc" else {}
        bench.compare(f"scrape/{name}/tls+gzip/fly", on_the_fly, goal)
    changing(bench, secure, name, corpus)
    bench.finish(plain, secure)


def chunked(bench, server, port, path):
    """Who compresses while sending sends chunks, which the C driver does not read. This one does, as slowly as it may."""
    def load():
        begin, count, size = time.monotonic(), 0, 0
        reader = Reader(port)
        while count < 3 or time.monotonic() - begin < bench.seconds:
            size = reader.get(path)
            count += 1
        reader.close()
        return {"count": count, "seconds": time.monotonic() - begin, "bytes": size}
    return lambda: bench.measure([server], load)


class Reader:
    """One kept TLS connection that asks for gzip."""

    def __init__(self, port):
        context = ssl._create_unverified_context()
        self.socket = context.wrap_socket(socket.create_connection((servers.HOST, port)))
        self.file = self.socket.makefile("rb", 1 << 18)

    def get(self, path):
        """The size of the body."""
        self.socket.sendall(f"GET {path} HTTP/1.1\r\nHost: localhost\r\nAccept-Encoding: gzip\r\n\r\n".encode())
        if b" 200 " not in self.file.readline():
            raise SystemExit(f"{path} is not there")
        length = None
        while (line := self.file.readline().lower()) != b"\r\n":
            if line.startswith(b"content-length:"):
                length = int(line.split(b":")[1])
        if length is not None:
            return len(self.file.read(length))
        total = 0
        while size := int(self.file.readline(), 16):
            total += len(self.file.read(size))
            self.file.readline()
        self.file.readline()
        return total

    def close(self):
        self.socket.close()


def changing(bench, proxy, name, corpus):
    """gzip with one app changed before each scrape; the push's own cost is measured in the same way and taken off."""
    messages = os.path.join(corpus, "json")
    with open(os.path.join(messages, "app00003"), "rb") as file:
        message = file.read()

    def push():
        with socket.socket(socket.AF_UNIX) as s:
            s.connect(proxy.socket)
            s.sendall(message)
            s.shutdown(socket.SHUT_WR)
            if s.recv(256):
                raise SystemExit("a push was refused")

    def series(pushes, scrapes):
        def load():
            reader = Reader(proxy.port)
            reader.get("/metrics")
            before = servers.cpu_ns([proxy])
            begin, count, size = time.monotonic(), 0, 0
            while count < 5 or time.monotonic() - begin < bench.seconds:
                if pushes:
                    push()
                if scrapes:
                    size = reader.get("/metrics")
                count += 1
            elapsed, spent = time.monotonic() - begin, servers.cpu_ns([proxy]) - before
            reader.close()
            return {"count": count, "seconds": elapsed, "bytes": size, "cpu_us": spent / 1000 / count, "per_second": count / elapsed}
        return load

    def changed():
        both, alone = series(True, True)(), series(True, False)()
        return {**both, "cpu_us": both["cpu_us"] - alone["cpu_us"]}

    bench.compare(
        f"scrape/{name}/tls+gzip/changed", {"one app changed": changed, "nothing changed": series(False, True)},
        {"nothing changed": 2.0} if name in "bc" else {})


def handshakes(bench, nginx):
    proxy = bench.start(servers.Proxy(bench, "handshakes", tls="required"))
    for version, kind, goal in HANDSHAKES:
        name = f"handshake/{kind}/TLS {version}"

        def load(server, port):
            return lambda: bench.measure([server], lambda: bench.get(port, "/-/healthy", version, "new" if kind == "full" else kind))

        bench.compare(
            name, {"exporter-proxy": load(proxy, proxy.port), "nginx": load(nginx, nginx.tls_port)}, {"nginx": goal} if goal else {},
            unit="connection")
    bench.finish(proxy)
