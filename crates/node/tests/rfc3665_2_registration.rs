//! The registrations of RFC 3665 §2, over every transport, with loss, stalls and resets.

mod common;

use common::world::last_response;
use common::{World, everywhere};
use farspeak_sip::message::HeaderName;

fn success(w: &World) -> bool {
    w.is("bob").finals.last().is_some_and(|last| last == "200 REGISTER")
}

/// RFC 3665 §2.1.
#[test]
fn successful_new_registration() {
    everywhere(|w| {
        w.phone("bob");
        w.at("bob").register();
        w.expect("bob   -> proxy  REGISTER");
        w.expect("proxy -> bob    401 REGISTER");
        w.expect("bob   -> proxy  REGISTER");
        w.expect("proxy -> bob    200 REGISTER");
        w.check("the binding is listed", |w| success(w) && w.is("bob").bindings.len() == 1);
        w.check("the binding lasts an hour", |w| w.is("bob").bindings[0].contains("expires=3600"));
        w.check("it is stored before it is answered", |w| w.rows.borrow().rows.len() == 1);
    });
}

/// RFC 3665 §2.2: another address, with credentials that need no new challenge.
#[test]
fn update_of_contact_list() {
    everywhere(|w| {
        w.registered("bob");
        w.at("bob").press(|phone, now| phone.register_with(now, &["<sip:bob@192.0.2.99:5070>"], Some(3600)));
        w.expect("bob   -> proxy  REGISTER");
        w.expect("proxy -> bob    200 REGISTER");
        w.check("both bindings are listed", |w| w.is("bob").bindings.join(",").matches("sip:").count() == 2);
        w.net.never("proxy -> bob  403 REGISTER");
    });
}

/// RFC 3665 §2.3.
#[test]
fn request_for_current_contact_list() {
    everywhere(|w| {
        w.registered("bob");
        w.at("bob").press(common::Phone::fetch_bindings);
        w.expect("bob   -> proxy  REGISTER");
        w.expect("proxy -> bob    200 REGISTER");
        w.check("the binding is listed", |w| success(w) && w.is("bob").bindings.len() == 1);
    });
}

/// RFC 3665 §2.4: `Contact: *` with `Expires: 0`.
#[test]
fn cancellation_of_registration() {
    everywhere(|w| {
        w.registered("bob");
        w.at("bob").unregister();
        w.expect("bob   -> proxy  REGISTER");
        w.expect("proxy -> bob    200 REGISTER");
        w.check("no binding is listed", |w| success(w) && w.is("bob").bindings.is_empty());
        w.check("none is stored", |w| w.rows.borrow().rows.is_empty());
    });
}

/// RFC 3665 §2.5: a wrong password is challenged anew, and nothing is bound.
#[test]
fn unsuccessful_registration() {
    everywhere(|w| {
        w.phone("bob");
        w.at("bob").press(|phone, now| {
            phone.account.password = "300".to_owned();
            phone.register(now);
        });
        w.expect("bob   -> proxy  REGISTER");
        w.expect("proxy -> bob    401 REGISTER");
        w.expect("bob   -> proxy  REGISTER");
        w.expect("proxy -> bob    401 REGISTER");
        w.check("it ends with 401", |w| w.is("bob").finals.last().is_some_and(|last| last == "401 REGISTER"));
        w.check("a new challenge is there", |w| {
            last_response(w.is("bob")).header(HeaderName::WwwAuthenticate).is_some()
        });
        assert!(w.rows.borrow().rows.is_empty() && w.shared.location.is_empty());
    });
}

/// The store fails: never a 200, and the binding is not there.
#[test]
fn a_registration_that_cannot_be_stored_is_no_success() {
    everywhere(|w| {
        w.phone("bob");
        w.rows.borrow_mut().broken = true;
        w.at("bob").register();
        w.expect("proxy -> bob    500 REGISTER");
        w.net.never("proxy -> bob  200 REGISTER");
        w.check("nothing is bound", |w| w.shared.location.is_empty());
    });
}

/// A phone of ours asks for a credential for the TURN service along with its registration; nobody else gets one.
#[test]
fn refuses_a_credential_for_the_relay_to_who_has_proved_nothing() {
    everywhere(|w| {
        w.shared.set_turn_credentials(Box::new(|_, user| format!("{{\"for\":\"{user}\"}}")));
        let mut settings = (*w.shared.settings()).clone();
        settings.authentication.believe_everybody = true;
        w.shared.replace_settings(settings);
        w.phone("bob");
        let accept = ("Accept".to_owned(), "application/vnd.farspeak.turn+json".to_owned());
        w.at("bob").press(|phone, _| phone.extra.push(accept));
        w.at("bob").register();
        w.expect("proxy -> bob    200 REGISTER");
        w.check("there is no body", |w| last_response(w.is("bob")).body().is_empty());
    });
}

#[test]
fn a_credential_for_the_relay_is_given_to_who_asks_for_it_over_an_encrypted_transport() {
    const TYPE: &str = "application/vnd.farspeak.turn+json";
    everywhere(|w| {
        w.shared.set_turn_credentials(Box::new(|_, user| format!("{{\"for\":\"{user}\"}}")));
        w.phone("bob");
        let secure = w.conditions.transport.is_secure();
        for (accept, given) in
            [(Some(TYPE), secure), (Some("application/sdp"), false), (Some("*/*"), false), (None, false)]
        {
            w.at("bob").press(|phone, _| {
                phone.extra.extend(accept.map(|accept| ("Accept".to_owned(), accept.to_owned())));
            });
            w.at("bob").register();
            w.expect("proxy -> bob    200 REGISTER");
            w.check("the body is what was asked for", |w| {
                let response = last_response(w.is("bob"));
                let content_type = response.header(HeaderName::ContentType);
                match given {
                    true => content_type == Some(TYPE) && response.body() == br#"{"for":"bob"}"#,
                    false => content_type.is_none() && response.body().is_empty(),
                }
            });
        }
    });
}
