//! The data directory: the store, the node's own authority, the control socket, and the lock that says who works in it.

use std::fmt;
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io;
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

    /// Takes the directory for this process until the lock is dropped or the process ends.
    ///
    /// # Errors
    /// [`DataDirError::Held`] if another process has it; else the directory cannot be written.
    pub fn lock(&self) -> Result<Lock, DataDirError> {
        let path = self.0.join("lock");
        let open = OpenOptions::new().create(true).truncate(false).write(true).mode(0o600).open(&path);
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
    /// It cannot be made or written.
    Unusable {
        /// Which directory.
        path: PathBuf,
        /// The system's reason.
        error: io::Error,
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
            Self::Unusable { path, error } => write!(
                f,
                "cannot write the data directory {} ({error}); check its owner and permissions, or choose another with \
                 --data",
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
    fn says_so_when_it_cannot_be_made() {
        let scratch = Scratch::new();
        fs::write(scratch.path().join("file"), "").unwrap();
        let error = DataDir::new(scratch.path().join("file/data")).create().unwrap_err();
        assert!(error.to_string().contains("--data"), "{error}");
    }
}
