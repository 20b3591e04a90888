//! Small disks for tests: file systems that are mounted for one test, and can be full.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Set for a test that runs as root of a namespace of its own.
const IN_NAMESPACE: &str = "NEXUS_TEST_IN_NAMESPACE";

/// A small file system that is mounted for one test, in a folder of another one.
pub struct Disk {
    _alone: MutexGuard<'static, ()>,
    folder: tempfile::TempDir,
    path: PathBuf,
}

impl Disk {
    /// A file system in memory. Who may not mount one runs `test` again as root of a namespace of its own,
    /// where it must pass; `None` says that it did.
    ///
    /// # Panics
    /// When nothing can be mounted, or the test fails there.
    #[must_use]
    pub fn tmpfs(options: &str, test: &str) -> Option<Self> {
        let disk = Self::unmounted();
        let mut mount = Command::new("mount");
        let mount = mount.args(["-t", "tmpfs", "-o", options, "tmpfs"]).arg(&disk.path);
        let mount = mount.output().unwrap();
        if mount.status.success() {
            return Some(disk);
        }
        assert!(
            std::env::var_os(IN_NAMESPACE).is_none(),
            "no file system can be mounted, not even in a user namespace: {}",
            String::from_utf8_lossy(&mount.stderr)
        );
        drop(disk);
        let again = Command::new("unshare")
            .args(["--user", "--map-root-user", "--mount"])
            .arg(std::env::current_exe().unwrap())
            .args(["--exact", test, "--nocapture"])
            .env(IN_NAMESPACE, "1")
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&again.stdout);
        assert!(
            again.status.success() && said.contains("1 passed"),
            "{said}{}",
            String::from_utf8_lossy(&again.stderr)
        );
        None
    }

    /// An ext4 file system of so many MiB in a file, where the user may mount one: that is root's.
    #[must_use]
    pub fn ext4(mib: u64) -> Option<Self> {
        let disk = Self::unmounted();
        let image = disk.folder.path().join("image");
        std::fs::File::create(&image).unwrap().set_len(mib << 20).unwrap();
        let made =
            Command::new("mkfs.ext4").args(["-q", "-m", "0", "-N", "4096"]).arg(&image).status();
        let mounted = made.is_ok_and(|made| made.success()) && {
            let mut mount = Command::new("mount");
            mount.args(["-o", "loop"]).arg(&image).arg(&disk.path);
            mount.status().is_ok_and(|mounted| mounted.success())
        };
        mounted.then_some(disk)
    }

    fn unmounted() -> Self {
        // Starting a program holds open for a moment what other tests have just closed, and so the
        // space of their files.
        static ALONE: Mutex<()> = Mutex::new(());
        let alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("disk");
        std::fs::create_dir(&path).unwrap();
        Self { _alone: alone, folder, path }
    }

    /// Its root.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The folder, on another file system, that this one is the directory `disk` of.
    #[must_use]
    pub fn above(&self) -> &Path {
        self.folder.path()
    }

    /// Mounts it again with these options.
    ///
    /// # Panics
    /// When it can not.
    pub fn remount(&self, options: &str) {
        let status = Command::new("mount")
            .args(["-o", &format!("remount,bind,{options}")])
            .arg(&self.path)
            .status();
        assert!(status.unwrap().success());
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(&self.path).stderr(Stdio::null()).status();
    }
}
