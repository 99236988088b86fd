//! Workloads: the requests that clients send, and when. Simulations and load tests share arrivals, length
//! distributions, published length tables and dataset readers.
//!
//! A [`Workload`] is a description; a [`Generator`] makes its jobs for one rate and seed. A job depends on the seed and
//! its number alone, and a session's next turn on the seed, the session and the turn, so every placement under test
//! gets the same jobs. Two rates under one seed give the same arrivals on a stretched time axis.
//!
//! What this crate must not know: endpoints, routing, sockets, clocks, files.

mod arrivals;
mod distribution;
mod draw;
mod generate;
mod job;
mod prefixes;
mod tables;
mod trace;
mod traces;

use std::sync::Arc;

pub use arrivals::{ArrivalTimes, Arrivals};
pub use distribution::{Choice, Distribution};
pub use draw::{Draw, Purpose};
pub use generate::Generator;
pub use job::{Job, Jobs, Turn};
pub use prefixes::PrefixGroups;
pub use tables::LengthTable;
pub use trace::{RecordedRequest, Trace};
pub use traces::{Conversation, TraceFormat, estimated_tokens, read_sharegpt};

/// The requests that clients send, and when.
#[derive(Clone, Debug, PartialEq)]
pub struct Workload {
    /// When single jobs arrive and sessions begin.
    pub arrivals: Arrivals,
    /// Classes of jobs; at least one.
    pub classes: Vec<Class>,
    /// The share of each class, in the order of `classes`.
    pub mix: Choice,
    /// Number of keep-alive connections of all clients; `None` where each job or session opens its own.
    pub connections: Option<u32>,
    /// Longest job in tokens, prompt and output together. Longer jobs are truncated, the prompt first; a session ends
    /// before a turn that would be longer.
    pub cut_at: Option<u32>,
}

/// A class of jobs.
#[derive(Clone, Debug, PartialEq)]
pub struct Class {
    /// Lengths of prompts and outputs.
    pub lengths: Lengths,
    /// Shared prefixes, whose tokens come on top of the prompt's own length.
    pub prefixes: Option<PrefixGroups>,
    /// Multi-turn conversations; `None` for single jobs.
    pub sessions: Option<Sessions>,
    /// The LoRA adapters that jobs name.
    pub adapters: Option<Adapters>,
    /// Priorities and the share of each.
    pub priorities: (Vec<i32>, Choice),
    /// Share of jobs with a streamed response, 0 to 1.
    pub streamed: f64,
    /// The bound that clients set on the output (`max_tokens`).
    pub max_output: OutputBound,
}

/// Lengths of prompts and outputs.
#[derive(Clone, Debug, PartialEq)]
pub enum Lengths {
    /// Prompt and output drawn independently.
    Drawn {
        /// Tokens of the prompt; in sessions, of the user message that each turn adds.
        prompt: Distribution,
        /// Tokens of the output.
        output: Distribution,
    },
    /// Pairs of prompt and output tokens, drawn together with replacement; at least one.
    Pairs(Arc<[(u32, u32)]>),
    /// The rows of a trace in order, with the prefixes that it records.
    Rows(Arc<Trace>),
}

/// Multi-turn conversations. A turn's prompt is the conversation so far and a new user message; it is sent one think
/// time after the previous response ended.
#[derive(Clone, Debug, PartialEq)]
pub struct Sessions {
    /// Number of turns per session.
    pub turns: Distribution,
    /// Think time: seconds from the end of a response to the next turn.
    pub think_time: Distribution,
    /// Tokens of a system prompt that is private to the session.
    pub system_prompt: Option<Distribution>,
}

/// LoRA adapters of a class.
#[derive(Clone, Debug, PartialEq)]
pub struct Adapters {
    /// The share of each adapter; with `with_base`, the last choice is the base model.
    pub choice: Choice,
    /// Whether some jobs name the base model.
    pub with_base: bool,
    /// Index of the class's first adapter among the workload's adapters.
    pub first: u32,
}

/// The bound that clients set on the output (`max_tokens`).
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum OutputBound {
    /// None.
    Unset,
    /// Exactly the output length, as load generators send with `ignore_eos`.
    Exact,
    /// A fixed bound for a share of the jobs; it truncates longer outputs.
    Value {
        /// The bound in tokens.
        tokens: u32,
        /// Share of jobs that set it, 0 to 1.
        share: f64,
    },
}

impl Workload {
    /// The trace that the jobs come from, if any.
    #[must_use]
    pub fn trace(&self) -> Option<&Arc<Trace>> {
        self.classes.iter().find_map(|class| match &class.lengths {
            Lengths::Rows(trace) => Some(trace),
            Lengths::Drawn { .. } | Lengths::Pairs(_) => None,
        })
    }

    /// Mean jobs per arrival, sessions counted with all their turns. The rate of jobs over this is the rate of arrivals.
    #[must_use]
    pub fn jobs_per_start(&self) -> f64 {
        let turns = |class: &Class| class.sessions.as_ref().map_or(1.0, |s| s.turns.mean_tokens());
        let classes = self.classes.iter().enumerate();
        classes.map(|(place, class)| self.mix.share(place) * turns(class)).sum()
    }
}

impl Class {
    /// Single streamed jobs of these lengths, of Standard priority, without shared prefixes or output bounds.
    #[must_use]
    pub fn plain(lengths: Lengths) -> Self {
        Self {
            lengths,
            prefixes: None,
            sessions: None,
            adapters: None,
            priorities: (vec![0], Choice::weighted(&[1.0])),
            streamed: 1.0,
            max_output: OutputBound::Unset,
        }
    }

    /// Upper bound of prompt and output tokens together; of the first turn in sessions.
    #[must_use]
    pub fn longest(&self) -> u64 {
        let of = |distribution: &Distribution| u64::from(distribution.most_tokens());
        let own = match &self.lengths {
            Lengths::Drawn { prompt, output } => of(prompt) + of(output),
            Lengths::Pairs(pairs) => {
                let sums = pairs.iter().map(|(prompt, output)| u64::from(*prompt) + u64::from(*output));
                sums.max().unwrap_or(0)
            }
            Lengths::Rows(trace) => trace.longest().0,
        };
        let shared = self.prefixes.as_ref().map_or(0, |prefixes| of(&prefixes.tokens));
        let system = self.sessions.as_ref().and_then(|s| s.system_prompt.as_ref()).map_or(0, of);
        own + shared + system
    }
}
