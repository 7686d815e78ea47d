"""A network in a box: a public wire, a server on it, and sites behind translators of every kind.

        site a: host ── lan ── router ──┐                    ┌── router ── lan ── host :site b
              192.168.1.2   .1          wan ── public wire ── wan   .1       192.168.1.2
                                  203.0.113.x      │    203.0.113.y
                                           server .10 and .11

Every site has the same inside network, as homes do. A site may have a second host, or lie behind a carrier's translator
besides its own router. Each part is a network namespace without a name, which lives as long
as a process that reads from us: whatever ends this program, even SIGKILL, ends the network.
"""

import ctypes
import os
import shutil
import signal
import subprocess

from peers import ice, processes
from peers.processes import Failure, Missing

SERVER, SERVER_TOO, SERVER_V6 = "203.0.113.10", "203.0.113.11", "2001:db8::10"
WIRE, WIRE_V6 = "203.0.113", "2001:db8:"
# How flows to the server's relayed addresses begin.
RELAYED = (f"{SERVER}:", f"[{SERVER_V6}]:")
INSIDE, CARRIER = "192.168.1", "100.64.0"
HOST = f"{INSIDE}.2"

# What a router does with packets, by kind: (what arrives uncalled for from outside, how it translates, what it lets out).
UNCALLED = {"full cone": "meta l4proto udp dnat to {host}",
            "address-restricted": "ip saddr @contacted meta l4proto udp dnat to {host}"}
TRANSLATES = {"symmetric": "masquerade random,fully-random"}
LETS_OUT = {"no UDP": "meta l4proto != udp accept",
            "TLS to 443 only": "tcp dport 443 accept"}
KINDS = ("none", "full cone", "address-restricted", "port-restricted", "symmetric", "no UDP", "TLS to 443 only")


class Namespace:
    """A network namespace, and what runs in it."""

    def __init__(self, name):
        self.name = name
        # Ends when our end of the pipe closes; `unshare` becomes `cat`.
        self.holder = subprocess.Popen(["unshare", "--net", "cat"], stdin=subprocess.PIPE, stdout=subprocess.DEVNULL,
                                       stderr=subprocess.PIPE, start_new_session=True)
        ours = os.readlink("/proc/self/ns/net")

        def entered():
            if self.holder.poll() is not None:
                raise Missing(f"cannot make a network namespace: {self.holder.stderr.read().decode().strip()}")
            try:
                return os.readlink(f"/proc/{self.holder.pid}/ns/net") != ours
            except OSError:
                return False
        processes.wait_for(f"the namespace of {name}", entered, 5)
        self.run("ip", "link", "set", "lo", "up")

    @property
    def pid(self):
        return str(self.holder.pid)

    def inside(self, *arguments):
        """The command that runs `arguments` in here."""
        return ["nsenter", f"--net=/proc/{self.pid}/ns/net", "--", *arguments]

    def run(self, *arguments, text=None, patience=20):
        done = subprocess.run(self.inside(*arguments), input=text, capture_output=True, text=True, timeout=patience)
        if done.returncode:
            raise Failure(f"{self.name}: {' '.join(arguments)}: {done.stderr.strip() or done.stdout.strip()}")
        return done.stdout

    def start(self, arguments, log, **options):
        """Like `processes.start`, in here; ends when the thread that called this ends, at the latest."""
        return processes.start(self.inside(*arguments), log, preexec_fn=dies_with_us, **options)

    def open(self, arguments, log):
        """Like `ice.open_here`, in here."""
        return ice.open_here(self.inside(*arguments), log, preexec_fn=dies_with_us)

    def close(self):
        self.holder.stdin.close()
        self.holder.kill()
        self.holder.wait()


class Wire:
    """A network that routers and hosts are put on: a bridge in a namespace of its own."""

    def __init__(self, lab, name, prefix, gateway):
        self.name, self.prefix, self.gateway, self.ports = name, prefix, gateway, 0
        self.space = lab.namespace(name)
        batch(self.space, "link add wire type bridge", "link set wire up")

    def attach(self, namespace, interface, *addresses, is_gateway=False):
        self.ports += 1
        port = f"port{self.ports}"
        self.space.run("ip", "link", "add", port, "type", "veth", "peer", "name", interface, "netns", namespace.pid)
        batch(self.space, f"link set {port} master wire", f"link set {port} up")
        routed = not is_gateway and any("." in address for address in addresses)
        batch(namespace, *(with_prefix(address, interface) for address in addresses), f"link set {interface} up",
              *([f"route add default via {self.gateway}"] if routed else []))


class Router:
    """Stands between two wires and translates."""

    def __init__(self, lab, name, kind, outside, address, inside, loss=0):
        self.space, self.address = lab.namespace(name), address
        outside.attach(self.space, "wan", address)
        inside.attach(self.space, "lan", f"{inside.prefix}.1", is_gateway=True)
        self.space.run("sh", "-c", "echo 1 >/proc/sys/net/ipv4/ip_forward")
        self.space.run("nft", "-f", "-", text=rules(kind, f"{inside.prefix}.2", loss))


class Lab:
    """The public wire, the server's namespace and the sites; a context manager."""

    def __init__(self):
        self.namespaces, self.hosts, self.routers = [], {}, {}
        self.numbers = iter(range(20, 250))

    def __enter__(self):
        for command, package in (("ip", "iproute2"), ("nft", "nftables"), ("unshare", "util-linux"),
                                 ("nsenter", "util-linux")):
            processes.install(command, package)
        try:
            # The rest of the world begins behind this address, and swallows everything.
            self.public = Wire(self, "the public wire", WIRE, f"{WIRE}.1")
            batch(self.public.space, f"address add {WIRE}.1/24 dev wire", "route add blackhole default")
            self.server = self.namespace("the server")
            self.public.attach(self.server, "eth0", SERVER, SERVER_TOO, SERVER_V6)
        except Failure:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_):
        for namespace in self.namespaces:
            namespace.close()

    def namespace(self, name):
        self.namespaces.append(Namespace(name))
        return self.namespaces[-1]

    def site(self, name, kind, outside=None, loss=0):
        """A host behind a router of that kind, or on the public wire: with kind `none` by IPv4, with `IPv6 alone` by that;
        with `IPv6 too` it is on the wire and behind a port-restricted router. Gives the wire behind the router."""
        host = self.hosts[name] = self.namespace(name)
        outside = outside or self.public
        number = next(self.numbers)
        address = f"{outside.prefix}.{number}"
        if kind == "none":
            return outside.attach(host, "eth0", address)
        if kind.startswith("IPv6"):
            outside.attach(host, "eth6", f"{WIRE_V6}:{number}")
        if kind == "IPv6 alone":
            return None
        inside = Wire(self, f"the wire of {name}", INSIDE, f"{INSIDE}.1")
        self.routers[name] = Router(self, f"the router of {name}", kind, outside, address, inside, loss)
        inside.attach(host, "eth0", HOST)
        return inside

    def number(self, name, address):
        """Gives the router of that site one more address outside: one of the Internet, for services that want such."""
        router = self.routers[name]
        batch(router.space, f"address add {address}/32 dev wan")
        batch(self.public.space, f"route add {address} via {router.address}")
        self.public.space.run("sh", "-c", "cd /proc/sys/net/ipv4; for of in all wire; do echo 0 >conf/$of/send_redirects; done; "
                                          "echo 1 >ip_forward")
        return router.space

    def guest(self, name, wire):
        """One more host at a site."""
        host = self.hosts[name] = self.namespace(name)
        wire.attach(host, "eth0", f"{wire.prefix}.3")

    def carrier(self, name, kind):
        """A translator of the provider's, and the wire behind it for routers of homes (RFC 6598)."""
        inside = Wire(self, f"the wire of {name}", CARRIER, f"{CARRIER}.1")
        Router(self, name, kind, self.public, f"{WIRE}.{next(self.numbers)}", inside)
        return inside


def with_prefix(address, interface):
    if ":" in address:
        return f"address add {address}/64 dev {interface} nodad"    # nobody else has it: no second to find out
    return f"address add {address}/24 dev {interface}"


def batch(namespace, *lines):
    namespace.run("ip", "-batch", "-", text="\n".join(lines) + "\n")


def rules(kind, host, loss):
    """What the router's kernel is told; of a hundred UDP packets it loses `loss`."""
    uncalled = UNCALLED.get(kind, "").format(host=host)
    loses = f"meta l4proto udp numgen random mod 100 < {loss} drop" if loss else ""
    return f"""
table ip nat {{
    # Whom the host has sent to lately.
    set contacted {{ type ipv4_addr; flags dynamic,timeout; timeout 60s; }}
    chain arriving {{
        type nat hook prerouting priority dstnat;
        iifname "wan" {uncalled or "accept"}
    }}
    chain leaving {{
        type nat hook postrouting priority srcnat;
        oifname "wan" {TRANSLATES.get(kind, "masquerade")}
    }}
}}
table ip filter {{
    chain through {{
        type filter hook forward priority filter; policy drop;
        {loses}
        ct state established,related accept
        ct status dnat accept
        iifname "lan" {LETS_OUT.get(kind, "accept")}
    }}
    # A router says nothing to strangers.
    chain for_the_router {{
        type filter hook input priority filter; policy drop;
        iifname "lan" accept
        ct state established,related accept
    }}
}}
table ip nat {{
    chain remembering {{
        type filter hook postrouting priority mangle;
        oifname "wan" update @contacted {{ ip daddr }}
    }}
}}
"""


def dies_with_us():
    """For `preexec_fn`: SIGKILL when the thread that started the process is gone (PR_SET_PDEATHSIG)."""
    ctypes.CDLL(None).prctl(1, signal.SIGKILL)


def possible():
    """Why there can be no laboratory here; None if there can."""
    if not os.path.exists("/proc/self/ns/net"):
        return "this system has no network namespaces"
    if os.geteuid() == 0 and subprocess.run(["unshare", "--net", "true"], capture_output=True).returncode == 0:
        return None
    return "network namespaces need root"


def become_root():
    """Where we are not root but may have namespaces of our own: begins again as root of one."""
    if os.geteuid() == 0 or os.environ.get("FARSPEAK_LAB") or not shutil.which("unshare"):
        return
    mapped = ["unshare", "--user", "--map-root-user"]
    if subprocess.run([*mapped, "--net", "true"], capture_output=True).returncode == 0:
        os.environ["FARSPEAK_LAB"] = "mapped"
        os.execvp("unshare", [*mapped, *os.sys.orig_argv])
