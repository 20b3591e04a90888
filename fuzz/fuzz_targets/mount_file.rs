//! Mount files: what is taken could have been written by the program, is written again as a text that
//! is taken as the same, and holds no secrets and no mount points in each other's way.

#![no_main]

use libfuzzer_sys::fuzz_target;
use nexus_cli::mount_file;
use nexus_core::{MountUri, VfsPath};

fuzz_target!(|text: &[u8]| {
    let file = match mount_file::parse(text) {
        Ok(file) => file,
        Err(error) => {
            assert!(!error.to_string().is_empty());
            return;
        }
    };
    for (index, mount) in file.mounts.iter().enumerate() {
        let uri = MountUri::parse(&mount.uri).expect("a saved URI parses");
        assert!(!uri.has_secrets());
        assert_eq!(VfsPath::parse(mount.at.as_str()).ok().as_ref(), Some(&mount.at));
        assert!(!mount.at.is_root());
        for other in &file.mounts[index + 1..] {
            assert!(!other.at.starts_with(&mount.at) && !mount.at.starts_with(&other.at));
        }
    }
    let written = file.to_text();
    let again = mount_file::parse(written.as_bytes()).expect("what is written is taken");
    assert_eq!(again, file);
    assert_eq!(again.to_text(), written);
});
