//! The server over real sockets, on real files.
#![forbid(unsafe_code)]

#[path = "../http_table/mod.rs"]
mod http_table;

mod archives;
mod folders;
mod hostile_archives;
mod hostile_files;
mod hostile_heads;
mod hostile_paths;
mod killed;
mod open_files;
mod packs;
mod pages;
mod program;
mod protection;
mod shutdown;
mod site;
mod table;
