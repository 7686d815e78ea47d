//! The sockets that operators and their tools come by: metrics on TCP, commands on a Unix socket.

use std::io;
use std::net::SocketAddr;

use super::ServeError;
use crate::data_dir::DataDir;

/// For metrics and health.
pub(super) fn admin(address: Option<SocketAddr>) -> Result<Option<std::net::TcpListener>, ServeError> {
    let Some(address) = address else { return Ok(None) };
    let fail = |error: io::Error| {
        let hint = match error.kind() {
            io::ErrorKind::AddrInUse => match farspeak_net::port_owner(farspeak_sansio::Transport::Tcp, address) {
                Some(owner) => format!("the port is taken by {owner}"),
                None => "the port is taken by another process".to_owned(),
            },
            _ => error.to_string(),
        };
        ServeError::Listen(format!("cannot listen on {address} for metrics: {hint}; choose another with admin.listen"))
    };
    let listener = std::net::TcpListener::bind(address).map_err(fail)?;
    listener.set_nonblocking(true).map_err(fail)?;
    Ok(Some(listener))
}

/// The lock on the data directory is ours: a socket that is there belongs to nobody.
pub(super) fn control(data: &DataDir) -> Result<std::os::unix::net::UnixListener, ServeError> {
    let path = data.control_socket();
    let fail =
        |error: io::Error| ServeError::Other(format!("cannot make the control socket {}: {error}", path.display()));
    match std::fs::remove_file(&path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(fail(error)),
        _ => {}
    }
    // For its owner alone from the first moment. No other thread makes files yet.
    let before = rustix::process::umask(rustix::fs::Mode::from_raw_mode(0o177));
    let bound = std::os::unix::net::UnixListener::bind(&path);
    rustix::process::umask(before);
    let listener = bound.map_err(fail)?;
    listener.set_nonblocking(true).map_err(fail)?;
    Ok(listener)
}
