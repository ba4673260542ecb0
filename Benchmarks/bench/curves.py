"""Growth: what a push and a scrape cost as the number of apps, their size and the connections grow. Fairness between users."""
import os
import socket
import ssl
import threading
import time

from . import corpus, servers


def run(bench, quick):
    counts = (10, 100, 1000) if quick else (10, 100, 1000, 10000)
    if bench.wants("growth/push/apps"):
        growth(bench, "growth/push/apps", "apps", counts, lambda n: (n, 2048), pushed)
    if bench.wants("growth/push/size of the others"):
        growth(bench, "growth/push/size of the others", "bytes of each other app", (512, 4096, 32768), lambda n: (100, n), pushed)
    if bench.wants("growth/scrape/apps"):
        growth(bench, "growth/scrape/apps", "apps of 2 KB", counts, lambda n: (n, 2048), scraped, per_byte=True)
    if bench.wants("growth/scrape/idle connections"):
        idle_connections(bench, (0, 500, 2000))
    fairness(bench, 2 if quick else 6)


def pushed(bench, proxy, folder):
    """One and the same app of 2 KB, on a kept connection."""
    one = bench.folder("one-app")
    with open(os.path.join(one, "app00000"), "w") as file:
        file.write('{"app00000": "' + corpus.app_text(0, 2048, 1).replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n") + '"}')
    return bench.measure([proxy], lambda: bench.push("conn", f"unix:{proxy.socket}", one, connections=2))


def scraped(bench, proxy, folder):
    return bench.measure([proxy], lambda: bench.get(proxy.port, "/metrics", connections=2))


def growth(bench, name, axis, points, shape, load, per_byte=False):
    # Without its own metrics, which grow with the number of apps themselves.
    proxies = []
    for point in points:
        apps, size = shape(point)
        folder = corpus.need_sized(bench.corpora, f"{apps}x{size}", apps, size)
        proxy = bench.start(servers.Proxy(bench, f"growth-{apps}-{size}"))
        proxy.fill(bench, folder)
        proxies.append((point, proxy, folder))
    samples = {point: [] for point in points}
    for round in range(bench.rounds + 1):
        for point, proxy, folder in proxies:
            sample = load(bench, proxy, folder)
            if round > 0:
                samples[point].append(sample["cpu_us"] / (sample["bytes"] / 1e6 if per_byte else 1))
    bench.curve(name, axis, "µs of CPU per MB" if per_byte else "µs of CPU", samples)
    bench.finish(*(proxy for _, proxy, _ in proxies))


def idle_connections(bench, counts):
    folder = bench.corpus("a")
    proxy = bench.start(servers.Proxy(bench, "idle-connections"))
    proxy.fill(bench, folder)
    samples, idle = {}, []
    scraped(bench, proxy, folder)
    for count in counts:
        while len(idle) < count:
            s = socket.create_connection((servers.HOST, proxy.port))
            s.sendall(b"GET /-/healthy HTTP/1.1\r\nHost: localhost\r\n\r\n")
            s.recv(4096)
            idle.append(s)
        samples[count] = [scraped(bench, proxy, folder)["cpu_us"] for _ in range(bench.rounds)]
    for s in idle:
        s.close()
    bench.curve("growth/scrape/idle connections", "idle connections", "µs of CPU", samples)
    bench.finish(proxy)


def fairness(bench, seconds):
    """A small scrape each few milliseconds, alone, and while others push at full speed and one reads 20 MB slowly over TLS. Each case has
    three runs in a row, and the goal holds for each of them.
    The load runs at the lowest priority, so that what is measured is the wait within the proxy and not for a core."""
    folder = bench.corpus("c")
    for threads in sorted({os.cpu_count(), 1}, reverse=True):
        loops = "1 event loop" if threads == 1 else f"{threads} event loops"
        names = {False: f"fairness/{loops}, pushes", True: f"fairness/{loops}, pushes and a slow reader"}
        if not bench.wants_any(names.values()):
            continue
        proxy = bench.start(servers.Proxy(bench, f"fairness-{threads}", tls="optional", threads=threads))
        proxy.fill(bench, folder)
        servers.fetch(proxy.port, "/metrics")
        for slow, name in names.items():
            if bench.wants(name):
                runs = [disturbed(bench, proxy, folder, seconds, slow) for _ in range(3)]
                detail = ", ".join(f"{busy / quiet:.2f} ({busy:.0f} ÷ {quiet:.0f} µs)" for quiet, busy in runs)
                bench.note(name, max(busy / quiet for quiet, busy in runs), "× a quiet proxy's p99, the worst of three runs", 3, detail)
        bench.finish(proxy)


def disturbed(bench, proxy, folder, seconds, slow):
    """The p99 of a small scrape, quiet and busy."""
    def probe():
        return bench.get(proxy.port, "/metrics?app=app00500", connections=1, seconds=seconds, pause_us=3000)["p99_us"]

    quiet = probe()
    stop = threading.Event()
    reader = threading.Thread(target=read_slowly, args=(proxy.port, stop))
    if slow:
        reader.start()
    pusher = bench.spawn_push("conn", f"unix:{proxy.socket}", os.path.join(folder, "json"), connections=2, seconds=seconds + 1)
    time.sleep(0.3)
    busy = probe()
    pusher.wait()
    stop.set()
    if slow:
        reader.join()
    return quiet, busy


def read_slowly(port, stop):
    context = ssl._create_unverified_context()
    with context.wrap_socket(socket.create_connection((servers.HOST, port))) as s:
        s.sendall(b"GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n")
        while not stop.is_set():
            s.recv(16384)
            time.sleep(0.02)
