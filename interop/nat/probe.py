"""What a translator is, as seen from both ends: the terms of RFC 4787, found out with a dozen datagrams.

    python3 probe.py reflect             # on the server: answers where asked to, tells whom it sees
    python3 probe.py ask                 # on a host: one line of JSON
"""

import json
import select
import socket
import sys

SERVER, SERVER_TOO = "203.0.113.10", "203.0.113.11"
PORTS = (7000, 7001)
PATIENCE = 0.4


def reflect():
    """Answers `from ADDRESS PORT` out of that socket with the sender's address; echoes on TCP 443 and 3478 by accepting."""
    sockets = {}
    for address in (SERVER, SERVER_TOO):
        for port in PORTS:
            sockets[address, port] = bound = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
            bound.bind((address, port))
    listeners = []
    for port in (443, 3478):
        listener = socket.create_server((SERVER, port))
        listeners.append(listener)
    print("ready", flush=True)
    while True:
        for ready in select.select([*sockets.values(), *listeners], [], [])[0]:
            if ready in listeners:
                ready.accept()[0].close()
                continue
            text, sender = ready.recvfrom(100)
            _, address, port = text.decode().split()
            sockets[address, int(port)].sendto(json.dumps(sender).encode(), sender)


def question(asking, to, answer_from):
    """Asks the server at `to` to answer from elsewhere; what it saw, or None."""
    asking.settimeout(PATIENCE)
    for _ in range(2):
        asking.sendto(f"from {answer_from[0]} {answer_from[1]}".encode(), to)
        try:
            return tuple(json.loads(asking.recv(100)))
        except OSError:
            pass
    return None


def fresh():
    asking = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    asking.bind(("0.0.0.0", 0))
    return asking


def ask():
    first, second = (SERVER, PORTS[0]), (SERVER, PORTS[1])
    other, other_port = (SERVER_TOO, PORTS[0]), (SERVER_TOO, PORTS[1])
    found = {"udp": question(fresh(), first, first) is not None}
    if found["udp"]:
        # Filtering: who may answer a socket that has only ever sent to the first. Before the other
        # address has heard of us: some routers remember addresses for the whole host.
        if question(fresh(), first, other_port):
            found["filtering"] = "endpoint-independent"
        else:
            by_address = question(fresh(), first, second)
            found["filtering"] = "address-dependent" if by_address else "address-and-port-dependent"
        # Mapping: whether the same socket looks the same to all.
        asking = fresh()
        seen = [question(asking, to, to) for to in (first, second, other)]
        if seen[0] == seen[1] == seen[2]:
            found["mapping"] = "endpoint-independent"
        else:
            found["mapping"] = "address-dependent" if seen[0] == seen[1] else "address-and-port-dependent"
    for port in (443, 3478):
        try:
            socket.create_connection((SERVER, port), 1).close()
            found[f"tcp {port}"] = True
        except OSError:
            found[f"tcp {port}"] = False
    print(json.dumps(found))


if __name__ == "__main__":
    {"reflect": reflect, "ask": ask}[sys.argv[1]]()
