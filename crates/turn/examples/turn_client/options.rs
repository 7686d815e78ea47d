//! The command line.

use std::net::{IpAddr, SocketAddr, ToSocketAddrs};
use std::time::Duration;

use farspeak_sansio::Transport;
use farspeak_stun::attribute::{AddressFamily, EvenPort};
use farspeak_turn::client::{Config, Families};

pub struct Options {
    pub transport: Transport,
    pub server: SocketAddr,
    pub client: Config,
    pub echo: Vec<IpAddr>,
    pub packets: u32,
    pub size: usize,
    pub timeout: Duration,
    pub indications: bool,
    pub pause: Option<Duration>,
    pub moves: bool,
    /// With relayed TCP: whether the peer connects to us.
    pub listens: bool,
    pub ca: Option<String>,
    pub name: String,
}

impl Options {
    pub fn read() -> Result<Self, String> {
        let mut words = std::env::args().skip(1);
        let mut next = |what: &str| words.next().ok_or(format!("{what} is missing"));
        let transport = match &*next("the transport")? {
            "udp" => Transport::Udp,
            "tcp" => Transport::Tcp,
            "tls" => Transport::Tls,
            other => return Err(format!("{other:?} is none of udp, tcp, tls")),
        };
        let server = next("the server")?;
        let found = server.to_socket_addrs().ok().and_then(|mut found| found.next());
        let server = found.ok_or(format!("{server:?} is no address with a port"))?;
        let client = Config::for_user(&next("the user")?, &next("the password")?);
        let mut options = Self {
            transport,
            server,
            client,
            echo: Vec::new(),
            packets: 100,
            size: 160,
            timeout: Duration::from_secs(30),
            indications: false,
            pause: None,
            moves: false,
            listens: false,
            ca: None,
            name: "localhost".into(),
        };
        while let Ok(word) = next("an option") {
            options.take(&word, &mut next)?;
        }
        if options.echo.is_empty() {
            options.echo = vec![IpAddr::from([127, 0, 0, 1]), IpAddr::from([0, 0, 0, 0, 0, 0, 0, 1])];
        }
        options.size = options.size.max(4);
        Ok(options)
    }

    fn take(&mut self, word: &str, next: &mut impl FnMut(&str) -> Result<String, String>) -> Result<(), String> {
        let seconds = |text: String| number(&text).map(|seconds| Duration::from_secs(seconds.into()));
        match word {
            "--families" => {
                self.client.families = match &*next(word)? {
                    "any" => Families::Any,
                    "4" => Families::One(AddressFamily::V4),
                    "6" => Families::One(AddressFamily::V6),
                    "both" => Families::Both,
                    other => return Err(format!("{other:?} is none of any, 4, 6, both")),
                }
            }
            "--echo" => {
                let text = next(word)?;
                self.echo.push(text.parse().map_err(|_| format!("{text:?} is no address"))?);
            }
            "--packets" => self.packets = number(&next(word)?)?,
            "--size" => self.size = number(&next(word)?)? as usize,
            "--timeout" => self.timeout = seconds(next(word)?)?,
            "--pause" => self.pause = Some(seconds(next(word)?)?),
            "--lifetime" => self.client.lifetime = Some(seconds(next(word)?)?),
            "--indications" => self.indications = true,
            "--even" => self.client.even_port = Some(EvenPort { reserve_next: true }),
            "--dont-fragment" => self.client.dont_fragment = true,
            "--move" => self.moves = true,
            "--connect" | "--listen" => {
                self.client.streams = true;
                self.listens = word == "--listen";
            }
            "--ca" => self.ca = Some(next(word)?),
            "--name" => self.name = next(word)?,
            other => return Err(format!("{other:?} is no option")),
        }
        Ok(())
    }
}

fn number(text: &str) -> Result<u32, String> {
    text.parse().map_err(|_| format!("{text:?} is no number"))
}
