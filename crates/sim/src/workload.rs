//! Workloads: what clients ask for, and when.
//!
//! A [`Workload`] describes, a [`Generator`] gives the jobs of one rate and seed. What a job is like follows from the
//! seed and its number alone, and a session's next turn from the seed, the session and the turn, so that each policy of
//! an experiment meets the same jobs whatever it does with them. Arrivals of two rates under one seed are the same
//! arrivals, sooner or later.

mod arrivals;
mod distribution;
mod draw;
mod generate;
mod prefixes;
mod tables;
mod trace;
pub mod traces;

use std::sync::Arc;

pub use arrivals::Arrivals;
pub use distribution::{Choice, Distribution};
pub use generate::Generator;
pub use prefixes::Prefixes;
pub use tables::LengthTable;
pub use trace::{RecordedRequest, Trace};

/// What clients ask for, and when.
#[derive(Clone, Debug, PartialEq)]
pub struct Workload {
    /// When jobs come, or sessions begin.
    pub arrivals: Arrivals,
    /// Kinds of jobs; at least one.
    pub classes: Vec<Class>,
    /// How often each class comes: as many as there are classes.
    pub mix: Choice,
    /// Connections that the clients keep open; `None` where each job or session opens one of its own.
    pub connections: Option<u32>,
    /// Longer jobs are cut to this many tokens, the prompt first; sessions end before a turn that would be longer.
    pub cut_at: Option<u32>,
}

/// Jobs of one kind.
#[derive(Clone, Debug, PartialEq)]
pub struct Class {
    /// How long prompts and outputs are.
    pub lengths: Lengths,
    /// What prompts begin with, in addition to their length.
    pub prefixes: Option<Prefixes>,
    /// Whether each job begins a conversation.
    pub sessions: Option<Sessions>,
    /// The adapters that jobs ask for.
    pub adapters: Option<Adapters>,
    /// Priorities, and how often each comes.
    pub priorities: (Vec<i32>, Choice),
    /// The share of jobs whose reply is a stream, 0 to 1.
    pub streamed: f64,
    /// The bound that clients set on the output.
    pub max_output: OutputBound,
}

/// How long prompts and outputs are.
#[derive(Clone, Debug, PartialEq)]
pub enum Lengths {
    /// Prompt and output drawn independently.
    Drawn {
        /// Tokens of the prompt; in sessions, of what the user adds in a turn.
        prompt: Distribution,
        /// Tokens of the output.
        output: Distribution,
    },
    /// Pairs of prompt and output, drawn together with replacement; at least one.
    Pairs(Arc<[(u32, u32)]>),
    /// The rows of a trace in order, with the prefixes that it records.
    Rows(Arc<Trace>),
}

/// Conversations: each turn's prompt is all that was said before and something new, sent some time after the last
/// answer ended.
#[derive(Clone, Debug, PartialEq)]
pub struct Sessions {
    /// Turns of a session.
    pub turns: Distribution,
    /// Seconds from the end of an answer to the next turn.
    pub think_time: Distribution,
    /// Tokens that each session begins with and shares with nobody.
    pub system_prompt: Option<Distribution>,
}

/// Adapters of a class.
#[derive(Clone, Debug, PartialEq)]
pub struct Adapters {
    /// Which adapter; the last choice is the base model where `with_base` says so.
    pub choice: Choice,
    /// Whether some jobs ask for the base model.
    pub with_base: bool,
    /// The number of the class's first adapter among the workload's.
    pub first: u32,
}

/// The bound that clients set on the output (`max_tokens`).
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum OutputBound {
    /// None.
    Unset,
    /// Exactly what will be generated, as load generators do that ignore the end of text.
    Exact,
    /// This many tokens for a share of the jobs, whose outputs are cut there.
    Value {
        /// The bound.
        tokens: u32,
        /// The share of jobs that set it, 0 to 1.
        share: f64,
    },
}

impl Workload {
    /// The trace that its jobs come from, if they do.
    #[must_use]
    pub fn trace(&self) -> Option<&Arc<Trace>> {
        self.classes.iter().find_map(|class| match &class.lengths {
            Lengths::Rows(trace) => Some(trace),
            Lengths::Drawn { .. } | Lengths::Pairs(_) => None,
        })
    }

    /// Jobs that a beginning session or single job comes to in the mean: what the rate is divided by.
    #[must_use]
    pub fn jobs_per_start(&self) -> f64 {
        let turns = |class: &Class| class.sessions.as_ref().map_or(1.0, |s| s.turns.mean_tokens());
        let classes = self.classes.iter().enumerate();
        classes.map(|(place, class)| self.mix.share(place) * turns(class)).sum()
    }
}

impl Class {
    /// Jobs of these lengths: streamed, of Standard priority, nothing shared, nothing bounded.
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

    /// The longest that prompt and output can be together; in sessions, in the first turn.
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
        let head = self.prefixes.as_ref().map_or(0, |prefixes| of(&prefixes.tokens));
        let system = self.sessions.as_ref().and_then(|s| s.system_prompt.as_ref()).map_or(0, of);
        own + head + system
    }
}
