//! The table of fields.

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
        about: "Every field stands in the file's one mapping. Durations are written like `250us`, `500ms`, `1.5s` or `1m30s`; a *distribution* is a single value or the mapping below.",
        fields: &[
            field("title", "text", "the file's name", "What reports call it."),
            field("description", "text", "empty", "Which question it answers."),
            field("fleet", "list", "required", "The engines."),
            field("profiles", "mapping of names", "none", "Engine profiles of its own, by name."),
            field("workload", "mapping", "required", "What clients ask for, and when."),
            field(
                "information",
                "mapping",
                "a live Pointsman's",
                "What the router gets to know, and how late.",
            ),
            field(
                "policies",
                "list",
                "kubernetes-service, round-robin, least-request, pointsman",
                "Who decides: names, or mappings with a name and parameters.",
            ),
            field(
                "bounds",
                "list of names",
                "none",
                "References beside the policies, never counted as one: central-late-binding, greedy-clairvoyant, pooled-server, infinite-cache, pooled-cache.",
            ),
            field(
                "baseline",
                "a policy's name or label",
                "the first policy",
                "What the others are compared with.",
            ),
            field(
                "rates",
                "list, or `{from, to, by}`",
                "required; a trace's own",
                "Requests per second in the mean, later turns of sessions included.",
            ),
            field(
                "seeds",
                "count, or list",
                "6",
                "Runs per policy and rate. Intervals want at least 5, better 6 or more.",
            ),
            field(
                "duration",
                "duration above 0s",
                "120s; a recording at its own pace: its length",
                "Requests arrive for so long.",
            ),
            field(
                "warmUp",
                "duration",
                "a tenth of duration",
                "Requests that arrive before are simulated and not counted.",
            ),
            field(
                "drain",
                "duration",
                "600s",
                "How long the last may take after the last arrival; what has not ended then counts as infinitely slow.",
            ),
        ],
    },
    Section {
        path: "fleet[]",
        about: "Equal engines.",
        fields: &[
            field(
                "profile",
                "name",
                "required",
                "A profile of `profiles`, or one that ships (`docs/engine-model.md`).",
            ),
            field("count", "1 to 2,000", "1", "How many of them; 2,000 in a fleet."),
            field("slowness", "above 0", "1", "Factor on the time of every step."),
            field("joins", "duration", "0s", "When they become ready, with empty caches."),
            field("changes", "list", "none", "What happens to each of them, in order of time."),
        ],
    },
    Section {
        path: "fleet[].changes[]",
        about: "One change: `slowness` or `event`.",
        fields: &[
            field("at", "duration", "required", "When; before the end of `duration`."),
            field(
                "slowness",
                "above 0",
                "none",
                "From then on, its steps take this many times as long as its profile says.",
            ),
            field(
                "event",
                "dies, restarts, hangs, resumes, drains, lies",
                "none",
                "`dies`: what it runs fails, connections are refused. `restarts`: back with an empty cache. `hangs`: it stops without closing connections. `resumes`: it goes on. `drains`: it takes nothing new and leaves. `lies`: its gauges claim that it is idle.",
            ),
        ],
    },
    Section {
        path: "profiles.NAME",
        about: "An engine profile made from another. What is not written is as there.",
        fields: &[
            field("base", "a profile that ships", "base or file", "The profile to start from."),
            field(
                "file",
                "path",
                "base or file",
                "The same, from a profile in JSON, as `simulate fit` writes them.",
            ),
            field("blocks", "1 and up", "the base's", "KV blocks on the device."),
            field("maxBatchedTokens", "1 and up", "the base's", "Tokens that one step may schedule."),
            field("maxSequences", "1 and up", "the base's", "Sequences that may run at once."),
            field("maxModelLen", "1 and up", "the base's", "Longest prompt and answer together, in tokens."),
            field("maxAdapters", "1 and up", "the base's", "Adapters that stay on the device."),
            field("adapterLoad", "duration", "the base's", "What loading an adapter adds to a step."),
        ],
    },
    Section {
        path: "workload",
        about: "Either one kind of requests, whose fields stand here, or several under `classes`, or a `trace`.",
        fields: &[
            field(
                "arrivals",
                "poisson, constant, recorded, or mapping",
                "poisson; with a trace, recorded",
                "When requests come, or sessions begin.",
            ),
            field(
                "connections",
                "1 and up, or per-request",
                "per-request",
                "Connections that clients keep open, for policies that balance connections. A session stays on one.",
            ),
            field(
                "cutAt",
                "2 and up",
                "none",
                "Longer requests are cut to so many tokens, the prompt first; sessions end before a longer turn. Without it, requests that fit no engine are a mistake.",
            ),
            field("trace", "mapping", "none", "Recorded requests."),
            field("classes", "list", "none", "Several kinds of requests."),
            field(
                "lengths",
                "see below",
                "required",
                "See `workload.classes[]`, also for those that follow.",
            ),
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
        about: "The mean rate is always that of `rates`.",
        fields: &[
            field(
                "kind",
                "poisson, constant, gamma, bursts, recorded",
                "required",
                "`poisson`: independent users. `constant`: equal gaps. `gamma`: gaps of a given variation. `bursts`: two rates in turn, Poisson within each. `recorded`: as the trace has them, faster or slower.",
            ),
            field(
                "cv",
                "above 0",
                "required for gamma",
                "Deviation of a gap over its mean: 1 is Poisson, 3 to 13 are bursts as production traces have them.",
            ),
            field("on", "duration above 0s", "required for bursts", "How long the high rate lasts."),
            field("off", "duration above 0s", "required for bursts", "How long the low rate lasts."),
            field("factor", "above 1", "required for bursts", "The high rate over the low one."),
        ],
    },
    Section {
        path: "workload.trace",
        about: "Requests in the trace's order. Each seed starts elsewhere in it and goes round at its end. `adapters`, `criticality`, `streamed` and `maxTokens` may stand beside it, except for event logs, which have their own.",
        fields: &[
            field("format", "azure, mooncake, burstgpt, event-log", "required", "See [Traces](#traces)."),
            field("file", "path", "required", "Relative to the experiment's folder."),
            field(
                "holes",
                "refuse, keep",
                "refuse",
                "Whether a pause far longer than any other is a mistake.",
            ),
        ],
    },
    Section {
        path: "workload.classes[]",
        about: "One kind of requests.",
        fields: &[
            field("weight", "above 0", "1", "How often it comes, relative to the others."),
            field(
                "lengths",
                "a table's name, or mapping",
                "required",
                "Tokens of prompts and outputs. Tables: sharegpt, sharegpt-distserve, azure-2023-code, azure-2023-conversation.",
            ),
            field("prefixes", "mapping", "none", "Heads that prompts share."),
            field(
                "sessions",
                "mapping",
                "none",
                "Makes each arrival a conversation; `lengths.prompt` is then what a user adds in a turn.",
            ),
            field(
                "adapters",
                "mapping",
                "none",
                "LoRA adapters that requests ask for. Each class has adapters of its own.",
            ),
            field(
                "criticality",
                "critical, standard, sheddable, or mapping of weights",
                "standard",
                "How important requests are: priority 1, 0, -1.",
            ),
            field(
                "streamed",
                "0 to 1",
                "1",
                "Share of requests whose reply is a stream, so that the router sees its tokens.",
            ),
            field(
                "maxTokens",
                "unset, exact, a number, or mapping",
                "unset",
                "The bound that clients set on the output. `exact`: what will be generated, as load generators do.",
            ),
        ],
    },
    Section {
        path: "lengths",
        about: "Prompt and output are drawn independently.",
        fields: &[
            field(
                "prompt",
                "distribution of tokens",
                "required",
                "What a prompt has in addition to a shared head.",
            ),
            field("output", "distribution of tokens", "required", "What is generated."),
            field(
                "sharegpt",
                "path",
                "none",
                "Instead of both: a ShareGPT file; the first two turns of each conversation, at four characters a token, 4 to 1,024 tokens each, drawn as pairs.",
            ),
        ],
    },
    Section {
        path: "distribution",
        about: "For tokens and turns in numbers, for think times in durations. A single value is `fixed`.",
        fields: &[
            field("kind", "fixed, uniform, exponential, lognormal, quantiles", "required", ""),
            field("value", "value", "required for fixed", "The value."),
            field("low", "value", "required for uniform", "The least."),
            field("high", "value", "required for uniform", "The greatest."),
            field(
                "mean",
                "value",
                "required for exponential and lognormal",
                "The mean before the cut at `max`.",
            ),
            field("sd", "value", "required for lognormal", "The standard deviation before the cut."),
            field("max", "value", "10 means; mean + 10 sd", "The greatest."),
            field(
                "points",
                "list of [share, value]",
                "required for quantiles",
                "Known quantiles, from share 0 to share 1; straight lines between them.",
            ),
        ],
    },
    Section {
        path: "prefixes",
        about: "Groups of prompts that begin alike. Say how many with `groups` or how often each comes with `weights`.",
        fields: &[
            field("groups", "1 and up", "groups or weights", "How many."),
            field(
                "zipf",
                "0 to 10",
                "0",
                "The i-th group comes as often as 1/i to this power; 0 makes all alike.",
            ),
            field("weights", "list of numbers above 0", "groups or weights", "How often each comes."),
            field("tokens", "distribution of tokens", "required", "How long a group's common head is."),
        ],
    },
    Section {
        path: "sessions",
        about: "A turn's prompt is all that was said before, and something new. It is sent after a think time that begins when the last answer ends; a turn that fails ends its session.",
        fields: &[
            field("turns", "distribution", "required", "Turns of a session."),
            field(
                "thinkTime",
                "distribution of durations",
                "required",
                "From the end of an answer to the next turn.",
            ),
            field(
                "systemPrompt",
                "distribution of tokens",
                "none",
                "What each session begins with and shares with no other, behind a head of `prefixes`.",
            ),
        ],
    },
    Section {
        path: "adapters",
        about: "Say how many with `count` or how often each comes with `weights`.",
        fields: &[
            field("count", "1 and up", "count or weights", "How many."),
            field("zipf", "0 to 10", "0", "As in `prefixes`."),
            field("weights", "list of numbers above 0", "count or weights", "How often each comes."),
            field("base", "0 to 0.999", "0", "Share of requests that ask for the base model."),
        ],
    },
    Section {
        path: "criticality",
        about: "How often each comes.",
        fields: &[
            field("critical", "above 0", "none", "Priority 1."),
            field("standard", "above 0", "none", "Priority 0."),
            field("sheddable", "above 0", "none", "Priority -1: refused when the pool is saturated."),
        ],
    },
    Section {
        path: "maxTokens",
        about: "Outputs of requests with the bound end there.",
        fields: &[
            field("value", "1 and up", "required", "The bound."),
            field("share", "above 0, up to 1", "1", "Share of requests that set it."),
        ],
    },
    Section {
        path: "information",
        about: "The defaults are what a live Pointsman has.",
        fields: &[
            field(
                "scrapeEvery",
                "duration above 0s, or never",
                "2s",
                "Between two readings of a busy engine's gauges. Where it is written, idle engines are read at the same pace.",
            ),
            field(
                "scrapeIdleEvery",
                "duration above 0s",
                "5s",
                "Between two readings of an idle engine's gauges.",
            ),
            field("scrapeDelay", "duration", "5ms", "How old a reading is when it arrives."),
            field("scrapeLoss", "0 to 1", "0", "Share of readings that are lost."),
            field("blackouts", "list", "none", "Stretches without any reading."),
            field("networkDelay", "duration", "250us", "One way between router and engine."),
            field(
                "tokensSeen",
                "true, false",
                "true",
                "Whether first tokens and progress of streams are seen.",
            ),
            field("progressEvery", "duration above 0s", "1s", "Between two sights of a stream's output."),
            field(
                "usageSeen",
                "true, false",
                "true",
                "Whether replies say how many tokens were used and cached.",
            ),
            field(
                "prefixes",
                "unknown, approximate, exact",
                "approximate",
                "What is known of prefix caches: nothing, what follows from own dispatches, or what is in them.",
            ),
            field(
                "blockTokens",
                "a multiple of the engines' KV blocks",
                "64",
                "Prompt tokens in a block that the router hashes.",
            ),
            field("routers", "1 to 64", "1", "Routers side by side; requests come to one of them at random."),
            field(
                "sharedState",
                "true, false",
                "true",
                "Whether they share one state, or each knows only what it sent.",
            ),
        ],
    },
    Section {
        path: "information.blackouts[]",
        about: "In order of time.",
        fields: &[
            field("from", "duration", "required", "Its beginning."),
            field("to", "duration", "required", "Its end."),
        ],
    },
    Section {
        path: "placements[]",
        about: "A policy with parameters. Besides these fields it takes the policy's own, as `placement` of a PoolPolicy does (`docs/manifests.md`). Names: kubernetes-service, kubernetes-service-per-request, and every placement listed there.",
        fields: &[
            field("name", "a policy's name", "required", "Who decides."),
            field(
                "label",
                "letters, digits, - . _ / :",
                "its name",
                "What reports call it; wanted where a policy is listed twice.",
            ),
            field(
                "information",
                "mapping",
                "the experiment's",
                "What this one gets to know, where it differs.",
            ),
            field(
                "saturation",
                "mapping",
                "5 waiting, 0.8 KV use",
                "When an endpoint counts as saturated: `waiting`, `kvUse`. Not for Kubernetes Services.",
            ),
        ],
    },
];
