//! How two places of the namespace lie to each other. A store can be mounted twice, and a folder
//! inside another: two paths then lead to one file, and a move that took them for two would lose it.

use std::path::Path;

use super::guard::Visit;

/// How a target lies to a source.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Relation {
    /// Neither holds the other, as far as the stores tell.
    Apart,
    /// Both are one place.
    Same,
    /// The target is below the source.
    Inside,
    /// The target is above the source.
    Above,
}

impl Relation {
    /// Told by the store where both are in one, else by the folders of this machine that hold them.
    pub(super) fn of(source: &Visit, target: &Visit) -> Self {
        if source.ticket.is_same_store(&target.ticket) {
            return Self::of_paths(source.inner.as_str(), target.inner.as_str());
        }
        match (root(source), root(target)) {
            (Some(from), Some(to)) => {
                Self::of_paths(from.join(source.inner.key()), to.join(target.inner.key()))
            }
            _ => Self::Apart,
        }
    }

    fn of_paths(from: impl AsRef<Path>, to: impl AsRef<Path>) -> Self {
        let (from, to) = (from.as_ref(), to.as_ref());
        match (to.starts_with(from), from.starts_with(to)) {
            (true, true) => Self::Same,
            (true, false) => Self::Inside,
            (false, true) => Self::Above,
            (false, false) => Self::Apart,
        }
    }
}

fn root(visit: &Visit) -> Option<&Path> {
    visit.ticket.backend().info().capabilities.local_root.as_deref()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_relate_by_whole_segments() {
        for (from, to, relation) in [
            ("/a/b", "/a/b", Relation::Same),
            ("/", "/", Relation::Same),
            ("/a", "/a/b", Relation::Inside),
            ("/", "/a", Relation::Inside),
            ("/a/b", "/a", Relation::Above),
            ("/a", "/ab", Relation::Apart),
            ("/a/b", "/a/c", Relation::Apart),
        ] {
            assert_eq!(Relation::of_paths(from, to), relation, "{from} {to}");
        }
    }
}
