//! Text and tokens: a tokenizer that is a rule, and answers that are drawn.

mod answer;
mod template;
mod tokens;

pub(crate) use answer::{Answer, AnswerRequest, Ending};
pub(crate) use template::{Role, flatten_messages};
pub(crate) use tokens::{BlockHasher, Token, detokenize, tokenize};
