//! The data directory: the store, the node's own authority, the control socket, and the lock that says who works in it.

use std::fmt;
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, flock};

/// Where a node keeps its state.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct DataDir(PathBuf);

impl DataDir {
    /// Names a directory without touching it.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self(path.into())
    }

    /// Makes the directory, for its owner alone, if it is not there. `true` if it was made.
    ///
    /// # Errors
    /// It cannot be made, or the path is no directory.
    pub fn create(&self) -> Result<bool, DataDirError> {
        if self.0.is_dir() {
            return Ok(false);
        }
        let made = DirBuilder::new().recursive(true).mode(0o700).create(&self.0);
        made.map(|()| true).map_err(|error| self.error(error))
    }

    /// The directory.
    pub fn path(&self) -> &Path {
        &self.0
    }

    /// Where the configuration is looked for unless another file is named.
    pub fn config_file(&self) -> PathBuf {
        self.0.join("farspeak.toml")
    }

    /// Where a running node takes commands from.
    pub fn control_socket(&self) -> PathBuf {
        self.0.join("control.sock")
    }

    /// Where the node's own authority lives.
    pub fn authority(&self) -> PathBuf {
        self.0.join("ca")
    }

    /// Whether a process has worked in it before.
    pub fn is_known(&self) -> bool {
        self.lock_file().exists()
    }

    /// What a file of that name keeps, for its owner alone. The first time `make` says what, and it is on the disk when
    /// this returns.
    ///
    /// # Errors
    /// The file cannot be read or written, or is empty.
    pub fn keep(&self, name: &str, make: impl FnOnce() -> Vec<u8>) -> Result<Vec<u8>, DataDirError> {
        let path = self.0.join(name);
        match fs::read(&path) {
            // An editor may have left a newline.
            Ok(kept) if kept.trim_ascii().is_empty() => return Err(DataDirError::Empty { path }),
            Ok(kept) => return Ok(kept.trim_ascii().to_vec()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(DataDirError::Unusable { path, error }),
        }
        // Under another name until it is whole: a full disk leaves no half of it.
        let draft = self.0.join(format!("{name}.new"));
        let fresh = make();
        let write = || {
            let mut file = OpenOptions::new().create(true).truncate(true).write(true).mode(0o600).open(&draft)?;
            file.write_all(&fresh)?;
            file.sync_all()?;
            fs::rename(&draft, &path)?;
            File::open(&self.0)?.sync_all()
        };
        match write() {
            Ok(()) => Ok(fresh),
            Err(error) => {
                let _ = fs::remove_file(&draft); // it may not be there
                Err(DataDirError::Unusable { path, error })
            }
        }
    }

    fn lock_file(&self) -> PathBuf {
        self.0.join("lock")
    }

    /// Takes the directory for this process until the lock is dropped or the process ends.
    ///
    /// # Errors
    /// [`DataDirError::Held`] if another process has it; else the directory cannot be written.
    pub fn lock(&self) -> Result<Lock, DataDirError> {
        let open = OpenOptions::new().create(true).truncate(false).write(true).mode(0o600).open(self.lock_file());
        let file = open.map_err(|error| self.error(error))?;
        match flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => Ok(Lock { _file: file }),
            Err(rustix::io::Errno::WOULDBLOCK) => Err(DataDirError::Held { path: self.0.clone() }),
            Err(error) => Err(self.error(error.into())),
        }
    }

    /// Who besides the owner may look into the directory: the permission bits of group and others, 0 if nobody.
    ///
    /// # Errors
    /// The directory cannot be looked at.
    pub fn exposure(&self) -> io::Result<u32> {
        Ok(fs::metadata(&self.0)?.mode() & 0o077)
    }

    fn error(&self, error: io::Error) -> DataDirError {
        DataDirError::Unusable { path: self.0.clone(), error }
    }
}

/// The right to work in a data directory.
#[derive(Debug)]
pub struct Lock {
    _file: File,
}

/// Why a data directory cannot be used.
#[derive(Debug)]
#[non_exhaustive]
pub enum DataDirError {
    /// Another process works in it.
    Held {
        /// Which directory.
        path: PathBuf,
    },
    /// It cannot be made or written, or a file in it cannot.
    Unusable {
        /// Which directory or file.
        path: PathBuf,
        /// The system's reason.
        error: io::Error,
    },
    /// A file that should hold a secret holds nothing.
    Empty {
        /// Which file.
        path: PathBuf,
    },
}

impl fmt::Display for DataDirError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Held { path } => write!(
                f,
                "another farspeak works in {}; stop it first, or choose another directory with --data",
                path.display()
            ),
            Self::Unusable { path, error } if error.kind() == io::ErrorKind::StorageFull => {
                write!(f, "no room to write {}; free some space on that disk", path.display())
            }
            Self::Unusable { path, error } => write!(
                f,
                "cannot write the data directory {} ({error}); check its owner and permissions, or choose another with \
                 --data",
                path.display()
            ),
            Self::Empty { path } => write!(
                f,
                "{} is empty; remove it, and the next start makes a new one (what was made with the old one ends)",
                path.display()
            ),
        }
    }
}

impl std::error::Error for DataDirError {}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scratch::Scratch;

    #[test]
    fn is_made_for_its_owner_alone() {
        let scratch = Scratch::new();
        let data = DataDir::new(scratch.path().join("a/b"));
        assert!(data.create().unwrap());
        assert!(!data.create().unwrap());
        assert_eq!(data.exposure().unwrap(), 0);
    }

    #[test]
    fn is_locked_until_the_lock_is_dropped() {
        let scratch = Scratch::new();
        let data = DataDir::new(scratch.path());
        let lock = data.lock().unwrap();
        assert!(matches!(data.lock(), Err(DataDirError::Held { .. })));
        drop(lock);
        data.lock().unwrap();
    }

    #[test]
    fn keeps_what_was_made_the_first_time_for_its_owner_alone() {
        let scratch = Scratch::new();
        let data = DataDir::new(scratch.path());
        assert_eq!(data.keep("word", || b"north".to_vec()).unwrap(), b"north");
        assert_eq!(data.keep("word", || b"south".to_vec()).unwrap(), b"north");
        let file = scratch.path().join("word");
        assert_eq!(fs::metadata(&file).unwrap().mode() & 0o777, 0o600);
        fs::write(&file, "").unwrap();
        assert!(matches!(data.keep("word", Vec::new), Err(DataDirError::Empty { .. })), "no secret is no secret");
    }

    #[test]
    fn says_so_when_it_cannot_be_made() {
        let scratch = Scratch::new();
        fs::write(scratch.path().join("file"), "").unwrap();
        let error = DataDir::new(scratch.path().join("file/data")).create().unwrap_err();
        assert!(error.to_string().contains("--data"), "{error}");
    }
}
