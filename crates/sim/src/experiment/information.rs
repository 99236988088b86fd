//! `information`: what routers know, and with which delay.

use pointsman_core::Time;
use pointsman_yaml::{Field, Fields};

use super::values::{duration, mistake, time_span};
use crate::scenario::{Information, PrefixKnowledge};

/// Reads the differences from `default`.
pub(super) fn read(field: &Field<'_>, default: &Information, block_size: Option<u32>) -> Option<Information> {
    let mut information = default.clone();
    field.fields(|fields| {
        read_scrapes(fields, &mut information);
        read_streams(fields, &mut information);
        read_prefixes(fields, &mut information, block_size);
        read_routers(fields, &mut information);
        set(&mut information.network_delay, fields.get("networkDelay").and_then(|f| duration(&f)));
    })?;
    Some(information)
}

fn set<T>(to: &mut T, value: Option<T>) {
    if let Some(value) = value {
        *to = value;
    }
}

fn no_effect(field: &Field<'_>, why: &str) {
    field.error(format!("has no effect: {why}"), "remove it");
}

fn read_scrapes(fields: &mut Fields<'_>, information: &mut Information) {
    if let Some(field) = fields.get("scrapeEvery") {
        if field.written("a duration") == Some("never") {
            information.scrape_every = None;
        } else if let Some(every) = time_span(&field) {
            information.scrape_every = Some(every);
            // One interval for all engines, unless scrapeIdleEvery is set.
            information.scrape_idle_every = every;
        }
    }
    let never = information.scrape_every.is_none();
    for name in ["scrapeIdleEvery", "scrapeDelay", "scrapeLoss", "blackouts"] {
        let Some(field) = fields.get(name) else { continue };
        if never {
            no_effect(&field, "there are no scrapes");
            continue;
        }
        match name {
            "scrapeIdleEvery" => set(&mut information.scrape_idle_every, time_span(&field)),
            "scrapeDelay" => set(&mut information.scrape_delay, duration(&field)),
            "scrapeLoss" => set(&mut information.scrape_loss, field.share()),
            _ => information.blackouts = read_blackouts(&field),
        }
    }
    if information.scrape_every.is_some_and(|every| every > information.scrape_idle_every) {
        let message = "scrapeIdleEvery is shorter than scrapeEvery: idle engines would be scraped more often";
        fields.error(message, "make scrapeIdleEvery the longer one");
    }
}

fn read_blackouts(field: &Field<'_>) -> Vec<(Time, Time)> {
    let mut before = Time::ZERO;
    field.list(100, |item| {
        let (from, to) = item.fields(|fields| {
            let from = fields.required("from", "write from: 30s").and_then(|f| duration(&f));
            let to = fields.required("to", "write to: 60s").and_then(|f| duration(&f));
            Some((Time::ZERO + from?, Time::ZERO + to?))
        })??;
        if from >= to {
            return mistake(item, "ends before it begins", "make from the earlier one");
        }
        if from < before {
            return mistake(item, "begins before the one above ends", "list them in order, without overlap");
        }
        before = to;
        Some((from, to))
    })
}

fn read_streams(fields: &mut Fields<'_>, information: &mut Information) {
    set(&mut information.tokens_seen, fields.get("tokensSeen").and_then(|f| f.boolean()));
    if let Some(field) = fields.get("progressEvery") {
        match time_span(&field) {
            Some(_) if !information.tokens_seen => no_effect(&field, "tokensSeen is false"),
            Some(every) => information.progress_every = every,
            None => {}
        }
    }
    set(&mut information.usage_seen, fields.get("usageSeen").and_then(|f| f.boolean()));
}

fn read_prefixes(fields: &mut Fields<'_>, information: &mut Information, block_size: Option<u32>) {
    let choices = [
        ("unknown", PrefixKnowledge::Unknown),
        ("approximate", PrefixKnowledge::Approximate),
        ("exact", PrefixKnowledge::Exact),
    ];
    set(&mut information.prefixes, fields.get("prefixes").and_then(|f| f.choice(&choices)));
    let Some(field) = fields.get("blockTokens") else { return };
    let Some(tokens) = field.u32_from(1) else { return };
    if information.prefixes == PrefixKnowledge::Unknown {
        no_effect(&field, "prefixes are unknown");
    } else if let Some(size) = block_size.filter(|size| *size > 0 && !tokens.is_multiple_of(*size)) {
        let message = format!("is {tokens}, not a multiple of the engines' KV block size, {size} tokens");
        field.error(message, format!("write {}", tokens.next_multiple_of(size)));
    } else {
        information.block_tokens = tokens;
    }
}

fn read_routers(fields: &mut Fields<'_>, information: &mut Information) {
    if let Some(routers) = fields.get("routers").and_then(|f| f.integer(1..=64)) {
        information.routers = u32::try_from(routers).unwrap_or(1);
    }
    if let Some(field) = fields.get("sharedState") {
        match field.boolean() {
            Some(_) if information.routers == 1 => no_effect(&field, "there is one router"),
            Some(shared) => information.shared_state = shared,
            None => {}
        }
    }
}
