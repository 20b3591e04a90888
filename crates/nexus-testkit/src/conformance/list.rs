//! `list`: each entry once, in memory that does not grow, in agreement with `stat`.

use std::collections::BTreeSet;

use futures_util::StreamExt;
use futures_util::stream;
use nexus_core::{Entry, ErrorKind, ListOptions, ListOrder, Operation, VfsPath, WriteOptions};

use super::cases;
use super::subject::{Subject, agree, done, name, refused};
use crate::support::path;

cases! {
    a_fresh_store_is_empty: |c| c.write,
    shows_direct_children_only: |c| c.write,
    tells_names_with_a_common_beginning_apart: |c| c.write,
    shows_an_empty_directory: super::dirs::real,
    nothing_is_not_found: |_| true,
    a_file_is_not_a_directory: |c| c.write,
    a_file_above_is_not_a_directory: super::dirs::real,
    takes_a_limit: |c| c.write,
    comes_in_the_order_of_bytes: |c| c.write && c.list_order == ListOrder::Bytewise,
    shows_whole_trees: |c| c.write && c.list_recursive,
    shows_whole_trees_in_the_order_of_bytes:
        |c| c.write && c.list_recursive && c.list_order == ListOrder::Bytewise,
    starts_after_each_entry: |c| c.write && c.list_start_after,
    starts_after_each_entry_of_a_tree: |c| c.write && c.list_start_after && c.list_recursive,
    agrees_with_stat: |c| c.write,
    names_only_shows_the_same_names: |c| c.write,
    shows_thousands_exactly_once: |c| c.write,
    goes_on_while_entries_are_deleted: |c| c.write,
    goes_on_while_entries_are_added: |c| c.write,
    can_be_dropped_at_any_time: |c| c.write,
}

/// Files whose names sort differently by segments, by bytes, and by letters.
const FILES: [&str; 12] = [
    "/a-b", "/a.txt", "/a/b", "/a/b-c", "/a/b.d/e", "/a/bc", "/a/c/d/e", "/a0", "/ab", "/B/x",
    "/b/x", "/é",
];

async fn fill(store: &Subject) {
    for file in FILES {
        store.put(file, file).await;
    }
}

fn sorted<T: Ord>(mut items: Vec<T>) -> Vec<T> {
    items.sort_unstable();
    items
}

fn recursive() -> ListOptions {
    ListOptions { recursive: true, ..ListOptions::default() }
}

/// Everything below `/` that `FILES` make, directories included, in the order of path bytes.
fn whole_tree() -> Vec<VfsPath> {
    let mut paths = BTreeSet::new();
    for file in FILES {
        let up = std::iter::successors(Some(path(file)), VfsPath::parent);
        paths.extend(up.filter(|path| !path.is_root()));
    }
    paths.into_iter().collect()
}

async fn a_fresh_store_is_empty(store: &Subject) {
    assert!(store.children("/").await.is_empty());
}

async fn shows_direct_children_only(store: &Subject) {
    fill(store).await;
    let root = ["/B/", "/a-b", "/a.txt", "/a/", "/a0", "/ab", "/b/", "/é"];
    assert_eq!(store.children("/").await, root);
    assert_eq!(store.children("/a").await, ["/a/b", "/a/b-c", "/a/b.d/", "/a/bc", "/a/c/"]);
    assert_eq!(store.children("/a/c").await, ["/a/c/d/"]);
    assert_eq!(store.children("/a/c/d").await, ["/a/c/d/e"]);
}

async fn tells_names_with_a_common_beginning_apart(store: &Subject) {
    for file in ["/d/one", "/d-1", "/d.1", "/d1/two", "/dd/three", "/d%2Fx"] {
        store.put(file, "x").await;
    }
    assert_eq!(store.children("/d").await, ["/d/one"]);
    assert_eq!(store.children("/dd").await, ["/dd/three"]);
    for prefix in ["/", "/d/on", "/d/o"] {
        if prefix != "/" {
            let listed = store.list(prefix, &ListOptions::default()).await;
            refused(listed, ErrorKind::NotFound, Operation::List, &[prefix]);
        }
    }
}

async fn shows_an_empty_directory(store: &Subject) {
    done(store.backend().create_dir(&path("/d/empty")).await);
    assert_eq!(store.children("/d").await, ["/d/empty/"]);
    assert!(store.children("/d/empty").await.is_empty());
}

async fn nothing_is_not_found(store: &Subject) {
    for at in ["/nothing", "/no/such/place"] {
        let listed = store.list(at, &ListOptions::default()).await;
        refused(listed, ErrorKind::NotFound, Operation::List, &[at]);
    }
    if store.capabilities().list_recursive {
        let listed = store.list("/nothing", &recursive()).await;
        refused(listed, ErrorKind::NotFound, Operation::List, &["/nothing"]);
    }
}

async fn a_file_is_not_a_directory(store: &Subject) {
    store.put("/f", "x").await;
    let listed = store.list("/f", &ListOptions::default()).await;
    refused(listed, ErrorKind::NotADirectory, Operation::List, &["/f"]);
    if store.capabilities().list_recursive {
        let listed = store.list("/f", &recursive()).await;
        refused(listed, ErrorKind::NotADirectory, Operation::List, &["/f"]);
    }
}

async fn a_file_above_is_not_a_directory(store: &Subject) {
    store.put("/f", "x").await;
    let listed = store.list("/f/x/y", &ListOptions::default()).await;
    refused(listed, ErrorKind::NotADirectory, Operation::List, &["/f/x/y"]);
}

async fn takes_a_limit(store: &Subject) {
    fill(store).await;
    let all = store.children("/a").await;
    for limit in [0, 1, 2, all.len() - 1, all.len(), all.len() + 1, usize::MAX] {
        let options = ListOptions { limit: Some(limit), ..ListOptions::default() };
        let names = store.names("/a", &options).await;
        assert_eq!(names.len(), limit.min(all.len()));
        assert!(names.iter().all(|name| all.contains(name)));
        if store.capabilities().list_recursive {
            let options = ListOptions { recursive: true, ..options };
            assert!(store.names("/a", &options).await.len() <= limit);
        }
    }
    let options = ListOptions { limit: Some(0), ..ListOptions::default() };
    let listed = store.list("/nothing", &options).await;
    refused(listed, ErrorKind::NotFound, Operation::List, &["/nothing"]);
}

/// The paths of a listing, in the order they came.
async fn paths(store: &Subject, at: &str, options: &ListOptions) -> Vec<VfsPath> {
    done(store.list(at, options).await).into_iter().map(|entry| entry.path).collect()
}

async fn comes_in_the_order_of_bytes(store: &Subject) {
    fill(store).await;
    for at in ["/", "/a"] {
        let came = paths(store, at, &ListOptions::default()).await;
        assert_eq!(came, sorted(came.clone()));
    }
}

async fn shows_whole_trees(store: &Subject) {
    fill(store).await;
    let came = done(store.list("/", &recursive()).await);
    let files: Vec<_> = came.iter().filter(|entry| entry.metadata.is_file()).map(name).collect();
    assert_eq!(sorted(files), sorted(FILES.map(str::to_owned).to_vec()));
    let below = done(store.list("/a", &recursive()).await);
    assert!(below.iter().all(|entry| entry.path.as_str().starts_with("/a/")));
    for (index, entry) in came.iter().enumerate() {
        let early = came[..index].iter().find(|early| early.path.starts_with(&entry.path));
        assert!(early.is_none(), "{} came before the directory it is in", early.unwrap().path);
    }
    if store.has_real_directories() {
        let came = came.into_iter().map(|entry| entry.path).collect();
        assert_eq!(sorted(came), whole_tree());
    }
}

async fn shows_whole_trees_in_the_order_of_bytes(store: &Subject) {
    fill(store).await;
    let came = paths(store, "/", &recursive()).await;
    assert_eq!(came, sorted(came.clone()));
}

/// Every entry of a listing, and names between them, as the place to start after.
async fn starts_after(store: &Subject, at: &str, recursive: bool) {
    fill(store).await;
    let all = paths(store, at, &ListOptions { recursive, ..ListOptions::default() }).await;
    let between = ["/a!", "/a/", "/a/b/zzz", "/a/b.", "/zzz", "/a/b.d/z"];
    let between = between.into_iter().filter_map(|text| VfsPath::parse(text).ok());
    for after in all.iter().cloned().chain(between).filter(|after| after.starts_with(&path(at))) {
        let start_after = Some(after.clone());
        for limit in [None, Some(2)] {
            let options = ListOptions {
                recursive,
                start_after: start_after.clone(),
                limit,
                ..ListOptions::default()
            };
            let rest = all.iter().filter(|path| **path > after).cloned();
            let rest: Vec<_> = rest.take(limit.unwrap_or(usize::MAX)).collect();
            assert_eq!(paths(store, at, &options).await, rest, "after {after}");
        }
    }
}

async fn starts_after_each_entry(store: &Subject) {
    starts_after(store, "/", false).await;
    starts_after(store, "/a", false).await;
}

async fn starts_after_each_entry_of_a_tree(store: &Subject) {
    starts_after(store, "/", true).await;
    starts_after(store, "/a", true).await;
}

async fn agrees_with_stat(store: &Subject) {
    fill(store).await;
    for entry in done(store.list("/a", &ListOptions::default()).await) {
        let stat = done(store.backend().stat(&entry.path).await);
        agree(&entry.metadata, &stat);
        if entry.metadata.is_file() {
            assert_eq!(entry.metadata.size, stat.size, "{}", entry.path);
        }
    }
}

async fn names_only_shows_the_same_names(store: &Subject) {
    fill(store).await;
    for recursive in [false, store.capabilities().list_recursive] {
        let full = ListOptions { recursive, ..ListOptions::default() };
        let bare = ListOptions { names_only: true, ..full.clone() };
        assert_eq!(
            sorted(store.names("/", &bare).await),
            sorted(store.names("/", &full).await),
            "recursive: {recursive}"
        );
    }
}

/// Makes `count` files in `/many` and answers their paths.
async fn fill_many(store: &Subject, count: usize) -> BTreeSet<VfsPath> {
    let paths: BTreeSet<_> = (0..count).map(|n| path(&format!("/many/{n:05}"))).collect();
    stream::iter(paths.clone())
        .map(|path| async move {
            let options = WriteOptions::default();
            done(store.backend().write(&path, "x".into(), &options).await);
        })
        .buffer_unordered(16)
        .collect::<Vec<()>>()
        .await;
    paths
}

/// Collects the rest of a listing; fails when a path comes twice.
async fn rest(listing: &mut nexus_core::Listing, seen: &mut BTreeSet<VfsPath>) {
    while let Some(entry) = listing.next().await {
        let Entry { path, .. } = done(entry);
        assert!(seen.insert(path.clone()), "{path} came twice");
    }
}

async fn shows_thousands_exactly_once(store: &Subject) {
    let written = fill_many(store, 2500).await;
    for (at, recursive) in [("/many", false), ("/", store.capabilities().list_recursive)] {
        let options = ListOptions { recursive, ..ListOptions::default() };
        let mut listing = done(store.backend().list(&path(at), &options).await);
        let mut seen = BTreeSet::new();
        rest(&mut listing, &mut seen).await;
        if at == "/many" || recursive {
            seen.remove(&path("/many"));
            assert!(seen == written, "{} of {} came", seen.len(), written.len());
        }
    }
}

async fn goes_on_while_entries_are_deleted(store: &Subject) {
    let written = fill_many(store, 900).await;
    let listing = store.backend().list(&path("/many"), &ListOptions::default()).await;
    let mut listing = done(listing);
    let mut seen = BTreeSet::new();
    for _ in 0..300 {
        seen.insert(done(listing.next().await.unwrap()).path);
    }
    let gone: BTreeSet<_> = written.iter().skip(1).step_by(2).cloned().collect();
    let targets: Vec<_> = gone.iter().cloned().map(Into::into).collect();
    for result in store.backend().delete(&targets).await {
        done(result);
    }
    rest(&mut listing, &mut seen).await;
    assert!(written.is_superset(&seen), "something came that was never there");
    let stayed: BTreeSet<_> = written.difference(&gone).cloned().collect();
    assert!(seen.is_superset(&stayed), "something that was there all the time did not come");
}

async fn goes_on_while_entries_are_added(store: &Subject) {
    let written = fill_many(store, 600).await;
    let listing = store.backend().list(&path("/many"), &ListOptions::default()).await;
    let mut listing = done(listing);
    let mut seen = BTreeSet::new();
    seen.insert(done(listing.next().await.unwrap()).path);
    for n in 0..100 {
        store.put(&format!("/many/{n:05}-new"), "x").await;
    }
    rest(&mut listing, &mut seen).await;
    assert!(seen.is_superset(&written), "something that was there all the time did not come");
}

async fn can_be_dropped_at_any_time(store: &Subject) {
    fill(store).await;
    for taken in 0..4 {
        let listing = store.backend().list(&path("/a"), &ListOptions::default()).await;
        let mut listing = done(listing);
        for _ in 0..taken {
            done(listing.next().await.unwrap());
        }
    }
    assert_eq!(store.children("/a").await.len(), 5);
}
