//! Years, months and weekdays of the Gregorian calendar, as text. It knows nothing of files.

/// A year from 1583, the first whole one of the Gregorian calendar, to 9999.
#[derive(Clone, Copy)]
pub(crate) struct Year(u32);

/// How weekdays are written.
#[derive(Clone, Copy)]
pub(crate) enum Weekdays {
    Short,
    Long,
}

const NAMES: [&str; 7] =
    ["Sunday", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday"];

impl Year {
    pub(crate) fn new(year: u32) -> Option<Self> {
        (1583..=9999).contains(&year).then_some(Self(year))
    }

    /// A month from 1 to 12: a line for each day.
    pub(crate) fn month(self, month: u32, weekdays: Weekdays) -> String {
        let line = |day| {
            let name = NAMES[self.weekday(month, day)];
            let name = match weekdays {
                Weekdays::Short => &name[..3],
                Weekdays::Long => name,
            };
            format!("{:04}-{month:02}-{day:02} {name}\n", self.0)
        };
        (1..=self.days(month)).map(line).collect()
    }

    fn is_leap(self) -> bool {
        self.0.is_multiple_of(4) && !self.0.is_multiple_of(100) || self.0.is_multiple_of(400)
    }

    fn days(self, month: u32) -> u32 {
        match month {
            2 => 28 + u32::from(self.is_leap()),
            4 | 6 | 9 | 11 => 30,
            _ => 31,
        }
    }

    /// 0 for Sunday. Days are counted from 1 January of the year 1, a Monday.
    fn weekday(self, month: u32, day: u32) -> usize {
        let past = self.0 - 1;
        let leap_days = past / 4 - past / 100 + past / 400;
        let in_year: u32 = (1..month).map(|month| self.days(month)).sum();
        ((past * 365 + leap_days + in_year + day) % 7) as usize
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn months_have_their_days_and_weekdays() {
        let year = Year::new(2024).unwrap();
        assert!(year.month(2, Weekdays::Short).ends_with("2024-02-29 Thu\n"));
        assert!(Year::new(1900).unwrap().month(2, Weekdays::Short).ends_with("1900-02-28 Wed\n"));
        assert!(
            Year::new(2000).unwrap().month(1, Weekdays::Long).starts_with("2000-01-01 Saturday\n")
        );
    }

    #[test]
    fn years_outside_the_calendar_are_refused() {
        assert!(Year::new(1582).is_none() && Year::new(10_000).is_none());
    }
}
