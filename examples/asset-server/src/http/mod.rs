//! HTTP/1.1 as far as a server of files needs it: RFC 9110 (semantics), RFC 9112 (messages).

pub mod conditional;
pub mod multipart;
pub mod range;
pub mod request;
pub mod response;
pub mod status;
mod target;
