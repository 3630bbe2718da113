//! Reads in an order of their own: classes, deadlines, limits, and what they took.

pub mod histogram;
pub mod limits;
pub mod order;
#[cfg(test)]
mod submit;

pub use histogram::Histogram;
pub use order::Class;
