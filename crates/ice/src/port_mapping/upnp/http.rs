//! As much of HTTP/1.1 (RFC 9112) as it takes to ask a router for a page: one request, one bounded response.

use super::url::Url;

/// A GET.
pub(super) fn get(url: &Url) -> Vec<u8> {
    format!("GET {} HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n\r\n", url.path, url.server).into_bytes()
}

/// A POST of a SOAP action (UPnP Device Architecture 1.1 §3.1.1).
pub(super) fn post(url: &Url, action: &str, body: &str) -> Vec<u8> {
    let (path, server, length) = (&url.path, url.server, body.len());
    format!(
        "POST {path} HTTP/1.1\r\nHost: {server}\r\nContent-Type: text/xml; charset=\"utf-8\"\r\nSOAPAction: \"{action}\"\r\n\
         Content-Length: {length}\r\nConnection: close\r\n\r\n{body}"
    )
    .into_bytes()
}

/// What a response has become.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Progress {
    /// More must come.
    Partial,
    /// The whole of it.
    Whole(Page),
    /// It cannot be read, or is too long.
    Broken,
}

/// A response's status and its body.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Page {
    pub(super) status: u16,
    pub(super) body: String,
}

/// A response under way.
#[derive(Clone, Debug, Default)]
pub(super) struct Response {
    bytes: Vec<u8>,
    header: Option<Header>,
}

/// What a header says, and where the body begins.
#[derive(Clone, Copy, Debug)]
struct Header {
    status: u16,
    length: Length,
    body: usize,
}

/// Most bytes of a response, header and all. Descriptions have some thousands.
pub(super) const LONGEST: usize = 64 * 1024;
/// Most bytes of a header.
const LONGEST_HEADER: usize = 8 * 1024;

impl Response {
    /// More has come.
    pub(super) fn push(&mut self, bytes: &[u8]) -> Progress {
        if self.bytes.len() + bytes.len() > LONGEST {
            return Progress::Broken;
        }
        self.bytes.extend_from_slice(bytes);
        if self.header.is_none() {
            let Some(end) = find(&self.bytes, b"\r\n\r\n") else {
                return if self.bytes.len() > LONGEST_HEADER { Progress::Broken } else { Progress::Partial };
            };
            let Some((status, length)) = read_header(&self.bytes[..end]) else { return Progress::Broken };
            self.header = Some(Header { status, length, body: end + 4 });
        }
        self.read(false)
    }

    /// Nothing more comes.
    pub(super) fn end(&self) -> Progress {
        self.read(true)
    }

    /// Whether nothing has come yet.
    pub(super) const fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    fn read(&self, ended: bool) -> Progress {
        let missing = if ended { Progress::Broken } else { Progress::Partial };
        let Some(Header { status, length, body }) = self.header else { return missing };
        let body = &self.bytes[body..];
        let page = |body: &[u8]| Progress::Whole(Page { status, body: String::from_utf8_lossy(body).into_owned() });
        match length {
            Length::Bytes(length) if length > LONGEST => Progress::Broken,
            Length::Bytes(length) if body.len() >= length => page(&body[..length]),
            Length::UntilEnd if ended => page(body),
            // Worth a look only where a chunk or the whole may end.
            Length::Chunked if ended || body.ends_with(b"\r\n") => match unchunk(body) {
                Some(Some(body)) => page(&body),
                Some(None) => missing,
                None => Progress::Broken,
            },
            Length::Bytes(_) | Length::UntilEnd | Length::Chunked => missing,
        }
    }
}

/// How the body's length is told (RFC 9112 §6.3).
#[derive(Clone, Copy, Debug)]
enum Length {
    Bytes(usize),
    Chunked,
    UntilEnd,
}

fn read_header(header: &[u8]) -> Option<(u16, Length)> {
    let text = String::from_utf8_lossy(header);
    let mut lines = text.split("\r\n");
    let mut status = lines.next()?.split_ascii_whitespace();
    status.next().filter(|version| version.starts_with("HTTP/1."))?;
    let status = status.next()?.parse().ok()?;
    let mut length = Length::UntilEnd;
    for (name, value) in lines.filter_map(|line| line.split_once(':')) {
        let value = value.trim();
        if name.eq_ignore_ascii_case("Transfer-Encoding") {
            length = if value.eq_ignore_ascii_case("chunked") { Length::Chunked } else { return None };
        } else if name.eq_ignore_ascii_case("Content-Length") && !matches!(length, Length::Chunked) {
            length = Length::Bytes(value.parse().ok()?);
        }
    }
    Some((status, length))
}

/// Puts chunks together (RFC 9112 §7.1): `Some(None)` if some are missing, `None` if they make no sense.
fn unchunk(mut rest: &[u8]) -> Option<Option<Vec<u8>>> {
    let mut body = Vec::new();
    loop {
        let Some(end) = find(rest, b"\r\n") else { return (rest.len() <= 64).then_some(None) };
        let line = std::str::from_utf8(&rest[..end]).ok()?;
        let size = line.split(';').next().unwrap_or_default().trim();
        let size = usize::from_str_radix(size, 16).ok().filter(|size| *size <= LONGEST)?;
        rest = &rest[end + 2..];
        if size == 0 {
            return Some(Some(body));
        }
        if rest.len() < size + 2 {
            return Some(None);
        }
        body.extend_from_slice(&rest[..size]);
        rest = rest[size..].strip_prefix(b"\r\n")?;
    }
}

fn find(bytes: &[u8], mark: &[u8]) -> Option<usize> {
    bytes.windows(mark.len()).position(|window| window == mark)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Progress {
        let mut response = Response::default();
        let mut progress = Progress::Partial;
        for byte in text.bytes() {
            assert_eq!(progress, Progress::Partial, "{text}");
            progress = response.push(&[byte]);
        }
        progress
    }

    fn page(body: &str) -> Progress {
        Progress::Whole(Page { status: 200, body: body.to_owned() })
    }

    #[test]
    fn a_body_is_as_long_as_its_header_says() {
        assert_eq!(read("HTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\nabc"), page("abc"));
        assert_eq!(
            read("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2;x\r\nde\r\n0\r\n"),
            page("abcde")
        );
        let mut response = Response::default();
        assert_eq!(response.push(b"HTTP/1.0 200 OK\r\n\r\nabc"), Progress::Partial);
        assert_eq!(response.end(), page("abc"));
    }

    #[test]
    fn refuses_what_makes_no_sense_or_is_too_long() {
        for text in [
            "SIP/2.0 200 OK\r\n\r\n",
            "HTTP/1.1 OK\r\n\r\n",
            "HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n",
            "HTTP/1.1 200 OK\r\nContent-Length: 9999999999\r\n\r\n",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\n",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nx\r\n",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nffffffffffffffff\r\n",
        ] {
            assert_eq!(read(text), Progress::Broken, "{text}");
        }
        let mut response = Response::default();
        assert_eq!(response.push(&[b'x'; LONGEST_HEADER + 1]), Progress::Broken);
        let mut response = Response::default();
        assert_eq!(response.push(b"HTTP/1.1 200 OK\r\n\r\n"), Progress::Partial);
        assert_eq!(response.push(&[b'x'; LONGEST]), Progress::Broken);
        let mut cut = Response::default();
        cut.push(b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nab");
        assert_eq!(cut.end(), Progress::Broken);
    }
}
