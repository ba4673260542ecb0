"""Attacks on the receivers."""

import random
import socket
import struct
import subprocess
import time

from attacks import Attacks
from measure import MIB, address, connect, exchange, push, receive_to_end, reset

ATTACKS = Attacks()


def send(target, pieces):
    """Sends pieces until the proxy refuses, then takes its answer."""
    connection = connect(target.receiver, 120)
    sent = 0
    try:
        for piece in pieces:
            connection.sendall(piece)
            sent += len(piece)
        connection.shutdown(socket.SHUT_WR)
        receive_to_end(connection)
    except OSError:
        pass
    connection.close()


def names(index):
    """Short names, all different."""
    text = ""
    while True:
        text = chr(97 + index % 26) + text
        index = index // 26 - 1
        if index < 0:
            return text


@ATTACKS.attack("tiny-apps", pushers=3, mib=16, fits=0, seconds=60)
def tiny_apps(target, parameters, _):
    """One message of tiny apps, as large as a message may be; `fits` says how many apps it has at most."""
    parts, size, index = [], 0, 0
    while size < parameters["mib"] * MIB - 64 and (not parameters["fits"] or index < parameters["fits"]):
        part = f'"{names(index)}":""'
        parts.append(part)
        size += len(part) + 1
        index += 1
    message = ("{" + ",".join(parts) + "}").encode()
    for _ in range(parameters["pushers"]):
        target.attackers.start(send, target, [message])
    return {"apps": index, "bytes": len(message)}


@ATTACKS.attack("empty-objects", pushers=2, mib=16, seconds=60)
def empty_objects(target, parameters, _):
    """`{}{}{}…`: messages of two bytes."""
    block = b"{}" * (1 << 19)
    for _ in range(parameters["pushers"]):
        target.attackers.start(send, target, [block] * parameters["mib"])


@ATTACKS.attack("white-space", pushers=2, mib=64, seconds=60)
def white_space(target, parameters, _):
    """White space without end between messages."""
    block = b" \n\t\r" * (1 << 18)
    for _ in range(parameters["pushers"]):
        target.attackers.start(send, target, [block] * parameters["mib"])


@ATTACKS.attack("tiny-lines", pushers=3, mib=16, seconds=60)
def tiny_lines(target, parameters, _):
    """An app whose metrics are an array of empty lines: a value for each byte or two."""
    message = b'{"a":[' + b'"",' * ((parameters["mib"] * MIB - 64) // 3) + b'""]}'
    for _ in range(parameters["pushers"]):
        target.attackers.start(send, target, [message])


@ATTACKS.attack("escaped-text", pushers=3, mib=16, seconds=60)
def escaped_text(target, parameters, _):
    """A text of escapes alone."""
    message = b'{"a":"' + b"\\n" * ((parameters["mib"] * MIB - 64) // 2) + b'"}'
    for _ in range(parameters["pushers"]):
        target.attackers.start(send, target, [message])


@ATTACKS.attack("deep-values", pushers=2, mib=16, seconds=60)
def deep_values(target, parameters, _):
    """Brackets within brackets."""
    message = b'{"a":' + b"[" * (parameters["mib"] * MIB - 64)
    for _ in range(parameters["pushers"]):
        target.attackers.start(send, target, [message])


@ATTACKS.attack("kept-senders", pushers=400, mib=1, hold=1, seconds=60)
def kept_senders(target, parameters, _):
    """Many connections send a large message, once and one after another, and stay open."""
    message = b'{"kept": "' + b"#" * (parameters["mib"] * MIB) + b'"}'

    def hold():
        connections = []
        for _ in range(parameters["pushers"]):
            connection = connect(target.receiver, 30)
            connection.sendall(message)
            connections.append(connection)
            # A sender gets no answer: leave time to decode.
            time.sleep(0.005)
        time.sleep(parameters["hold"])

    target.attackers.start(hold)


@ATTACKS.attack("half-messages", pushers=40, mib=8, hold=3, seconds=60)
def half_messages(target, parameters, _):
    """Messages that are almost complete, on many connections: they share a limit."""
    message = b'{"a":"' + b"x" * (parameters["mib"] * MIB)

    def hold():
        connections = []
        for _ in range(parameters["pushers"] // 4):
            connection = connect(target.receiver, 30)
            try:
                connection.sendall(message)
            except OSError:
                pass
            connections.append(connection)
        time.sleep(parameters["hold"])

    for _ in range(4):
        target.attackers.start(hold)


@ATTACKS.attack("trickle", pushers=16, period_ms=200, hold=10, at_once=1, seconds=60)
def trickle(target, parameters, _):
    """One byte now and then on every connection that may be open, so that no idle timeout ends any."""

    def hold():
        connections = {connect(target.receiver, 30): 0 for _ in range(parameters["pushers"])}
        for connection in connections:
            connection.sendall(b'{"slow": "')
        end = time.monotonic() + parameters["hold"]
        while time.monotonic() < end:
            for connection in list(connections):
                try:
                    connection.sendall(b"x")
                except OSError:
                    del connections[connection]
                    if parameters.get("again"):
                        fresh = connect(target.receiver, 30)
                        fresh.sendall(b'{"slow": "')
                        connections[fresh] = 0
            time.sleep(parameters["period_ms"] / 1000)

    target.attackers.start(hold)
    time.sleep(1)
    # Another pusher, who has to wait at most as long as a message may take.
    start = time.monotonic()
    answer = push(target.receiver, b'{"patient": "p 1"}', parameters["hold"] + 30)
    waited = time.monotonic() - start
    with connect(target.scrape) as connection:
        status, _, _ = exchange(connection, "/metrics?app=patient")
    target.attackers.wait(0)
    return {"answer": answer, "waited": waited, "status": status}


@ATTACKS.attack("many-pushers", pushers=100, hold=4)
def many_pushers(target, parameters, _):
    """More connections than there are descriptors. The rest waits in the queue of the kernel."""

    def hold():
        connections = []
        for _ in range(parameters["pushers"]):
            connection = socket.socket()
            connection.setblocking(False)
            connection.connect_ex(address(target.tcp))
            connections.append(connection)
        time.sleep(parameters["hold"])

    cpu = target.process.cpu
    target.attackers.start(hold)
    time.sleep(1)
    scrapes = 0
    end = time.monotonic() + parameters["hold"] - 1.5
    start, cpu = time.monotonic(), target.process.cpu
    failures = []
    while time.monotonic() < end:
        try:
            with connect(target.scrape, 2) as connection:
                status, _, _ = exchange(connection, "/metrics")
            scrapes += status == 200
        except OSError as error:
            failures.append(repr(error))
        time.sleep(0.1)
    return {"scrapes": scrapes, "failures": failures[:3], "failed": len(failures), "cpu": (target.process.cpu - cpu) / (time.monotonic() - start)}


@ATTACKS.attack("out-of-descriptors", pushers=20, hold=3)
def out_of_descriptors(target, parameters, _):
    """The limit of open files is lowered while the program runs, and reached: `accept` fails until it is raised again."""
    limit = target.process.descriptors + 3
    subprocess.run(["prlimit", f"--pid={target.process.pid}", f"--nofile={limit}:"], check=True)
    connections = []
    for _ in range(parameters["pushers"]):
        connection = socket.socket()
        connection.setblocking(False)
        connection.connect_ex(address(target.tcp))
        connections.append(connection)
    time.sleep(1)
    start, loops = time.monotonic(), target.process.loop_cpu
    time.sleep(parameters["hold"])
    seconds = time.monotonic() - start
    used = target.process.loop_cpu - loops
    subprocess.run(["prlimit", f"--pid={target.process.pid}", "--nofile=1000:"], check=True)
    # Those that waited are accepted now.
    deadline = time.monotonic() + 10
    while target.process.descriptors < limit + parameters["pushers"] - 3 and time.monotonic() < deadline:
        time.sleep(0.05)
    return {"cpu": used / seconds, "accepted": target.process.descriptors - limit + 3}


# Cap'n Proto: a segment table, then segments of words of eight bytes.


def capnp(name, data):
    """One message of a name and metrics, in one segment."""

    def text(value):
        raw = value + b"\0"
        return raw + b"\0" * (-len(raw) % 8), len(raw)

    name_words, name_length = text(name)
    data_words, data_length = text(data)
    words = [struct.pack("<II", 0, 2 << 16)]
    # The pointers to the texts, counted in words from behind each pointer.
    words.append(struct.pack("<iI", (1 << 2) | 1, (name_length << 3) | 2))
    words.append(struct.pack("<iI", ((len(name_words) // 8) << 2) | 1, (data_length << 3) | 2))
    body = b"".join(words) + name_words + data_words
    return struct.pack("<II", 0, len(body) // 8) + body


@ATTACKS.attack("capnp-tiny", pushers=2, mib=8, names=1, seconds=60)
def capnp_tiny(target, parameters, _):
    """The smallest messages, one after another."""
    messages = b"".join(capnp(names(index % parameters["names"]).encode(), b"") for index in range(MIB // 48))
    for _ in range(parameters["pushers"]):
        target.attackers.start(send, target, [messages] * parameters["mib"])


@ATTACKS.attack("capnp-empty", pushers=2, mib=8, seconds=60)
def capnp_empty(target, parameters, _):
    """Messages of no segment's words at all: the frame alone."""
    for _ in range(parameters["pushers"]):
        target.attackers.start(send, target, [struct.pack("<II", 0, 0) * (MIB // 8)] * parameters["mib"])


@ATTACKS.attack("capnp-segments", pushers=2, mib=8, seconds=60)
def capnp_segments(target, parameters, _):
    """Messages of 512 segments, most of them empty."""
    table = struct.pack("<I", 511) + struct.pack("<I", 1) + struct.pack("<I", 0) * 511
    table += b"\0" * (-len(table) % 8)
    message = table + struct.pack("<II", 0, 0)
    for _ in range(parameters["pushers"]):
        target.attackers.start(send, target, [message * (MIB // len(message))] * parameters["mib"])


@ATTACKS.attack("capnp-announced", pushers=64, mib=15, hold=2, seconds=60)
def capnp_announced(target, parameters, _):
    """Frames that announce much and send nothing of it."""

    def hold():
        connections = []
        for _ in range(parameters["pushers"]):
            connection = connect(target.receiver)
            connection.sendall(struct.pack("<II", 0, parameters["mib"] * MIB // 8) + b"\0" * 8)
            connections.append(connection)
        time.sleep(parameters["hold"])

    target.attackers.start(hold)


@ATTACKS.attack("capnp-amplified", pushers=2, seconds=60)
def capnp_amplified(target, parameters, _):
    """Pointers that let one text count many times cannot pass the traversal limit."""
    size = 15 * MIB
    body = struct.pack("<II", 0, 2 << 16) + struct.pack("<iI", (1 << 2) | 1, (8 << 3) | 2) * 2 + b"aaaaaaa\0" + b"x" * size
    message = struct.pack("<II", 0, len(body) // 8) + body
    for _ in range(parameters["pushers"]):
        target.attackers.start(send, target, [message] * 4)


@ATTACKS.attack("random", seconds=30, run_for=5, seed=1, connections=24)
def random_connections(target, parameters, _):
    """Random sequences of connects, partial writes, pauses, resets and half-closes on all listeners."""
    texts = {
        "scrape": [
            b"GET /metrics HTTP/1.1\r\nHost: a\r\n\r\n", b"GET /apps HTTP/1.1\r\nHost: a\r\nAccept: text/html\r\n\r\n",
            b"HEAD /apps HTTP/1.1\r\nHost: a\r\n\r\n", b"POST /-/reload HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc",
            b"GET /sd HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n", b"nonsense\r\n\r\n",
            b"GET /metrics HTTP/1.1\r\nHost: a\r\nAccept-Encoding: gzip\r\n\r\n", b"\x16\x03\x01\x00\x80\x01\x00\x00\x7c\x03\x03",
        ],
        "push": [
            b'{"random": "r 1"}', b'{"random": ["r 1", "r 2"], "other": ""}', b'{"random": "' + b"x" * 70_000 + b'"}', b"{}" * 50,
            b'{"": ""}', b"\xff\xfe", capnp(b"random", b"r 1\n"), b"GET / HTTP/1.1\r\n\r\n", b"\x16\x03\x01\x00\x80\x01\x00\x00\x7c\x03\x03",
        ],
    }
    places = [(target.scrape, "scrape")] + [(place, "push") for place in (target.tcp, target.unix) if place]

    def run(seed):
        chance = random.Random(seed)
        end = time.monotonic() + parameters["run_for"]
        connections = []
        while time.monotonic() < end:
            what = chance.random()
            if not connections or (what < 0.25 and len(connections) < parameters["connections"]):
                place, kind = chance.choice(places)
                connection = connect(place, 5)
                connection.setblocking(False)
                connections.append((connection, kind))
                continue
            index = chance.randrange(len(connections))
            connection, kind = connections[index]
            try:
                if what < 0.65:
                    text = chance.choice(texts[kind])
                    begin, stop = sorted((chance.randrange(len(text) + 1), chance.randrange(len(text) + 1)))
                    connection.send(text if chance.random() < 0.5 else text[begin:stop])
                elif what < 0.78:
                    connection.recv(chance.choice((1, 100, 65536)))
                elif what < 0.84:
                    connection.shutdown(chance.choice((socket.SHUT_WR, socket.SHUT_RD)))
                elif what < 0.92:
                    time.sleep(chance.random() * 0.02)
                else:
                    connections.pop(index)
                    reset(connection) if chance.random() < 0.5 else connection.close()
            except BlockingIOError:
                pass
            except OSError:
                connections.pop(index)
                connection.close()

    for number in range(4):
        target.attackers.start(run, parameters["seed"] * 100 + number)
