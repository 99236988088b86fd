//! Whether the process should be sent requests, and why not.

use std::fmt::Write as _;

/// The state that `/readyz` shows.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Readiness {
    /// What must hold; ready when all of it does.
    pub checks: Vec<Check>,
    /// The generation of the configuration in force.
    pub generation: u64,
    /// What is wrong with objects of the newest configuration, one line each. They do not make it unready: the last
    /// good version of each stays in force.
    pub problems: Vec<String>,
}

/// One condition of being ready.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Check {
    /// What is checked, as in `pool default/llama`.
    pub name: String,
    /// Whether it holds.
    pub passed: bool,
    /// More about it; empty for nothing.
    pub detail: String,
}

impl Readiness {
    /// Whether every check holds.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        self.checks.iter().all(|check| check.passed)
    }

    /// One line: the verdict, and what stands against it.
    pub(crate) fn brief(&self) -> String {
        if self.is_ready() {
            return "ready\n".into();
        }
        let failed: Vec<&str> =
            self.checks.iter().filter(|check| !check.passed).map(|check| check.name.as_str()).collect();
        format!("not ready: {}\n", failed.join(", "))
    }

    /// Every check, the generation and the configuration's problems, a line each, and the verdict.
    pub(crate) fn verbose(&self) -> String {
        let mut page = String::new();
        // Writing to a string does not fail.
        for Check { name, passed, detail } in &self.checks {
            let mark = if *passed { '+' } else { '-' };
            let separator = if detail.is_empty() { "" } else { ": " };
            let _ = writeln!(page, "[{mark}] {name}{separator}{detail}");
        }
        let _ =
            writeln!(page, "configuration generation {}, {} problems", self.generation, self.problems.len());
        for problem in &self.problems {
            let _ = writeln!(page, "[!] {problem}");
        }
        page.push_str(&self.brief());
        page
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(name: &str, passed: bool, detail: &str) -> Check {
        Check { name: name.into(), passed, detail: detail.into() }
    }

    #[test]
    fn names_what_is_missing() {
        let readiness = Readiness {
            checks: vec![
                check("configuration", true, ""),
                check("pool default/llama", false, "never read"),
                check("serving", false, ""),
            ],
            generation: 3,
            problems: vec!["routes.yaml:7: no such pool".into()],
        };
        assert!(!readiness.is_ready());
        assert_eq!(readiness.brief(), "not ready: pool default/llama, serving\n");
        assert_eq!(
            readiness.verbose(),
            "[+] configuration\n\
             [-] pool default/llama: never read\n\
             [-] serving\n\
             configuration generation 3, 1 problems\n\
             [!] routes.yaml:7: no such pool\n\
             not ready: pool default/llama, serving\n"
        );
    }

    #[test]
    fn problems_of_the_configuration_leave_it_ready() {
        let readiness = Readiness {
            checks: vec![check("configuration", true, "")],
            generation: 4,
            problems: vec!["routes.yaml:7: no such pool".into()],
        };
        assert!(readiness.is_ready());
        assert_eq!(readiness.brief(), "ready\n");
        assert!(readiness.verbose().ends_with("[!] routes.yaml:7: no such pool\nready\n"));
    }
}
