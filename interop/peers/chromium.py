"""Chromium without a window, driven over a pipe: pages evaluate what a test gives them."""

import base64
import hashlib
import json
import os
import subprocess
import threading

from . import processes
from .processes import Failure


class Chromium:
    """A context manager. It trusts, beside the public authorities, the certificates (PEM files) that it is given."""

    def __init__(self, trusted=()):
        processes.install("chromium", "chromium")
        self.folder = processes.folder("chromium")
        self.log = os.path.join(self.folder, "log")
        self.trusted = trusted
        self.serial = 0
        self.answers, self.arrived = {}, threading.Condition()

    def __enter__(self):
        # WebRTC's sockets to relays trust what the browser trusts; this names the keys of our own certificates.
        keys = [f"--ignore-certificate-errors-spki-list={','.join(map(fingerprint, self.trusted))}"] if self.trusted else []
        (reads, self.out), (self.into, writes) = os.pipe(), os.pipe()

        def prepare():
            # The pipe's ends are 3 and 4 in the browser, wherever they were here.
            for here, there in ((os.dup(reads), 3), (os.dup(writes), 4)):
                os.dup2(here, there)
        self.process = processes.start(
            ["chromium", "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run",
             f"--user-data-dir={self.folder}/profile", "--remote-debugging-pipe", "--mute-audio",
             "--autoplay-policy=no-user-gesture-required", "--allow-loopback-in-peer-connection",
             "--disable-features=WebRtcHideLocalIpsWithMdns", *keys, "about:blank"],
            self.log, preexec_fn=prepare, close_fds=False, env=dict(os.environ, HOME=self.folder))
        os.close(reads)
        os.close(writes)
        threading.Thread(target=self._listen, daemon=True).start()
        return self

    def __exit__(self, *_):
        processes.stop(self.process)
        os.close(self.out)

    def page(self):
        """A new empty page; its name is for `evaluate`."""
        target = self._ask("Target.createTarget", {"url": "about:blank"})["targetId"]
        return self._ask("Target.attachToTarget", {"targetId": target, "flatten": True})["sessionId"]

    def evaluate(self, page, expression, seconds=30):
        """The value of a JavaScript expression, awaited if it is a promise."""
        done = self._ask("Runtime.evaluate", {"expression": expression, "awaitPromise": True, "returnByValue": True},
                         page, seconds)
        if "exceptionDetails" in done:
            details = done["exceptionDetails"]
            raise Failure(details.get("exception", {}).get("description") or details["text"])
        return done["result"].get("value")

    def _ask(self, method, parameters, page=None, seconds=20):
        with self.arrived:
            self.serial += 1
            number = self.serial
        message = {"id": number, "method": method, "params": parameters} | ({"sessionId": page} if page else {})
        os.write(self.out, json.dumps(message).encode() + b"\0")
        with self.arrived:
            if not self.arrived.wait_for(lambda: number in self.answers or None in self.answers, seconds):
                raise Failure(f"chromium: no answer to {method} within {seconds} s")
            if number not in self.answers:
                raise Failure(f"chromium ended:\n{processes.tail(self.log)}")
            answer = self.answers.pop(number)
        if "error" in answer:
            raise Failure(f"chromium: {method}: {answer['error']['message']}")
        return answer["result"]

    def _listen(self):
        with os.fdopen(self.into, "rb") as pipe:
            waiting = b""
            while piece := pipe.read1(65536):
                *whole, waiting = (waiting + piece).split(b"\0")
                with self.arrived:
                    for message in map(json.loads, whole):
                        if "id" in message:
                            self.answers[message["id"]] = message
                    self.arrived.notify_all()
        with self.arrived:
            self.answers[None] = "it ended"
            self.arrived.notify_all()


def fingerprint(certificate):
    """SHA-256 of the certificate's public key (PEM file), in base64."""
    key = subprocess.run(["openssl", "x509", "-in", certificate, "-noout", "-pubkey"], check=True, capture_output=True).stdout
    der = subprocess.run(["openssl", "pkey", "-pubin", "-outform", "DER"], input=key, check=True, capture_output=True).stdout
    return base64.b64encode(hashlib.sha256(der).digest()).decode()
