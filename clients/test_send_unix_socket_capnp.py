#!/usr/bin/env python3
"""Pushes metrics in Cap'n Proto over the Unix socket."""

import argparse
import socket
import sys

import inbound_metrics


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--path", default="/var/run/exporter-proxy-receiver.sock", help="receiver_unix_socket in config.toml (%(default)s)")
    inbound_metrics.add_arguments(parser, app="foo_bar_app3_metrics", prefix="foo_bar_app3")
    arguments = parser.parse_args()
    data = inbound_metrics.messages(arguments)
    with inbound_metrics.explained(f"cannot push to {arguments.path}"):
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
            connection.settimeout(10)
            connection.connect(arguments.path)
            answer = inbound_metrics.push(connection, data)
    return inbound_metrics.report(arguments.app, answer)


if __name__ == "__main__":
    sys.exit(main())
