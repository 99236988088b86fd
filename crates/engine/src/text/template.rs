//! The chat template: messages to one token sequence.
//!
//! Each message is a marker token for its role, its content and an end marker; the prompt ends with the assistant's
//! role marker (the generation prompt). Content starts on a token boundary, so an output that returns as a message of
//! the next turn gives the tokens that were generated, and the prefix cache finds its blocks.

use super::tokens::{Token, tokenize};

/// The author of a message.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Role<'a> {
    System,
    User,
    Assistant,
    /// A role without a marker token of its own: its name becomes part of the prompt.
    Other(&'a str),
}

impl<'a> Role<'a> {
    pub(crate) fn from_name(name: &'a str) -> Self {
        match name {
            "system" | "developer" => Self::System,
            "user" => Self::User,
            "assistant" => Self::Assistant,
            other => Self::Other(other),
        }
    }

    fn write_marker(self, tokens: &mut Vec<Token>) {
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

/// Appends the prompt of a conversation. A message is its role and the texts of its content parts.
pub(crate) fn apply_chat_template<'a>(
    messages: impl IntoIterator<Item = (Role<'a>, Vec<&'a str>)>,
    tokens: &mut Vec<Token>,
) {
    for (role, parts) in messages {
        role.write_marker(tokens);
        for part in parts {
            tokenize(part, tokens);
        }
        tokens.push(Token::marker(b'e'));
    }
    Role::Assistant.write_marker(tokens);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn prompt(messages: &[(&'static str, &'static str)]) -> Vec<Token> {
        let mut tokens = Vec::new();
        let messages = messages.iter().map(|(role, text)| (Role::from_name(role), vec![*text]));
        apply_chat_template(messages, &mut tokens);
        tokens
    }

    #[test]
    fn the_prompt_of_the_next_turn_begins_with_prompt_and_output_of_this_one() {
        let first = prompt(&[("system", "Be terse."), ("user", "Hi")]);
        let next =
            prompt(&[("system", "Be terse."), ("user", "Hi"), ("assistant", " the cat"), ("user", "So?")]);
        assert!(next.starts_with(&first));
        assert_eq!(next[first.len()], Token::from_bytes(b" the"));
    }

    #[test]
    fn equal_texts_of_different_roles_give_different_tokens() {
        assert_ne!(prompt(&[("user", "same")]), prompt(&[("system", "same")]));
        assert_ne!(prompt(&[("tool", "same")]), prompt(&[("critic", "same")]));
    }
}
