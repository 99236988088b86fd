//! The chat template: how messages become one sequence of tokens.
//!
//! Each message is a marker for its role, its content, and an end marker; the prompt ends with the marker that asks
//! the assistant to speak. Content starts on a token of its own, so an answer that comes back as a message of the
//! next turn gives the tokens that were generated, and its blocks are found in the prefix cache.

use super::tokens::{Token, tokenize};

/// Who speaks. Roles that the template does not know are spelled out.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Role<'a> {
    System,
    User,
    Assistant,
    Other(&'a str),
}

impl<'a> Role<'a> {
    pub(crate) fn named(name: &'a str) -> Self {
        match name {
            "system" | "developer" => Self::System,
            "user" => Self::User,
            "assistant" => Self::Assistant,
            other => Self::Other(other),
        }
    }

    fn open(self, tokens: &mut Vec<Token>) {
        match self {
            Self::System => tokens.push(Token::marker(b's')),
            Self::User => tokens.push(Token::marker(b'u')),
            Self::Assistant => tokens.push(Token::marker(b'a')),
            Self::Other(name) => {
                tokens.push(Token::marker(b'o'));
                tokenize(name, tokens);
            }
        }
    }
}

/// Appends a conversation, in order, and the call for an answer. A message is its role and the parts of its text.
pub(crate) fn flatten_messages<'a>(
    messages: impl IntoIterator<Item = (Role<'a>, Vec<&'a str>)>,
    tokens: &mut Vec<Token>,
) {
    for (role, parts) in messages {
        role.open(tokens);
        for part in parts {
            tokenize(part, tokens);
        }
        tokens.push(Token::marker(b'e'));
    }
    Role::Assistant.open(tokens);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn flat(messages: &[(&'static str, &'static str)]) -> Vec<Token> {
        let mut tokens = Vec::new();
        let messages = messages.iter().map(|(role, text)| (Role::named(role), vec![*text]));
        flatten_messages(messages, &mut tokens);
        tokens
    }

    #[test]
    fn the_next_turn_begins_with_the_prompt_and_the_answer_before_it() {
        let first = flat(&[("system", "Be terse."), ("user", "Hi")]);
        let next =
            flat(&[("system", "Be terse."), ("user", "Hi"), ("assistant", " the cat"), ("user", "So?")]);
        assert!(next.starts_with(&first));
        assert_eq!(next[first.len()], Token::of(b" the"));
    }

    #[test]
    fn roles_part_equal_texts() {
        assert_ne!(flat(&[("user", "same")]), flat(&[("system", "same")]));
        assert_ne!(flat(&[("tool", "same")]), flat(&[("critic", "same")]));
    }
}
