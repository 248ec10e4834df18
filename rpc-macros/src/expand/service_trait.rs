//! The trait that users implement.

use super::{at, generics};
use crate::model::{Argument, Method, MethodTokens, Outcome, Service, ServiceTokens, stream_in_result};
use proc_macro2::TokenStream;
use quote::{ToTokens, quote, quote_spanned};
use syn::spanned::Spanned;
use syn::{Type, TypeParamBound, parse_quote_spanned};

/// ```text
/// Input:   trait Name { async fn add(&self, a: i64, b: i64) -> i64; }
/// Output:  trait Name: Send + Sync + 'static {
///              fn add(&self, a: i64, b: i64) -> impl Future<Output = i64> + Send;
///          }
/// ```
///
/// An impl writes `async fn add` all the same. To the compiler's lints the trait remains the user's: all tokens
/// of its declaration lie in the user's file, those that are added here included.
pub(super) fn expand(service: &Service) -> TokenStream {
    let Service { visibility, ident, supertraits, .. } = service;
    let ServiceTokens { trait_token, braces } = &service.tokens;
    let attributes = service.attributes.all();
    let parameters = generics::of_trait(service);
    let condition = &parameters.where_clause;
    let supertraits = supertraits.iter();
    let bounds = quote_spanned! {ident.span()=>
        : #(#supertraits +)* ::core::marker::Send + ::core::marker::Sync + 'static
    };
    let methods = service.methods.iter().map(method);
    let mut expanded = quote!(#attributes #visibility #trait_token #ident #parameters #bounds #condition);
    braces.surround(&mut expanded, |inside| inside.extend(methods));
    expanded
}

fn method(method: &Method) -> TokenStream {
    let Method { ident, arguments, .. } = method;
    let MethodTokens { asyncness, fn_token, parentheses, receiver } = &method.tokens;
    let attributes = method.attributes.all();
    let arguments = arguments.iter().map(|Argument { attributes, ident, ty, .. }| {
        let attributes = attributes.all();
        quote!(#attributes #ident: #ty)
    });
    // What the compiler finds wrong with the future is shown at its result.
    let (place, output) = match &method.outcome {
        Outcome::Nothing => (asyncness.span, quote_spanned!(asyncness.span=> ())),
        Outcome::Value(written) | Outcome::Result { written, .. } => (written.span(), quote!(#written)),
        Outcome::Stream { written, .. } => (written.span(), with_send(written)),
    };
    let mut expanded = quote!(#attributes #fn_token #ident);
    parentheses.surround(&mut expanded, |inside| inside.extend(quote!(&#receiver #(, #arguments)*)));
    expanded.extend(quote_spanned! {place=>
        -> impl ::core::future::Future<Output = #output> + ::core::marker::Send
    });
    expanded.extend(match &method.body {
        Some(body) => quote_spanned!(at(asyncness)=> { async move #body }),
        None => quote_spanned!(place=> ;),
    });
    expanded
}

/// `impl Stream<Item = T> + Send`: the future that polls a stream is as `Send` as the stream is.
fn with_send(written: &Type) -> TokenStream {
    let mut output = written.clone();
    if let Some(stream) = stream_in_result(&mut output) {
        let is_send = |bound: &TypeParamBound| match bound {
            TypeParamBound::Trait(bound) => {
                bound.path.segments.last().is_some_and(|last| last.ident == "Send")
            }
            _ => false,
        };
        if !stream.bounds.iter().any(is_send) {
            // Where the bounds end, as lints take the place of a type to reach from its first token to its last.
            let end = stream.bounds.to_token_stream().into_iter().last().map(|token| token.span());
            let end = end.unwrap_or(stream.impl_token.span);
            stream.bounds.push(parse_quote_spanned!(end=> ::core::marker::Send));
        }
    }
    output.into_token_stream()
}
