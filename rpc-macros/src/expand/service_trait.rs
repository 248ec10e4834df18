//! The trait that users implement.

use super::{at, generics};
use crate::model::{Argument, Method, Outcome, Service};
use proc_macro2::TokenStream;
use quote::{ToTokens, quote, quote_spanned};

/// ```text
/// Input:   trait Name { async fn add(&self, a: i64, b: i64) -> i64; }
/// Output:  trait Name: Send + Sync + 'static {
///              fn add(&self, a: i64, b: i64) -> impl Future<Output = i64> + Send;
///          }
/// ```
///
/// An impl writes `async fn add` all the same.
pub(super) fn expand(service: &Service) -> TokenStream {
    let Service { visibility, ident, supertraits, .. } = service;
    let attributes = service.attributes.all();
    let parameters = generics::of_trait(service);
    let condition = &parameters.where_clause;
    let supertraits = supertraits.iter();
    let methods = service.methods.iter().map(method);
    quote! {
        #attributes
        #visibility trait #ident #parameters:
            #(#supertraits +)* ::core::marker::Send + ::core::marker::Sync + 'static #condition
        {
            #(#methods)*
        }
    }
}

fn method(method: &Method) -> TokenStream {
    let Method { ident, receiver, arguments, .. } = method;
    let attributes = method.attributes.all();
    let arguments = arguments.iter().map(|Argument { attributes, ident, ty, .. }| {
        let attributes = attributes.all();
        quote!(#attributes #ident: #ty)
    });
    let output = match &method.outcome {
        Outcome::Nothing => quote!(()),
        Outcome::Value(written) | Outcome::Result { written, .. } => written.to_token_stream(),
    };
    let future = quote_spanned! {at(&method.asyncness)=>
        impl ::core::future::Future<Output = #output> + ::core::marker::Send
    };
    let body = match &method.body {
        Some(body) => quote_spanned!(at(&method.asyncness)=> { async move #body }),
        None => quote!(;),
    };
    quote! {
        #attributes
        fn #ident(&#receiver #(, #arguments)*) -> #future #body
    }
}
