//! One request of a workload.

use std::sync::Arc;

use pointsman_core::{BlockHash, Time};

/// What one client asks for, and when. The same under every policy of an experiment: runs are paired by it.
#[derive(Clone, Debug)]
pub struct Job {
    /// Its number in the workload. A job keeps it under every policy, also where its arrival depends on the end of
    /// another (a session's next turn).
    pub number: u64,
    /// When the client sends it.
    pub arrival: Time,
    /// Tokens of the prompt; at least one.
    pub prompt_tokens: u32,
    /// Tokens that the engine will generate. No policy may look at it.
    pub output_tokens: u32,
    /// The bound that the client sets on the output (`max_tokens`), where it sets one.
    pub max_output_tokens: Option<u32>,
    /// Chained hashes of the full engine blocks of the prompt and of the answer behind it; empty where nothing of
    /// it can be found again by another job.
    pub hashes: Arc<[BlockHash]>,
    /// The adapter it asks for, by its place among the workload's adapters.
    pub adapter: Option<u32>,
    /// Priority: 0 is Standard, below 0 is sheddable, above is Critical.
    pub priority: i32,
    /// Whether the reply is a stream, so that the router sees its tokens.
    pub streamed: bool,
    /// The client's connection, for balancers that balance connections.
    pub connection: u32,
    /// Its place in a session, where another turn may follow upon its end.
    pub turn: Option<Turn>,
}

/// A turn of a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Turn {
    /// The session, numbered by its first turn's arrival.
    pub session: u64,
    /// Which turn, from 0.
    pub index: u32,
}

/// Where jobs come from: a generated workload, a trace, a recorded log.
///
/// What a source gives depends on its seed and on the arguments alone, never on the order of calls, so that each
/// policy of an experiment meets the same jobs.
pub trait Jobs {
    /// The next job that comes by itself, in order of arrival; `None` when there are no more.
    fn next_job(&mut self) -> Option<Job>;

    /// The job that follows upon the end of another, such as a session's next turn after its think time.
    fn follow_up(&mut self, ended: &Job, at: Time) -> Option<Job>;
}
