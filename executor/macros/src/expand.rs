//! Tokens in, tokens out.

use proc_macro2::TokenStream;
use quote::{ToTokens, quote};
use syn::ext::IdentExt;
use syn::parse::{Parse, ParseStream};
use syn::{Error, Ident, ItemFn, LitStr, Path, Result, Signature, Token, Visibility};

/// Which attribute it is.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Entry {
    Main,
    Test,
}

/// Expands an attribute; a misuse becomes a `compile_error!` beside the function as written, so
/// that nothing else is reported as missing.
pub(crate) fn expand(entry: Entry, arguments: TokenStream, item: TokenStream) -> TokenStream {
    let written = item.clone();
    try_expand(entry, arguments, item).unwrap_or_else(|error| {
        let error = error.into_compile_error();
        quote! { #error #written }
    })
}

fn try_expand(entry: Entry, arguments: TokenStream, item: TokenStream) -> Result<TokenStream> {
    let Arguments { corelane } = syn::parse2(arguments)?;
    let mut body: ItemFn = syn::parse2(item)?;
    check(entry, &body.sig)?;

    let attributes = std::mem::take(&mut body.attrs);
    let visibility = std::mem::replace(&mut body.vis, Visibility::Inherited);
    let (name, output) = (&body.sig.ident, &body.sig.output);
    let (test, refuse) = match entry {
        Entry::Main => (
            None,
            quote! {{
                ::std::eprintln!("error: {error}");
                ::std::process::exit(2)
            }},
        ),
        Entry::Test => (
            Some(quote! { #[::core::prelude::v1::test] }),
            quote! { ::core::panic!("cannot make a worker: {error}") },
        ),
    };
    // The body stays an `async fn`: `return`, `?` and type errors mean what they say there.
    Ok(quote! {
        #(#attributes)*
        #test
        #visibility fn #name() #output {
            #body
            #corelane::Worker::new(#corelane::Config::default())
                .unwrap_or_else(|error| #refuse)
                .block_on(#name())
        }
    })
}

fn check(entry: Entry, signature: &Signature) -> Result<()> {
    let name = match entry {
        Entry::Main => "#[corelane::main]",
        Entry::Test => "#[corelane::test]",
    };
    let refuse = |at: &dyn ToTokens, what: &str| {
        Err(Error::new_spanned(
            at.to_token_stream(),
            format!("`{name}` {what}"),
        ))
    };
    if signature.asyncness.is_none() {
        return refuse(&signature.fn_token, "needs an `async fn`");
    }
    if let Some(constness) = &signature.constness {
        return refuse(constness, "does not take a `const fn`");
    }
    if !signature.safety.to_token_stream().is_empty() {
        return refuse(
            &signature.safety,
            "takes a plain `async fn`, without `unsafe` or `safe`",
        );
    }
    if let Some(abi) = &signature.abi {
        return refuse(abi, "does not take an `extern` function");
    }
    if !signature.generics.params.is_empty() {
        return refuse(&signature.generics, "does not take generic parameters");
    }
    if let Some(clause) = &signature.generics.where_clause {
        return refuse(clause, "does not take a `where` clause");
    }
    if !signature.inputs.is_empty() {
        return refuse(&signature.inputs, "takes a function without arguments");
    }
    if let Some(variadic) = &signature.variadic {
        return refuse(variadic, "takes a function without arguments");
    }
    Ok(())
}

/// What stands in the parentheses of the attribute.
struct Arguments {
    /// The path of the corelane crate.
    corelane: Path,
}

impl Parse for Arguments {
    fn parse(input: ParseStream<'_>) -> Result<Self> {
        let mut corelane = None;
        while !input.is_empty() {
            let name = input.call(Ident::parse_any)?;
            if name != "crate" {
                let message = format!("unknown argument `{name}`; known is `crate = \"path\"`");
                return Err(Error::new(name.span(), message));
            }
            if corelane.is_some() {
                return Err(Error::new(name.span(), "`crate` is given twice"));
            }
            input.parse::<Token![=]>()?;
            corelane = Some(input.parse::<LitStr>()?.parse_with(Path::parse_mod_style)?);
            if !input.is_empty() {
                input.parse::<Token![,]>()?;
            }
        }
        Ok(Self {
            corelane: corelane.unwrap_or_else(|| syn::parse_quote!(::corelane)),
        })
    }
}

#[cfg(test)]
mod tests {
    use proc_macro2::TokenStream;
    use quote::quote;

    use super::{Entry, expand, try_expand};

    fn expanded(entry: Entry, arguments: TokenStream, item: TokenStream) -> String {
        try_expand(entry, arguments, item).unwrap().to_string()
    }

    fn refused(arguments: TokenStream, item: TokenStream) -> String {
        try_expand(Entry::Main, arguments, item)
            .unwrap_err()
            .to_string()
    }

    #[test]
    fn main_runs_its_body_on_a_worker() {
        let item = quote! {
            /// Documented.
            pub async fn main() -> Result<(), Error> { work().await?; Ok(()) }
        };
        let expected = quote! {
            /// Documented.
            pub fn main() -> Result<(), Error> {
                async fn main() -> Result<(), Error> { work().await?; Ok(()) }
                ::corelane::Worker::new(::corelane::Config::default())
                    .unwrap_or_else(|error| {
                        ::std::eprintln!("error: {error}");
                        ::std::process::exit(2)
                    })
                    .block_on(main())
            }
        };
        assert_eq!(expanded(Entry::Main, quote!(), item), expected.to_string());
    }

    #[test]
    fn test_becomes_a_test_that_fails_without_a_worker() {
        let item = quote! { #[should_panic] async fn name() {} };
        let expected = quote! {
            #[should_panic]
            #[::core::prelude::v1::test]
            fn name() {
                async fn name() {}
                renamed::inner::Worker::new(renamed::inner::Config::default())
                    .unwrap_or_else(|error| ::core::panic!("cannot make a worker: {error}"))
                    .block_on(name())
            }
        };
        let arguments = quote!(crate = "renamed::inner",);
        assert_eq!(expanded(Entry::Test, arguments, item), expected.to_string());
    }

    #[test]
    fn functions_that_cannot_be_run_are_refused() {
        let cases = [
            (quote! { fn main() {} }, "needs an `async fn`"),
            (
                quote! { async fn main(n: u8) {} },
                "takes a function without arguments",
            ),
            (
                quote! { async fn main<T>() {} },
                "does not take generic parameters",
            ),
            (
                quote! { async fn main<'a>() {} },
                "does not take generic parameters",
            ),
            (
                quote! { async fn main() where u8: Copy {} },
                "does not take a `where` clause",
            ),
            (
                quote! { async unsafe fn main() {} },
                "takes a plain `async fn`",
            ),
            (
                quote! { async extern "C" fn main() {} },
                "does not take an `extern` function",
            ),
        ];
        for (item, expected) in cases {
            let message = refused(quote!(), item);
            assert!(message.starts_with("`#[corelane::main]` "), "{message}");
            assert!(message.contains(expected), "{message}");
        }
    }

    #[test]
    fn arguments_that_are_not_known_are_refused() {
        let item = quote! { async fn main() {} };
        let cases = [
            (
                quote!(threads = 2),
                "unknown argument `threads`; known is `crate = \"path\"`",
            ),
            (quote!(crate = "a", crate = "b"), "`crate` is given twice"),
            (quote!(crate = 5), "expected string literal"),
            (quote!(crate), "expected `=`"),
        ];
        for (arguments, expected) in cases {
            let message = refused(arguments, item.clone());
            assert!(message.contains(expected), "{message}");
        }
    }

    #[test]
    fn a_refused_function_is_kept_beside_the_error() {
        let item = quote! { fn main() {} };
        let tokens = expand(Entry::Main, quote!(), item.clone()).to_string();
        assert!(tokens.contains("compile_error"), "{tokens}");
        assert!(tokens.ends_with(&item.to_string()), "{tokens}");
    }
}
