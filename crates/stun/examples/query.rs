//! What is my address, as a STUN server sees it? `cargo run -p farspeak-stun --example query -- stun.example.org:3478`

use std::net::{ToSocketAddrs, UdpSocket};
use std::time::Duration;

use farspeak_stun::{Class, Message, Method, TransactionId, Writer};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let name = std::env::args().nth(1).unwrap_or("stun.example.org:3478".to_owned());
    let server = name.to_socket_addrs()?.next().ok_or("the server has no address")?;
    let socket = UdpSocket::bind(if server.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" })?;
    socket.connect(server)?;
    let mut id = TransactionId([0; 12]);
    std::io::Read::read_exact(&mut std::fs::File::open("/dev/urandom")?, &mut id.0)?;
    let mut buffer = [0; 548];
    let request = Writer::new(&mut buffer, Class::Request, Method::BINDING, id).finish()?.to_vec();
    for attempt in 0..7 {
        socket.send(&request)?;
        socket.set_read_timeout(Some(Duration::from_millis(500 << attempt)))?;
        let Ok(length) = socket.recv(&mut buffer) else { continue };
        let Ok(response) = Message::parse(&buffer[..length]) else { continue };
        if response.is(Class::Success, Method::BINDING) && response.transaction_id() == id {
            println!("{}", response.xor_mapped_address()?.ok_or("an answer without an address")?);
            return Ok(());
        }
    }
    Err("no answer".into())
}
