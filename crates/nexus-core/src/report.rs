//! What a discovery asked, in order, and what each source answered: the one thing that errors,
//! mounts and `doctor` show of credentials. It never holds a secret.

use std::borrow::Cow;
use std::fmt;

use serde::Serialize;

/// The answers to every question of a discovery: which credential, which region, which endpoint.
///
/// `Display` is one line a source, for people; `Serialize` is for programs.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct Report {
    findings: Vec<Finding>,
}

/// One question, and the sources that were asked for an answer, in order.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// What was looked for, in lower case: `credentials`.
    pub what: &'static str,
    /// Every source, in the order in which they are asked.
    pub tried: Vec<Attempt>,
}

/// One source, and what it answered.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Attempt {
    /// The source, in the words of the manual: `environment`.
    pub source: &'static str,
    /// What came of it.
    pub answer: Answer,
    /// What was found, or why nothing was, in a clause without secrets.
    pub detail: Cow<'static, str>,
}

/// What came of asking a source.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Answer {
    /// It answered, and the answer is used.
    Used,
    /// It has nothing; the next one was asked.
    Absent,
    /// It has something that does not work; the discovery stopped here.
    Refused,
    /// It was not asked, because one before it answered.
    Skipped,
}

impl Answer {
    /// The answer in one lower-case word.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Used => "used",
            Self::Absent => "absent",
            Self::Refused => "refused",
            Self::Skipped => "skipped",
        }
    }
}

impl Report {
    /// A report of these findings.
    #[must_use]
    pub fn new(findings: Vec<Finding>) -> Self {
        Self { findings }
    }

    /// The findings, in the order of asking.
    #[must_use]
    pub fn findings(&self) -> &[Finding] {
        &self.findings
    }

    /// The source that answered `what`, where one did.
    #[must_use]
    pub fn used(&self, what: &str) -> Option<&Attempt> {
        let finding = self.findings.iter().find(|finding| finding.what == what)?;
        finding.tried.iter().find(|attempt| attempt.answer == Answer::Used)
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let attempts = self.findings.iter().flat_map(|finding| &finding.tried);
        let width = attempts.map(|attempt| attempt.source.len()).max().unwrap_or_default();
        for (index, finding) in self.findings.iter().enumerate() {
            if index > 0 {
                writeln!(f)?;
            }
            write!(f, "{}", finding.what)?;
            for Attempt { source, answer, detail } in &finding.tried {
                write!(f, "\n  {source:<width$}  {}", answer.as_str())?;
                if !detail.is_empty() {
                    let indent = 2 + "skipped".len() - answer.as_str().len();
                    write!(f, "{:indent$}{detail}", "")?;
                }
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use expect_test::expect;

    use super::*;

    fn report() -> Report {
        let attempt = |source, answer, detail: &'static str| Attempt {
            source,
            answer,
            detail: detail.into(),
        };
        Report::new(vec![
            Finding {
                what: "credentials",
                tried: vec![
                    attempt("environment", Answer::Absent, "AWS_ACCESS_KEY_ID is not set"),
                    attempt("shared credentials file", Answer::Used, "profile `default`"),
                    attempt("web identity", Answer::Skipped, ""),
                ],
            },
            Finding {
                what: "region",
                tried: vec![attempt("environment", Answer::Refused, "not a region")],
            },
        ])
    }

    #[test]
    fn people_read_a_table() {
        let text = report().to_string();
        expect![[r#"
            credentials
              environment              absent   AWS_ACCESS_KEY_ID is not set
              shared credentials file  used     profile `default`
              web identity             skipped
            region
              environment              refused  not a region"#]]
        .assert_eq(&text);
    }

    #[test]
    fn programs_read_json() {
        let json = serde_json::to_value(report()).unwrap();
        assert_eq!(json[0]["what"], "credentials");
        assert_eq!(json[0]["tried"][1]["answer"], "used");
        assert_eq!(json[1]["tried"][0]["detail"], "not a region");
    }

    #[test]
    fn names_what_was_used() {
        assert_eq!(report().used("credentials").unwrap().source, "shared credentials file");
        assert_eq!(report().used("region"), None);
    }
}
