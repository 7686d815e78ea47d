"""The server of the laboratory: STUN and TURN on 3478 over UDP and TCP, TURN inside TLS on 443. Ours, or coturn."""

import json
import os

from peers import processes, relay
from peers.processes import Failure
from peers.server import built

from .lab import SERVER, SERVER_TOO, SERVER_V6, WIRE, WIRE_V6

USER, PASSWORD = "alice", "0123456789abcdef"


class Server:
    """A context manager; `FARSPEAK_RELAY=coturn` for the other server."""

    def __init__(self, namespace, folder):
        self.namespace, self.folder = namespace, folder
        self.name = os.environ.get("FARSPEAK_RELAY", "farspeak")
        self.log = os.path.join(folder, "relay.log")
        self.ca = os.path.join(folder, "ca.pem")

    def __enter__(self):
        relay.certificate(self.folder, f"IP:{SERVER},IP:{SERVER_V6}")
        starters = {"coturn": self.coturn, "farspeak": self.farspeak}
        self.process = self.namespace.start([str(word) for word in starters[self.name]()], self.log)
        processes.wait_for(f"{self.name} listening", self.listens, 20)
        return self

    def __exit__(self, *_):
        processes.stop(self.process)

    def listens(self):
        if self.process.poll() is not None:
            raise Failure(f"{self.name} ended with {self.process.returncode}:\n{processes.tail(self.log)}")
        listening = self.namespace.run("ss", "-Hlntu")
        return all(f"{SERVER}:{port}" in listening for port in (443, 3478))

    def sessions(self):
        """Who relays now; None where the server does not tell."""
        if self.name != "farspeak":
            return None
        told = self.namespace.run(self.binary, "turn", "sessions", "--json", *self.place)
        return [f"{session['client']} as {session['relayed']}" for session in json.loads(told)["sessions"]]

    def arguments(self, families=(4,), relays=True):
        """What an agent of these families must know of it; unless it `relays`, STUN alone."""
        hosts = [SERVER if family == 4 else f"[{SERVER_V6}]" for family in families]
        words = [word for host in hosts for word in ("--stun", f"{host}:3478")]
        if relays:
            words += ["--user", USER, "--password", PASSWORD, "--ca", self.ca]
        for host in hosts if relays else []:
            words += ["--turn", f"turn:{host}:3478?transport=udp", "--turn", f"turn:{host}:3478?transport=tcp",
                      "--turn", f"turns:{host}:443"]
        return words

    def coturn(self):
        processes.install("turnserver", "coturn")
        return ["turnserver", "-n", "--no-cli", "-L", SERVER, "-L", SERVER_TOO, "-L", SERVER_V6, "-E", SERVER, "-E", SERVER_V6, "-p", 3478,
                "--tls-listening-port", 443, "--no-dtls", "-r", "farspeak.test", "--lt-cred-mech", "-u", f"{USER}:{PASSWORD}",
                "--cert", f"{self.folder}/srv.pem", "--pkey", f"{self.folder}/srv.key", "--log-file", self.log,
                "--simple-log", "--pidfile", f"{self.folder}/pid", "--fingerprint"]

    def farspeak(self):
        """The laboratory's addresses are for documentation: the node relays to them because it is told to here."""
        self.binary = os.environ.get("FARSPEAK_BINARY") or built("farspeak", "-p farspeak-cli")
        listeners = {"udp": [f"{SERVER}:3478", f"[{SERVER_V6}]:3478"], "tcp": [f"{SERVER}:3478", f"[{SERVER_V6}]:3478"],
                     "tls": [f"{SERVER}:443", f"[{SERVER_V6}]:443"], "alternate": f"{SERVER_TOO}:3479",
                     "relay": [SERVER, SERVER_V6], "share_https": False,
                     "allow_peers": [f"{WIRE}.0/24", f"{WIRE_V6}:/64"], "users": [f"{USER}:{PASSWORD}"],
                     "per_user": 1000}                  # all agents are one user
        configuration = os.path.join(self.folder, "farspeak.toml")
        with open(configuration, "w") as out:
            out.write(f'[certificate]\nchain = "{self.folder}/srv.pem"\nkey = "{self.folder}/srv.key"\n'
                      '[admin]\nlisten = "127.0.0.1:9464"\n[turn]\n'
                      + "".join(f"{key} = {json.dumps(value)}\n" for key, value in listeners.items()))
        self.place = ["--data", os.path.join(self.folder, "data"), "--config", configuration]
        return [self.binary, "serve", "--only", "turn", *self.place]
