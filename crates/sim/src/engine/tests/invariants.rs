//! Invariants after every event, for arbitrary sequences of events.

use std::collections::BTreeMap;

use pointsman_core::Time;
use proptest::prelude::*;

use super::{drain, engine, hashed, with_adapter};
use crate::engine::sequence::Phase;
use crate::engine::{Engine, SequenceId};

impl Engine {
    /// Compares all incremental counts with counts over the sequences.
    fn check(&self) {
        let batch: Vec<_> = self.sequences.batch().collect();
        let mut references = BTreeMap::new();
        for (_, sequence) in &batch {
            for block in &sequence.blocks {
                *references.entry(*block).or_insert(0_u32) += 1;
            }
        }
        let held = u32::try_from(references.len()).unwrap();
        assert_eq!(held + self.pool.free(), self.pool.total(), "every block is held or free");
        for (block, count) in references {
            assert_eq!(self.pool.references(block), count);
        }
        assert_eq!(batch.len(), self.running as usize);
        let decoding: Vec<_> =
            batch.iter().filter(|(_, sequence)| sequence.phase == Phase::Decoding).collect();
        assert_eq!(decoding.len(), self.decoding as usize);
        let context = |(_, sequence): &&(SequenceId, &crate::engine::sequence::Sequence)| {
            u64::from(sequence.prompt + sequence.generated_at(self.steps))
        };
        assert_eq!(decoding.iter().map(context).sum::<u64>(), self.context);
        let live = |id: &&SequenceId| self.sequences.get(**id).is_some();
        let queued = self.waiting.iter().chain(&self.deferred).filter(live).count();
        assert_eq!(queued, self.waiting_count as usize);
        assert_eq!(self.deferred.iter().filter(live).count(), self.deferred_count as usize);
    }
}

#[derive(Clone, Debug)]
enum Event {
    Submit { prompt: u32, output: u32, family: u64, adapter: Option<u32> },
    Abort(usize),
    Start,
    Finish,
}

fn event() -> impl Strategy<Value = Event> {
    let submit = (1_u32..60, 0_u32..30, 0_u64..3, proptest::option::of(0_u32..3))
        .prop_map(|(prompt, output, family, adapter)| Event::Submit { prompt, output, family, adapter });
    prop_oneof![
        3 => submit,
        1 => (0_usize..40).prop_map(Event::Abort),
        5 => Just(Event::Start),
        5 => Just(Event::Finish),
    ]
}

fn play(events: &[Event]) -> (Engine, Vec<crate::engine::StepOutput>) {
    let mut engine = engine(|profile| {
        profile.blocks = 24;
        profile.max_sequences = 5;
        profile.max_batched_tokens = 20;
        profile.max_adapters = 2;
    });
    let (mut ids, mut outputs, mut now) = (Vec::new(), Vec::new(), Time::ZERO);
    for event in events {
        match *event {
            Event::Submit { prompt, output, family, adapter } => {
                let blocks = u64::from((prompt + output) / 4);
                let request = hashed(prompt, output, (0..blocks).map(|block| family * 100 + block));
                let request = match adapter {
                    Some(adapter) => with_adapter(adapter, request),
                    None => request,
                };
                ids.extend(engine.submit(request));
            }
            Event::Abort(number) => {
                if let Some(id) = ids.get(number) {
                    engine.abort(*id);
                }
            }
            Event::Start => now = engine.start_step(now).map_or(now, |step| step.ends_at),
            Event::Finish => outputs.extend_from_slice(engine.finish_step()),
        }
        engine.check();
    }
    outputs.extend_from_slice(engine.finish_step());
    outputs.extend(drain(&mut engine).into_iter().map(|(_, output)| output));
    engine.check();
    (engine, outputs)
}

proptest! {
    #[test]
    fn counts_agree_after_every_event_and_return_to_zero(
        events in proptest::collection::vec(event(), 0..200),
    ) {
        let (engine, outputs) = play(&events);
        let gauges = engine.gauges();
        prop_assert_eq!((gauges.running, gauges.waiting, gauges.deferred), (0, 0, 0));
        prop_assert_eq!(engine.pool.free(), engine.pool.total());
        // Each sequence gets its tokens one by one and ends once.
        let mut seen = BTreeMap::new();
        for output in &outputs {
            let last = seen.insert(output.id, output.generated).unwrap_or(0);
            prop_assert!(output.generated == last + 1 || (output.finished && output.generated == 0));
            prop_assert_eq!(output.first, output.generated == 1);
        }
    }

    #[test]
    fn equal_events_give_equal_outputs(events in proptest::collection::vec(event(), 0..100)) {
        prop_assert_eq!(play(&events).1, play(&events).1);
    }
}
