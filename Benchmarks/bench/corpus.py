"""The corpora: made-up metrics of many applications, the same bytes on every machine."""
import hashlib
import json
import os
import random
import struct

METHODS = ["GET", "POST", "PUT", "DELETE", "PATCH"]
CODES = ["200", "201", "204", "301", "400", "401", "403", "404", "429", "500", "502", "503"]
PATHS = ["/", "/login", "/api/v1/orders", "/api/v1/orders/{id}", "/api/v1/users/{id}/profile",
         "/healthz", "/static/{file}", "/api/v2/search", "/api/v2/reports/{report}/export", "/ws"]
LE = ["0.005", "0.01", "0.025", "0.05", "0.1", "0.25", "0.5", "1", "2.5", "5", "10", "+Inf"]
POOLS = ["orders_rw", "orders_ro", "sessions", "reporting", "audit"]
SUBSYSTEMS = ["http", "grpc", "queue", "cache", "db", "worker", "scheduler", "mailer", "billing", "search"]

# Name: (apps, bytes of each, seed).
CORPORA = {"a": (10, 2048, 1), "b": (100, 20480, 1), "c": (1000, 20480, 1), "d": (10000, 2048, 1), "targets": (200, 20480, 7)}
# Of the joined text, so that two machines know that they measure the same.
CHECKSUMS = {
    "a": "0f577697fe9ee44a32a9d640a46cd8c6b7effc9615f1e5ea4fe926bfe2b6e745",
    "b": "2927fc394479749d1307c3c8db4bd4a42b2831f75dd55265df00d4abd79653c9",
    "c": "dba7278a4d15a72cf750cd17df2617144bc9e5e30304b69a767b22462c82b86f",
}


def number(r):
    k = r.random()
    if k < 0.5:
        return str(int(r.expovariate(1 / 50000.0)))
    if k < 0.8:
        return repr(round(r.random() * 1000, r.randint(2, 9)))
    return "%.10e" % (r.random() * 1e9) if k < 0.9 else "0"


def counter(r, p, s, i):
    n = f"{p}_{s}_requests_{i}_total"
    yield f"# HELP {n} Total number of {s} requests handled, by method, path and status code.\n# TYPE {n} counter\n"
    for path in r.sample(PATHS, 4):
        for m in r.sample(METHODS, 2):
            for c in r.sample(CODES, 2):
                yield f'{n}{{method="{m}",path="{path}",code="{c}"}} {number(r)}\n'


def gauge(r, p, s, i):
    n = f"{p}_{s}_connections_{i}"
    yield f"# HELP {n} Current number of {s} connections by pool and state.\n# TYPE {n} gauge\n"
    for pool in r.sample(POOLS, 3):
        for state in ("idle", "active", "waiting"):
            yield f'{n}{{pool="{pool}",state="{state}",instance="{p}-{r.randrange(16)}.internal.example"}} {number(r)}\n'


def plain(r, p, s, i):
    n = f"{p}_{s}_memory_{i}_bytes"
    yield f"# HELP {n} Resident memory of the {s} component in bytes.\n# TYPE {n} gauge\n{n} {number(r)}\n"


def histogram(r, p, s, i):
    n = f"{p}_{s}_duration_{i}_seconds"
    yield f"# HELP {n} Time spent in {s} operations, in seconds.\n# TYPE {n} histogram\n"
    for m in r.sample(METHODS, 2):
        total = 0
        lines = []
        for le in LE:
            total += int(r.expovariate(1 / 900.0))
            lines.append(f'{n}_bucket{{method="{m}",le="{le}"}} {total}\n')
        lines.append(f'{n}_sum{{method="{m}"}} {round(total * r.random(), 6)}\n{n}_count{{method="{m}"}} {total}\n')
        yield "".join(lines)


def summary(r, p, s, i):
    n = f"{p}_{s}_payload_{i}_bytes"
    yield f"# HELP {n} Size of {s} payloads. Escapes: back\\\\slash and new\\nline.\n# TYPE {n} summary\n"
    lines = [f'{n}{{quantile="{q}"}} {number(r)}\n' for q in ("0.5", "0.9", "0.99")]
    lines.append(f"{n}_sum {number(r)}\n{n}_count {int(r.random() * 1e6)}\n")
    yield "".join(lines)


FAMILIES = [histogram, counter, gauge, plain, summary]


def app_text(index, size, seed):
    """One application's metrics, about `size` bytes, whole lines; no family occurs in two applications."""
    r = random.Random(seed * 1000003 + index)
    parts, n, i = [], 0, 0
    while n < size:
        subsystem = SUBSYSTEMS[(i // len(FAMILIES)) % len(SUBSYSTEMS)]
        for chunk in FAMILIES[i % len(FAMILIES)](r, f"app{index:05d}", subsystem, i):
            parts.append(chunk)
            n += len(chunk)
            if n >= size:
                break
        i += 1
    return "".join(parts)


def capnp_message(name, data):
    """One framed `InboundMetrics`, byte for byte as pycapnp lays it out: above 8 KiB in two segments with a far pointer."""
    a, b = name.encode() + b"\0", data.encode() + b"\0"
    a_words, b_words = -(-len(a) // 8), -(-len(b) // 8)
    root = struct.pack("<IHH", 0, 0, 2)
    name_pointer = struct.pack("<II", (1 << 2) | 1, (len(a) << 3) | 2)
    name_text, data_text = a.ljust(a_words * 8, b"\0"), b.ljust(b_words * 8, b"\0")
    one = root + name_pointer + struct.pack("<II", (a_words << 2) | 1, (len(b) << 3) | 2) + name_text + data_text
    if len(one) <= 1024 * 8:
        return struct.pack("<II", 0, len(one) // 8) + one
    first = root + name_pointer + struct.pack("<II", 2, 1) + name_text
    second = struct.pack("<II", 1, (len(b) << 3) | 2) + data_text
    return struct.pack("<IIII", 1, len(first) // 8, len(second) // 8, 0) + first + second


def write(path, data):
    with open(path, "wb") as file:
        file.write(data)


def make(folder, apps, size, seed):
    """Writes `apps/`, `json/`, `array/`, `capnp/` (a file for each application) and `combined.prom`."""
    for form in ("apps", "json", "array", "capnp"):
        os.makedirs(os.path.join(folder, form), exist_ok=True)
    digest = hashlib.sha256()
    with open(os.path.join(folder, "combined.prom"), "wb") as combined:
        for index in range(apps):
            name, text = f"app{index:05d}", app_text(index, size, seed)
            combined.write(text.encode())
            digest.update(text.encode())
            write(os.path.join(folder, "apps", name), text.encode())
            write(os.path.join(folder, "json", name), json.dumps({name: text}).encode())
            write(os.path.join(folder, "array", name), json.dumps({name: text.splitlines()}).encode())
            write(os.path.join(folder, "capnp", name), capnp_message(name, text))
    return digest.hexdigest()


def need(root, name):
    """The folder of a corpus of `CORPORA`, made when it is not there yet."""
    return need_sized(root, name, *CORPORA[name])


def need_sized(root, name, apps, size, seed=1):
    """The folder of a corpus of that many applications, made when it is not there yet."""
    folder = os.path.join(root, name)
    done = os.path.join(folder, "DONE")
    if not os.path.exists(done):
        checksum = make(folder, apps, size, seed)
        if checksum != CHECKSUMS.get(name, checksum):
            raise SystemExit(f"corpus {name} is not the one that others have: this Python's random numbers differ")
        write(done, checksum.encode())
    return folder
