//! What a client sends: Authorization and Proxy-Authorization (RFC 3261 §20.7, RFC 7616 §3.4).

use std::borrow::Cow;

use super::algorithm::{Algorithm, Ha1, ResponseInput, Session, constant_time_eq, response_hash};
use super::{DigestError, params};

/// Quality of protection (RFC 7616 §3.4).
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Qop {
    /// Method and URI are protected.
    Auth,
    /// The body is protected as well.
    AuthInt,
}

impl Qop {
    /// The name as it stands in the `qop` parameter.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Auth => "auth",
            Self::AuthInt => "auth-int",
        }
    }
}

/// A parsed Digest value of Authorization or Proxy-Authorization. All text is unquoted and unescaped.
///
/// Parsing promises only the form. Whether realm, nonce, `uri` and user are the right ones is the server's to check.
#[derive(Clone, Debug)]
pub struct Credentials<'a> {
    /// Who it claims to be.
    pub username: Cow<'a, str>,
    /// The realm it answers for.
    pub realm: Cow<'a, str>,
    /// The nonce of the challenge it answers.
    pub nonce: Cow<'a, str>,
    /// What the client took for the Request-URI; proxies on the way may have changed that one (RFC 3261 §22.4).
    pub uri: Cow<'a, str>,
    /// The proof, in hexadecimal digits of either case.
    pub response: Cow<'a, str>,
    /// The algorithm; MD5 if none is named (RFC 7616 §3.4).
    pub algorithm: Algorithm,
    /// Whether it is the `-sess` variant.
    pub session: Session,
    /// The client's nonce. Always there if `qop` is.
    pub cnonce: Option<Cow<'a, str>>,
    /// The challenge's `opaque`, returned.
    pub opaque: Option<Cow<'a, str>>,
    /// The quality of protection; `None` is the form of RFC 2069, which allows replays.
    pub qop: Option<Qop>,
    /// The count of requests with this nonce. Always there if `qop` is.
    pub nc: Option<u32>,
    /// The count as written, as the response covers it.
    pub nc_text: Option<Cow<'a, str>>,
    /// Whether `username` is a hash of the user's name (RFC 7616 §3.4.4). We never ask for it.
    pub userhash: bool,
}

impl<'a> Credentials<'a> {
    /// Reads a header value. Unknown parameters are ignored; a known one that stands there twice is an error.
    pub fn parse(value: &'a str) -> Result<Self, DigestError> {
        let mut fields = Fields::default();
        for param in params::digest_params(value)? {
            let param = param?;
            fields.store(param.name, param.value)?;
        }
        fields.finish()
    }

    /// Whether the response proves knowledge of the secret behind `ha1`, for this method and body.
    ///
    /// False if `ha1` was made with another algorithm. Takes the same time for every wrong response of right length.
    pub fn verify(&self, ha1: &Ha1, method: &str, body: &[u8]) -> bool {
        let expected = response_hash(ha1, &self.response_input(method, body));
        let mut given = [0; 64];
        let digits = self.response.as_bytes();
        let Some(given) = given.get_mut(..digits.len()) else { return false };
        given.copy_from_slice(digits);
        given.make_ascii_lowercase();
        constant_time_eq(expected.as_bytes(), given) && ha1.algorithm() == self.algorithm
    }

    fn response_input<'b>(&'b self, method: &'b str, body: &'b [u8]) -> ResponseInput<'b> {
        ResponseInput {
            session: self.session,
            nonce: &self.nonce,
            nc: self.nc_text.as_deref().unwrap_or_default(),
            cnonce: self.cnonce.as_deref().unwrap_or_default(),
            qop: self.qop,
            method,
            uri: &self.uri,
            body,
        }
    }
}

#[derive(Default)]
struct Fields<'a> {
    username: Option<Cow<'a, str>>,
    realm: Option<Cow<'a, str>>,
    nonce: Option<Cow<'a, str>>,
    uri: Option<Cow<'a, str>>,
    response: Option<Cow<'a, str>>,
    algorithm: Option<Cow<'a, str>>,
    cnonce: Option<Cow<'a, str>>,
    opaque: Option<Cow<'a, str>>,
    qop: Option<Cow<'a, str>>,
    nc: Option<Cow<'a, str>>,
    userhash: Option<Cow<'a, str>>,
}

impl<'a> Fields<'a> {
    fn store(&mut self, name: &str, value: Cow<'a, str>) -> Result<(), DigestError> {
        let fields = [
            ("username", &mut self.username),
            ("realm", &mut self.realm),
            ("nonce", &mut self.nonce),
            ("uri", &mut self.uri),
            ("response", &mut self.response),
            ("algorithm", &mut self.algorithm),
            ("cnonce", &mut self.cnonce),
            ("opaque", &mut self.opaque),
            ("qop", &mut self.qop),
            ("nc", &mut self.nc),
            ("userhash", &mut self.userhash),
        ];
        for (known, field) in fields {
            if known.eq_ignore_ascii_case(name) {
                return if field.replace(value).is_some() { Err(DigestError::Duplicate(known)) } else { Ok(()) };
            }
        }
        Ok(())
    }

    fn finish(self) -> Result<Credentials<'a>, DigestError> {
        let missing = DigestError::Missing;
        let (algorithm, session) = match &self.algorithm {
            Some(name) => Algorithm::parse(name)?,
            None => (Algorithm::Md5, Session::No),
        };
        let response = self.response.ok_or(missing("response"))?;
        if response.len() != 2 * algorithm.hash_len() || !response.bytes().all(|digit| digit.is_ascii_hexdigit()) {
            return Err(DigestError::Invalid("response"));
        }
        // Some phones put quotes around the token: taken, for the value is clear.
        let qop = match self.qop.as_deref() {
            None => None,
            Some(qop) if qop.eq_ignore_ascii_case("auth") => Some(Qop::Auth),
            Some(qop) if qop.eq_ignore_ascii_case("auth-int") => Some(Qop::AuthInt),
            Some(_) => return Err(DigestError::Invalid("qop")),
        };
        let nc = self.nc.as_deref().map(parse_nc).transpose()?;
        if qop.is_some() && nc.is_none() {
            return Err(missing("nc"));
        }
        // RFC 7616 §3.4: MUST be there if qop was sent; `-sess` needs it as well.
        if (qop.is_some() || session == Session::Yes) && self.cnonce.is_none() {
            return Err(missing("cnonce"));
        }
        let userhash = match self.userhash.as_deref() {
            None => false,
            Some(flag) if flag.eq_ignore_ascii_case("true") => true,
            Some(flag) if flag.eq_ignore_ascii_case("false") => false,
            Some(_) => return Err(DigestError::Invalid("userhash")),
        };
        Ok(Credentials {
            username: self.username.ok_or(missing("username"))?,
            realm: self.realm.ok_or(missing("realm"))?,
            nonce: self.nonce.ok_or(missing("nonce"))?,
            uri: self.uri.ok_or(missing("uri"))?,
            response,
            algorithm,
            session,
            cnonce: self.cnonce,
            opaque: self.opaque,
            qop,
            nc,
            nc_text: self.nc,
            userhash,
        })
    }
}

/// Eight hexadecimal digits (RFC 7616 §3.4 "nc"); fewer are taken, as some phones leave out the zeros.
fn parse_nc(text: &str) -> Result<u32, DigestError> {
    if text.is_empty() || text.len() > 8 || !text.bytes().all(|digit| digit.is_ascii_hexdigit()) {
        return Err(DigestError::Invalid("nc"));
    }
    u32::from_str_radix(text, 16).map_err(|_| DigestError::Invalid("nc"))
}
