//! The client's side of Digest with MD5 and `qop=auth` (RFC 7616 §3.4), the algorithm that both servers under test know.

use md5::{Digest, Md5};

#[derive(Clone)]
pub struct User {
    pub name: String,
    password: String,
}

impl User {
    /// Reads a line `name password`.
    pub fn parse(line: &str) -> Option<Self> {
        let (name, password) = line.split_once(' ')?;
        Some(Self { name: name.to_owned(), password: password.trim().to_owned() })
    }

    /// The `Authorization` line for the first MD5 challenge among `challenges`.
    pub fn answer<'a>(
        &self,
        challenges: impl Iterator<Item = &'a str>,
        method: &str,
        uri: &str,
        cnonce: usize,
    ) -> Option<String> {
        let known = |challenge: &&str| {
            parameter(challenge, "algorithm").is_none_or(|algorithm| algorithm.eq_ignore_ascii_case("MD5"))
        };
        let challenge = challenges.into_iter().find(known)?;
        let (realm, nonce) = (parameter(challenge, "realm")?, parameter(challenge, "nonce")?);
        let ha1 = md5(&format!("{}:{realm}:{}", self.name, self.password));
        let ha2 = md5(&format!("{method}:{uri}"));
        let response = md5(&format!("{ha1}:{nonce}:00000001:{cnonce:08x}:auth:{ha2}"));
        let opaque = parameter(challenge, "opaque").map_or(String::new(), |opaque| format!(", opaque=\"{opaque}\""));
        Some(format!(
            "Authorization: Digest username=\"{}\", realm=\"{realm}\", nonce=\"{nonce}\", uri=\"{uri}\", \
             response=\"{response}\", algorithm=MD5, cnonce=\"{cnonce:08x}\", qop=auth, nc=00000001{opaque}\r\n",
            self.name
        ))
    }
}

fn md5(text: &str) -> String {
    Md5::digest(text).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// A parameter of a challenge, without its quotes.
fn parameter<'a>(challenge: &'a str, name: &str) -> Option<&'a str> {
    let rest = challenge.trim_start().strip_prefix("Digest")?;
    rest.split(',').find_map(|part| {
        let (key, value) = part.trim().split_once('=')?;
        key.trim().eq_ignore_ascii_case(name).then(|| value.trim().trim_matches('"'))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_the_example_of_rfc_7616_section_3_9_1() {
        // The RFC's client nonce is not a number, so only the parts are checked here.
        assert_eq!(md5("Mufasa:http-auth@example.org:Circle of Life"), "3d78807defe7de2157e2b0b6573a855f");
        let challenges = ["Digest realm=\"a\", nonce=\"n\", algorithm=SHA-256", "Digest realm=\"b\", nonce=\"n\""];
        let user = User::parse("joe secret").unwrap();
        assert!(user.answer(challenges.into_iter(), "REGISTER", "sip:b", 1).unwrap().contains("realm=\"b\""));
    }
}
