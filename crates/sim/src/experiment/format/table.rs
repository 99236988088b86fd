//! The reference of fields.

use super::{FieldText, Section};

const fn field(
    name: &'static str,
    takes: &'static str,
    default: &'static str,
    about: &'static str,
) -> FieldText {
    FieldText { name, takes, default, about }
}

pub(super) const SECTIONS: &[Section] = &[
    Section {
        path: "",
        about: "The top-level mapping of the file. Durations are written like `250us`, `500ms`, `1.5s` or `1m30s`; a *distribution* is a single value or the mapping below.",
        fields: &[
            field("title", "text", "the file's name", "Title in reports."),
            field("description", "text", "empty", "The question that the experiment answers."),
            field("fleet", "list", "required", "The engines."),
            field("profiles", "mapping of names", "none", "Engine profiles of the experiment, by name."),
            field("workload", "mapping", "required", "The requests of clients."),
            field("information", "mapping", "a live Pointsman's", "What routers know, and with which delay."),
            field(
                "placements",
                "list",
                "kubernetes-service, round-robin, least-request, pointsman",
                "The placements to compare: names, or mappings with a name and parameters.",
            ),
            field(
                "bounds",
                "list of names",
                "none",
                "Idealized balancers to compare with, shown beside the placements: central-late-binding, greedy-clairvoyant, pooled-server, infinite-cache, pooled-cache.",
            ),
            field(
                "baseline",
                "a placement's name or label",
                "the first placement",
                "The placement that the others are compared with.",
            ),
            field(
                "rates",
                "list, or `{from, to, by}`",
                "required; a trace's own",
                "Mean requests per second, later turns of sessions included.",
            ),
            field("seeds", "count, or list", "6", "Runs per placement and rate. Intervals need at least 5."),
            field(
                "duration",
                "duration above 0s",
                "120s; a recording at its own pace: its length",
                "Length of the arrival period.",
            ),
            field(
                "warmUp",
                "duration",
                "a tenth of duration",
                "Requests that arrive earlier are simulated but not counted.",
            ),
            field(
                "drain",
                "duration",
                "600s",
                "Time after the arrival period in which requests may end; unfinished ones count as infinitely slow.",
            ),
        ],
    },
    Section {
        path: "fleet[]",
        about: "A group of equal engines.",
        fields: &[
            field(
                "profile",
                "name",
                "required",
                "A profile from `profiles` or a built-in one (`docs/engine-model.md`).",
            ),
            field("count", "1 to 2,000", "1", "Number of engines; at most 2,000 in a fleet."),
            field("slowness", "above 0", "1", "Factor on step times."),
            field("joins", "duration", "0s", "When they become ready, with empty caches."),
            field("changes", "list", "none", "Later changes of each engine, in order of time."),
        ],
    },
    Section {
        path: "fleet[].changes[]",
        about: "One change: `slowness` or `event`.",
        fields: &[
            field("at", "duration", "required", "Time of the change, before the end of `duration`."),
            field("slowness", "above 0", "none", "Factor on step times from then on."),
            field(
                "event",
                "dies, restarts, hangs, resumes, drains, lies",
                "none",
                "`dies`: its requests fail and it refuses connections. `restarts`: it returns with an empty cache. `hangs`: it stops without closing connections. `resumes`: it continues. `drains`: it accepts no new requests, finishes the others and leaves. `lies`: its gauges report an idle engine.",
            ),
        ],
    },
    Section {
        path: "profiles.NAME",
        about: "An engine profile derived from another. Omitted fields keep their values.",
        fields: &[
            field("base", "a built-in profile", "base or file", "The profile to derive from."),
            field(
                "file",
                "path",
                "base or file",
                "A profile in JSON to derive from, as `simulate fit` writes it.",
            ),
            field("blocks", "1 and up", "the base's", "Number of KV blocks."),
            field(
                "maxBatchedTokens",
                "1 and up",
                "the base's",
                "Most tokens scheduled in a step (`--max-num-batched-tokens`).",
            ),
            field("maxSequences", "1 and up", "the base's", "Most running sequences (`--max-num-seqs`)."),
            field(
                "maxModelLen",
                "1 and up",
                "the base's",
                "Most tokens of prompt and output together (`--max-model-len`).",
            ),
            field("maxAdapters", "1 and up", "the base's", "Most adapters on the device (`--max-loras`)."),
            field("adapterLoad", "duration", "the base's", "Time that loading an adapter adds to a step."),
        ],
    },
    Section {
        path: "workload",
        about: "The fields of a single class of requests, or several `classes`, or a `trace`.",
        fields: &[
            field(
                "arrivals",
                "poisson, constant, recorded, or mapping",
                "poisson; with a trace, recorded",
                "The arrival process of requests and sessions.",
            ),
            field(
                "connections",
                "1 and up, or per-request",
                "per-request",
                "Number of keep-alive connections of all clients, for balancers that choose per connection. A session stays on one connection.",
            ),
            field(
                "cutAt",
                "2 and up",
                "none",
                "Most tokens of a request: longer ones are truncated, the prompt first, and sessions end before a longer turn. Without it, requests that no engine accepts are a mistake.",
            ),
            field("trace", "mapping", "none", "Recorded requests."),
            field("classes", "list", "none", "Several classes of requests."),
            field("lengths", "see below", "required", "See `workload.classes[]`, also for the fields below."),
            field("prefixes", "mapping", "none", ""),
            field("sessions", "mapping", "none", ""),
            field("adapters", "mapping", "none", ""),
            field("criticality", "see below", "standard", ""),
            field("streamed", "0 to 1", "1", ""),
            field("maxTokens", "see below", "unset", ""),
        ],
    },
    Section {
        path: "workload.arrivals",
        about: "`rates` sets the mean rate.",
        fields: &[
            field(
                "kind",
                "poisson, constant, gamma, bursts, recorded",
                "required",
                "`poisson`: exponential gaps. `constant`: equal gaps. `gamma`: gamma-distributed gaps. `bursts`: two rates in alternation, Poisson within each. `recorded`: the trace's timestamps, scaled to the rate.",
            ),
            field(
                "cv",
                "above 0",
                "required for gamma",
                "Coefficient of variation of the gaps: 1 is Poisson; production traces have 3 to 13.",
            ),
            field("on", "duration above 0s", "required for bursts", "Duration of the high rate."),
            field("off", "duration above 0s", "required for bursts", "Duration of the low rate."),
            field("factor", "above 1", "required for bursts", "Ratio of the high rate to the low one."),
        ],
    },
    Section {
        path: "workload.trace",
        about: "Recorded requests in order. Each seed starts at its own row and wraps around at the end. `adapters`, `criticality`, `streamed` and `maxTokens` may be set beside it, except for event logs, which contain them.",
        fields: &[
            field("format", "azure, mooncake, burstgpt, event-log", "required", "See [Traces](#traces)."),
            field("file", "path", "required", "Relative to the experiment's folder."),
            field("holes", "refuse, keep", "refuse", "Whether a pause far longer than usual is a mistake."),
        ],
    },
    Section {
        path: "workload.classes[]",
        about: "A class of requests.",
        fields: &[
            field("weight", "above 0", "1", "Share relative to the other classes."),
            field(
                "lengths",
                "a table's name, or mapping",
                "required",
                "Prompt and output tokens. Tables: sharegpt, sharegpt-distserve, azure-2023-code, azure-2023-conversation.",
            ),
            field("prefixes", "mapping", "none", "Prefixes shared by groups of prompts."),
            field(
                "sessions",
                "mapping",
                "none",
                "Makes each arrival a multi-turn conversation; `lengths.prompt` is then the user message of a turn.",
            ),
            field(
                "adapters",
                "mapping",
                "none",
                "LoRA adapters that requests name. Classes share no adapters.",
            ),
            field(
                "criticality",
                "critical, standard, sheddable, or mapping of weights",
                "standard",
                "Priority of requests: 1, 0 or -1.",
            ),
            field(
                "streamed",
                "0 to 1",
                "1",
                "Share of requests with a streamed response, whose tokens the router sees.",
            ),
            field(
                "maxTokens",
                "unset, exact, a number, or mapping",
                "unset",
                "The clients' `max_tokens`. `exact`: the output length, as load generators set it.",
            ),
        ],
    },
    Section {
        path: "lengths",
        about: "Prompt and output lengths are independent.",
        fields: &[
            field("prompt", "distribution of tokens", "required", "Prompt tokens without a shared prefix."),
            field("output", "distribution of tokens", "required", "Output tokens."),
            field(
                "sharegpt",
                "path",
                "none",
                "Instead of both, a ShareGPT file: pairs of the first two turns of each conversation, 4 to 1,024 tokens each at four bytes per token.",
            ),
        ],
    },
    Section {
        path: "distribution",
        about: "Numbers for tokens and turns, durations for think times. A single value is `fixed`.",
        fields: &[
            field("kind", "fixed, uniform, exponential, lognormal, quantiles", "required", ""),
            field("value", "value", "required for fixed", "The value."),
            field("low", "value", "required for uniform", "Lower end."),
            field("high", "value", "required for uniform", "Upper end."),
            field(
                "mean",
                "value",
                "required for exponential and lognormal",
                "Mean before truncation at `max`.",
            ),
            field("sd", "value", "required for lognormal", "Standard deviation before truncation."),
            field("max", "value", "10 means; mean + 10 sd", "Upper end."),
            field(
                "points",
                "list of [share, value]",
                "required for quantiles",
                "Quantiles from share 0 to share 1, with linear interpolation.",
            ),
        ],
    },
    Section {
        path: "prefixes",
        about: "Groups of prompts with a shared prefix: their number as `groups`, or their shares as `weights`.",
        fields: &[
            field("groups", "1 and up", "groups or weights", "Number of groups."),
            field(
                "zipf",
                "0 to 10",
                "0",
                "Zipf exponent: the i-th group has weight 1/i to this power; 0 is uniform.",
            ),
            field("weights", "list of numbers above 0", "groups or weights", "Relative shares."),
            field("tokens", "distribution of tokens", "required", "Length of a group's shared prefix."),
        ],
    },
    Section {
        path: "sessions",
        about: "A turn's prompt is the conversation so far and a new user message. It is sent one think time after the previous response ended; a failed turn ends its session.",
        fields: &[
            field("turns", "distribution", "required", "Turns per session."),
            field(
                "thinkTime",
                "distribution of durations",
                "required",
                "Time from the end of a response to the next turn.",
            ),
            field(
                "systemPrompt",
                "distribution of tokens",
                "none",
                "Tokens of a private system prompt, after the shared prefix.",
            ),
        ],
    },
    Section {
        path: "adapters",
        about: "Their number as `count`, or their shares as `weights`.",
        fields: &[
            field("count", "1 and up", "count or weights", "Number of adapters."),
            field("zipf", "0 to 10", "0", "As in `prefixes`."),
            field("weights", "list of numbers above 0", "count or weights", "Relative shares."),
            field("base", "0 to 0.999", "0", "Share of requests for the base model."),
        ],
    },
    Section {
        path: "criticality",
        about: "Relative shares of priorities.",
        fields: &[
            field("critical", "above 0", "none", "Priority 1."),
            field("standard", "above 0", "none", "Priority 0."),
            field("sheddable", "above 0", "none", "Priority -1: rejected when the pool is saturated."),
        ],
    },
    Section {
        path: "maxTokens",
        about: "A bound on the output, which truncates it.",
        fields: &[
            field("value", "1 and up", "required", "The bound."),
            field("share", "above 0, up to 1", "1", "Share of requests that set it."),
        ],
    },
    Section {
        path: "information",
        about: "The defaults are those of a live Pointsman.",
        fields: &[
            field(
                "scrapeEvery",
                "duration above 0s, or never",
                "2s",
                "Scrape interval of busy engines; if set, also the default of `scrapeIdleEvery`.",
            ),
            field("scrapeIdleEvery", "duration above 0s", "5s", "Scrape interval of idle engines."),
            field("scrapeDelay", "duration", "5ms", "Age of gauges when they arrive."),
            field("scrapeLoss", "0 to 1", "0", "Share of lost scrapes."),
            field("blackouts", "list", "none", "Periods without scrapes."),
            field("networkDelay", "duration", "250us", "One-way delay between router and engine."),
            field(
                "tokensSeen",
                "true, false",
                "true",
                "Whether routers see first tokens and progress of streams.",
            ),
            field("progressEvery", "duration above 0s", "1s", "Interval of progress reports per stream."),
            field("usageSeen", "true, false", "true", "Whether responses report used and cached tokens."),
            field(
                "prefixes",
                "unknown, approximate, exact",
                "approximate",
                "Knowledge of prefix caches: none, from the router's own dispatches, or their true content.",
            ),
            field(
                "blockTokens",
                "a multiple of the engines' KV blocks",
                "64",
                "Prompt tokens per block that routers hash.",
            ),
            field("routers", "1 to 64", "1", "Number of routers; each request arrives at a random one."),
            field(
                "sharedState",
                "true, false",
                "true",
                "Whether routers share one state, or each knows only its own dispatches.",
            ),
        ],
    },
    Section {
        path: "information.blackouts[]",
        about: "In order of time.",
        fields: &[
            field("from", "duration", "required", "Start."),
            field("to", "duration", "required", "End."),
        ],
    },
    Section {
        path: "placements[]",
        about: "A placement with parameters: these fields and those of `placement` in a PoolPolicy (`docs/manifests.md`). Names: kubernetes-service, kubernetes-service-per-request, and every placement listed there.",
        fields: &[
            field("name", "a placement's name", "required", "The placement."),
            field(
                "label",
                "letters, digits, - . _ / :",
                "its name",
                "Name in reports; required where a placement is listed twice.",
            ),
            field(
                "information",
                "mapping",
                "the experiment's",
                "Differences from the experiment's information.",
            ),
            field(
                "saturation",
                "mapping",
                "5 waiting, 0.8 KV use",
                "Thresholds of endpoint saturation: `waiting`, `kvUse`. Not for Kubernetes Services.",
            ),
        ],
    },
];
