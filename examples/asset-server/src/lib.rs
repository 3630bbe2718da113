//! An HTTP server for game assets: what it decides, apart from the sockets and files it acts on.
//!
//! Everything here is a function over values: a request head and what is known of a resource go
//! in, a [`plan::Plan`] comes out. The program around it reads heads, opens files, and does what
//! the plan says.
#![forbid(unsafe_code)]

pub mod args;
pub mod demo;
pub mod etag;
pub mod http;
pub mod limits;
pub mod metrics;
pub mod mime;
pub mod mounts;
pub mod page;
pub mod path;
pub mod plan;
pub mod priority;
pub mod queue_metrics;
pub mod route;
pub mod serve;
