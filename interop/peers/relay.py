"""A TURN server behind one small face: our node, or coturn to check the tests themselves.

    FARSPEAK_RELAY=coturn interop/turn-suite           # the same cases against the other server
    FARSPEAK_BINARY=PATH                               # which `farspeak` to run
"""

import base64
import contextlib
import hashlib
import hmac
import json
import os
import random
import socket
import ssl
import subprocess
import time

from . import processes
from .processes import Failure
from .server import built

REALM = "localhost"


def chosen(**options):
    """The relay that the environment asks for; our own node unless it says otherwise."""
    name = os.environ.get("FARSPEAK_RELAY", "farspeak")
    kinds = {"farspeak": Farspeak, "coturn": Coturn}
    if name not in kinds:
        raise Failure(f"FARSPEAK_RELAY={name}: known are {', '.join(kinds)}")
    return kinds[name](**options)


class Relay:
    """Ports on 127.0.0.1 (and on ::1 with `ipv6`), a user, a shared secret, a CA file; a context manager."""

    user, password, secret = "user", "0123456789abcdef", "fedcba9876543210"

    def __init__(self, core=None, shards=1, addresses=("127.0.0.1",), tls=False, peers=("127.0.0.0/8",), limits=True,
                 old_channels=False, tcp_relaying=False):
        """`peers` is what may be relayed to beside the public internet; without `limits`, quotas are out of the way;
        `old_channels` are those that coturn's tools choose from (RFC 5766); `tcp_relaying` is RFC 6062."""
        self.folder = processes.folder(self.name)
        self.log = os.path.join(self.folder, "relay.log")
        self.port, self.tls = port_of_no_relay(), processes.free_port() if tls else None
        self.ca = os.path.join(self.folder, "ca.pem")
        self.pinning = processes.pinned(core)
        self.old_channels, self.tcp_relaying = old_channels, tcp_relaying
        self.shards, self.addresses, self.peers, self.limits = shards, addresses, peers, limits
        self.v4 = tuple(address for address in addresses if ":" not in address)
        self.v6 = tuple(address for address in addresses if ":" in address)
        self.https = None                               # a port shared with HTTPS, if there is one
        self.process = None

    def __enter__(self):
        self.start()
        try:
            processes.wait_for(f"{self.name} answering on port {self.port}", lambda: self.running() and self.answers(), 20)
        except Failure as failure:
            raise Failure(f"{failure}\n{processes.tail(self.log)}") from None
        return self

    def __exit__(self, *_):
        if self.process:
            processes.stop(self.process)
            self.process = None

    def running(self):
        if self.process.poll() is not None:
            raise Failure(f"{self.name} ended with {self.process.returncode}:\n{processes.tail(self.log)}")
        return True

    def answers(self):
        """Whether a Binding request over UDP is answered."""
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asking:
            asking.settimeout(0.3)
            asking.connect((self.addresses[0], self.port))
            try:
                asking.send(b"\x00\x01\x00\x00\x21\x12\xa4\x42" + os.urandom(12))
                return asking.recv(1024)[:2] == b"\x01\x01"
            except OSError:
                return False

    def certificate(self):
        """A PEM file with the certificate that the server shows, as whoever connects gets it."""
        path = os.path.join(self.folder, "shown.pem")
        with open(path, "w") as out:
            out.write(ssl.get_server_certificate(("127.0.0.1", self.tls)))
        return path

    def time_limited(self, name="alice", lives=3600):
        """User name and password by the REST scheme."""
        user = f"{int(time.time()) + lives}:{name}"
        return user, base64.b64encode(hmac.digest(self.secret.encode(), user.encode(), hashlib.sha1)).decode()


class Coturn(Relay):
    name = "coturn"

    def __init__(self, rest=False, mobility=True, more=(), **options):
        """coturn knows the static user, or with `rest` the shared secret; not both at once. `more` are arguments of its own."""
        super().__init__(**options)
        self.rest, self.mobility, self.more = rest, mobility, more

    def start(self):
        processes.install("turnserver", "coturn")
        arguments = ["turnserver", "-n", "--no-cli", "-p", self.port, "-r", REALM, "-m", self.shards, "--no-stdout-log",
                     "--log-file", self.log, "--simple-log", "--pidfile", os.path.join(self.folder, "pid"), "--no-dtls",
                     "--allow-loopback-peers", "--fingerprint", *(["--mobility"] if self.mobility else []), *self.more]
        for address in self.addresses:
            arguments += ["-L", address]
        arguments += ["-E", "127.0.0.1"] + (["-E", "::1"] if "::1" in self.addresses else [])
        if "127.0.0.0/8" not in self.peers:
            arguments += ["--denied-peer-ip=127.0.0.0-127.255.255.255",
                          *(f"--allowed-peer-ip={peer.removesuffix('/32')}" for peer in self.peers)]
        arguments += ["--use-auth-secret", f"--static-auth-secret={self.secret}"] if self.rest else [
            "--lt-cred-mech", "-u", f"{self.user}:{self.password}"]
        if self.tls:
            certificate(self.folder)
            arguments += ["--tls-listening-port", self.tls, "--cert", f"{self.folder}/srv.pem", "--pkey", f"{self.folder}/srv.key"]
        else:
            arguments += ["--no-tls"]
        self.process = processes.start([str(argument) for argument in arguments], self.log, **self.pinning)


class Farspeak(Relay):
    """Our node: nothing but the relay (`serve --only turn`), or with `whole` all of it, the port of HTTPS shared."""

    name = "farspeak"

    def __init__(self, rest=False, whole=False, **options):
        """It knows the static user and the shared secret at once, whatever `rest` says."""
        super().__init__(**options)
        self.whole = whole
        self.data, self.configuration = os.path.join(self.folder, "data"), os.path.join(self.folder, "farspeak.toml")
        self.binary = os.environ.get("FARSPEAK_BINARY") or built("farspeak", "-p farspeak-cli")

    def start(self):
        os.makedirs(self.data, exist_ok=True)
        with open(self.configuration, "w") as out:
            for section, keys in self._sections().items():
                out.write(f"[{section}]\n" + "".join(f"{key} = {json.dumps(value)}\n" for key, value in keys.items()))
        only = [] if self.whole else ["--only", "turn"]
        self.process = processes.start([self.binary, "serve", *only, *self._where()], self.log, **self.pinning)
        processes.wait_for("its start", lambda: self.running() and self.answers(), 20)
        with open(self.ca, "w") as out:
            out.write(subprocess.run([self.binary, "ca", *self._where()], check=True, capture_output=True, text=True).stdout)

    def _where(self):
        return ["--data", self.data, "--config", self.configuration]

    def _sections(self):
        def everywhere(port):
            return [f"[{address}]:{port}" if ":" in address else f"{address}:{port}" for address in self.addresses[:1] + self.v6]
        turn = {"udp": everywhere(self.port), "tcp": everywhere(self.port), "tls": everywhere(self.tls) if self.tls else [],
                "relay": ["127.0.0.1", *self.v6], "allow_peers": list(self.peers), "secret": self.secret,
                "users": [f"{self.user}:{self.password}"], "share_https": self.whole,
                "old_channels": self.old_channels, "tcp_relaying": self.tcp_relaying}
        if len(self.v4) > 1:
            turn["alternate"] = f"{self.v4[1]}:{self.port + 1}"
        if not self.limits:
            turn |= {"per_user": 1_000_000, "per_source": 1_000_000, "bandwidth": 0}
        sections = {"turn": turn, "node": {"shards": self.shards}, "log": {"level": "warn"},
                    "admin": {"listen": f"127.0.0.1:{processes.free_port()}"}}
        if self.whole:
            self.https = self.https or processes.free_port()
            sections["listen"] = {"https": f"127.0.0.1:{self.https}", "tls": f"127.0.0.1:{processes.free_port()}"}
        return sections


def port_of_no_relay():
    """A free port, and the next one with it, below those that relays lend (49152 and up): on the relay's own address such a port
    is the relay's, whoever has bound it."""
    for port in range(20_000 + 2 * random.randrange(5000), 49_000, 2):
        with contextlib.ExitStack() as stack:
            try:
                for one, family, address in ((port, socket.AF_INET, ""), (port, socket.AF_INET6, "::"), (port + 1, socket.AF_INET, "")):
                    for kind in (socket.SOCK_DGRAM, socket.SOCK_STREAM):
                        probe = stack.enter_context(socket.socket(family, kind))
                        if family == socket.AF_INET6:
                            probe.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
                        probe.bind((address, one))
            except OSError:
                continue
            return port
    raise Failure("no free port below 49000")


def certificate(folder, names="DNS:localhost,IP:127.0.0.1,IP:::1"):
    """An authority and a certificate for `names`, usually of this host: ca.pem, srv.pem, srv.key."""
    def openssl(*arguments):
        subprocess.run(["openssl", *arguments], cwd=folder, check=True, capture_output=True)
    curve = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"]
    openssl("req", "-x509", *curve, "-days", "30", "-keyout", "ca.key", "-out", "ca.pem", "-subj", "/CN=Interop CA",
            "-addext", "basicConstraints=critical,CA:TRUE", "-addext", "keyUsage=critical,keyCertSign,cRLSign")
    openssl("req", *curve, "-keyout", "srv.key", "-out", "srv.csr", "-subj", "/CN=localhost")
    with open(os.path.join(folder, "ext"), "w") as out:
        out.write(f"subjectAltName={names}\nextendedKeyUsage=serverAuth\n")
    openssl("x509", "-req", "-in", "srv.csr", "-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial", "-days", "30",
            "-extfile", "ext", "-out", "srv.pem")
