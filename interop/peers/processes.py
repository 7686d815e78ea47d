"""Processes, ports and folders that a test borrows and gives back."""

import atexit
import os
import resource
import shutil
import signal
import socket
import subprocess
import tempfile
import time

RUNNING = []


class Failure(Exception):
    """A peer or the server did not do what the test needs; the text is for the person who runs it."""


class Missing(Failure):
    """A peer is not installed and cannot be: the suite is skipped, not failed."""


def install(command, *packages):
    """Makes `command` (a name in PATH, or a file's path) available, by apt when it is missing and we may."""
    if shutil.which(command) or os.path.exists(command):
        return
    apt = ["apt-get"] if os.geteuid() == 0 else ["sudo", "-n", "apt-get"]
    quiet = dict(stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    environment = dict(os.environ, DEBIAN_FRONTEND="noninteractive")
    for arguments in (["install", "-y", "-q", "--no-install-recommends", *packages], ["update", "-q"],
                      ["install", "-y", "-q", "--no-install-recommends", *packages]):
        if shutil.which(apt[0]):
            subprocess.run(apt + ["-o", "DPkg::Lock::Timeout=300"] + arguments, env=environment, **quiet)
        if shutil.which(command) or os.path.exists(command):
            return
    raise Missing(f"{command} is missing and apt could not install {' '.join(packages)}")


def free_port():
    """A port of 127.0.0.1 that nobody uses, for TCP and UDP alike."""
    for _ in range(100):
        with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as tcp, socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as udp:
            tcp.bind(("127.0.0.1", 0))
            port = tcp.getsockname()[1]
            try:
                udp.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
    raise Failure("no free port on 127.0.0.1")


def folder(prefix):
    """A folder that is gone when this program ends, unless FARSPEAK_KEEP is set."""
    path = tempfile.mkdtemp(prefix=f"farspeak-{prefix}-")
    if os.environ.get("FARSPEAK_KEEP"):
        print(f"keeping {path}", flush=True)
    else:
        atexit.register(shutil.rmtree, path, ignore_errors=True)
    return path


def start(arguments, log, **options):
    """Starts a process in a group of its own whose output goes to the file `log`; it ends with us at the latest."""
    with open(log, "ab") as output:
        process = subprocess.Popen(arguments, stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT,
                                   start_new_session=True, **options)
    process.log = log
    RUNNING.append(process)
    return process


def pinned(core):
    """Options for `start` that keep a process on one core and let it open all the files it may; none for `None`."""
    if core is None:
        return {}

    def prepare():
        os.sched_setaffinity(0, {core})
        most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    return {"preexec_fn": prepare}


def stop(process, how=signal.SIGTERM, wait=10):
    """Ends a process that `start` gave and those it started; returns its exit status."""
    if process in RUNNING:
        RUNNING.remove(process)
    if process.poll() is None:
        process.send_signal(how)
        try:
            process.wait(wait)
        except subprocess.TimeoutExpired:
            pass
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except (ProcessLookupError, PermissionError):
        pass
    return process.wait()


def stop_all():
    for process in list(reversed(RUNNING)):
        stop(process, wait=5)


def wait_for(what, condition, seconds=10.0):
    """Looks every 50 ms until `condition()` gives something true, and returns that."""
    end = time.monotonic() + seconds
    while True:
        found = condition()
        if found:
            return found
        if time.monotonic() > end:
            raise Failure(f"{what}: nothing within {seconds:g} s")
        time.sleep(0.05)


def answers(port, host="127.0.0.1"):
    """Whether something accepts TCP connections there."""
    try:
        socket.create_connection((host, port), 0.5).close()
        return True
    except OSError:
        return False


def tail(path, lines=15):
    """The last lines of a log, to show when something went wrong."""
    try:
        with open(path, errors="replace") as text:
            return "".join(text.readlines()[-lines:])
    except OSError:
        return ""


atexit.register(stop_all)
for ending in (signal.SIGTERM, signal.SIGHUP):
    signal.signal(ending, lambda *_: exit(1))
