//! What can be wrong with a store, and what to do about it.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

/// Why the store could not be read or written. Its text tells the operator what to do next.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum StoreError {
    /// The file is damaged.
    Corrupt {
        /// Which file.
        path: PathBuf,
        /// What SQLite says.
        detail: String,
    },
    /// The file is a database of another program.
    Foreign {
        /// Which file.
        path: PathBuf,
    },
    /// A later version of this program has written the file.
    Newer {
        /// Which file.
        path: PathBuf,
        /// The file's schema.
        found: i64,
        /// The latest schema this program knows.
        known: i64,
    },
    /// No more room.
    Full {
        /// Which file.
        path: PathBuf,
    },
    /// The file or its folder may not be written or opened.
    Denied {
        /// Which file.
        path: PathBuf,
        /// What the system says.
        detail: String,
    },
    /// Another process holds the file.
    Busy {
        /// Which file.
        path: PathBuf,
    },
    /// More waits for the disk than the journal may hold.
    Overloaded,
    /// The journal has stopped.
    Stopped,
    /// Anything else.
    Failed {
        /// Which file.
        path: PathBuf,
        /// What SQLite or the system says.
        detail: String,
    },
}

impl StoreError {
    pub(super) fn io(path: &Path, error: &io::Error) -> Self {
        Self::Failed { path: path.to_owned(), detail: error.to_string() }
    }

    /// Sorts SQLite's result codes (<https://www.sqlite.org/rescode.html>) by who can mend them.
    pub(super) fn from_sqlx(path: &Path, error: &sqlx::Error) -> Self {
        let path = path.to_owned();
        let Some(database) = error.as_database_error() else {
            return Self::Failed { path, detail: error.to_string() };
        };
        let detail = database.message().to_owned();
        let code = database.code().and_then(|code| code.parse::<u32>().ok()).unwrap_or(0);
        // The low byte is the primary code.
        match code & 0xff {
            CORRUPT | NOTADB => Self::Corrupt { path, detail },
            FULL => Self::Full { path },
            PERM | READONLY | CANTOPEN => Self::Denied { path, detail },
            BUSY | LOCKED => Self::Busy { path },
            _ => Self::Failed { path, detail: format!("{detail} (SQLite code {code})") },
        }
    }
}

const PERM: u32 = 3;
const BUSY: u32 = 5;
const LOCKED: u32 = 6;
const READONLY: u32 = 8;
const CORRUPT: u32 = 11;
const FULL: u32 = 13;
const CANTOPEN: u32 = 14;
const NOTADB: u32 = 26;

impl fmt::Display for StoreError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Corrupt { path, detail } => write!(
                f,
                "the store {} is damaged ({detail}); it was left as it is. Restore a backup, or move the file away to \
                 start empty (users must be added again)",
                path.display()
            ),
            Self::Foreign { path } => write!(
                f,
                "{} is a database of another program; it was left as it is. Choose another data directory with --data",
                path.display()
            ),
            Self::Newer { path, found, known } => write!(
                f,
                "the store {} was written by a later version (schema {found}, this program knows {known}); it was left \
                 as it is. Use that version",
                path.display()
            ),
            Self::Full { path } => write!(f, "no room to write {}; free some space on that disk", path.display()),
            Self::Denied { path, detail } => write!(
                f,
                "cannot write {} ({detail}); check owner and permissions of the file and its folder",
                path.display()
            ),
            Self::Busy { path } => {
                write!(f, "another process holds {}; stop it, or choose another data directory", path.display())
            }
            Self::Overloaded => f.write_str("more registrations wait for the disk than the journal may hold"),
            Self::Stopped => f.write_str("the journal has stopped"),
            Self::Failed { path, detail } => write!(f, "the store {} failed: {detail}", path.display()),
        }
    }
}

impl std::error::Error for StoreError {}
