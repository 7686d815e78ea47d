//! `farspeak serve --only turn`: what STUN and TURN need of the node when nothing else of it runs.
//!
//! No store stays open: users are read from it once, and a command that changes them opens it for that moment.

use std::sync::Arc;

use super::ServeError;
use crate::accounts;
use crate::config::Config;
use crate::control::{Effect, Failure, FailureKind, Request, perform_on_store};
use crate::data_dir::DataDir;
use crate::entropy::SystemRng;
use crate::store::Store;
use crate::users::Users;

/// Whether a listener needs a certificate.
pub(super) fn uses_tls(config: &Config) -> bool {
    !config.turn.tls.0.is_empty() || config.turn.share_https && !config.listen.https.0.is_empty()
}

/// Who has a phone here: they may relay with its name and password. Nobody, if there is no store.
pub(super) fn users(config: &Config, data: &DataDir) -> Result<Arc<Users>, ServeError> {
    let (realm, rows) = accounts::read(data.path(), &config.domain.name)?;
    let users = Users::new(&realm, &mut SystemRng::new());
    for user in rows {
        users.insert(user);
    }
    Ok(Arc::new(users))
}

/// Does what a request about users asks. Nobody else has the store: the data directory is ours.
pub(super) fn change_users(
    config: &Config,
    data: &DataDir,
    request: &Request,
) -> Result<(serde_json::Value, Effect), Failure> {
    let work = || {
        let mut store = Store::open(data.path(), config.store.durability)?;
        let done = perform_on_store(&mut store, &config.domain.name, request);
        store.close()?;
        done
    };
    // The store has a runtime of its own, and there is one on this thread already.
    let done = std::thread::scope(|scope| scope.spawn(work).join());
    done.unwrap_or_else(|_| Err(Failure::new(FailureKind::Failed, "the change of users broke off: please report it")))
}
