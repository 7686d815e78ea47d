"""miniupnpd as a router's port mapping service: PCP, NAT-PMP and UPnP, over nftables."""

import os

from . import processes

# What it adds its rules to. Forwarding what it translated is the business of the router's own rules.
CHAINS = """
table inet filter {
    chain miniupnpd { }
    chain prerouting { type nat hook prerouting priority -100; jump prerouting_miniupnpd
    }
    chain prerouting_miniupnpd { }
    chain postrouting { type nat hook postrouting priority 100; jump postrouting_miniupnpd
    }
    chain postrouting_miniupnpd { }
}
"""

SETTINGS = """
ext_ifname=wan
ext_ip={external}
listening_ip=lan
port=0
enable_natpmp={ours}
enable_upnp={upnp}
secure_mode=yes
system_uptime=no
uuid=4d696e69-5550-6e50-0000-000000000000
allow 1024-65535 {inside}.0/24 1024-65535
deny 0-65535 0.0.0.0/0 0-65535
"""


class Miniupnpd:
    """The service on the router in `namespace`; a context manager. `external` is the address that it tells."""

    def __init__(self, namespace, folder, inside, external):
        processes.install("miniupnpd", "miniupnpd-nftables")
        self.namespace, self.folder, self.inside, self.external = namespace, folder, inside, external
        self.log, self.process, self.runs = os.path.join(folder, "miniupnpd.log"), None, 0

    def __enter__(self):
        self.namespace.run("nft", "-f", "-", text=CHAINS)
        self.start()
        return self

    def __exit__(self, *_):
        self.stop()

    def start(self, ours=True, upnp=True):
        settings, said = os.path.join(self.folder, "miniupnpd.conf"), {True: "yes", False: "no"}
        with open(settings, "w") as file:
            file.write(SETTINGS.format(external=self.external, inside=self.inside, ours=said[ours], upnp=said[upnp]))
        self.runs += 1
        pid = os.path.join(self.folder, f"miniupnpd-{self.runs}.pid")
        self.process = self.namespace.start(["miniupnpd", "-f", settings, "-d", "-P", pid], self.log)

        def listens():
            if self.process.poll() is not None:
                raise processes.Failure(f"miniupnpd ended:\n{processes.tail(self.log)}")
            sockets = self.namespace.run("ss", "-Hlnu")
            return (":5351 " in sockets or not ours) and (":1900 " in sockets or not upnp)
        processes.wait_for("miniupnpd listening", listens, 10)

    def stop(self):
        processes.stop(self.process)

    def forget(self):
        """What a restart of the whole router does to the mappings."""
        for chain in ("miniupnpd", "prerouting_miniupnpd", "postrouting_miniupnpd"):
            self.namespace.run("nft", "flush", "chain", "inet", "filter", chain)

    def mapped(self):
        """External ports that lead inside now."""
        rules = self.namespace.run("nft", "list", "chain", "inet", "filter", "prerouting_miniupnpd")
        return sorted(int(line.split("dport")[1].split()[0]) for line in rules.splitlines() if "dnat" in line)
