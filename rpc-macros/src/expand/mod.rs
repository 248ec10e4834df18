//! Meaning to Rust: the trait, its client, its server.
//!
//! What is written here is read with cargo-expand: a method of the client is one statement, a method of the
//! dispatcher one arm. Names of items are absolute, locals are hygienic (`Span::mixed_site`), and what the
//! compiler may find wrong with a type of the user's is spanned at that type.

mod client;
mod dispatcher;
mod generics;
mod server;
mod service_trait;

use crate::model::Service;
use proc_macro2::{Ident, Span, TokenStream, TokenTree};
use quote::{ToTokens, format_ident, quote, quote_spanned};
use syn::Path;
use syn::ext::IdentExt;
use syn::spanned::Spanned;

use self::generics::Parameters;

/// ```text
/// Input:   trait Name { ... }
/// Output:  trait Name { ... }                              what the user implements
///          struct NameClient { ... }                       what callers call
///          struct NameServer<Handler> { ... }              what a server is given
///          impl rpc::Service for NameServer<Handler>       how a request finds its method
/// ```
pub(crate) fn service(service: &Service) -> TokenStream {
    let names = Names::of(service);
    let service_trait = service_trait::expand(service);
    let client = client::expand(service, &names);
    let server = server::expand(service, &names);
    let dispatcher = dispatcher::expand(service, &names);
    quote! {
        #service_trait
        #client
        #server
        #dispatcher
    }
}

/// The types that are generated, and the type parameters that each of them has.
struct Names {
    client: Ident,
    server: Ident,
    client_parameters: Parameters,
    server_parameters: Parameters,
}

impl Names {
    fn of(service: &Service) -> Names {
        Names {
            client: format_ident!("{}Client", service.ident.unraw(), span = service.ident.span()),
            server: format_ident!("{}Server", service.ident.unraw(), span = service.ident.span()),
            client_parameters: Parameters::of_client(service),
            server_parameters: Parameters::of_server(service),
        }
    }
}

/// What stands on each generated impl of a trait.
fn attributes_of_impl(service: &Service) -> TokenStream {
    let attributes = service.attributes.for_code();
    let deprecated = allow_deprecated(service.attributes.is_deprecated());
    quote!(#attributes #deprecated #[automatically_derived])
}

/// Generated code may name what is deprecated: only the user's own code is warned of it.
fn allow_deprecated(needed: bool) -> Option<TokenStream> {
    needed.then(|| quote!(#[allow(deprecated)]))
}

/// `#[doc = " ..."]` for each line, as `///` gives it.
fn docs(text: &str) -> TokenStream {
    let lines = text.lines().map(|line| if line.is_empty() { String::new() } else { format!(" {line}") });
    lines.map(|line| quote!(#[doc = #line])).collect()
}

/// Locals written here are hygienic, and errors are shown at `place`.
fn at(place: &impl ToTokens) -> Span {
    Span::mixed_site().located_at(place.span())
}

/// The same name at another place.
fn moved(ident: &Ident, place: Span) -> Ident {
    let mut ident = ident.clone();
    ident.set_span(place);
    ident
}

/// The same path with its names resolved as before, at another place.
fn located(path: &Path, place: Span) -> TokenStream {
    let there = |mut token: TokenTree| {
        token.set_span(token.span().located_at(place));
        token
    };
    path.to_token_stream().into_iter().map(there).collect()
}

/// `impl Debug`, with the fields in `shown`.
fn debug(service: &Service, name: &Ident, parameters: &Parameters, shown: &[&str]) -> TokenStream {
    let attributes = attributes_of_impl(service);
    let (declared, arguments, _) = parameters.declared.split_for_impl();
    let text = name.to_string();
    let fields = shown.iter().map(|field| {
        let ident = format_ident!("{field}");
        quote_spanned!(Span::mixed_site()=> .field(#field, &self.#ident))
    });
    let finish =
        if shown.is_empty() { format_ident!("finish_non_exhaustive") } else { format_ident!("finish") };
    quote_spanned! {Span::mixed_site()=>
        #attributes
        impl #declared ::core::fmt::Debug for #name #arguments {
            fn fmt(&self, formatter: &mut ::core::fmt::Formatter<'_>) -> ::core::fmt::Result {
                formatter.debug_struct(#text) #(#fields)* .#finish()
            }
        }
    }
}
