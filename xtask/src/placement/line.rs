//! Lines of the table: figures beside their targets.

use std::fmt::Write as _;

use anyhow::Result;

/// What a figure should be, as text and as a rule.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Target {
    pub(super) text: &'static str,
    pub(super) rule: Rule,
    /// Whether `docs/placement.md` says that it is missed, and why.
    pub(super) known_missed: bool,
}

impl Target {
    pub(super) const fn at_most(limit: f64, text: &'static str) -> Self {
        Self { text, rule: Rule::AtMost(limit), known_missed: false }
    }

    pub(super) const fn at_least(limit: f64, text: &'static str) -> Self {
        Self { text, rule: Rule::AtLeast(limit), known_missed: false }
    }

    pub(super) const fn within(limit: f64, text: &'static str) -> Self {
        Self { text, rule: Rule::Within(limit), known_missed: false }
    }

    pub(super) const fn none(text: &'static str) -> Self {
        Self { text, rule: Rule::None, known_missed: false }
    }

    /// The target, of which the page says that it is missed.
    pub(super) const fn known_missed(self) -> Self {
        Self { known_missed: true, ..self }
    }
}

/// The rule of a target.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Rule {
    AtMost(f64),
    AtLeast(f64),
    /// Between minus and plus this.
    Within(f64),
    /// None: the figure is for comparison.
    None,
}

/// What a figure depends on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Source {
    /// Virtual time and seeds: the same on every machine.
    VirtualTime,
    /// The clock or the memory of this machine: informative where others share it.
    Machine,
}

/// A figure of the table.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Line {
    pub(super) figure: String,
    pub(super) target: Target,
    pub(super) source: Source,
    pub(super) value: f64,
    /// The value with its unit, and where it was found.
    pub(super) measured: String,
}

/// Whether a figure meets its target.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    Met,
    Missed,
    /// Missed, as `docs/placement.md` says.
    KnownMissed,
    /// Missed or met on this machine, which says little if others use it too.
    Informative,
    NoTarget,
}

impl Line {
    pub(super) fn verdict(&self) -> Verdict {
        let met = match self.target.rule {
            Rule::AtMost(limit) => self.value <= limit,
            Rule::AtLeast(limit) => self.value >= limit,
            Rule::Within(limit) => self.value.abs() <= limit,
            Rule::None => return Verdict::NoTarget,
        };
        match (self.source, met) {
            (Source::Machine, _) => Verdict::Informative,
            (Source::VirtualTime, true) => Verdict::Met,
            (Source::VirtualTime, false) if self.target.known_missed => Verdict::KnownMissed,
            (Source::VirtualTime, false) => Verdict::Missed,
        }
    }
}

/// The lines as a table of a page.
pub(super) fn table(lines: &[Line]) -> Result<String> {
    let mut table = String::from("| What | Target | Measured | Met |\n|---|---|---|---|\n");
    for line in lines {
        let met = match line.verdict() {
            Verdict::Met => "yes",
            Verdict::Missed | Verdict::KnownMissed => "no",
            Verdict::Informative => "depends on the machine",
            Verdict::NoTarget => "",
        };
        writeln!(table, "| {} | {} | {} | {met} |", line.figure, line.target.text, line.measured)?;
    }
    Ok(table)
}

/// The figures that miss their targets on every machine, without those of which the page says so.
pub(super) fn missed(lines: &[Line]) -> Vec<&str> {
    let missed = lines.iter().filter(|line| line.verdict() == Verdict::Missed);
    missed.map(|line| line.figure.as_str()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(rule: Rule, source: Source, value: f64) -> Line {
        let target = Target { text: "≤ 1", rule, known_missed: false };
        Line { figure: "figure".to_owned(), target, source, value, measured: value.to_string() }
    }

    #[test]
    fn verdicts_follow_the_rule_and_the_source() {
        let check = |rule, value, expect| {
            assert_eq!(line(rule, Source::VirtualTime, value).verdict(), expect, "{rule:?} {value}");
        };
        check(Rule::AtMost(1.03), 1.03, Verdict::Met);
        check(Rule::AtMost(1.03), f64::INFINITY, Verdict::Missed);
        check(Rule::AtMost(1.03), f64::NAN, Verdict::Missed);
        check(Rule::AtLeast(6.0), 5.9, Verdict::Missed);
        check(Rule::Within(0.03), -0.02, Verdict::Met);
        check(Rule::Within(0.03), -0.04, Verdict::Missed);
        check(Rule::None, 4.0, Verdict::NoTarget);
        assert_eq!(line(Rule::AtMost(1.0), Source::Machine, 9.0).verdict(), Verdict::Informative);
    }

    #[test]
    fn a_missed_target_is_named_and_shown() {
        let own = line(Rule::AtMost(1.0), Source::VirtualTime, 2.0);
        let known = Line { target: own.target.known_missed(), ..own.clone() };
        assert_eq!(known.verdict(), Verdict::KnownMissed);
        let lines = [own, line(Rule::AtMost(1.0), Source::Machine, 2.0), known];
        assert_eq!(missed(&lines), ["figure"]);
        let text = table(&lines).unwrap();
        assert!(
            text.contains("| figure | ≤ 1 | 2 | no |\n| figure | ≤ 1 | 2 | depends on the machine |"),
            "{text}"
        );
    }
}
