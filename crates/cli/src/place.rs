//! Where things are: the data directory, the configuration, and the node that may be running on them.

use std::io;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use farspeak_node::config::Loaded;
use farspeak_node::control::{self, Request};
use farspeak_node::data_dir::{DataDir, DataDirError};
use farspeak_node::store::Store;
use serde_json::{Value, json};

use crate::args::Arguments;
use crate::exit::{CliError, Exit};

/// Which node this command is about.
#[derive(Clone, Debug)]
pub struct Place {
    /// Its state.
    pub data: DataDir,
    /// Its configuration; it may be absent unless it was named.
    pub config_file: PathBuf,
    named: bool,
}

impl Place {
    pub fn new(arguments: &Arguments) -> Self {
        let data = DataDir::new(arguments.data.clone().unwrap_or_else(default_data));
        let config_file = arguments.config.clone().unwrap_or_else(|| data.config_file());
        Self { data, config_file, named: arguments.config.is_some() }
    }

    /// The configuration.
    pub fn load(&self) -> Result<Loaded, CliError> {
        if !self.named && !self.config_file.exists() {
            return Ok(Loaded::default());
        }
        Loaded::read(&self.config_file).map_err(|errors| CliError::new(Exit::Config, errors.to_string()))
    }

    /// Asks the running node. `None` if none runs.
    pub fn ask(&self, request: &Request) -> Result<Option<Value>, CliError> {
        match control::ask(&self.data.control_socket(), request) {
            Ok(answer) => Ok(Some(answer?)),
            Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused) => {
                Ok(None)
            }
            Err(error) => {
                let socket = self.data.control_socket();
                Err(CliError::new(Exit::Failed, format!("the node does not answer on {}: {error}", socket.display())))
            }
        }
    }

    /// Asks the running node, or does it in the store if none runs.
    ///
    /// A node that is starting or stopping holds the store but takes no commands: it is waited for.
    pub fn perform(&self, request: &Request) -> Result<Value, CliError> {
        self.data.create()?;
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Some(value) = self.ask(request)? {
                return Ok(value);
            }
            match self.data.lock() {
                Ok(_lock) => return self.perform_on_store(request),
                Err(error @ DataDirError::Held { .. }) if Instant::now() > deadline => return Err(error.into()),
                Err(DataDirError::Held { .. }) => std::thread::sleep(Duration::from_millis(20)),
                Err(error) => return Err(error.into()),
            }
        }
    }

    fn perform_on_store(&self, request: &Request) -> Result<Value, CliError> {
        let loaded = self.load()?;
        let config = &loaded.config;
        let mut store = Store::open(self.data.path(), config.store.durability)?;
        let (mut value, _) = control::perform_on_store(&mut store, &config.domain.name, request)?;
        store.close()?;
        if value.get("password").is_some() {
            let port = |addresses: &[std::net::SocketAddr]| addresses.first().map(|address| address.port());
            value["server"] = json!({
                "domain": config.domain.name, "public_name": config.domain.public_name,
                "tls_port": port(&config.listen.tls.0), "wss_port": port(&config.listen.https.0),
                "self_made_certificate": config.certificate.chain.is_none(),
            });
        }
        Ok(value)
    }
}

/// XDG for people, FHS for the system.
fn default_data() -> PathBuf {
    if rustix::process::geteuid().is_root() {
        return PathBuf::from("/var/lib/farspeak");
    }
    let absolute = |name: &str| std::env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
    let home = absolute("XDG_DATA_HOME").or_else(|| absolute("HOME").map(|home| home.join(".local/share")));
    home.unwrap_or_else(|| PathBuf::from("/var/lib")).join("farspeak")
}

/// How long a node may take to start or stop.
const PATIENCE: Duration = Duration::from_secs(10);
