//! One job: a request of a workload.

use std::sync::Arc;

use pointsman_core::{BlockHash, Time};

/// One request of a client. It is the same under every placement of an experiment, which pairs their runs.
#[derive(Clone, Debug)]
pub struct Job {
    /// Its number in the workload, the same under every placement, also where the arrival depends on the end of another
    /// job (a session's next turn).
    pub number: u64,
    /// Send time of the client.
    pub arrival: Time,
    /// Tokens of the prompt; at least one.
    pub prompt_tokens: u32,
    /// Tokens that the engine will generate. No placement may see it.
    pub output_tokens: u32,
    /// The client's bound on the output (`max_tokens`), if any.
    pub max_output_tokens: Option<u32>,
    /// Chained hashes of the full engine blocks of prompt and output; empty where no other job can reuse them.
    pub hashes: Arc<[BlockHash]>,
    /// Index of its adapter among the workload's adapters.
    pub adapter: Option<u32>,
    /// Priority: 0 is Standard, below 0 Sheddable, above 0 Critical.
    pub priority: i32,
    /// Whether the response is streamed, so that the router sees its tokens.
    pub streamed: bool,
    /// The client's connection, for balancers that choose per connection.
    pub connection: u32,
    /// Its turn in a session, if it belongs to one.
    pub turn: Option<Turn>,
}

/// A turn of a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Turn {
    /// The session: the number of its first turn's job.
    pub session: u64,
    /// Index of the turn, from 0.
    pub index: u32,
}

/// A source of jobs: a generated workload, a trace or an event log.
///
/// A job depends on the seed and the arguments alone, never on the order of calls, so every placement of an experiment
/// gets the same jobs.
pub trait Jobs {
    /// The next job whose arrival depends on no other job, in order of arrival; `None` at the end.
    fn next_job(&mut self) -> Option<Job>;

    /// The job that the end of another one at `at` causes: a session's next turn after the think time.
    fn follow_up(&mut self, ended: &Job, at: Time) -> Option<Job>;
}
