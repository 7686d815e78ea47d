"""A well-behaved user in a process of its own: packets both ways every 20 ms, each with the time at which it left.

    victim.py HOST PORT USER PASSWORD LOCAL PEER

One more flow goes through another process that does nothing but pass it on, instead of the relay: it tells how long that
takes on this machine just now.

A line on standard input asks for what happened since the last: a line of JSON with delays in milliseconds and losses.
"""

import json
import os
import select
import socket
import struct
import sys
import time

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
from turn.stun import Client, channel_data  # noqa: E402

FLOWS, EVERY = 4, 0.02


def main():
    host, port, user, password, local, peer_host = sys.argv[1:]
    peer = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    peer.bind((peer_host, 0))
    flows = []
    for _ in range(FLOWS):
        client = Client((host, int(port)), (user, password), (local, 0))
        relayed = client.allocate()
        client.bind(0x4000, peer.getsockname())
        client.socket.setblocking(False)
        flows.append((client, relayed))
    peer.setblocking(False)
    straight = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    straight.bind((local, 0))
    straight.setblocking(False)
    stand_in = passes_on(straight.getsockname())
    sockets = {client.socket: client for client, _ in flows}
    delays, direct, sent, round_, due = [], [], 0, 0, time.monotonic()
    print("READY", flush=True)
    while True:
        readable, _, _ = select.select([sys.stdin, peer, straight, *sockets], [], [], max(0, due - time.monotonic()))
        for one in readable:
            if one is sys.stdin:
                if not sys.stdin.readline():
                    return
                end = time.monotonic() + 0.15           # what is on its way comes in
                while (left := end - time.monotonic()) > 0:
                    for one in select.select([peer, *sockets], [], [], left)[0]:
                        delays += arrived(one, 0 if one is peer else 4, round_)
                delays.sort()
                direct.sort()
                print(json.dumps({"sent": sent, "lost": sent - len(delays), "median_ms": part(delays, 0.5),
                                  "p99_ms": part(delays, 0.99), "worst_ms": part(delays, 1),
                                  "bare_worst_ms": part(direct, 1) or 0}), flush=True)
                delays, direct, sent, round_, due = [], [], 0, round_ + 1, time.monotonic()
            elif one is straight:
                direct += arrived(one, 0, round_)
            else:
                delays += arrived(one, 0 if one is peer else 4, round_)
        if time.monotonic() >= due:
            due += EVERY
            peer.sendto(struct.pack("!dI", time.monotonic(), round_), stand_in)
            for client, relayed in flows:
                now = struct.pack("!dI", time.monotonic(), round_) + bytes(148)
                client.send(channel_data(0x4000, now))
                peer.sendto(now, relayed)
                sent += 2


def passes_on(to):
    """Starts a process that passes datagrams on until this one ends; its address."""
    inlet = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    inlet.bind(("127.0.0.1", 0))
    gone, _kept = os.pipe()
    if os.fork():
        return inlet.getsockname()
    os.close(_kept)
    while gone not in (ready := select.select([inlet, gone], [], [])[0]):
        inlet.sendto(ready[0].recv(2048), to)
    os._exit(0)


def arrived(one, head, round_):
    """The delays of the packets of this round that wait at a socket; what is of an earlier one counted as lost."""
    found = []
    try:
        while True:
            left, of = struct.unpack_from("!dI", one.recv(2048), head)
            if of == round_:
                found.append(time.monotonic() - left)
    except BlockingIOError:
        return found


def part(delays, share):
    return round(delays[min(int(len(delays) * share), len(delays) - 1)] * 1000, 2) if delays else None


main()
