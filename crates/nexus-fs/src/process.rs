//! What the process was started with: the only place of the library that reads it.

use std::path::PathBuf;

use nexus_core::Surroundings;

/// The variables and the home directory of this process, as they are now.
pub(crate) fn surroundings() -> Surroundings {
    let home = std::env::var_os("HOME").filter(|home| !home.is_empty()).map(PathBuf::from);
    Surroundings::new(std::env::vars_os(), home)
}
