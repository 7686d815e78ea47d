//! Registrations, one message each or a challenge and its answer.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::{Duration, Instant};

use crate::digest::User;
use crate::endpoint::{Connector, Endpoint, Handler};
use crate::pace::pace;
use crate::result::{Tally, settle};
use crate::{Failure, Options, message};

/// REGISTER for `name` as operation `number`; `more` holds the credentials, if any.
pub fn register(endpoint: &Endpoint, domain: &str, name: &str, number: usize, cseq: u32, more: &str) -> String {
    let mut out = format!("REGISTER sip:{domain} SIP/2.0\r\n{}", endpoint.via(format_args!("r{number}.{cseq}")));
    out.push_str(&format!("From: <sip:{name}@{domain}>;tag={number}\r\nTo: <sip:{name}@{domain}>\r\n"));
    out.push_str(&message::call_id(number));
    out.push_str(&format!("CSeq: {cseq} REGISTER\r\nMax-Forwards: 70\r\nUser-Agent: sip-load\r\n"));
    out.push_str(&endpoint.contact(name));
    out.push_str("Expires: 3600\r\n");
    out.push_str(more);
    message::finish(&mut out, "");
    out
}

/// Registers one user and waits for the 200; credentials are not expected to be needed.
pub async fn register_once(
    connector: &Connector,
    domain: &str,
    name: &str,
    number: usize,
    handler: Handler,
) -> Result<Rc<Endpoint>, Failure> {
    let answered = Rc::new(RefCell::new(0));
    let seen = answered.clone();
    let endpoint = connector
        .open(Rc::new(move |endpoint, text| match message::header(text, "CSeq") {
            Some(cseq) if cseq.ends_with("REGISTER") => *seen.borrow_mut() = message::status(text),
            _ => handler(endpoint, text),
        }))
        .await?;
    for _ in 0..3 {
        endpoint.send(register(&endpoint, domain, name, number, 1, ""));
        settle(Duration::from_secs(5), || *answered.borrow() >= 200).await;
        match *answered.borrow() {
            200 => return Ok(endpoint),
            0..200 => {}
            status => return Err(format!("{name} could not register: {status}").into()),
        }
    }
    Err(format!("{name} could not register: no answer").into())
}

pub async fn run(options: &Options, connector: &Connector, users: Vec<User>) -> Result<(), Failure> {
    let tally: Rc<RefCell<Option<Tally>>> = Rc::default();
    let due: Rc<RefCell<Vec<Option<Instant>>>> = Rc::default();
    let users = Rc::new(users);
    let domain: Rc<str> = options.domain.as_str().into();
    let handler: Handler = {
        let (tally, due, users, domain) = (tally.clone(), due.clone(), users.clone(), domain.clone());
        Rc::new(move |endpoint, text| {
            let Some(number) = message::operation(text) else { return };
            match message::status(text) {
                200 => {
                    let began = due.borrow_mut().get_mut(number).and_then(Option::take);
                    if let (Some(began), Some(tally)) = (began, &mut *tally.borrow_mut()) {
                        tally.done(began.elapsed());
                    }
                }
                401 if !users.is_empty()
                    && message::header(text, "CSeq").is_some_and(|cseq| cseq.starts_with("1 ")) =>
                {
                    let user = &users[number % users.len()];
                    let challenges = message::headers(text, "WWW-Authenticate");
                    let answer = user.answer(challenges, "REGISTER", &format!("sip:{domain}"), number);
                    let answer = answer.unwrap_or_default();
                    endpoint.send(register(endpoint, &domain, &user.name, number, 2, &answer));
                }
                _ => {}
            }
        })
    };
    let mut endpoints = Vec::new();
    for _ in 0..options.phones {
        endpoints.push(connector.open(handler.clone()).await?);
    }
    due.borrow_mut().resize(options.total() as usize, None);
    *tally.borrow_mut() = Some(Tally::start(options.total()));
    pace(options.rate, options.total(), |number, at| {
        due.borrow_mut()[number] = Some(at);
        // A user stays with its phone, so that a second registration replaces the first.
        let turn = if users.is_empty() { number } else { number % users.len() };
        let endpoint = &endpoints[turn % endpoints.len()];
        let name = users.get(turn).map_or_else(|| format!("u{number}"), |user| user.name.clone());
        endpoint.send(register(endpoint, &domain, &name, number, 1, ""));
    })
    .await;
    settle(Options::PATIENCE, || tally.borrow().as_ref().is_some_and(Tally::complete)).await;
    tally.take().ok_or("the load did not start")?.print();
    Ok(())
}
