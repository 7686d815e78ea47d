//! Peers that return everything.

use std::io::{self, Read, Write};
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream, UdpSocket};

/// Ports that relays lend begin here (RFC 8656 §7.2): on a relay's own host, a peer there would be taken for one of its.
const RELAYED: u16 = 49_152;

/// Binds to a port that no relay lends.
fn bound<S>(
    bind: impl Fn() -> io::Result<S>,
    local: impl Fn(&S) -> io::Result<SocketAddr>,
) -> io::Result<(S, SocketAddr)> {
    let mut passed_over = Vec::new();
    while passed_over.len() < 1000 {
        let socket = bind()?;
        let address = local(&socket)?;
        if address.port() < RELAYED {
            return Ok((socket, address));
        }
        passed_over.push(socket);
    }
    Err(io::Error::other("no free port below those of relays"))
}

/// By datagrams; its address.
pub fn datagrams(ip: IpAddr) -> io::Result<SocketAddr> {
    let (socket, address) = bound(|| UdpSocket::bind((ip, 0)), UdpSocket::local_addr)?;
    std::thread::spawn(move || {
        let mut buffer = [0; 65_536];
        while let Ok((length, from)) = socket.recv_from(&mut buffer) {
            let _ = socket.send_to(&buffer[..length], from);
        }
    });
    Ok(address)
}

/// On connections to it; its address.
pub fn accept(ip: IpAddr) -> io::Result<SocketAddr> {
    let (listener, address) = bound(|| TcpListener::bind((ip, 0)), TcpListener::local_addr)?;
    std::thread::spawn(move || listener.incoming().flatten().for_each(echo));
    Ok(address)
}

/// On a connection that it makes.
pub fn connect(to: SocketAddr) {
    std::thread::spawn(move || TcpStream::connect(to).map(echo));
}

fn echo(mut stream: TcpStream) {
    let _ = stream.set_nodelay(true);
    std::thread::spawn(move || {
        let mut buffer = [0; 65_536];
        while let Ok(length @ 1..) = stream.read(&mut buffer) {
            if stream.write_all(&buffer[..length]).is_err() {
                return;
            }
        }
    });
}
