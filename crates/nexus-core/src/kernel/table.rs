//! The mount table: an immutable map from mount points to mounts. Changes make a new table.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use super::mount::Mount;
use crate::{Error, ErrorKind, Operation, Result, VfsPath};

/// Names at the root that are the kernel's own.
const RESERVED: [&str; 2] = ["__sys__", "__pipes__"];

/// Invariant: no mount point is a prefix of another, so at most one mount holds a path.
#[derive(Clone, Default)]
pub(super) struct MountTable {
    mounts: HashMap<VfsPath, Arc<Mount>>,
    /// The number of segments of the deepest mount point.
    depth: usize,
}

impl MountTable {
    /// The mount that holds `path`: the longest mount point that is a prefix of it by segments.
    pub(super) fn find(&self, path: &VfsPath) -> Option<&Arc<Mount>> {
        let text = path.as_str();
        let ends = text.match_indices('/').map(|(at, _)| at).skip(1).chain([text.len()]);
        ends.take(self.depth).find_map(|end| self.mounts.get(&text[..end]))
    }

    /// The names directly below `path` that lead to mount points, sorted; `None` when none do.
    pub(super) fn children(&self, path: &VfsPath) -> Option<BTreeSet<String>> {
        let below = |at: &VfsPath| {
            let rest = at.strip_prefix(path)?;
            rest.segments().next().map(str::to_owned)
        };
        let names: BTreeSet<_> = self.mounts.keys().filter_map(below).collect();
        (!names.is_empty()).then_some(names)
    }

    /// A table with `mount` added.
    ///
    /// # Errors
    /// `MountConflict` when its point is taken, above or below another.
    pub(super) fn with(&self, mount: Arc<Mount>) -> Result<Self> {
        self.check(mount.at())?;
        let mut table = self.clone();
        table.depth = table.depth.max(mount.at().segments().count());
        table.mounts.insert(mount.at().clone(), mount);
        Ok(table)
    }

    /// A table without the mount at `at`, and that mount.
    pub(super) fn without(&self, at: &VfsPath) -> Option<(Self, Arc<Mount>)> {
        let mut table = self.clone();
        let mount = table.mounts.remove(at)?;
        table.depth = table.mounts.keys().map(|at| at.segments().count()).max().unwrap_or(0);
        Some((table, mount))
    }

    fn check(&self, at: &VfsPath) -> Result<()> {
        let clash = self.mounts.keys().find(|other| at.starts_with(other) || other.starts_with(at));
        match clash {
            None => Ok(()),
            Some(other) if other == at => {
                Err(conflict(at, "something is mounted here already".to_owned())
                    .with_hint("unmount it first, or mount at another path with `at` (`--at`)"))
            }
            Some(other) => Err(conflict(at, format!("mounts do not nest, and {other} is one"))
                .with_hint("mount at another path with `at` (`--at`)")),
        }
    }
}

/// Refuses mount points that can never be one.
pub(super) fn check_mount_point(at: &VfsPath) -> Result<()> {
    match at.segments().next() {
        None => Err(conflict(at, "the root of the namespace is no mount point".to_owned())
            .with_hint("mount below it: `/name`")),
        Some(name) if RESERVED.contains(&name) => {
            Err(conflict(at, format!("/{name} is reserved for the kernel")))
        }
        Some(_) => Ok(()),
    }
}

fn conflict(at: &VfsPath, message: String) -> Error {
    Error::new(ErrorKind::MountConflict, message)
        .with_operation(Operation::Mount)
        .with_path(at.as_str())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn path(text: &str) -> VfsPath {
        VfsPath::parse(text).unwrap()
    }

    fn table(points: &[&str]) -> MountTable {
        points.iter().fold(MountTable::default(), |table, at| {
            table.with(Arc::new(Mount::new(path(at), String::new()))).unwrap()
        })
    }

    #[test]
    fn finds_by_whole_segments() {
        let table = table(&["/a", "/a-b/c", "/ab", "/d/e/f"]);
        let at = |text: &str| table.find(&path(text)).map(|m| m.at().as_str().to_owned());
        assert_eq!(at("/a").as_deref(), Some("/a"));
        assert_eq!(at("/a/x/y/z").as_deref(), Some("/a"));
        assert_eq!(at("/a-b/c/x").as_deref(), Some("/a-b/c"));
        assert_eq!(at("/ab/c").as_deref(), Some("/ab"));
        assert_eq!(at("/d/e/f").as_deref(), Some("/d/e/f"));
        for none in ["/", "/a-b", "/abc", "/d/e", "/d/e/ff", "/x"] {
            assert_eq!(at(none), None, "{none}");
        }
    }

    #[test]
    fn refuses_collisions_and_nesting_either_way() {
        let table = table(&["/a/b"]);
        for at in ["/a/b", "/a/b/c", "/a"] {
            let error = table.with(Arc::new(Mount::new(path(at), String::new()))).err().unwrap();
            assert_eq!(error.kind(), ErrorKind::MountConflict, "{at}");
        }
        assert!(table.with(Arc::new(Mount::new(path("/a/bc"), String::new()))).is_ok());
    }

    #[test]
    fn reserved_names_are_refused_at_the_root_only() {
        for at in ["/", "/__sys__", "/__sys__/x", "/__pipes__"] {
            assert_eq!(check_mount_point(&path(at)).unwrap_err().kind(), ErrorKind::MountConflict);
        }
        assert!(check_mount_point(&path("/a/__sys__")).is_ok());
    }

    #[test]
    fn virtual_directories_show_the_next_segment_once() {
        let table = table(&["/s3/a", "/s3/b", "/mem"]);
        let names = |text: &str| {
            table.children(&path(text)).map(|n| n.into_iter().collect::<Vec<_>>().join(","))
        };
        assert_eq!(names("/").as_deref(), Some("mem,s3"));
        assert_eq!(names("/s3").as_deref(), Some("a,b"));
        assert_eq!(names("/s"), None);
        assert_eq!(names("/mem"), None);
    }

    #[test]
    fn removal_leaves_the_old_table_as_it_was() {
        let old = table(&["/a", "/b/c"]);
        let (new, gone) = old.without(&path("/b/c")).unwrap();
        assert_eq!(gone.at(), &path("/b/c"));
        assert!(new.find(&path("/b/c")).is_none() && old.find(&path("/b/c")).is_some());
        assert!(new.find(&path("/a")).is_some());
        assert!(new.without(&path("/b/c")).is_none());
    }
}
