//! Rows in and out of SQLite.

use std::fmt::Write as _;
use std::net::SocketAddr;
use std::sync::Arc;

use farspeak_sansio::Transport;
use sqlx::sqlite::{SqliteArguments, SqliteRow};
use sqlx::{AssertSqlSafe, Row, Sqlite, SqliteConnection};

use super::UserRow;
use crate::binding::BindingRow;

pub(super) type Query<'q> = sqlx::query::Query<'q, Sqlite, SqliteArguments>;

/// The statements that write bindings, by how many rows each writes. All stay prepared.
pub(super) struct Upserts {
    by_rows: Vec<(usize, Arc<str>)>,
    texts: Texts,
}

/// Texts that nearly all rows have: shared, since sqlx takes none by reference.
struct Texts {
    none: Arc<str>,
    transports: [(Transport, Arc<str>); 5],
    /// The last local address.
    local: Option<(SocketAddr, Arc<str>)>,
}

impl Texts {
    fn new() -> Self {
        Self { none: Arc::from(""), transports: TRANSPORTS.map(|it| (it, Arc::from(it.as_str()))), local: None }
    }

    fn text(&self, text: &str) -> Arc<str> {
        if text.is_empty() { Arc::clone(&self.none) } else { Arc::from(text) }
    }

    fn transport(&self, transport: Transport) -> Arc<str> {
        let known = self.transports.iter().find(|(known, _)| *known == transport);
        known.map_or_else(|| Arc::from(transport.as_str()), |(_, text)| Arc::clone(text))
    }

    fn local(&mut self, local: SocketAddr) -> Arc<str> {
        match &self.local {
            Some((known, text)) if *known == local => Arc::clone(text),
            _ => {
                let text: Arc<str> = Arc::from(local.to_string());
                self.local = Some((local, Arc::clone(&text)));
                text
            }
        }
    }
}

impl Upserts {
    /// Texts for 1 to [`SMALL`] rows, and for many.
    pub(super) fn new() -> Self {
        let by_rows = (1..=SMALL).chain([4 * SMALL, 16 * SMALL]).map(|rows| (rows, upsert(rows).into()));
        Self { by_rows: by_rows.collect(), texts: Texts::new() }
    }

    /// Whether that many rows take a single statement, which is its own transaction.
    pub(super) fn is_one(rows: usize) -> bool {
        rows <= SMALL
    }

    /// Writes many rows with few statements: a statement per row costs twenty times as much.
    pub(super) async fn write(
        &mut self,
        connection: &mut SqliteConnection,
        mut changes: &[&BindingRow],
    ) -> Result<(), sqlx::Error> {
        while !changes.is_empty() {
            let fits = self.by_rows.iter().rev().find(|(rows, _)| *rows <= changes.len());
            let Some((rows, sql)) = fits else { break }; // one row always fits
            let (chunk, rest) = changes.split_at(*rows);
            let mut query = sqlx::query(AssertSqlSafe(Arc::clone(sql)));
            for row in chunk {
                query = bind(query, row, &mut self.texts);
            }
            query.execute(&mut *connection).await?;
            changes = rest;
        }
        Ok(())
    }
}

/// Rows up to which there is a statement for every number of them.
const SMALL: usize = 32;

const COLUMNS: &str = "aor, contact, instance, reg_id, q, expires_at_unix_ms, call_id, cseq, path, params, user_agent, \
     transport, local, remote, flow, since, version";

fn upsert(rows: usize) -> String {
    let mut sql = format!("INSERT INTO bindings ({COLUMNS}) VALUES ");
    for row in 0..rows {
        sql.push_str(if row == 0 { "" } else { "," });
        sql.push_str("(?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?)");
    }
    sql.push_str(" ON CONFLICT DO UPDATE SET ");
    // The first four columns are the key.
    for (index, column) in COLUMNS.split(", ").skip(4).enumerate() {
        let comma = if index == 0 { "" } else { ", " };
        let _ = write!(sql, "{comma}{column} = excluded.{column}"); // writing to a String cannot fail
    }
    sql.push_str(" WHERE excluded.version > bindings.version");
    sql
}

fn bind<'q>(query: Query<'q>, row: &BindingRow, texts: &mut Texts) -> Query<'q> {
    query
        .bind(texts.text(&row.aor))
        .bind(texts.text(&row.contact))
        .bind(texts.text(row.instance.as_deref().unwrap_or_default()))
        .bind(row.reg_id.map_or(-1, i64::from))
        .bind(i64::from(row.q))
        .bind(row.expires_at_unix_ms)
        .bind(texts.text(&row.call_id))
        .bind(i64::from(row.cseq))
        .bind(texts.text(&row.path))
        .bind(texts.text(&row.params))
        .bind(texts.text(&row.user_agent))
        .bind(texts.transport(row.transport))
        .bind(texts.local(row.local))
        .bind(row.remote.to_string())
        // SQLite's integers are signed: the bits stay the same.
        .bind(row.flow_bits as i64)
        .bind(row.since as i64)
        .bind(row.version as i64)
}

pub(super) fn binding(row: &SqliteRow) -> Result<BindingRow, sqlx::Error> {
    let instance: String = row.try_get("instance")?;
    Ok(BindingRow {
        aor: row.try_get("aor")?,
        contact: row.try_get("contact")?,
        instance: Some(instance).filter(|instance| !instance.is_empty()),
        reg_id: u32::try_from(row.try_get::<i64, _>("reg_id")?).ok(),
        q: number(row, "q")?,
        expires_at_unix_ms: row.try_get("expires_at_unix_ms")?,
        call_id: row.try_get("call_id")?,
        cseq: number(row, "cseq")?,
        path: row.try_get("path")?,
        params: row.try_get("params")?,
        user_agent: row.try_get("user_agent")?,
        transport: transport(&row.try_get::<String, _>("transport")?)?,
        local: parsed(row, "local")?,
        remote: parsed(row, "remote")?,
        flow_bits: row.try_get::<i64, _>("flow")? as u64,
        since: row.try_get::<i64, _>("since")? as u64,
        version: row.try_get::<i64, _>("version")? as u64,
    })
}

pub(super) fn user(row: &SqliteRow) -> Result<UserRow, sqlx::Error> {
    Ok(UserRow {
        name: row.try_get("name")?,
        ha1_md5: row.try_get("ha1_md5")?,
        ha1_sha256: row.try_get("ha1_sha256")?,
        ha1_md5_with_realm: row.try_get("ha1_md5_with_realm")?,
        ha1_sha256_with_realm: row.try_get("ha1_sha256_with_realm")?,
        open_to_strangers: row.try_get("open_to_strangers")?,
        presence_to: row.try_get("presence_to")?,
        created_at_unix_ms: row.try_get("created_at_unix_ms")?,
    })
}

const TRANSPORTS: [Transport; 5] = [Transport::Udp, Transport::Tcp, Transport::Tls, Transport::Ws, Transport::Wss];

fn transport(name: &str) -> Result<Transport, sqlx::Error> {
    TRANSPORTS.into_iter().find(|known| known.as_str() == name).ok_or_else(|| odd("transport"))
}

fn number<T: TryFrom<i64>>(row: &SqliteRow, column: &'static str) -> Result<T, sqlx::Error> {
    T::try_from(row.try_get::<i64, _>(column)?).map_err(|_| odd(column))
}

fn parsed<T: std::str::FromStr>(row: &SqliteRow, column: &'static str) -> Result<T, sqlx::Error> {
    row.try_get::<String, _>(column)?.parse().map_err(|_| odd(column))
}

fn odd(column: &'static str) -> sqlx::Error {
    sqlx::Error::Decode(format!("column {column} holds something else than expected").into())
}
