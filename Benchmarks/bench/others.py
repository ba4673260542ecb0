"""What is no request: polling, memory, start-up."""
import os
import socket
import ssl
import statistics
import subprocess
import time

from . import processes, pushes, servers

MB = 1_000_000
# Seconds after which freed memory has gone back to the system, if it ever does.
SETTLING = 11


def run(bench, nginx, quick):
    if bench.wants("start-up"):
        start_up(bench, 5 if quick else 15)
    if bench.wants_any(("memory/idle", "memory/loaded", "memory/slow readers")):
        memory(bench)
    if bench.wants("memory/peak"):
        peak(bench)
    if bench.wants_any(("poll/200 targets", "memory/target")):
        polling(bench, nginx, 3 if quick else 10)


def start_up(bench, runs):
    """From exec to the first 200, retried each half millisecond."""
    proxy = servers.Proxy(bench, "start-up", tls="required")
    command, port = proxy.command, proxy.port
    proxy.stop()
    request = b"GET /-/healthy HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
    context = ssl._create_unverified_context()
    taken = []
    for _ in range(runs):
        begin = time.perf_counter()
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        while True:
            try:
                with socket.create_connection((servers.HOST, port)) as raw, context.wrap_socket(raw) as s:
                    s.sendall(request)
                    if b" 200 " in s.recv(64):
                        break
            except OSError:
                pass
            if process.poll() is not None:
                raise SystemExit("exporter-proxy ended instead of starting")
            time.sleep(0.0005)
        taken.append((time.perf_counter() - begin) * 1000)
        process.terminate()
        process.wait(20)
    bench.note("start-up", statistics.median(taken), "ms", 25, f"[{min(taken):.1f}–{max(taken):.1f}], TLS handshake included")


def memory(bench):
    corpus = bench.corpus("c")
    proxy = bench.start(servers.Proxy(bench, "memory", tls="optional", threads=os.cpu_count()))
    time.sleep(1)
    idle = processes.memory(proxy.pid)
    bench.note("memory/idle", idle["resident"] / MB, "MB", 24)
    bench.note("memory/idle, private", idle["private"] / MB, "MB", 8)
    proxy.fill(bench, corpus)
    size = len(servers.fetch(proxy.port, "/metrics", tls=True)[1])
    time.sleep(SETTLING)
    loaded = processes.memory(proxy.pid)
    bench.note("memory/loaded", loaded["resident"] / MB, "MB", 1.3 * size / MB + idle["resident"] / MB, f"with {size / MB:.1f} MB of metrics")
    # Each app three times more, in another order: what replacing leaves behind.
    for _ in range(3):
        bench.push("conn", f"unix:{proxy.socket}", os.path.join(corpus, "json"), count=2000)
        servers.fetch(proxy.port, "/metrics", tls=True)
    time.sleep(SETTLING)
    again = processes.memory(proxy.pid)
    bench.note("memory/loaded, all replaced", again["resident"] / MB, "MB", 1.3 * size / MB + idle["resident"] / MB)
    bench.get(proxy.port, "/metrics", "1.3", gzip=True, connections=1, count=2)
    bench.note("memory/loaded, compressed too", processes.memory(proxy.pid)["resident"] / MB, "MB")
    slow_readers(bench, proxy)
    bench.finish(proxy)


def peak(bench):
    """The most that was resident while 20.5 MB are pushed and scraped for the first time, uncompressed and compressed."""
    corpus = bench.corpus("c")
    taken = []
    for _ in range(bench.rounds):
        proxy = bench.start(servers.Proxy(bench, "peak", tls="optional", threads=os.cpu_count()))
        proxy.fill(bench, corpus)
        for tls, gzip in (("off", False), ("1.3", False), ("1.3", True)):
            bench.get(proxy.port, "/metrics", tls, gzip=gzip, connections=1, count=1)
        taken.append(processes.memory(proxy.pid)["peak"] / MB)
        bench.finish(proxy)
    bench.note("memory/peak", statistics.median(taken), "MB", 50, f"[{min(taken):.1f}–{max(taken):.1f}], loaded and scraped for the first time")


def slow_readers(bench, proxy):
    before = processes.memory(proxy.pid)["resident"]
    context = ssl._create_unverified_context()
    readers = [context.wrap_socket(socket.create_connection((servers.HOST, proxy.port))) for _ in range(8)]
    for reader in readers:
        reader.sendall(b"GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n")
    most = 0
    for _ in range(20):
        for reader in readers:
            reader.recv(16384)
        time.sleep(0.05)
        most = max(most, processes.memory(proxy.pid)["resident"])
    for reader in readers:
        reader.close()
    bench.note("memory/slow readers", (most - before) / 8 / MB, "MB each", 1)


def polling(bench, nginx, seconds):
    """Every target once a second; nginx is the targets."""
    corpus = bench.corpus("targets")
    for name in os.listdir(os.path.join(corpus, "apps")):
        os.symlink(os.path.join(corpus, "apps", name), os.path.join(nginx.root, f"target-{name}"))
    targets = [f"http://{nginx.origin(index)}/plain/target-app{index:05d}" for index in range(200)]
    # Beside nothing else.
    slowness = pushes.slowness(bench)
    none = bench.start(servers.Proxy(bench, "no-targets"))
    idle = processes.memory(none.pid)["resident"]
    bench.finish(none)
    proxy = bench.start(servers.Proxy(bench, "targets", targets=targets))

    def load():
        begin = time.monotonic()
        time.sleep(seconds)
        elapsed = time.monotonic() - begin
        return {"count": round(200 * elapsed), "seconds": elapsed}

    load()
    taken = [bench.measure([proxy], load)["cpu_us"] for _ in range(3)]
    bench.note(
        "poll/200 targets", statistics.median(taken), "µs a poll", 28 * slowness,
        f"[{min(taken):.1f}–{max(taken):.1f}]; 28 on a machine {slowness:.2f} times as fast")
    time.sleep(SETTLING)
    used = processes.memory(proxy.pid)["resident"] - idle
    bench.note("memory/target", used / 200 / 1000, "kB a target", 40, "its 20 kB of metrics included")
    bench.finish(proxy)
