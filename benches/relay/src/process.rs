//! What a process has cost so far: CPU time and memory.

use std::fs;
use std::io;

/// Run time of all threads of the process in microseconds, from `/proc/PID/task/*/schedstat`.
pub fn cpu_us(pid: u32) -> io::Result<f64> {
    let mut nanoseconds = 0;
    for task in fs::read_dir(format!("/proc/{pid}/task"))? {
        // A thread may have ended since.
        let text = fs::read_to_string(task?.path().join("schedstat")).unwrap_or_default();
        nanoseconds += text.split(' ').next().and_then(|word| word.parse::<u64>().ok()).unwrap_or(0);
    }
    Ok(nanoseconds as f64 / 1000.0)
}

/// Memory of the process in bytes, shared pages by their share: `Pss` of `/proc/PID/smaps_rollup`.
///
/// Sockets and their buffers are the kernel's and not in it.
pub fn memory(pid: u32) -> io::Result<f64> {
    let text = fs::read_to_string(format!("/proc/{pid}/smaps_rollup"))?;
    let line = text.lines().find_map(|line| line.strip_prefix("Pss:"));
    let kilobytes = line.and_then(|line| line.trim().trim_end_matches(" kB").parse::<f64>().ok());
    kilobytes.map(|kilobytes| kilobytes * 1024.0).ok_or_else(|| io::ErrorKind::InvalidData.into())
}
