//! The cost of recording one finished request; the budget is 1 µs.

#![allow(missing_docs)]
fn main() {
    divan::main();
}
