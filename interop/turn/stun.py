"""STUN and TURN messages as an attacker needs them: nothing stops a wrong one. RFC 8489, RFC 8656."""

import hashlib
import hmac
import ipaddress
import os
import socket
import ssl
import struct

COOKIE = 0x2112A442
BINDING, ALLOCATE, REFRESH, SEND, DATA, CREATE_PERMISSION, CHANNEL_BIND, CONNECT = 1, 3, 4, 6, 7, 8, 9, 10
INDICATION, SUCCESS, ERROR = 0x010, 0x100, 0x110
USERNAME, INTEGRITY, ERROR_CODE, CHANNEL_NUMBER, LIFETIME, PEER, DATA_VALUE = 0x06, 0x08, 0x09, 0x0C, 0x0D, 0x12, 0x13
REALM, NONCE, RELAYED, FAMILY, EVEN_PORT, TRANSPORT, MAPPED, TOKEN = 0x14, 0x15, 0x16, 0x17, 0x18, 0x19, 0x20, 0x22
UDP = b"\x11\0\0\0"


class Refused(Exception):
    """An error response; `code` is its number."""

    def __init__(self, code):
        super().__init__(f"refused with {code}")
        self.code = code


def attribute(kind, value):
    return struct.pack("!HH", kind, len(value)) + value + bytes(-len(value) % 4)


def address(peer, transaction, kind=PEER):
    """An XORed address attribute of (IP, port)."""
    ip = ipaddress.ip_address(peer[0])
    mask = struct.pack("!I", COOKIE) + transaction
    hidden = bytes(a ^ b for a, b in zip(ip.packed, mask))
    return attribute(kind, struct.pack("!BBH", 0, 1 if ip.version == 4 else 2, peer[1] ^ (COOKIE >> 16)) + hidden)


def read_address(value, transaction):
    family, port = struct.unpack("!xBH", value[:4])
    mask = struct.pack("!I", COOKIE) + transaction
    plain = bytes(a ^ b for a, b in zip(value[4:], mask))
    return str(ipaddress.ip_address(plain[:4] if family == 1 else plain[:16])), port ^ (COOKIE >> 16)


def message(kind, transaction, attributes=b""):
    return struct.pack("!HHI", kind, len(attributes), COOKIE) + transaction + attributes


def sealed(kind, transaction, attributes, key):
    length = len(attributes) + 24
    head = struct.pack("!HHI", kind, length, COOKIE) + transaction + attributes
    return head + attribute(INTEGRITY, hmac.digest(key, head, hashlib.sha1))


def read(bytes_):
    """(type, transaction, {attribute: first value})."""
    kind, length = struct.unpack("!HH", bytes_[:4])
    found, at = {}, 20
    while at + 4 <= 20 + length:
        name, size = struct.unpack("!HH", bytes_[at:at + 4])
        found.setdefault(name, bytes_[at + 4:at + 4 + size])
        at += 4 + size + -size % 4
    return kind, bytes_[8:20], found


def channel_data(channel, data):
    return struct.pack("!HH", channel, len(data)) + data


class Client:
    """A user of a relay over UDP, TCP or TLS, from any local address; one request at a time."""

    def __init__(self, server, account, local=None, transport="udp", name="localhost", timeout=2.0):
        self.family = socket.AF_INET6 if ":" in server[0] else socket.AF_INET
        self.user, self.password = account
        self.stream = transport != "udp"
        self.socket = socket.socket(self.family, socket.SOCK_STREAM if self.stream else socket.SOCK_DGRAM)
        self.socket.settimeout(timeout)
        if local:
            self.socket.bind(local)
        self.socket.connect(server)
        if transport == "tls":
            context = ssl.create_default_context()
            context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
            self.socket = context.wrap_socket(self.socket, server_hostname=name)
        self.realm = self.nonce = None
        self.waiting = b""
        self.last = b""

    def close(self):
        self.socket.close()

    def send(self, bytes_):
        (self.socket.sendall if self.stream else self.socket.send)(bytes_)

    def receive(self):
        """One message or ChannelData."""
        if not self.stream:
            return self.socket.recv(65536)
        while True:
            if len(self.waiting) >= 4:
                kind, length = struct.unpack("!HH", self.waiting[:4])
                total = length + (20 if kind < 0x4000 else 4)
                whole = total + -total % 4
                if len(self.waiting) >= whole:
                    one, self.waiting = self.waiting[:total], self.waiting[whole:]
                    return one
            piece = self.socket.recv(65536)
            if not piece:
                raise ConnectionResetError("closed by the server")
            self.waiting += piece

    def key(self):
        return hashlib.md5(self.user.encode() + b":" + self.realm + b":" + self.password.encode()).digest()

    def write(self, method, attributes):
        """A request with the credentials known so far; `attributes` is a function of the transaction, or bytes."""
        transaction = os.urandom(12)
        body = attributes(transaction) if callable(attributes) else attributes
        if self.nonce is None:
            return message(method, transaction, body)
        body += attribute(USERNAME, self.user.encode()) + attribute(REALM, self.realm) + attribute(NONCE, self.nonce)
        return sealed(method, transaction, body, self.key())

    def exchange(self, request):
        """Sends and waits for the answer to it, repeating over UDP."""
        for _ in range(1 if self.stream else 3):
            self.send(request)
            try:
                while True:
                    answer = self.receive()
                    if answer[8:20] == request[8:20]:
                        return read(answer)
            except TimeoutError:
                continue
        raise TimeoutError("no answer")

    def ask(self, method, attributes=b""):
        """The attributes of the success response; answers challenges. Raises Refused."""
        for _ in range(3):
            self.last = self.write(method, attributes)
            kind, transaction, found = self.exchange(self.last)
            if kind == method | SUCCESS:
                return transaction, found
            code = found[ERROR_CODE][2] * 100 + found[ERROR_CODE][3]
            if code == 438 or code == 401 and self.nonce is None:
                self.realm, self.nonce = found[REALM], found[NONCE]
                continue
            raise Refused(code)
        raise Refused(401)

    def allocate(self, *extra):
        """The relayed address."""
        transaction, found = self.ask(ALLOCATE, attribute(TRANSPORT, UDP) + b"".join(extra))
        return read_address(found[RELAYED], transaction)

    def permit(self, *peers):
        self.ask(CREATE_PERMISSION, lambda transaction: b"".join(address(peer, transaction) for peer in peers))

    def bind(self, channel, peer):
        self.ask(CHANNEL_BIND, lambda transaction: attribute(CHANNEL_NUMBER, struct.pack("!HH", channel, 0))
                 + address(peer, transaction))

    def indicate(self, peer, data):
        transaction = os.urandom(12)
        self.send(message(SEND | INDICATION, transaction, address(peer, transaction) + attribute(DATA_VALUE, data)))

    def refresh(self, lifetime):
        self.ask(REFRESH, attribute(LIFETIME, struct.pack("!I", lifetime)))
