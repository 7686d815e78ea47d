//! `farspeak ca`: the authority that phones have to trust.

use farspeak_node::server;
use serde_json::json;

use crate::exit::{CliError, CliResult, Exit};
use crate::output;
use crate::place::Place;

pub fn run(place: &Place, json: bool, only_fingerprint: bool) -> CliResult {
    let loaded = place.load()?;
    if let Some(chain) = &loaded.config.certificate.chain {
        return Err(CliError::new(
            Exit::Unknown,
            format!("this node uses the certificate in {}; phones have to trust whoever signed that", chain.display()),
        ));
    }
    place.data.create()?;
    let authority = server::authority(&loaded.config, &place.data)?;
    let (pem, fingerprint) = (authority.certificate_pem(), authority.fingerprint());
    if json {
        let file = place.data.authority().join("ca.pem");
        output::print_json(&json!({"fingerprint": fingerprint, "pem": pem, "file": file}));
    } else if only_fingerprint {
        output::print(&format!("{fingerprint}\n"));
    } else {
        output::print(pem);
        output::note(&format!("SHA-256 fingerprint: {fingerprint}"));
    }
    Ok(Exit::Done)
}
