//! Runs the real `farspeak` in a folder of its own, and a phone that speaks SIP over UDP to it.

#![allow(dead_code, unused_imports, reason = "each test file uses its part")]

mod phone;
pub mod relayed;

use std::io::{BufRead as _, BufReader, Read as _};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};

pub use phone::{Phone, Reply};
use serde_json::Value;

/// A folder for one test, gone when the test ends.
pub struct Scratch(PathBuf);

impl Scratch {
    pub fn new() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let name = format!("farspeak-cli-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        let path = std::env::temp_dir().join(name);
        std::fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    pub fn path(&self) -> &Path {
        &self.0
    }

    pub fn data(&self) -> PathBuf {
        self.0.join("data")
    }

    /// Writes the configuration: every port free, relayed addresses where no socket of a test's own comes to lie, and
    /// `more`.
    pub fn configure(&self, more: &str) {
        let ports = "[listen]\ntls = \"127.0.0.1:0\"\nhttps = \"127.0.0.1:0\"\n[admin]\nlisten = \"127.0.0.1:0\"\n\
                     [legacy]\nudp = \"127.0.0.1:0\"\n[turn]\nudp = \"127.0.0.1:0\"\ntcp = \"127.0.0.1:0\"\n\
                     tls = \"127.0.0.1:0\"\nrelay = [\"127.0.0.1\"]\nports = \"61000-65000\"\n[node]\nshards = 2\ndrain = \"100ms\"\n";
        std::fs::create_dir_all(self.data()).unwrap();
        std::fs::write(self.config(), format!("{ports}{more}")).unwrap();
    }

    pub fn config(&self) -> PathBuf {
        self.data().join("farspeak.toml")
    }

    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_farspeak"));
        command.args(arguments).arg("--data").arg(self.data()).stdin(Stdio::null());
        for name in ["FARSPEAK_DATA", "FARSPEAK_CONFIG", "NOTIFY_SOCKET"] {
            command.env_remove(name);
        }
        command
    }

    /// Runs a command to its end.
    pub fn run(&self, arguments: &[&str]) -> Output {
        self.command(arguments).output().unwrap()
    }

    /// Runs a command that must succeed and print JSON.
    pub fn json(&self, arguments: &[&str]) -> Value {
        let output = self.run(&[arguments, &["--json"]].concat());
        assert!(output.status.success(), "{arguments:?}: {}", text(&output.stderr));
        serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{arguments:?}: {error}"))
    }

    /// Runs a command that must fail with that code; gives what it said.
    pub fn fails(&self, arguments: &[&str], code: i32) -> String {
        let output = self.run(arguments);
        assert_eq!(output.status.code(), Some(code), "{arguments:?}: {}{}", text(&output.stdout), text(&output.stderr));
        text(&output.stderr)
    }

    /// Starts a node and waits until it is ready.
    pub fn serve(&self) -> Node {
        Node::start(self.command(&["serve", "--json"]))
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// A node that runs.
pub struct Node {
    child: Child,
    /// What it said when it was ready.
    pub ready: Value,
    stderr: Option<std::thread::JoinHandle<String>>,
}

impl Node {
    pub fn start(mut command: Command) -> Self {
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let mut stderr = child.stderr.take().unwrap();
        let stderr = std::thread::spawn(move || {
            let mut log = String::new();
            stderr.read_to_string(&mut log).unwrap();
            log
        });
        let Ok(ready) = serde_json::from_str(&line) else {
            child.wait().unwrap();
            panic!("the node did not start: {line}{}", stderr.join().unwrap());
        };
        Self { child, ready, stderr: Some(stderr) }
    }

    pub fn pid(&self) -> i32 {
        i32::try_from(self.child.id()).unwrap()
    }

    /// Where it listens for that transport.
    pub fn address(&self, transport: &str) -> SocketAddr {
        let all = self.ready["listening"].as_array().unwrap();
        let found = all.iter().find(|it| it["transport"] == transport).unwrap();
        found["address"].as_str().unwrap().parse().unwrap()
    }

    pub fn admin(&self) -> SocketAddr {
        self.ready["admin"].as_str().unwrap().parse().unwrap()
    }

    pub fn signal(&self, signal: rustix::process::Signal) {
        let pid = rustix::process::Pid::from_raw(self.pid()).unwrap();
        rustix::process::kill_process(pid, signal).unwrap();
    }

    /// Ends it at once, as the power of the kernel does: no handler runs.
    pub fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Tells it to stop; gives the exit code and everything it logged.
    pub fn stop(mut self) -> (Option<i32>, String) {
        self.signal(rustix::process::Signal::TERM);
        let status = self.child.wait().unwrap();
        (status.code(), self.stderr.take().unwrap().join().unwrap())
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

pub fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// A plain HTTP GET: status line and body.
pub fn get(address: SocketAddr, path: &str) -> (String, String) {
    use std::io::Write as _;
    let mut stream = std::net::TcpStream::connect(address).unwrap();
    write!(stream, "GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    (head.lines().next().unwrap().to_owned(), body.to_owned())
}
