//! The torture messages of RFC 4475 and RFC 5118 with what has to become of each: data for every test that wants it.
//!
//! Use it as a module: `#[path = "data/torture.rs"] mod torture;`

#![allow(dead_code, reason = "no test uses all of it")]

/// What has to become of a message.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Verdict {
    /// Not to be refused for its form.
    Accept,
    /// To be refused with one of these codes; a response is dropped instead.
    Reject(&'static [u16]),
    /// To be accepted, or refused with one of these codes.
    Either(&'static [u16]),
}

use Verdict::{Accept, Either, Reject};

/// One message.
#[derive(Clone, Copy, Debug)]
pub struct Case {
    /// The file's name, which is the RFC's name for the message.
    pub file: &'static str,
    /// The RFC and its section.
    pub section: &'static str,
    /// By the parser: `Message::parse` and, for what it leaves to later, `Message::check_essential`.
    pub parser: Verdict,
    /// By a proxy or registrar as a whole, if it serves the domain that the message is for and asks for no credentials.
    pub node: Verdict,
    /// Why, in short.
    pub why: &'static str,
    /// The message as it comes in a datagram.
    pub bytes: &'static [u8],
}

macro_rules! cases {
    ($folder:literal $rfc:literal; $($file:literal $section:literal $parser:expr, $node:expr, $why:literal;)*) => {
        &[$(Case {
            file: $file,
            section: concat!($rfc, " §", $section),
            parser: $parser,
            node: $node,
            why: $why,
            bytes: include_bytes!(concat!("torture/", $folder, "/", $file)),
        },)*]
    };
}

/// RFC 4475, in its order.
pub const RFC4475: &[Case] = cases! { "rfc4475" "RFC 4475";
    "wsinv.dat" "3.1.1.1" Accept, Accept,
        "Folding, compact names, mixed lists, odd spacing, leading zeros and unknown header fields are all within the grammar; an unknown field's value is opaque.";
    "intmeth.dat" "3.1.1.2" Accept, Either(&[404, 501]),
        "Every token character may stand in a method, a parameter name and a tag; quoted pairs may hide a NUL; a Call-ID has no brackets or quotes that pair.";
    "esc01.dat" "3.1.1.3" Accept, Accept,
        "Escapes in a URI stand for their character, once: what they decode to is not decoded again.";
    "escnull.dat" "3.1.1.4" Accept, Accept,
        "%00 is a character of the user part like any other and does not end it.";
    "esc02.dat" "3.1.1.5" Accept, Either(&[404, 501]),
        "Outside URIs % is no escape: the method is not REGISTER and C%6Fntact is not Contact.";
    "lwsdisp.dat" "3.1.1.6" Accept, Accept,
        "No space between display name and < was forbidden by mistake only.";
    "longreq.dat" "3.1.1.7" Accept, Accept,
        "Long names, values, tags and many Via values are no reason to refuse.";
    "dblreq.dat" "3.1.1.8" Accept, Accept,
        "What follows the body in a datagram is noise, even if it looks like a request.";
    "semiuri.dat" "3.1.1.9" Accept, Accept,
        "A semicolon before the @ belongs to the user part.";
    "transports.dat" "3.1.1.10" Accept, Accept,
        "Any token may name a transport in a Via; only the top one concerns us.";
    "mpart01.dat" "3.1.1.11" Accept, Accept,
        "A body is bytes, NUL included; its type is not the parser's concern.";
    "unreason.dat" "3.1.1.12" Accept, Accept,
        "A reason phrase is for people and may be any UTF-8.";
    "noreason.dat" "3.1.1.13" Accept, Accept,
        "A reason phrase may be empty.";
    "badinv01.dat" "3.1.2.1" Reject(&[400]), Reject(&[400]),
        "Separators with nothing between them: the Via cannot be read, so no response could be routed by it.";
    "clerr.dat" "3.1.2.2" Reject(&[400]), Reject(&[400]),
        "Content-Length promises more than the datagram holds.";
    "ncl.dat" "3.1.2.3" Reject(&[400]), Reject(&[400]),
        "A length is never negative; on a stream no boundary can be found any more.";
    "scalar02.dat" "3.1.2.4" Reject(&[400]), Reject(&[400]),
        "The CSeq number exceeds its range (the others could be read as defaults).";
    "scalarlg.dat" "3.1.2.5" Reject(&[]), Reject(&[]),
        "The CSeq number of a response exceeds its range: it is dropped.";
    "quotbal.dat" "3.1.2.6" Reject(&[400]), Reject(&[400]),
        "A quote that nobody closes: guessing where it ends would mean guessing the URI.";
    "ltgtruri.dat" "3.1.2.7" Either(&[400]), Either(&[400]),
        "A Request-URI has no angle brackets; whoever tolerates them must not forward them.";
    "lwsruri.dat" "3.1.2.8" Either(&[400]), Either(&[400]),
        "A space ends the Request-URI; ignoring it is allowed, guessing is not wise.";
    "lwsstart.dat" "3.1.2.9" Either(&[400]), Either(&[400]),
        "Exactly one space separates the parts of the request line.";
    "trws.dat" "3.1.2.10" Either(&[400]), Either(&[400]),
        "Nothing follows the version in a request line.";
    "escruri.dat" "3.1.2.11" Either(&[400]), Either(&[400]),
        "A Request-URI must not carry headers; whoever tolerates them must neither forward nor obey them.";
    "baddate.dat" "3.1.2.12" Either(&[400]), Either(&[400]),
        "Date knows only GMT, but who does not need the date should not refuse for it.";
    "regbadct.dat" "3.1.2.13" Either(&[400]), Either(&[400]),
        "A URI with headers needs angle brackets; a Contact that cannot be read must not be bound.";
    "badaspec.dat" "3.1.2.14" Either(&[400]), Either(&[400]),
        "No spaces inside the brackets of To.";
    "baddn.dat" "3.1.2.15" Either(&[400]), Either(&[400]),
        "A display name with a comma needs quotes; it must not be forwarded as it is.";
    "badvers.dat" "3.1.2.16" Reject(&[505]), Reject(&[505]),
        "The version is not ours.";
    "mismatch01.dat" "3.1.2.17" Reject(&[400]), Reject(&[400]),
        "The CSeq names another method than the request line.";
    "mismatch02.dat" "3.1.2.18" Reject(&[400, 501]), Reject(&[501]),
        "The same with a method that nobody knows: 400 will do, 501 is better at a proxy.";
    "bigcode.dat" "3.1.2.19" Reject(&[]), Reject(&[]),
        "No status code exceeds 699: the response is dropped.";
    "badbranch.dat" "3.2.1" Accept, Either(&[400]),
        "The branch is nothing but the cookie: refuse it or match as RFC 2543 did, but do not let all such requests be one.";
    "insuf.dat" "3.3.1" Reject(&[400]), Reject(&[400]),
        "Call-ID, From and To are missing; silence is all that is left if no response can be built.";
    "unkscm.dat" "3.3.2" Accept, Reject(&[416]),
        "Any scheme may stand in a Request-URI; one that nobody knows is refused by its own code, and To is not consulted.";
    "novelsc.dat" "3.3.3" Accept, Reject(&[404, 416]),
        "A registered scheme that means nothing in SIP.";
    "unksm2.dat" "3.3.4" Accept, Reject(&[400]),
        "Other schemes in From, To and Contact: nothing to a proxy, but a registrar needs a SIP URI in To.";
    "bext01.dat" "3.3.5" Accept, Reject(&[420]),
        "Extensions that nobody knows are required.";
    "invut.dat" "3.3.6" Accept, Accept,
        "The body's type concerns the endpoint alone (415).";
    "regaut01.dat" "3.3.7" Accept, Either(&[401]),
        "An authorization scheme that nobody knows is as good as none.";
    "multi01.dat" "3.3.8" Reject(&[400]), Reject(&[400]),
        "Header fields that exist once exist more than once: two readers would take different ones.";
    "mcl01.dat" "3.3.9" Reject(&[400]), Reject(&[400]),
        "Two lengths: as bad as none, and on a stream the end of the connection.";
    "bcast.dat" "3.3.10" Accept, Reject(&[]),
        "The response would go on to a broadcast address; well formed, but to be dropped.";
    "zeromf.dat" "3.3.11" Accept, Either(&[483]),
        "No hop is left: 483 at a proxy, unless it answers the request itself.";
    "cparam01.dat" "3.3.12" Accept, Accept,
        "Without brackets the parameter is the header field's, not the URI's.";
    "cparam02.dat" "3.3.13" Accept, Accept,
        "Within brackets the parameter is the URI's and stays with it.";
    "regescrt.dat" "3.3.14" Accept, Accept,
        "A Contact URI may carry headers within brackets; they stay with the binding.";
    "sdp01.dat" "3.3.15" Accept, Accept,
        "What the response may carry concerns the endpoint alone (406).";
    "inv2543.dat" "3.4.1" Accept, Accept,
        "No branch, no tag, no Max-Forwards, no Content-Length: a legal request of RFC 2543.";
};

/// RFC 4475's archive holds one more message that no section refers to.
pub const RFC4475_UNUSED: &[Case] = cases! { "rfc4475" "RFC 4475";
    "test.dat" "Appendix A" Either(&[400]), Either(&[400]),
        "In the archive, but in no section.";
};

/// RFC 5118, in its order, with CRLF.
pub const RFC5118: &[Case] = cases! { "rfc5118-crlf" "RFC 5118";
    "ipv6-good" "4.1" Accept, Accept,
        "An IPv6 address in brackets is a host.";
    "ipv6-bad" "4.2" Reject(&[400]), Reject(&[400]),
        "Without brackets nobody can tell the address from the port.";
    "port-ambiguous" "4.3" Accept, Accept,
        "5070 within the brackets is part of the address, whatever was meant.";
    "port-unambiguous" "4.4" Accept, Accept,
        "The port stands behind the brackets.";
    "via-received-param-with-delim" "4.5" Accept, Accept,
        "received with brackets, though the grammar has none there.";
    "via-received-param-no-delim" "4.5" Accept, Accept,
        "received without brackets, as the grammar has it.";
    "ipv6-in-sdp" "4.6" Accept, Accept,
        "Addresses in SDP have no brackets; bodies are bytes here.";
    "mult-ip-in-header" "4.7" Accept, Accept,
        "Both families in one message.";
    "mult-ip-in-sdp" "4.8" Accept, Accept,
        "Both families in one body.";
    "ipv4-mapped-ipv6" "4.9" Accept, Accept,
        "An IPv4 address mapped into IPv6 is an IPv6 address.";
    "ipv6-bug-abnf-3-colons" "4.10" Accept, Accept,
        "A third colon before an IPv4 part came from a bug in the grammar and must be tolerated.";
    "ipv6-correct-abnf-2-colons" "4.10" Accept, Accept,
        "The same address as it should be.";
};
