"""The server under test behind one small face: our node, or Kamailio to check the tests themselves.

    FARSPEAK_SERVER=kamailio interop/baresip-call      # the same scenario through the other server
    FARSPEAK_BINARY=PATH                               # which `farspeak` to run
"""

import glob
import json
import os
import subprocess

from . import processes
from .processes import Failure

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))


def chosen(**options):
    """The server that the environment asks for; our own node unless it says otherwise."""
    name = os.environ.get("FARSPEAK_SERVER", "farspeak")
    kinds = {"farspeak": Farspeak, "kamailio": Kamailio}
    if name not in kinds:
        raise Failure(f"FARSPEAK_SERVER={name}: known are {', '.join(kinds)}")
    return kinds[name](**options)


class Server:
    """Ports on 127.0.0.1, a CA file, users with passwords; a context manager that starts and stops it."""

    domain = "localhost"

    def __init__(self, legacy=False, core=None):
        self.legacy = legacy
        self.pinning = processes.pinned(core)
        self.folder = processes.folder(self.name)
        self.tls, self.wss, self.sip, self.admin = (processes.free_port() for _ in range(4))
        self.passwords = {}
        self.process = None
        self.log = os.path.join(self.folder, "server.log")

    def __enter__(self):
        self.start()
        return self

    def __exit__(self, *_):
        self.stop()

    def stop(self):
        if self.process:
            processes.stop(self.process)
            self.process = None

    def running(self):
        if self.process.poll() is not None:
            raise Failure(f"{self.name} ended with {self.process.returncode}:\n{processes.tail(self.log)}")
        return True

    def wait_until_up(self):
        ports = [self.tls, self.wss] + ([self.sip] if self.legacy else [])
        processes.wait_for(f"{self.name} listening on {ports}",
                           lambda: self.running() and all(processes.answers(port) for port in ports), 20)

    @property
    def websocket(self):
        return f"wss://{self.domain}:{self.wss}/sip"


class Farspeak(Server):
    name = "farspeak"

    def __init__(self, legacy=False, core=None, **settings):
        """`settings` are configuration keys as `section_key`, for example `registrar_min_expires="2s"`."""
        super().__init__(legacy, core)
        self.settings = settings
        self.users = {}                                 # what `user add` said: password, address, lines for phones
        self.data = os.path.join(self.folder, "data")
        self.configuration = os.path.join(self.folder, "farspeak.toml")
        self.ca = os.path.join(self.folder, "ca.pem")
        self.binary = os.environ.get("FARSPEAK_BINARY") or built("farspeak", "-p farspeak-cli")

    def start(self):
        os.makedirs(self.data, exist_ok=True)
        with open(self.configuration, "w") as out:
            out.write(self._toml())
        self.process = processes.start([self.binary, "serve"] + self._where(), self.log, **self.pinning)
        self.wait_until_up()
        with open(self.ca, "w") as out:
            out.write(self._command("ca"))

    def add_user(self, name):
        """Adds a user while the node runs and returns the password it made."""
        self.users[name] = json.loads(self._command("user", "add", name, "--json"))
        self.passwords[name] = self.users[name]["password"]
        return self.passwords[name]

    def _command(self, *arguments):
        run = subprocess.run([self.binary, *arguments, *self._where()], stdin=subprocess.DEVNULL, capture_output=True,
                             text=True, timeout=30)
        if run.returncode:
            raise Failure(f"farspeak {' '.join(arguments)} ended with {run.returncode}: {run.stderr or run.stdout}")
        return run.stdout

    def _where(self):
        return ["--data", self.data, "--config", self.configuration]

    def _toml(self):
        sections = {"listen": {"tls": f"127.0.0.1:{self.tls}", "https": f"127.0.0.1:{self.wss}"},
                    "admin": {"listen": f"127.0.0.1:{self.admin}"}}
        if self.legacy:
            sections["legacy"] = {"udp": self.sip, "tcp": self.sip}
        for name, value in self.settings.items():
            section, key = name.split("_", 1)
            sections.setdefault(section, {})[key] = value
        return "".join(f"[{section}]\n" + "".join(f"{key} = {json.dumps(value)}\n" for key, value in keys.items())
                       for section, keys in sections.items())


def built(name, what):
    """The path of a program of ours that cargo has built: the quickest there is."""
    target = os.environ.get("CARGO_TARGET_DIR") or os.path.join(ROOT, "target")
    for profile in ("interop", "release", "debug"):
        path = os.path.join(target, profile, name)
        if os.access(path, os.X_OK):
            return path
    raise Failure(f"no {name}: run `cargo build --profile interop {what}`")


class Kamailio(Server):
    """Kamailio with digest, TLS, WSS and a location table in memory; a password is the user's name and `pw`."""

    name = "kamailio"

    def __init__(self, legacy=False, core=None, registrar_min_expires="0s", template="kamailio.cfg", options=()):
        super().__init__(True, core)
        self.min_expires = registrar_min_expires.rstrip("s")
        self.template = os.path.join(os.path.dirname(__file__), template)
        self.options = options
        self.ca = os.path.join(self.folder, "ca.pem")

    def add_user(self, name):
        self.passwords[name] = name + "pw"
        return self.passwords[name]

    def start(self):
        for module in ("tls", "websocket"):
            processes.install(glob_one(f"/usr/lib/*/kamailio/modules/{module}.so"), "kamailio",
                              "kamailio-tls-modules", "kamailio-websocket-modules")
        self._certificates()
        os.makedirs(os.path.join(self.folder, "run"), exist_ok=True)
        with open(os.path.join(self.folder, "tls.cfg"), "w") as out:
            for section in ("server:default", "client:default"):
                out.write(f"[{section}]\nmethod = TLSv1.2+\nverify_certificate = no\nrequire_certificate = no\n")
                if section.startswith("server"):
                    out.write(f"private_key = {self.folder}/srv.key\ncertificate = {self.folder}/srv.pem\n")
        path = os.path.join(self.folder, "kamailio.cfg")
        with open(path, "w") as out:
            out.write(self._cfg())
        self.process = processes.start(
            ["kamailio", "-f", path, "-DD", "-E", "-m", "128", "-Y", os.path.join(self.folder, "run"), *self.options],
            self.log, **self.pinning)
        self.wait_until_up()

    def _certificates(self):
        def openssl(*arguments):
            subprocess.run(["openssl", *arguments], cwd=self.folder, check=True, capture_output=True)
        curve = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"]
        openssl("req", "-x509", *curve, "-days", "30", "-keyout", "ca.key", "-out", "ca.pem", "-subj", "/CN=Interop CA",
                "-addext", "basicConstraints=critical,CA:TRUE", "-addext", "keyUsage=critical,keyCertSign,cRLSign")
        openssl("req", *curve, "-keyout", "srv.key", "-out", "srv.csr", "-subj", "/CN=localhost")
        with open(os.path.join(self.folder, "ext"), "w") as out:
            out.write("subjectAltName=DNS:localhost\nextendedKeyUsage=serverAuth,clientAuth\n")
        openssl("x509", "-req", "-in", "srv.csr", "-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial", "-days", "30",
                "-extfile", "ext", "-out", "srv.pem")

    def _cfg(self):
        with open(self.template) as template:
            text = template.read()
        for word, value in {"FOLDER": self.folder, "TLS": self.tls, "WSS": self.wss, "SIP": self.sip,
                            "MINEXPIRES": self.min_expires}.items():
            text = text.replace(f"@{word}@", str(value))
        return text


def glob_one(pattern):
    return next(iter(glob.glob(pattern)), pattern)
