//! Token sequences: the tokenizer, the chat template and the generated outputs.

mod output;
mod template;
mod tokens;

pub(crate) use output::{Finish, FinishReason, Output, SamplingParams};
pub(crate) use template::apply_chat_template;
pub(crate) use tokens::{BlockHasher, Token, detokenize, tokenize};
