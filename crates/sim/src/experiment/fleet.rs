//! `fleet`: the engines and their changes.

use std::time::Duration;

use pointsman_core::Time;
use pointsman_yaml::{Field, Fields};

use super::profiles::Profiles;
use super::values::{above_zero, duration, mistake};
use crate::scenario::{Change, EngineSpec};

/// Most engines of a fleet.
const MOST_MEMBERS: usize = 2_000;

const EVENTS: [(&str, Change); 6] = [
    ("dies", Change::Dies),
    ("restarts", Change::Restarts),
    ("hangs", Change::Hangs),
    ("resumes", Change::Resumes),
    ("drains", Change::Drains),
    ("lies", Change::Lies),
];

/// The longest request that every engine accepts, in tokens, and the profile that sets this limit.
pub(super) fn limit(fleet: &[EngineSpec]) -> Option<(u32, &str)> {
    let of = |member: &EngineSpec| {
        let profile = &member.profile;
        profile.max_model_len.min(profile.blocks.saturating_mul(profile.block_size))
    };
    fleet.iter().map(|member| (of(member), &*member.profile.name)).min()
}

pub(super) fn read(field: &Field<'_>, profiles: &Profiles, end: Option<Duration>) -> Vec<EngineSpec> {
    let mut fleet = Vec::new();
    let mut complete = true;
    field.list(200, |item| {
        let members = item.fields(|fields| read_members(fields, profiles, end)).flatten();
        complete &= members.is_some();
        fleet.extend(members.into_iter().flatten());
        Some(())
    });
    if fleet.len() > MOST_MEMBERS {
        let message = format!("has {} engines, the most is {MOST_MEMBERS}", fleet.len());
        field.error(message, "lower the counts");
        return Vec::new();
    }
    if complete && field.is_sound() {
        check_whole(field, &fleet);
    }
    fleet
}

fn read_members(
    fields: &mut Fields<'_>,
    profiles: &Profiles,
    end: Option<Duration>,
) -> Option<Vec<EngineSpec>> {
    let profile =
        fields.required("profile", "write profile: llama-3-8b-h100").and_then(|f| profiles.find(&f));
    let count = fields.get("count").map_or(Some(1), |f| f.integer(1..=2_000));
    let slowness = fields.get("slowness").map_or(Some(1.0), |f| above_zero(&f, 1e3));
    let joins = fields
        .get("joins")
        .and_then(|field| before_end(&field, end, "let it join earlier, or write a longer duration"));
    let joins = Time::ZERO + joins.unwrap_or_default();
    let changes = fields.get("changes").map(|field| read_changes(&field, joins, end)).unwrap_or_default();
    let member = EngineSpec { profile: profile?, slowness: slowness?, joins, changes };
    Some(vec![member; usize::try_from(count?).unwrap_or(0)])
}

/// The state of an engine between its changes.
#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    Serving,
    Hung,
    Dead,
    Left,
}

fn read_changes(field: &Field<'_>, joins: Time, end: Option<Duration>) -> Vec<(Time, Change)> {
    let mut state = State::Serving;
    let mut before = joins;
    let mut lies = false;
    field.list(100, |item| {
        let (at, change) = item.fields(|fields| read_change(fields, end)).flatten()?;
        if at < before {
            let message = "is before the change above it, or before the engine joins";
            return mistake(item, message, "list the changes in order of time");
        }
        before = at;
        let next = match (state, change) {
            (State::Serving | State::Hung, Change::Slowness(_)) => Some(state),
            (State::Serving | State::Hung, Change::Dies) => Some(State::Dead),
            (State::Dead, Change::Restarts) => {
                lies = false;
                Some(State::Serving)
            }
            (State::Serving, Change::Hangs) => Some(State::Hung),
            (State::Hung, Change::Resumes) => Some(State::Serving),
            (State::Serving, Change::Drains) => Some(State::Left),
            (State::Serving | State::Hung, Change::Lies) if !lies => {
                lies = true;
                Some(state)
            }
            _ => None,
        };
        if let Some(next) = next {
            state = next;
            return Some((at, change));
        }
        let why = match state {
            State::Serving => "it is serving, or lying, already",
            State::Hung => "it hangs at that time",
            State::Dead => "it is dead at that time",
            State::Left => "it has left by then",
        };
        item.error(format!("has no effect: {why}"), "remove it, or correct the changes above it");
        None
    })
}

fn read_change(fields: &mut Fields<'_>, end: Option<Duration>) -> Option<(Time, Change)> {
    let at = fields
        .required("at", "write when, such as at: 60s")
        .and_then(|field| before_end(&field, end, "write an earlier time, or a longer duration"));
    let slowness = fields.get("slowness");
    let event = fields.get("event");
    let change = match (slowness, event) {
        (Some(slowness), None) => above_zero(&slowness, 1e3).map(Change::Slowness),
        (None, Some(event)) => event.choice(&EVENTS),
        (Some(_), Some(event)) => mistake(&event, "is set beside slowness", "write two changes"),
        (None, None) => {
            fields.error("has neither slowness nor event", "write slowness: 3, or event: dies");
            None
        }
    };
    Some((Time::ZERO + at?, change?))
}

/// A time before the end of the experiment, where that is known.
fn before_end(field: &Field<'_>, end: Option<Duration>, fix: &'static str) -> Option<Duration> {
    let at = duration(field)?;
    if end.is_some_and(|end| at >= end) {
        return mistake(field, "is not before the end of the experiment", fix);
    }
    Some(at)
}

/// Checks of the whole fleet.
fn check_whole(field: &Field<'_>, fleet: &[EngineSpec]) {
    let Some(first) = fleet.first() else {
        field.error("has no engine", "write at least one, such as {profile: llama-3-8b-h100, count: 10}");
        return;
    };
    let size = first.profile.block_size;
    if let Some(other) = fleet.iter().find(|member| member.profile.block_size != size) {
        let message = format!(
            "{} has KV blocks of {} tokens, {} of {size}: block sizes must be equal",
            other.profile.name, other.profile.block_size, first.profile.name
        );
        field.error(message, "use profiles of one block_size");
    }
    let joins = fleet.iter().map(|member| member.joins).min().unwrap_or_default();
    if joins > Time::ZERO {
        field.error("has no engine that is ready at 0s", "let one join at 0s");
    }
    let is_gone = |member: &EngineSpec| {
        let last = member.changes.iter().rev().map(|(_, change)| change);
        let mut last = last.filter(|change| !matches!(change, Change::Slowness(_) | Change::Lies));
        matches!(last.next(), Some(Change::Dies | Change::Drains | Change::Hangs))
    };
    if fleet.iter().all(is_gone) {
        let message = "every engine has died, hung or left in the end";
        field.error(message, "leave at least one, or let one restart");
    }
}
