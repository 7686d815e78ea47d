//! What to paste into a phone.

use std::path::Path;

use serde_json::{Value, json};

/// The settings of one user's phone.
#[derive(Debug)]
pub struct Phone<'a> {
    name: &'a str,
    password: &'a str,
    domain: &'a str,
    host: &'a str,
    port: u64,
    authority: Option<&'a Path>,
}

impl<'a> Phone<'a> {
    /// From the answer to `user add` or `user reset`. `None` if there is no listener for phones over TLS.
    pub fn new(answer: &'a Value, authority: &'a Path) -> Option<Self> {
        let server = &answer["server"];
        let domain = server["domain"].as_str()?;
        Some(Self {
            name: answer["name"].as_str()?,
            password: answer["password"].as_str()?,
            domain,
            host: server["public_name"].as_str().unwrap_or(domain),
            port: server["tls_port"].as_u64()?,
            authority: server["self_made_certificate"].as_bool()?.then_some(authority),
        })
    }

    /// One line of baresip's `accounts` file.
    ///
    /// baresip before 2.0 asks the DNS server itself, which need not know `localhost`: it gets the address for where to
    /// connect. (The certificate holds both.)
    pub fn baresip(&self) -> String {
        let Self { name, password, domain, port, .. } = self;
        let host = if self.host == "localhost" { "127.0.0.1" } else { self.host };
        format!(
            "<sip:{name}@{domain};transport=tls>;auth_user={name};auth_pass={password};\
             outbound=\"sip:{host}:{port};transport=tls\";mediaenc=srtp-mand;regint=600"
        )
    }

    /// The sections of a `linphonerc`.
    pub fn linphone(&self) -> String {
        let Self { name, password, domain, host, port, .. } = self;
        let authority = self.authority.map_or_else(String::new, |path| format!("root_ca={}\n", path.display()));
        format!(
            "[sip]\nmedia_encryption=srtp\nmedia_encryption_mandatory=1\nverify_server_certs=1\n{authority}\
             [auth_info_0]\nusername={name}\npasswd={password}\ndomain={domain}\n\
             [proxy_0]\nreg_proxy=<sip:{host}:{port};transport=tls>\nreg_route=<sip:{host}:{port};transport=tls;lr>\n\
             reg_identity=sip:{name}@{domain}\nreg_expires=600\nreg_sendregister=1\n"
        )
    }

    /// The same for people.
    pub fn explain(&self) -> String {
        let mut out = String::new();
        out.push_str("baresip: one line in ~/.baresip/accounts\n");
        out.push_str(&format!("{}\n", self.baresip()));
        if let Some(path) = self.authority {
            out.push_str(&format!("  and in ~/.baresip/config:\nsip_cafile {}\n", path.display()));
        }
        out.push_str("\nLinphone: in ~/.config/linphone/linphonerc (or type it in: account, transport TLS)\n");
        out.push_str(&self.linphone());
        out
    }

    /// The same for programs.
    pub fn to_json(&self) -> Value {
        json!({
            "baresip": self.baresip(), "linphone": self.linphone(), "host": self.host, "port": self.port,
            "transport": "tls", "authority_file": self.authority,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(public_name: Option<&str>) -> Value {
        json!({"name": "alice", "password": "s3cr3t", "server": {
            "domain": if public_name.is_some() { "example.org" } else { "localhost" },
            "public_name": public_name, "tls_port": 5061, "self_made_certificate": public_name.is_none(),
        }})
    }

    #[test]
    fn baresip_gets_a_name_to_verify_and_an_address_to_find() {
        let answer = answer(None);
        let phone = Phone::new(&answer, Path::new("/d/ca/ca.pem")).unwrap();
        assert_eq!(
            phone.baresip(),
            "<sip:alice@localhost;transport=tls>;auth_user=alice;auth_pass=s3cr3t;\
             outbound=\"sip:127.0.0.1:5061;transport=tls\";mediaenc=srtp-mand;regint=600"
        );
        assert!(phone.explain().contains("sip_cafile /d/ca/ca.pem"));
        assert!(phone.linphone().contains("reg_proxy=<sip:localhost:5061;transport=tls>"));
    }

    #[test]
    fn a_public_name_is_what_phones_connect_to() {
        let answer = answer(Some("sip.example.org"));
        let phone = Phone::new(&answer, Path::new("/d/ca/ca.pem")).unwrap();
        assert!(phone.baresip().contains("outbound=\"sip:sip.example.org:5061;transport=tls\""));
        assert!(!phone.explain().contains("sip_cafile"), "a public authority needs no file");
    }
}
