//! Bounds connections by the open files that the system allows the process.

use crate::api::middleware::limits::Limits;

/// Open files that are no connections: the database's, the log, handshakes.
const RESERVED_OPEN_FILES: usize = 512;

/// No more connections than the process may have open files: without any left it serves no caller.
pub(super) fn within_open_files(limits: Limits) -> Limits {
    // `Max open files  soft  hard  files`
    let system = std::fs::read_to_string("/proc/self/limits").unwrap_or_default();
    let line = system.lines().find_map(|line| line.strip_prefix("Max open files"));
    let files =
        line.and_then(|line| line.split_whitespace().next()).and_then(|soft| soft.parse::<usize>().ok());
    let max_connections =
        files.map_or(usize::MAX, |files| files.saturating_sub(RESERVED_OPEN_FILES).max(files / 2));
    if max_connections < limits.connections {
        tracing::warn!(
            connections = max_connections,
            "the system allows few open files, and so fewer connections than configured"
        );
    }
    Limits { connections: limits.connections.min(max_connections), ..limits }
}
