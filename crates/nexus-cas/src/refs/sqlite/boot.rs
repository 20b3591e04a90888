//! Since when blobs can be relied on. A power cut can take content that a mount with
//! `durability=process` wrote, or that a disk promised falsely, and leave its name and size. So what was
//! written before the system started, and not read back since, is looked at before it is relied on.

use rusqlite::Connection;

use super::meta;
use crate::record::now;

const KEY: &str = "boot";

/// The moment, in nanoseconds since 1970, from which on this system was not restarted: when a store was
/// first opened since then, or now where the system does not tell its restarts apart.
pub(super) fn since(connection: &Connection) -> i64 {
    let boot = boot();
    // One that is damaged counts for nothing.
    let stored = meta::get(connection, KEY).unwrap_or_default();
    let known = stored.as_deref().and_then(<[u8]>::split_first_chunk::<8>);
    if let (Some((since, of)), Some(boot)) = (known, &boot)
        && of == boot.as_bytes()
    {
        return i64::from_le_bytes(*since);
    }
    let now = now();
    if let Some(boot) = boot {
        let value = [&now.to_le_bytes(), boot.as_bytes()].concat();
        // What can not be recorded, on a full disk, costs the next opener a few looks.
        if let Err(error) = meta::put(connection, KEY, value) {
            tracing::debug!(%error, "the start of the system was not recorded");
        }
    }
    now
}

/// What names this start of the system: Linux makes a new one each time
/// (<https://docs.kernel.org/admin-guide/sysctl/kernel.html#random>).
fn boot() -> Option<String> {
    std::fs::read_to_string("/proc/sys/kernel/random/boot_id").ok()
}
