//! Just enough of a SIP message for a phone that trusts its server: lines and a few values in them.

/// How many bytes of a stream the first message takes, or the line ends of a keep-alive; `None` if it is not all here.
pub fn length(bytes: &[u8]) -> Option<usize> {
    if bytes.first() == Some(&b'\r') || bytes.first() == Some(&b'\n') {
        return Some(1);
    }
    let head = bytes.windows(4).position(|window| window == b"\r\n\r\n")? + 4;
    let text = std::str::from_utf8(&bytes[..head]).ok()?;
    let body = header(text, "Content-Length").and_then(|value| value.parse().ok()).unwrap_or(0);
    (bytes.len() >= head + body).then_some(head + body)
}

/// Every value of a header, in order.
pub fn headers<'a>(text: &'a str, name: &'a str) -> impl Iterator<Item = &'a str> {
    text.split("\r\n").skip(1).take_while(|line| !line.is_empty()).filter_map(move |line| {
        let (found, value) = line.split_once(':')?;
        found.trim_end().eq_ignore_ascii_case(name).then(|| value.trim())
    })
}

pub fn header<'a>(text: &'a str, name: &'a str) -> Option<&'a str> {
    headers(text, name).next()
}

/// The status of a response; 0 for a request.
pub fn status(text: &str) -> u16 {
    text.strip_prefix("SIP/2.0 ").and_then(|rest| rest.get(..3)).and_then(|code| code.parse().ok()).unwrap_or(0)
}

/// The number of the operation in a Call-ID that [`call_id`] made.
pub fn operation(text: &str) -> Option<usize> {
    header(text, "Call-ID")?.split('@').next()?.parse().ok()
}

/// A Call-ID that names operation `number` of this process.
pub fn call_id(number: usize) -> String {
    format!("Call-ID: {number}@{}\r\n", std::process::id())
}

/// The address between `<` and `>`.
pub fn address(value: &str) -> &str {
    value.split_once('<').and_then(|(_, rest)| rest.split_once('>')).map_or(value, |(inside, _)| inside)
}

/// The lines of a request or response that a response repeats.
pub fn reply(request: &str, line: &str, tag: &str, more: &str, body: &str) -> String {
    let mut out = format!("SIP/2.0 {line}\r\n");
    for name in ["Via", "Record-Route", "From", "To", "Call-ID", "CSeq"] {
        for value in headers(request, name) {
            out.extend([name, ": ", value]);
            if name == "To" && !value.contains(";tag=") {
                out.extend([";tag=", tag]);
            }
            out.push_str("\r\n");
        }
    }
    out.push_str(more);
    finish(&mut out, body);
    out
}

/// Ends a message with its body.
pub fn finish(out: &mut String, body: &str) {
    if !body.is_empty() {
        out.push_str("Content-Type: application/sdp\r\n");
    }
    out.push_str(&format!("Content-Length: {}\r\n\r\n{body}", body.len()));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn measures_messages_on_a_stream() {
        let message = b"SIP/2.0 200 OK\r\nContent-Length: 2\r\n\r\nab";
        assert_eq!(length(message), Some(message.len()));
        assert_eq!(length(&message[..message.len() - 1]), None);
        assert_eq!(length(b"\r\n\r\n"), Some(1));
    }

    #[test]
    fn a_reply_repeats_the_route_and_adds_a_tag() {
        let request = "INVITE sip:b@c SIP/2.0\r\nVia: 1\r\nVia: 2\r\nFrom: <sip:a@c>;tag=1\r\nTo: <sip:b@c>\r\n\r\n";
        let reply = reply(request, "200 OK", "t", "", "");
        assert_eq!(status(&reply), 200);
        assert_eq!(headers(&reply, "via").collect::<Vec<_>>(), ["1", "2"]);
        assert_eq!(header(&reply, "To"), Some("<sip:b@c>;tag=t"));
    }
}
