//! The chat template: messages to one token sequence.
//!
//! Each message is a marker token for its role, its content and an end marker; the prompt ends with the assistant's
//! role marker (the generation prompt). Content starts on a token boundary, so an output that returns as a message of
//! the next turn gives the tokens that were generated, and the prefix cache finds its blocks.

use std::borrow::Cow;

use super::tokens::{Token, tokenize};

fn push_role(role: &str, tokens: &mut Vec<Token>) {
    match role {
        "system" | "developer" => tokens.push(Token::marker(b's')),
        "user" => tokens.push(Token::marker(b'u')),
        "assistant" => tokens.push(Token::marker(b'a')),
        // A role without a marker of its own: its name becomes part of the prompt.
        other => {
            tokens.push(Token::marker(b'o'));
            tokenize(other, tokens);
        }
    }
}

/// Appends the prompt of a conversation. A message is its role and the texts of its content parts.
pub(crate) fn apply_chat_template<'a>(
    messages: impl IntoIterator<Item = (&'a str, Vec<Cow<'a, str>>)>,
    tokens: &mut Vec<Token>,
) {
    for (role, parts) in messages {
        push_role(role, tokens);
        for part in parts {
            tokenize(&part, tokens);
        }
        tokens.push(Token::marker(b'e'));
    }
    push_role("assistant", tokens);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn prompt(messages: &[(&'static str, &'static str)]) -> Vec<Token> {
        let mut tokens = Vec::new();
        let messages = messages.iter().map(|(role, text)| (*role, vec![Cow::from(*text)]));
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
