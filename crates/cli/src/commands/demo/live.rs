//! The demo's live view: a screen of its own on standard error, if that is a terminal.

use std::io::Write as _;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use console::Term;
use pointsman_bench::run::Progress;
use pointsman_bench::slices::SliceEvent;
use pointsman_report::Slice;
use tokio::task::JoinHandle;

use super::front::Front;
use super::screen;
use super::standing::{EngineState, Figures, Running, SetUp, Standing};
use super::text::Block;
use crate::progress;

/// Interval at which the screen is drawn.
const REFRESH: Duration = Duration::from_millis(250);

/// What the slices have shown so far.
#[derive(Debug, Default)]
pub(super) struct Course {
    slices: Vec<[Option<Slice>; 2]>,
    running: Running,
}

impl Course {
    /// The course of `slices` pairs and a warm-up.
    fn new(slices: usize) -> Self {
        Self { slices: Vec::new(), running: Running { of: 2 * (slices + 1), ..Running::default() } }
    }

    fn follow(&mut self, event: SliceEvent<'_>) {
        match event {
            SliceEvent::Started { arm, slice } => {
                let first = (self.running.arm, self.running.slice) == (arm, slice) && self.running.ended == 0;
                let ended = if first { 0 } else { self.running.ended + 1 };
                self.running = Running { arm, slice, ended, ..self.running };
            }
            SliceEvent::Finished { arm, slice, result } => {
                if self.slices.len() <= slice {
                    self.slices.resize_with(slice + 1, Default::default);
                }
                if let Some(place) = self.slices.get_mut(slice).and_then(|pair| pair.get_mut(arm)) {
                    *place = Some(result.clone());
                }
            }
        }
    }
}

/// The live view.
pub(super) struct View {
    course: Arc<Mutex<Course>>,
    /// Kept for its end, which restores the terminal.
    _drawing: Option<Drawing>,
}

struct Drawing {
    follower: JoinHandle<()>,
    terminal: Term,
}

impl View {
    pub(super) fn start(set_up: SetUp, slices: usize, front: &Front, counts: &Arc<Progress>) -> Self {
        let course = Arc::new(Mutex::new(Course::new(slices)));
        let terminal = Term::stderr();
        if !is_drawable(&terminal) {
            return Self { course, _drawing: None };
        }
        let (followed, counts, fleet) = (Arc::clone(&course), Arc::clone(counts), front.server.fleet.clone());
        let drawn = terminal.clone();
        // The alternate screen, without a cursor, so that no frame remains in the scroll-back buffer.
        write(&terminal, "\u{1b}[?1049h\u{1b}[?25l");
        let follower = tokio::spawn(async move {
            let mut tick = tokio::time::interval(REFRESH);
            loop {
                tick.tick().await;
                let pools = fleet.debug_pools();
                let endpoints = pools["pools"][0]["endpoints"].as_array();
                let engines = endpoints.map(|all| all.iter().map(EngineState::read).collect());
                let standing = {
                    let course = locked(&followed);
                    Standing {
                        set_up: set_up.clone(),
                        figures: Figures::so_far(&course.slices),
                        running: Running { in_flight: progress::in_flight(&counts), ..course.running },
                        engines: engines.unwrap_or_default(),
                    }
                };
                let (height, width) = drawn.size();
                draw(&drawn, &screen::live(&standing, width.into(), height.into()));
            }
        });
        Self { course, _drawing: Some(Drawing { follower, terminal }) }
    }

    /// Takes note of a slice.
    pub(super) fn follow(&self, event: SliceEvent<'_>) {
        locked(&self.course).follow(event);
    }

    /// Removes the view; returns the figures of both arms.
    pub(super) fn finish(self) -> Figures {
        Figures::so_far(&locked(&self.course).slices)
    }
}

impl Drop for Drawing {
    fn drop(&mut self) {
        self.follower.abort();
        write(&self.terminal, "\u{1b}[?25h\u{1b}[?1049l");
    }
}

/// Whether a terminal understands cursor movement.
pub(super) fn is_drawable(terminal: &Term) -> bool {
    terminal.is_term() && std::env::var_os("TERM").is_some_and(|name| name != "dumb")
}

fn draw(terminal: &Term, screen: &Block) {
    let colour = terminal.features().colors_supported();
    let mut text = String::from("\u{1b}[H");
    for (index, line) in screen.iter().enumerate() {
        if index > 0 {
            text.push_str("\r\n");
        }
        text.push_str(&line.render(colour));
        text.push_str("\u{1b}[K");
    }
    text.push_str("\u{1b}[J");
    write(terminal, &text);
}

/// A terminal that cannot be written to shows nothing, and the demo goes on.
fn write(mut terminal: &Term, text: &str) {
    let _ = terminal.write_all(text.as_bytes()).and_then(|()| terminal.flush());
}

fn locked(course: &Mutex<Course>) -> MutexGuard<'_, Course> {
    course.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_course_counts_slices_and_keeps_their_results() {
        let mut course = Course::new(2);
        let mut seen = Vec::new();
        for (arm, slice) in [(0, None), (1, None), (0, Some(0)), (1, Some(0)), (1, Some(1)), (0, Some(1))] {
            course.follow(SliceEvent::Started { arm, slice });
            seen.push(course.running.ended);
            if let Some(slice) = slice {
                let result = Slice { completed: 7, ..Slice::default() };
                course.follow(SliceEvent::Finished { arm, slice, result: &result });
            }
        }
        assert_eq!(seen, [0, 1, 2, 3, 4, 5]);
        assert_eq!(course.running.of, 6);
        assert_eq!(Figures::so_far(&course.slices).completed, [14, 14]);
    }
}
