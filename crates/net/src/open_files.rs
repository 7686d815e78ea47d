//! How many connections the system lets a process have.

use std::io;

/// Raises this process's limit of open files, sockets included, as far as it may, and gives it: many systems start
/// programs with 1,024, where 10,000 phones need 10,000. For the binary to call once, before [`crate::start`].
#[cfg(unix)]
pub fn raise_open_files() -> io::Result<u64> {
    use nix::sys::resource::{Resource, getrlimit, setrlimit};
    let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE)?;
    if soft < hard {
        setrlimit(Resource::RLIMIT_NOFILE, hard, hard)?;
    }
    Ok(hard)
}

/// Does nothing on systems without such a limit.
#[cfg(not(unix))]
pub fn raise_open_files() -> io::Result<u64> {
    Ok(u64::MAX)
}

#[cfg(all(test, unix))]
mod tests {
    #[test]
    fn raises_the_limit_and_keeps_it() {
        let limit = super::raise_open_files().unwrap();
        assert_eq!(super::raise_open_files().unwrap(), limit);
    }
}
