//! Bodies of engines' responses.

/// What a body is, and what is wrong with its content.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape {
    Json,
    Events,
    /// Without finish reason and end mark.
    EventsWithoutEnd,
    /// An error before the first token.
    EventsWithError,
    /// Events after the end mark.
    EventsAfterEnd,
    /// Without tokens: comments, and then the end.
    EventsOfComments,
    Opaque,
    Nothing,
}

impl Shape {
    pub fn content_type(self) -> &'static str {
        match self {
            Self::Json => "application/json",
            Self::Opaque | Self::Nothing => "application/octet-stream",
            _ => "text/event-stream",
        }
    }

    pub fn is_events(self) -> bool {
        self.content_type() == "text/event-stream"
    }

    /// The body; it contains `name`, so that no two responses are alike.
    pub fn body(self, name: &str, size: usize) -> Vec<u8> {
        match self {
            Self::Nothing => Vec::new(),
            Self::Opaque => [name.as_bytes(), &vec![b'o'; size]].concat(),
            Self::Json => json(name, size).into(),
            _ => self.events(name, size).into(),
        }
    }

    fn events(self, name: &str, size: usize) -> String {
        let token = |text: &str| {
            format!("data: {{\"choices\":[{{\"index\":0,\"delta\":{{\"content\":\"{text}\"}}}}]}}\n\n")
        };
        let stop = "data: {\"choices\":[{\"index\":0,\"delta\":{},\"finish_reason\":\"stop\"}]}\n\n";
        let done = "data: [DONE]\n\n";
        let mut events = token(name);
        while events.len() < size {
            events += &token(&"a".repeat(size / 20));
        }
        match self {
            Self::EventsWithoutEnd => events,
            Self::EventsWithError => {
                format!(
                    "data: {{\"error\":{{\"message\":\"{name}\",\"type\":\"InternalServerError\",\"code\":500}}}}\n\n{done}"
                )
            }
            Self::EventsAfterEnd => format!("{events}{stop}{done}data: {{\"more\":1}}\n\n"),
            Self::EventsOfComments => format!(": {name}\n\n: still here\n\n{stop}{done}"),
            _ => format!("{events}{stop}{done}"),
        }
    }
}

fn json(name: &str, size: usize) -> String {
    let text = "a".repeat(size);
    format!(
        r#"{{"id":"{name}","object":"chat.completion","choices":[{{"index":0,"message":{{"role":"assistant","content":"{text}"}},"finish_reason":"stop"}}],"usage":{{"prompt_tokens":3,"completion_tokens":1,"total_tokens":4}}}}"#
    )
}
