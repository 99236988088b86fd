//! Readiness: whether the process should receive requests.

use std::fmt::Write as _;

/// The state on `/readyz`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Readiness {
    /// Conditions; the process is ready when all of them hold.
    pub checks: Vec<Check>,
    /// The generation of the configuration in force.
    pub generation: u64,
    /// Problems of objects of the newest configuration, one line each. The process stays ready, because the last good
    /// version of each object stays in force.
    pub problems: Vec<String>,
}

/// A condition of readiness.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Check {
    /// Name, such as `pool default/llama`.
    pub name: String,
    /// Whether the condition holds.
    pub passed: bool,
    /// Details; may be empty.
    pub detail: String,
}

impl Readiness {
    /// Whether every check passed.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        self.checks.iter().all(|check| check.passed)
    }

    /// One line: ready, or the failed checks.
    pub(crate) fn brief(&self) -> String {
        if self.is_ready() {
            return "ready\n".into();
        }
        let failed: Vec<&str> =
            self.checks.iter().filter(|check| !check.passed).map(|check| check.name.as_str()).collect();
        format!("not ready: {}\n", failed.join(", "))
    }

    /// One line per check and per problem of the configuration, then [`brief`](Self::brief).
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
    fn failed_checks_are_named() {
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
    fn problems_of_the_configuration_do_not_affect_readiness() {
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
