//! The store: users, bindings and the node's own secrets in one SQLite file of the data directory.
//!
//! One thread owns it (the [journal](crate::journal) while the node runs, the command line otherwise), so its methods
//! wait for the disk and return; never call them on a shard. The schema is a list of numbered steps; a file that is
//! damaged, foreign or newer than this program is reported and left as it is.

mod error;
mod rows;

use std::fmt;
use std::fs::OpenOptions;
use std::io;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection, SqliteJournalMode, SqliteRow, SqliteSynchronous};
use sqlx::{AssertSqlSafe, ConnectOptions as _, Connection, Row};
use tokio::runtime::Runtime;

use crate::binding::BindingRow;
use crate::config::Durability;
pub use error::StoreError;

/// The name of the file in the data directory.
pub const FILE_NAME: &str = "farspeak.db";

/// The steps of the schema, in order. A step never changes once published; a new one is added instead.
const MIGRATIONS: &[&str] =
    &[include_str!("../migrations/1.sql"), include_str!("../migrations/2.sql"), include_str!("../migrations/3.sql")];

/// Marks the file as ours (`PRAGMA application_id`): "Fspk".
const APPLICATION_ID: i64 = 0x4673_706b;

/// A user as the store keeps it.
#[derive(Clone, PartialEq, Eq)]
pub struct UserRow {
    /// The user part of the address-of-record.
    pub name: String,
    /// MD5 of `name:realm:password`, in hexadecimal digits.
    pub ha1_md5: String,
    /// SHA-256 of `name:realm:password`, in hexadecimal digits.
    pub ha1_sha256: String,
    /// MD5 of `name@realm:realm:password`: some phones send the whole address as their name.
    pub ha1_md5_with_realm: String,
    /// SHA-256 of `name@realm:realm:password`.
    pub ha1_sha256_with_realm: String,
    /// Whether callers without an account here may ring this user.
    pub open_to_strangers: bool,
    /// Who may see the user's presence, as [`PresenceTo`](crate::users::PresenceTo) writes it.
    pub presence_to: String,
    /// When the user was added, in milliseconds since 1970.
    pub created_at_unix_ms: i64,
}

/// Shows neither who nor the secrets.
impl fmt::Debug for UserRow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("UserRow").field("open_to_strangers", &self.open_to_strangers).finish_non_exhaustive()
    }
}

/// An open store.
pub struct Store {
    runtime: Runtime,
    connection: SqliteConnection,
    path: PathBuf,
    upserts: rows::Upserts,
    /// Rows written since the last [`Store::purge`].
    written: u64,
    /// The greatest version seen at the last purge: older removals cannot be overtaken any more.
    purged_version: i64,
    newest_version: i64,
    /// How far the wall clock has stepped since the process started, in milliseconds.
    clock_step: i64,
}

impl Store {
    /// Opens the store in `directory`, making it if there is none, and brings its schema up to date.
    ///
    /// # Errors
    /// [`StoreError`] says what is wrong with the file and what to do; nothing has been changed then.
    pub fn open(directory: &Path, durability: Durability) -> Result<Self, StoreError> {
        let path = directory.join(FILE_NAME);
        make_private(&path)?;
        let options = SqliteConnectOptions::new()
            .create_if_missing(true)
            .journal_mode(SqliteJournalMode::Wal)
            .synchronous(match durability {
                // In WAL mode, NORMAL hands each commit to the kernel without fsync: it survives the process.
                Durability::Process => SqliteSynchronous::Normal,
                Durability::Power => SqliteSynchronous::Full,
            })
            .statement_cache_capacity(64);
        let mut store = Self::connect(path, options)?;
        let Self { runtime, connection, path, .. } = &mut store;
        runtime.block_on(migrate(connection, path))?;
        store.newest_version = store
            .all(sqlx::query("SELECT coalesce(max(version), 0) FROM bindings"), |row| row.try_get(0))?
            .pop()
            .unwrap_or(0);
        store.purged_version = store.newest_version;
        Ok(store)
    }

    /// Opens the store in `directory` for reading; `None` if there is none. One with the schema of an earlier version is
    /// brought up to date, which writes once.
    ///
    /// # Errors
    /// [`StoreError`] says what is wrong with the file and what to do.
    pub fn open_to_read(directory: &Path) -> Result<Option<Self>, StoreError> {
        let path = directory.join(FILE_NAME);
        if !path.exists() {
            return Ok(None);
        }
        let mut store = Self::connect(path, SqliteConnectOptions::new().read_only(true))?;
        let (found, known) = (store.schema()?, MIGRATIONS.len() as i64);
        if found > known {
            return Err(StoreError::Newer { path: store.path, found, known });
        }
        if found == known {
            return Ok(Some(store));
        }
        store.close()?;
        Self::open(directory, Durability::Power).map(Some)
    }

    /// Connects and looks at the file, and no more.
    fn connect(path: PathBuf, options: SqliteConnectOptions) -> Result<Self, StoreError> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .build()
            .map_err(|error| StoreError::io(&path, &error))?;
        let options = options
            .filename(&path)
            .busy_timeout(Duration::from_secs(5))
            .pragma("trusted_schema", "OFF")
            // It would cost as much as a small statement.
            .disable_statement_logging();
        let connection = runtime.block_on(async {
            let connected = SqliteConnection::connect_with(&options).await;
            let mut connection = connected.map_err(|error| StoreError::from_sqlx(&path, &error))?;
            check(&mut connection, &path).await.map(|()| connection)
        })?;
        let upserts = rows::Upserts::new();
        Ok(Self { runtime, connection, path, upserts, written: 0, purged_version: 0, newest_version: 0, clock_step: 0 })
    }

    fn schema(&mut self) -> Result<i64, StoreError> {
        let found = self.runtime.block_on(pragma(&mut self.connection, "PRAGMA user_version"));
        found.map_err(|error| StoreError::from_sqlx(&self.path, &error))
    }

    /// The file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Writes all `changes` or none; when it returns they are as durable as the store was opened for.
    ///
    /// A row that is not newer than what the store has of the same binding changes nothing.
    ///
    /// # Errors
    /// The disk is full, gone or read-only: nothing of `changes` is in the store.
    pub fn commit<'a>(&mut self, changes: impl IntoIterator<Item = &'a BindingRow>) -> Result<(), StoreError> {
        let moved: Vec<BindingRow>;
        let mut changes: Vec<&BindingRow> = changes.into_iter().collect();
        if self.clock_step != 0 {
            moved = changes.into_iter().map(|row| moved_by(self.clock_step, row)).collect();
            changes = moved.iter().collect();
        }
        let connection = &mut self.connection;
        let upserts = &mut self.upserts;
        let result = self.runtime.block_on(async {
            if rows::Upserts::is_one(changes.len()) {
                return upserts.write(connection, &changes).await;
            }
            let mut transaction = connection.begin().await?;
            upserts.write(&mut transaction, &changes).await?;
            transaction.commit().await
        });
        result.map_err(|error| StoreError::from_sqlx(&self.path, &error))?;
        self.written += changes.len() as u64;
        let newest = changes.iter().map(|row| row.version as i64).max().unwrap_or(0);
        self.newest_version = self.newest_version.max(newest);
        Ok(())
    }

    /// The wall clock now differs by `step_ms` from what this process takes it for: moves the end of every binding to
    /// where it lies by the wall clock, here and in every later [`Store::commit`].
    ///
    /// A process counts time from its start and notices no step. The next process starts with the stepped clock: without
    /// this, bindings would be gone for it, or stay for as long as the step was.
    ///
    /// # Errors
    /// The disk is full, gone or read-only: nothing has moved; try again.
    pub fn follow_clock(&mut self, step_ms: i64) -> Result<(), StoreError> {
        let by = step_ms.saturating_sub(self.clock_step);
        // 0 stands for a binding that was removed.
        self.execute(
            sqlx::query(
                "UPDATE bindings SET expires_at_unix_ms = max(1, expires_at_unix_ms + ?) WHERE expires_at_unix_ms <> 0",
            )
            .bind(by),
        )?;
        self.clock_step = step_ms;
        Ok(())
    }

    /// What [`Store::follow_clock`] was told last; 0 before.
    pub const fn clock_step(&self) -> i64 {
        self.clock_step
    }

    /// Bindings that have not ended at `now`, and the greatest version of any, ended and removed ones included.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn bindings(&mut self, now_unix_ms: i64) -> Result<(Vec<BindingRow>, u64), StoreError> {
        let rows = self.all(
            sqlx::query("SELECT * FROM bindings WHERE expires_at_unix_ms > ? ORDER BY aor").bind(now_unix_ms),
            rows::binding,
        )?;
        Ok((rows, self.newest_version as u64))
    }

    /// Drops rows that have ended, and removals old enough that no late change can undo them, if enough was written
    /// since the last time to be worth it.
    ///
    /// # Errors
    /// The disk is full, gone or read-only: the rows stay.
    pub fn purge_if_due(&mut self, now_unix_ms: i64) -> Result<(), StoreError> {
        if self.written < PURGE_AFTER { Ok(()) } else { self.purge(now_unix_ms) }
    }

    /// Drops rows that have ended, and removals old enough that no late change can undo them.
    ///
    /// # Errors
    /// The disk is full, gone or read-only: the rows stay.
    pub fn purge(&mut self, now_unix_ms: i64) -> Result<(), StoreError> {
        self.execute(
            sqlx::query("DELETE FROM bindings WHERE expires_at_unix_ms <= ? AND version <= ?")
                .bind(now_unix_ms)
                .bind(self.purged_version),
        )?;
        (self.written, self.purged_version) = (0, self.newest_version);
        Ok(())
    }

    /// All users, by name.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn users(&mut self) -> Result<Vec<UserRow>, StoreError> {
        self.all(sqlx::query("SELECT * FROM users ORDER BY name"), rows::user)
    }

    /// Adds a user. `false` if the name is taken.
    ///
    /// # Errors
    /// The disk is full, gone or read-only.
    pub fn add_user(&mut self, user: &UserRow) -> Result<bool, StoreError> {
        let changed = self.execute(
            sqlx::query(
                "INSERT INTO users (name, ha1_md5, ha1_sha256, ha1_md5_with_realm, ha1_sha256_with_realm, \
                 open_to_strangers, presence_to, created_at_unix_ms) VALUES (?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING",
            )
            .bind(user.name.clone())
            .bind(user.ha1_md5.clone())
            .bind(user.ha1_sha256.clone())
            .bind(user.ha1_md5_with_realm.clone())
            .bind(user.ha1_sha256_with_realm.clone())
            .bind(user.open_to_strangers)
            .bind(user.presence_to.clone())
            .bind(user.created_at_unix_ms),
        )?;
        Ok(changed > 0)
    }

    /// Writes secrets and openness of a user that exists. `false` if there is no such user.
    ///
    /// # Errors
    /// The disk is full, gone or read-only.
    pub fn update_user(&mut self, user: &UserRow) -> Result<bool, StoreError> {
        let changed = self.execute(
            sqlx::query(
                "UPDATE users SET ha1_md5 = ?, ha1_sha256 = ?, ha1_md5_with_realm = ?, ha1_sha256_with_realm = ?, \
                 open_to_strangers = ?, presence_to = ? WHERE name = ?",
            )
            .bind(user.ha1_md5.clone())
            .bind(user.ha1_sha256.clone())
            .bind(user.ha1_md5_with_realm.clone())
            .bind(user.ha1_sha256_with_realm.clone())
            .bind(user.open_to_strangers)
            .bind(user.presence_to.clone())
            .bind(user.name.clone()),
        )?;
        Ok(changed > 0)
    }

    /// Removes a user. `false` if there is no such user. The user's bindings are the location table's to remove.
    ///
    /// # Errors
    /// The disk is full, gone or read-only.
    pub fn remove_user(&mut self, name: &str) -> Result<bool, StoreError> {
        Ok(self.execute(sqlx::query("DELETE FROM users WHERE name = ?").bind(name.to_owned()))? > 0)
    }

    /// Removes all bindings of an address-of-record, for when no node runs.
    ///
    /// # Errors
    /// The disk is full, gone or read-only.
    pub fn remove_bindings(&mut self, aor: &str) -> Result<(), StoreError> {
        self.execute(sqlx::query("DELETE FROM bindings WHERE aor = ?").bind(aor.to_owned())).map(drop)
    }

    /// Something the node remembers about itself.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn meta(&mut self, name: &str) -> Result<Option<Vec<u8>>, StoreError> {
        let query = sqlx::query("SELECT value FROM meta WHERE name = ?").bind(name.to_owned());
        Ok(self.all(query, |row| row.try_get(0))?.pop())
    }

    /// Remembers `value` unless something is remembered already; gives what then stands.
    ///
    /// # Errors
    /// The disk is full, gone or read-only.
    pub fn meta_or_insert(&mut self, name: &str, value: &[u8]) -> Result<Vec<u8>, StoreError> {
        self.execute(
            sqlx::query("INSERT INTO meta (name, value) VALUES (?, ?) ON CONFLICT DO NOTHING")
                .bind(name.to_owned())
                .bind(value.to_vec()),
        )?;
        Ok(self.meta(name)?.unwrap_or_else(|| value.to_vec()))
    }

    /// Closes the file in good order. Dropping the store instead loses nothing that was answered.
    ///
    /// # Errors
    /// The last writes could not be folded into the main file; they stay in the log beside it.
    pub fn close(self) -> Result<(), StoreError> {
        let Self { runtime, connection, path, .. } = self;
        runtime.block_on(connection.close()).map_err(|error| StoreError::from_sqlx(&path, &error))
    }

    fn execute(&mut self, query: rows::Query<'_>) -> Result<u64, StoreError> {
        let result = self.runtime.block_on(query.execute(&mut self.connection));
        result.map(|done| done.rows_affected()).map_err(|error| StoreError::from_sqlx(&self.path, &error))
    }

    fn all<T>(
        &mut self,
        query: rows::Query<'_>,
        read: impl Fn(&SqliteRow) -> Result<T, sqlx::Error>,
    ) -> Result<Vec<T>, StoreError> {
        let rows = self.runtime.block_on(query.fetch_all(&mut self.connection));
        let read = rows.and_then(|rows| rows.iter().map(read).collect());
        read.map_err(|error| StoreError::from_sqlx(&self.path, &error))
    }
}

impl fmt::Debug for Store {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Store").field("path", &self.path).finish_non_exhaustive()
    }
}

fn moved_by(step: i64, row: &BindingRow) -> BindingRow {
    let at = row.expires_at_unix_ms;
    let expires_at_unix_ms = if row.is_removal() { at } else { at.saturating_add(step).max(1) };
    BindingRow { expires_at_unix_ms, ..row.clone() }
}

/// A new file is its owner's alone; SQLite gives the files beside it the same permissions.
fn make_private(path: &Path) -> Result<(), StoreError> {
    match OpenOptions::new().write(true).create_new(true).mode(0o600).open(path) {
        Ok(_) => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        Err(error) => Err(StoreError::Denied { path: path.to_owned(), detail: error.to_string() }),
    }
}

/// Refuses a file that is damaged, or that another program made.
async fn check(connection: &mut SqliteConnection, path: &Path) -> Result<(), StoreError> {
    let fail = |error: sqlx::Error| StoreError::from_sqlx(path, &error);
    let verdict: String = sqlx::query("PRAGMA quick_check(1)")
        .fetch_one(&mut *connection)
        .await
        .and_then(|row| row.try_get(0))
        .map_err(fail)?;
    if verdict != "ok" {
        return Err(StoreError::Corrupt { path: path.to_owned(), detail: verdict });
    }
    let application = pragma(connection, "PRAGMA application_id").await.map_err(fail)?;
    let tables = pragma(connection, "SELECT count(*) FROM sqlite_master").await.map_err(fail)?;
    if application != APPLICATION_ID && tables > 0 {
        return Err(StoreError::Foreign { path: path.to_owned() });
    }
    Ok(())
}

/// Runs the steps that this file has not seen, each in a transaction of its own.
async fn migrate(connection: &mut SqliteConnection, path: &Path) -> Result<(), StoreError> {
    let fail = |error: sqlx::Error| StoreError::from_sqlx(path, &error);
    let known = MIGRATIONS.len() as i64;
    let found = pragma(connection, "PRAGMA user_version").await.map_err(fail)?;
    if found > known {
        return Err(StoreError::Newer { path: path.to_owned(), found, known });
    }
    for (step, sql) in (1..).zip(MIGRATIONS).skip(usize::try_from(found).unwrap_or(0)) {
        let mut transaction = connection.begin().await.map_err(fail)?;
        sqlx::raw_sql(*sql).execute(&mut *transaction).await.map_err(fail)?;
        let mark = format!("PRAGMA application_id = {APPLICATION_ID}; PRAGMA user_version = {step}");
        sqlx::raw_sql(AssertSqlSafe(mark)).execute(&mut *transaction).await.map_err(fail)?;
        transaction.commit().await.map_err(fail)?;
    }
    Ok(())
}

async fn pragma(connection: &mut SqliteConnection, sql: &'static str) -> Result<i64, sqlx::Error> {
    sqlx::query(sql).fetch_one(connection).await?.try_get(0)
}

/// Rows written between two purges.
const PURGE_AFTER: u64 = 50_000;

#[cfg(test)]
mod tests;
