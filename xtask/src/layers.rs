//! The layers of the workspace: which crate may depend on which. A crate that no rule knows is a
//! failure, so that a new one must be given its place here.

use serde_json::Value;

use crate::Result;
use crate::shell::Shell;
use crate::steps::Outcome;

/// Who may depend on whom. A name that ends with `-` stands for every crate that begins with it.
struct Layer {
    name: &'static str,
    needs: &'static [&'static str],
    /// Beyond `needs`, in tests and benchmarks.
    tests_need: &'static [&'static str],
}

const LAYERS: &[Layer] = &[
    Layer { name: "nexus-core", needs: &[], tests_need: &[] },
    Layer { name: "nexus-testkit", needs: &["nexus-core"], tests_need: &["nexus-backend-mem"] },
    Layer { name: "nexus-creds", needs: &["nexus-core"], tests_need: &[] },
    Layer {
        name: "nexus-backend-",
        needs: &["nexus-core", "nexus-creds"],
        tests_need: &["nexus-testkit"],
    },
    Layer {
        name: "nexus-cas",
        needs: &["nexus-core"],
        tests_need: &["nexus-backend-local", "nexus-backend-mem", "nexus-testkit"],
    },
    Layer {
        name: "nexus-fs",
        needs: &["nexus-backend-", "nexus-cas", "nexus-core"],
        tests_need: &["nexus-testkit"],
    },
    Layer { name: "nexus-cli", needs: &["nexus-fs"], tests_need: &["nexus-testkit"] },
    Layer { name: "nexus-torture", needs: &["nexus-fs"], tests_need: &[] },
    Layer { name: "xtask", needs: &[], tests_need: &[] },
];

/// Checks every edge between crates of the workspace.
pub(crate) fn step(shell: &Shell) -> Result<Outcome> {
    let text =
        shell.output(&mut shell.cargo(&["metadata", "--no-deps", "--format-version", "1"]))?;
    let problems = problems(&serde_json::from_str(&text)?);
    for problem in &problems {
        shell.note(problem)?;
    }
    match problems.as_slice() {
        [] => Ok(Outcome::Done),
        [first, ..] => Err(first.clone().into()),
    }
}

fn problems(metadata: &Value) -> Vec<String> {
    let empty = Vec::new();
    let list = |value: &Value, key: &str| value[key].as_array().unwrap_or(&empty).clone();
    let mut problems = Vec::new();
    for package in list(metadata, "packages") {
        let name = package["name"].as_str().unwrap_or_default();
        let Some(layer) = LAYERS.iter().find(|layer| matches(layer.name, name)) else {
            problems.push(format!("{name} has no place in xtask/src/layers.rs"));
            continue;
        };
        for dependency in list(&package, "dependencies") {
            let to = dependency["name"].as_str().unwrap_or_default();
            // Only what has a path is of this workspace.
            if dependency["path"].is_null() {
                continue;
            }
            let in_tests = dependency["kind"].as_str() == Some("dev");
            let named = |names: &[&str]| names.iter().any(|rule| matches(rule, to));
            if !(named(layer.needs) || in_tests && named(layer.tests_need)) {
                problems.push(format!("{name} may not depend on {to}"));
            }
        }
    }
    problems
}

fn matches(rule: &str, name: &str) -> bool {
    if rule.ends_with('-') { name.starts_with(rule) } else { name == rule }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn edge(from: &str, to: &str, kind: Option<&str>) -> Vec<String> {
        problems(&json!({ "packages": [
            { "name": from, "dependencies": [{ "name": to, "kind": kind, "path": "/x" }] }
        ]}))
    }

    #[test]
    fn leaves_know_the_core_and_never_each_other() {
        assert!(edge("nexus-backend-mem", "nexus-core", None).is_empty());
        assert!(edge("nexus-backend-mem", "nexus-testkit", Some("dev")).is_empty());
        assert_eq!(edge("nexus-backend-mem", "nexus-testkit", None).len(), 1);
        assert_eq!(edge("nexus-backend-mem", "nexus-backend-local", None).len(), 1);
        assert_eq!(edge("nexus-core", "nexus-fs", Some("dev")).len(), 1);
        assert_eq!(edge("nexus-cli", "nexus-backend-local", None).len(), 1);
    }

    #[test]
    fn a_crate_without_a_place_is_a_problem() {
        assert!(edge("nexus-new", "nexus-core", None)[0].contains("no place"));
    }

    #[test]
    fn crates_of_others_are_not_its_business() {
        let metadata = json!({ "packages": [
            { "name": "nexus-core", "dependencies": [{ "name": "tokio", "kind": null }] }
        ]});
        assert!(problems(&metadata).is_empty());
    }
}
