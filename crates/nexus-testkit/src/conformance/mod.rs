//! The conformance suite: what the documentation of [`Backend`] promises, as named cases in one file
//! a verb. A case that needs a capability runs where it is declared; where it is absent, `refused`
//! has the case that looks for `Unsupported` and for no side effect.

mod closed;
mod copy;
mod delete;
mod digest;
mod dirs;
mod dropped;
mod list;
mod paths;
mod read;
mod refused;
mod rename;
mod subject;
mod upload;
mod write;

use std::fmt;
use std::future::Future;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use nexus_core::{Backend, Capabilities};

use self::subject::Subject;

/// A case that takes longer than this hangs.
const DEADLINE: Duration = Duration::from_secs(180);

/// One promise of the contract.
struct Case {
    /// Module and function: `write::create_wins_once`.
    name: &'static str,
    /// Whether it applies to a store with these capabilities.
    applies: fn(&Capabilities) -> bool,
    run: for<'a> fn(&'a Subject) -> BoxFuture<'a, ()>,
}

/// The cases of one file: `function: |capabilities| condition,` and so on.
macro_rules! cases {
    ($($case:ident: $applies:expr,)+) => {
        pub(super) const CASES: &[super::Case] = &[$(super::Case {
            name: concat!(module_path!(), "::", stringify!($case)),
            applies: $applies,
            run: |store| Box::pin($case(store)),
        },)+];
    };
}
use cases;

fn table() -> impl Iterator<Item = &'static Case> {
    let files = [
        write::CASES,
        upload::CASES,
        read::CASES,
        list::CASES,
        delete::CASES,
        rename::CASES,
        copy::CASES,
        dirs::CASES,
        digest::CASES,
        paths::CASES,
        refused::CASES,
        dropped::CASES,
        closed::CASES,
    ];
    files.into_iter().flatten()
}

impl Case {
    fn short_name(&self) -> &'static str {
        let prefix = concat!(module_path!(), "::");
        self.name.strip_prefix(prefix).unwrap_or(self.name)
    }
}

/// What the suite did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// The cases that ran, all with success.
    pub passed: Vec<&'static str>,
    /// The cases that do not apply to these capabilities.
    pub not_applicable: Vec<&'static str>,
    /// The cases that were known to fail, and did.
    pub known: Vec<&'static str>,
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for name in &self.passed {
            writeln!(f, "passed          {name}")?;
        }
        for name in &self.not_applicable {
            writeln!(f, "does not apply  {name}")?;
        }
        write!(f, "{} passed, {} do not apply", self.passed.len(), self.not_applicable.len())
    }
}

/// Runs every case that applies to `expected`, each on a store of its own that `factory` makes: an
/// empty one, in which the suite may do what it likes.
///
/// # Panics
/// When what the store declares is not `expected`, or a case fails. Every case is run all the same;
/// the message names the ones that failed, and why.
pub async fn run<F, Made>(factory: F, expected: &Capabilities) -> Report
where
    F: Fn() -> Made + Sync,
    Made: Future<Output = Arc<dyn Backend>> + Send,
{
    run_matching(factory, expected, "").await
}

/// Like [`run`], but the cases of `known` must fail: what one server, and no fault of the backend,
/// does otherwise. One that passes is a failure, so that the list stays true.
///
/// # Panics
/// As [`run`], and when a case of `known` passes or does not exist.
pub async fn run_except<F, Made>(
    factory: F,
    expected: &Capabilities,
    known: &[&'static str],
) -> Report
where
    F: Fn() -> Made + Sync,
    Made: Future<Output = Arc<dyn Backend>> + Send,
{
    run_cases(factory, expected, "", known).await
}

/// Like [`run`], but only the cases whose name contains `filter`.
///
/// # Panics
/// As [`run`], and when no case has such a name.
pub async fn run_matching<F, Made>(factory: F, expected: &Capabilities, filter: &str) -> Report
where
    F: Fn() -> Made + Sync,
    Made: Future<Output = Arc<dyn Backend>> + Send,
{
    run_cases(factory, expected, filter, &[]).await
}

async fn run_cases<F, Made>(
    factory: F,
    expected: &Capabilities,
    filter: &str,
    known: &[&'static str],
) -> Report
where
    F: Fn() -> Made + Sync,
    Made: Future<Output = Arc<dyn Backend>> + Send,
{
    for known in known {
        assert!(table().any(|case| case.short_name() == *known), "no case is called {known:?}");
    }
    let declared = factory().await;
    assert_eq!(&declared.info().capabilities, expected, "the store declares other capabilities");
    let (mut report, mut failed) = (Report::default(), Vec::new());
    for case in table().filter(|case| case.short_name().contains(filter)) {
        let name = case.short_name();
        if !(case.applies)(expected) {
            report.not_applicable.push(name);
            continue;
        }
        let subject = Subject::new(factory().await);
        let guarded = AssertUnwindSafe((case.run)(&subject)).catch_unwind();
        match tokio::time::timeout(DEADLINE, guarded).await {
            Ok(Ok(())) if known.contains(&name) => {
                failed.push(format!("{name}: passes, and was known to fail"));
            }
            Ok(Err(_)) if known.contains(&name) => report.known.push(name),
            Ok(Ok(())) => report.passed.push(name),
            Ok(Err(panic)) => failed.push(format!("{name}: {}", message(&*panic))),
            Err(_) => failed.push(format!("{name}: not done after {DEADLINE:?}")),
        }
    }
    assert!(!report.passed.is_empty() || !failed.is_empty(), "no case is called {filter:?}");
    assert!(
        failed.is_empty(),
        "{} of {} conformance cases failed:\n{}",
        failed.len(),
        failed.len() + report.passed.len(),
        failed.join("\n")
    );
    report
}

/// What a panic said.
fn message(panic: &(dyn std::any::Any + Send)) -> &str {
    match (panic.downcast_ref::<String>(), panic.downcast_ref::<&str>()) {
        (Some(text), _) => text,
        (None, Some(text)) => text,
        (None, None) => "it panicked without a message",
    }
}
