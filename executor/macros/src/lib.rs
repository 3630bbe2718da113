//! The attribute macros of `corelane`; use them through its re-exports, `corelane::main` and
//! `corelane::test`.
#![deny(unsafe_code)]

mod expand;

use proc_macro::TokenStream;

use expand::Entry;

/// Runs an `async fn main` on a worker of the main thread with the default `Config`.
///
/// When the worker cannot be made, prints the error on one line to standard error and exits with
/// code 2.
///
/// `crate = "path"` names the corelane crate where it goes by another name.
///
/// # Examples
///
/// ```ignore
/// #[corelane::main]
/// async fn main() -> std::io::Result<()> {
///     corelane::spawn_local(async { println!("hello from the main thread") }).await.unwrap();
///     Ok(())
/// }
/// ```
#[proc_macro_attribute]
pub fn main(arguments: TokenStream, item: TokenStream) -> TokenStream {
    expand::expand(Entry::Main, arguments.into(), item.into()).into()
}

/// Runs an `async fn` as a test, on a worker of the test's thread with the default `Config`.
///
/// The test fails when the worker cannot be made. Takes the arguments of `#[corelane::main]`, and
/// stands beside `#[should_panic]` and `#[ignore]`.
///
/// # Examples
///
/// ```ignore
/// #[corelane::test]
/// async fn adds() {
///     assert_eq!(corelane::spawn_local(async { 1 + 1 }).await.unwrap(), 2);
/// }
/// ```
#[proc_macro_attribute]
pub fn test(arguments: TokenStream, item: TokenStream) -> TokenStream {
    expand::expand(Entry::Test, arguments.into(), item.into()).into()
}
