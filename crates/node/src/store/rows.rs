//! Rows in and out of SQLite.

use std::fmt::Write as _;
use std::sync::Arc;

use farspeak_sansio::Transport;
use sqlx::sqlite::{SqliteArguments, SqliteRow};
use sqlx::{AssertSqlSafe, Row, Sqlite, SqliteConnection};

use super::UserRow;
use crate::binding::BindingRow;

pub(super) type Query<'q> = sqlx::query::Query<'q, Sqlite, SqliteArguments>;

/// The statements that write bindings, by how many rows each writes. All stay prepared.
pub(super) struct Upserts(Vec<(usize, Arc<str>)>);

impl Upserts {
    /// Texts for 1 to [`SMALL`] rows, and for many.
    pub(super) fn new() -> Self {
        Self((1..=SMALL).chain([4 * SMALL, 16 * SMALL]).map(|rows| (rows, upsert(rows).into())).collect())
    }

    /// Whether that many rows take a single statement, which is its own transaction.
    pub(super) fn is_one(rows: usize) -> bool {
        rows <= SMALL
    }

    /// Writes many rows with few statements: a statement per row costs twenty times as much.
    pub(super) async fn write(
        &self,
        connection: &mut SqliteConnection,
        mut changes: &[&BindingRow],
    ) -> Result<(), sqlx::Error> {
        while !changes.is_empty() {
            let fits = self.0.iter().rev().find(|(rows, _)| *rows <= changes.len());
            let Some((rows, sql)) = fits else { break }; // one row always fits
            let (chunk, rest) = changes.split_at(*rows);
            let mut query = sqlx::query(AssertSqlSafe(Arc::clone(sql)));
            for row in chunk {
                query = bind(query, row);
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

fn bind<'q>(query: Query<'q>, row: &BindingRow) -> Query<'q> {
    query
        .bind(row.aor.clone())
        .bind(row.contact.clone())
        .bind(row.instance.clone().unwrap_or_default())
        .bind(row.reg_id.map_or(-1, i64::from))
        .bind(i64::from(row.q))
        .bind(row.expires_at_unix_ms)
        .bind(row.call_id.clone())
        .bind(i64::from(row.cseq))
        .bind(row.path.clone())
        .bind(row.params.clone())
        .bind(row.user_agent.clone())
        .bind(row.transport.as_str())
        .bind(row.local.to_string())
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
        created_at_unix_ms: row.try_get("created_at_unix_ms")?,
    })
}

fn transport(name: &str) -> Result<Transport, sqlx::Error> {
    let all = [Transport::Udp, Transport::Tcp, Transport::Tls, Transport::Ws, Transport::Wss];
    all.into_iter().find(|known| known.as_str() == name).ok_or_else(|| odd("transport"))
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
