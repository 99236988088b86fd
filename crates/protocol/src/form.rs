//! Model names in HTML forms: `application/x-www-form-urlencoded` and `multipart/form-data`.
//!
//! Parsers of forms differ at the edges. What they may read differently is an error here, so that no engine reads another
//! model than the one found.

mod multipart;
mod part_head;
mod urlencoded;

use crate::splice::ModelSlot;

pub use multipart::{MultipartScanner, boundary};
pub use urlencoded::scan_urlencoded;

/// The model that a form names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FormModel {
    /// Its name, decoded; never empty.
    pub name: String,
    /// Where the form names it.
    pub slot: ModelSlot,
}
