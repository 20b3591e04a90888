//! Lines of the table, and how numbers are shown.

use std::fmt;
use std::time::Duration;

/// What a number is.
#[derive(Clone, Copy)]
pub(crate) enum Unit {
    /// Operations a second; more is better.
    PerSecond,
    /// Bytes a second; more is better.
    BytesPerSecond,
    /// Seconds; less is better.
    Seconds,
    /// Percent; less is better.
    Percent,
    /// Bytes; less is better.
    Bytes,
}

impl Unit {
    fn show(self, value: f64) -> String {
        match self {
            Self::PerSecond => format!("{value:.0} /s"),
            Self::BytesPerSecond => format!("{:.2} GB/s", value / 1e9),
            Self::Seconds => time(Duration::from_secs_f64(value)),
            Self::Percent => format!("{value:.2} %"),
            Self::Bytes => format!("{value:.0} B"),
        }
    }

    fn more_is_better(self) -> bool {
        matches!(self, Self::PerSecond | Self::BytesPerSecond)
    }
}

/// What a line has to reach.
#[derive(Clone, Copy)]
pub(crate) enum Target {
    /// A value of its own.
    Value(f64),
    /// So many times as fast as plain files.
    Ratio(f64),
}

/// One line of the table.
pub(crate) struct Line {
    pub(crate) name: String,
    pub(crate) unit: Unit,
    pub(crate) cas: f64,
    pub(crate) plain: Option<f64>,
    pub(crate) disk: Option<f64>,
    pub(crate) target: Option<Target>,
}

impl Line {
    /// A line with a number for content by digest alone.
    pub(crate) fn alone(name: impl Into<String>, unit: Unit, cas: f64) -> Self {
        Self { name: name.into(), unit, cas, plain: None, disk: None, target: None }
    }

    /// The line with a target.
    pub(crate) fn reaching(self, target: Target) -> Self {
        Self { target: Some(target), ..self }
    }

    fn ratio(&self) -> Option<f64> {
        let plain = self.plain?;
        Some(if self.unit.more_is_better() { self.cas / plain } else { plain / self.cas })
    }

    pub(crate) fn is_met(&self) -> bool {
        match self.target {
            None => true,
            Some(Target::Value(value)) if self.unit.more_is_better() => self.cas >= value,
            Some(Target::Value(value)) => self.cas <= value,
            Some(Target::Ratio(wanted)) => self.ratio().is_some_and(|ratio| ratio >= wanted),
        }
    }
}

pub(crate) fn heading() -> String {
    format!(
        "{:<42}{:>13}{:>13}{:>13}{:>11}{:>15}",
        "", "cas", "plain", "disk", "cas/plain", "target"
    )
}

impl fmt::Display for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let show = |value: Option<f64>| value.map_or("-".to_owned(), |v| self.unit.show(v));
        let ratio = self.ratio().map_or("-".to_owned(), |ratio| format!("{ratio:.2}"));
        let target = match self.target {
            None => String::new(),
            Some(Target::Value(value)) => self.unit.show(value),
            Some(Target::Ratio(ratio)) => format!("{ratio:.2} of plain"),
        };
        let missed = if self.is_met() { "" } else { "  missed" };
        let (cas, plain, disk) = (show(Some(self.cas)), show(self.plain), show(self.disk));
        write!(f, "{:<42}{cas:>13}{plain:>13}{disk:>13}{ratio:>11}{target:>15}{missed}", self.name)
    }
}

/// A time as people read it.
pub(crate) fn time(time: Duration) -> String {
    match time.as_nanos() {
        0..10_000 => format!("{:.2} us", time.as_secs_f64() * 1e6),
        10_000..10_000_000 => format!("{:.0} us", time.as_secs_f64() * 1e6),
        10_000_000..10_000_000_000 => format!("{:.0} ms", time.as_secs_f64() * 1e3),
        _ => format!("{:.1} s", time.as_secs_f64()),
    }
}
