"""Proof that nothing was relayed: sockets that listen where a relay must not send, and every packet that this machine sends.

The second needs a raw socket; without the right to one, the listening sockets alone must do.
"""

import os
import socket
import struct
import threading
import time

ETH_P_ALL = 3


class Watch:
    """Listens on one port of every local address, over UDP and TCP; sees all packets if it may. A context manager."""

    def __init__(self, port, server_port):
        self.port = port
        self.server_port = struct.pack("!H", server_port)
        self.marks, self.seen = [], []
        self.ended = threading.Event()

    def __enter__(self):
        self.sockets = []
        for family in (socket.AF_INET, socket.AF_INET6):
            for kind in (socket.SOCK_DGRAM, socket.SOCK_STREAM):
                one = socket.socket(family, kind)
                if family == socket.AF_INET6:
                    one.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
                one.bind(("", self.port))
                if kind == socket.SOCK_STREAM:
                    one.listen()
                one.setblocking(False)
                self.sockets.append(one)
        try:
            raw = socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM, socket.htons(ETH_P_ALL))
            raw.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 16 << 20)
            raw.settimeout(0.1)
            self.thread = threading.Thread(target=self._look, args=(raw,), daemon=True)
            self.thread.start()
        except PermissionError:
            self.thread = None
        return self

    def __exit__(self, *_):
        self.ended.set()
        if self.thread:
            self.thread.join()
        for one in self.sockets:
            one.close()

    @property
    def sees_all(self):
        return self.thread is not None

    def mark(self):
        """Bytes to send that nobody else sends."""
        mark = b"relay-me-" + os.urandom(12)
        self.marks.append(mark)
        return mark

    def relayed(self):
        """Where marked bytes, or connections, came out; empty if nowhere."""
        time.sleep(0.25)
        found = list(self.seen)
        for one in self.sockets:
            try:
                if one.type == socket.SOCK_STREAM:
                    found.append(f"connection from {one.accept()[1]}")
                else:
                    bytes_, sender = one.recvfrom(65536)
                    found.append(f"{len(bytes_)} bytes from {sender}")
            except BlockingIOError:
                pass
        self.marks, self.seen = [], []
        return found

    def _look(self, raw):
        with raw:
            while not self.ended.is_set():
                try:
                    packet = raw.recv(65536)
                except TimeoutError:
                    continue
                if b"relay-me-" in packet and any(mark in packet for mark in self.marks) and not self._to_server(packet):
                    self.seen.append(f"a packet of {len(packet)} bytes: {packet[:28].hex()}")

    def _to_server(self, packet):
        """Whether it is on the attacker's own way to the server."""
        head = (packet[0] & 15) * 4 if packet[0] >> 4 == 4 else 40
        return packet[head + 2:head + 4] == self.server_port
