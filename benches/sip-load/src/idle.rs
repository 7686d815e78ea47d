//! Many phones that register once and then do nothing, to weigh what the server keeps for each.

use std::rc::Rc;
use std::time::Instant;

use tokio::task::JoinSet;

use crate::endpoint::Connector;
use crate::registrations::register_once;
use crate::{Failure, Options};

/// Connections that are opened at the same time.
const AT_ONCE: usize = 32;

pub async fn run(options: &Options, connector: &Connector) -> Result<(), Failure> {
    let began = Instant::now();
    println!("START");
    let mut phones = Vec::with_capacity(options.phones);
    let (mut failed, mut next) = (0, 0);
    let connector = Rc::new(connector.clone());
    let mut opening = JoinSet::new();
    while phones.len() + failed < options.phones {
        while next < options.phones && opening.len() < AT_ONCE {
            let (connector, domain, number) = (connector.clone(), options.domain.clone(), next);
            opening.spawn_local(async move {
                let name = format!("idle{number}");
                register_once(&connector, &domain, &name, number, Rc::new(|_, _| {})).await.map_err(|e| e.to_string())
            });
            next += 1;
        }
        match opening.join_next().await {
            Some(Ok(Ok(endpoint))) => phones.push(endpoint),
            Some(Ok(Err(why))) => {
                if failed == 0 {
                    eprintln!("{why}");
                }
                failed += 1;
            }
            Some(Err(_)) | None => failed += 1,
        }
    }
    println!(
        "RESULT {{\"offered\": {}, \"ok\": {}, \"failed\": {failed}, \"seconds\": {:.3}}}",
        options.phones,
        phones.len(),
        began.elapsed().as_secs_f64()
    );
    // Hold every connection until whoever measures has seen enough.
    tokio::task::spawn_blocking(|| std::io::copy(&mut std::io::stdin(), &mut std::io::sink())).await??;
    Ok(())
}
