#!/usr/bin/env python3
"""Health checks of the containers, on the standard library alone: exit status 0 if what is asked for is healthy.

healthy http URL [COMPONENT]   answers 200 (and, of Airflow's monitor page, names the component healthy)
healthy port HOST PORT         accepts a connection
"""

import json
import socket
import sys
import urllib.request

_TIMEOUT_SECONDS = 4


def http(url: str, component: str = "") -> None:
    with urllib.request.urlopen(url, timeout=_TIMEOUT_SECONDS) as answer:  # noqa: S310  the compose file's own URLs
        if component:
            status = json.load(answer)[component]["status"]
            if status != "healthy":
                raise SystemExit(f"{component} is {status}")


def port(host: str, number: str) -> None:
    socket.create_connection((host, int(number)), timeout=_TIMEOUT_SECONDS).close()


if __name__ == "__main__":
    kind, *arguments = sys.argv[1:]
    try:
        {"http": http, "port": port}[kind](*arguments)
    except OSError as error:
        raise SystemExit(f"{' '.join(arguments)}: {error}") from error
