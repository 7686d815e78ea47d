//! The admin thread's life: signals, the control socket, the admin listener, and what has to be done once in a while.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::{TcpListener, UnixListener, UnixStream};
use tokio::signal::unix::{SignalKind, signal};
use tokio::time::{MissedTickBehavior, interval, timeout};

use super::sip::Sip;
use super::{SWEEP, ServeError, Server, Summary, admin, alone, metrics, turn};
use crate::control::{
    Answer, Effect, Failure, FailureKind, MAX_REQUEST, Request, answer_line, perform_on_store, unix_ms,
};
use crate::events::News;
use crate::shard::Shard;
use crate::store::StoreError;
use crate::users::User;

/// The server while it runs; handlers borrow it between awaits only.
pub(super) type State = Rc<RefCell<Server>>;

/// Serves until told to stop; gives the server back to be stopped. `ready` is called when a signal would be heeded.
pub(super) async fn until_stopped(server: Server, ready: impl FnOnce(&Summary)) -> Result<Server, ServeError> {
    let refused = |error: std::io::Error| ServeError::Other(format!("cannot wait for signals: {error}"));
    let mut terminate = signal(SignalKind::terminate()).map_err(refused)?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(refused)?;
    let mut hang_up = signal(SignalKind::hangup()).map_err(refused)?;
    let mut sweep = interval(SWEEP);
    sweep.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut renewal = interval(RENEWAL);
    renewal.tick().await; // the first comes at once, and the start has just seen to it

    let (admin, control) = (server.admin.as_ref().map(std::net::TcpListener::try_clone), server.control.try_clone());
    let admin =
        admin.transpose().and_then(|listener| listener.map(TcpListener::from_std).transpose()).map_err(refused)?;
    let control = control.and_then(UnixListener::from_std).map_err(refused)?;
    ready(server.summary());
    let state: State = Rc::new(RefCell::new(server));
    let mut tasks = tokio::task::JoinSet::new();
    if let Some(listener) = admin {
        tasks.spawn_local(admin::serve(listener, Rc::clone(&state)));
    }
    tasks.spawn_local(serve_control(control, Rc::clone(&state)));
    loop {
        tokio::select! {
            _ = terminate.recv() => break,
            _ = interrupt.recv() => break,
            _ = hang_up.recv() => {
                // What is wrong has been logged; the node goes on as it was.
                let _ = state.borrow_mut().reload();
            }
            _ = sweep.tick() => {
                let mut server = state.borrow_mut();
                if let Some(sip) = &mut server.sip {
                    sip.sweep();
                }
                if let Some(turn) = &server.turn {
                    turn.follow_wall_clock(server.clock.now(), unix_ms());
                }
            }
            _ = renewal.tick() => state.borrow().renew_certificates(),
        }
    }
    tracing::info!("stopping: nothing new is accepted, what is under way may end");
    tasks.shutdown().await;
    // Every task that shared it has ended.
    Rc::try_unwrap(state)
        .map(RefCell::into_inner)
        .map_err(|_| ServeError::Other("cannot stop in good order".to_owned()))
}

async fn serve_control(listener: UnixListener, state: State) {
    let mut clients = tokio::task::JoinSet::new();
    loop {
        match listener.accept().await {
            Ok((stream, _)) => {
                while clients.try_join_next().is_some() {}
                clients.spawn_local(serve_client(stream, Rc::clone(&state)));
            }
            // Out of file descriptors: wait for some to be given back.
            Err(_) => tokio::time::sleep(Duration::from_millis(100)).await,
        }
    }
}

async fn serve_client(mut stream: UnixStream, state: State) {
    let mut line = String::new();
    let (read, mut write) = stream.split();
    let mut reader = BufReader::new(read.take(MAX_REQUEST));
    if !matches!(timeout(CLIENT_PATIENCE, reader.read_line(&mut line)).await, Ok(Ok(1..))) {
        return;
    }
    let answer = match Request::parse(&line) {
        Ok(request) => perform(&request, &state).await,
        Err(reason) => Err(Failure::new(FailureKind::Invalid, reason)),
    };
    // A client that has gone needs no answer.
    let _ = timeout(CLIENT_PATIENCE, write.write_all(answer_line(&answer).as_bytes())).await;
}

async fn perform(request: &Request, state: &State) -> Answer {
    match request {
        Request::Status => Ok(metrics::status(state).await),
        Request::Reload => state.borrow_mut().reload(),
        Request::TurnStatus | Request::TurnSessions | Request::TurnKick { .. } | Request::TurnCredentials { .. } => {
            turn::perform(request, state).await
        }
        users => state.borrow().change_users(users),
    }
}

impl Server {
    /// In the store first, then in the tables of the shards: what was answered survives.
    fn change_users(&self, request: &Request) -> Answer {
        let (mut value, effect) = match &self.sip {
            Some(sip) => {
                let (asked, of) = (request.clone(), self.loaded.config.domain.name.clone());
                sip.journal
                    .handle()
                    .with_store(move |store| perform_on_store(store, &of, &asked))
                    .map_err(stopped)??
            }
            None => alone::change_users(&self.loaded.config, &self.data, request)?,
        };
        match effect {
            Effect::None => {
                if let Some(sip) = &self.sip {
                    sip.count_phones(&mut value);
                }
            }
            Effect::Put(user) => self.put_user(user),
            Effect::Renew(user) => {
                let name = user.name.clone();
                self.users.insert(user);
                self.end_phones(name, false)?;
            }
            Effect::Gone(name, others) => {
                self.users.remove(&name);
                others.into_iter().for_each(|user| self.put_user(user));
                self.end_phones(name, true)?;
            }
        }
        if value.get("password").is_some() {
            value["server"] = self.way_in();
        }
        Ok(value)
    }

    fn put_user(&self, user: User) {
        let name = user.name.clone();
        self.users.insert(user);
        if let Some(sip) = &self.sip {
            sip.tell_shards(&News::User { name });
        }
    }

    fn end_phones(&self, name: String, gone: bool) -> Result<(), Failure> {
        let Some(sip) = &self.sip else { return Ok(()) };
        sip.forget_phones(&name)?;
        sip.tell_shards(&News::UserEnded { name, gone });
        Ok(())
    }

    /// What a phone has to be told besides name and password.
    pub(super) fn way_in(&self) -> Value {
        use farspeak_sansio::Transport;
        let listening = self.sip.as_ref().map(|sip| sip.net.listening()).unwrap_or_default();
        let port = |transport| {
            let listener = listening.iter().find(|listener| listener.transport == transport);
            listener.map(|listener| listener.address.port())
        };
        let config = &self.loaded.config;
        json!({
            "domain": config.domain.name, "public_name": config.domain.public_name,
            "tls_port": port(Transport::Tls), "wss_port": port(Transport::Wss),
            "self_made_certificate": config.certificate.chain.is_none(), "unix_ms": unix_ms(),
        })
    }
}

impl Sip {
    /// Watchers are told at once of what the operator changed; where a shard is busy, as soon as it is not.
    fn tell_shards(&self, news: &News) {
        for handle in self.net.handles().iter() {
            let (handle, news) = (handle.clone(), news.clone());
            tokio::task::spawn_local(async move {
                // A shard that has died has no watchers.
                let _ = handle.query(move |shard: &mut Shard, now| shard.hear(now, news)).await;
            });
        }
    }

    /// A registration may have come in between the store's change and ours: remove both in memory and on disk.
    fn forget_phones(&self, name: &str) -> Result<(), Failure> {
        let aor = self.shared.settings().domain.aor_of_user(name);
        let rows = self.shared.location.remove_all(self.clock.now(), &aor);
        self.journal.handle().with_store(move |store| store.commit(&rows)).map_err(stopped)??;
        Ok(())
    }

    fn count_phones(&self, value: &mut Value) {
        let domain = self.shared.settings().domain.clone();
        for user in value["users"].as_array_mut().into_iter().flatten() {
            let name = user["name"].as_str().unwrap_or_default().to_owned();
            let bindings = self.shared.location.bindings(self.clock.now(), &domain.aor_of_user(&name));
            user["phones"] = json!(bindings.len());
            user["reachable"] = json!(bindings.iter().filter(|binding| binding.is_reachable()).count());
        }
    }
}

fn stopped(error: StoreError) -> Failure {
    Failure::new(FailureKind::Store, error.to_string())
}

/// How often the node's own certificates are looked at.
const RENEWAL: Duration = Duration::from_secs(86_400 / 2);
/// How long a client of the control socket may take.
const CLIENT_PATIENCE: Duration = Duration::from_secs(10);
