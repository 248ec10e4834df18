//! The server: what a handler is wrapped in, to be served.

use super::generics::Parameters;
use super::{Names, allow_deprecated, attributes_of_impl, debug, docs};
use crate::model::Service;
use proc_macro2::{Span, TokenStream};
use quote::{quote, quote_spanned};
use syn::ext::IdentExt;

/// ```text
/// Input:   trait Name { ... }
/// Output:  struct NameServer<Handler> { handler: Arc<Handler> }
///          impl From<Handler>, From<Arc<Handler>>, Clone, Debug for NameServer<Handler>
///          impl NameServer<Handler> { fn new }
/// ```
pub(super) fn expand(service: &Service, names: &Names) -> TokenStream {
    let declaration = declaration(service, names);
    let constructor = constructor(service, names);
    let conversions = conversions(service, names);
    let debug = debug(service, &names.server, &names.server_parameters, &[]);
    quote! {
        #declaration
        #constructor
        #conversions
        #debug
    }
}

fn declaration(service: &Service, names: &Names) -> TokenStream {
    let (visibility, handler) = (&service.visibility, &service.fresh.handler);
    let (server, Parameters { declared, .. }) = (&names.server, &names.server_parameters);
    let attributes = service.attributes.for_named();
    let docs = docs(&format!(
        "Serves a [`{}`]: add it to a server, or give it to [`{}::in_process`].",
        service.ident.unraw(),
        names.client
    ));
    let types = names.server_parameters.types_field();
    quote! {
        #docs
        #attributes
        #visibility struct #server #declared {
            handler: ::std::sync::Arc<#handler>,
            #types
        }
    }
}

fn constructor(service: &Service, names: &Names) -> TokenStream {
    let visibility = &service.visibility;
    let (server, Parameters { bounded, .. }) = (&names.server, &names.server_parameters);
    let (bounds, arguments, condition) = bounded.split_for_impl();
    let attributes = service.attributes.for_code();
    let deprecated = allow_deprecated(service.attributes.is_deprecated());
    let docs = docs("Serves `handler`, or an `Arc` of it that the program goes on using.");
    quote_spanned! {Span::mixed_site()=>
        #attributes
        #deprecated
        impl #bounds #server #arguments #condition {
            #docs
            #visibility fn new(handler: impl ::core::convert::Into<Self>) -> Self {
                handler.into()
            }
        }
    }
}

fn conversions(service: &Service, names: &Names) -> TokenStream {
    let handler = &service.fresh.handler;
    let (server, Parameters { bounded, declared, .. }) = (&names.server, &names.server_parameters);
    let (bounds, arguments, condition) = bounded.split_for_impl();
    let (unbounded, ..) = declared.split_for_impl();
    let attributes = attributes_of_impl(service);
    let types = names.server_parameters.types_value();
    quote_spanned! {Span::mixed_site()=>
        #attributes
        impl #bounds ::core::convert::From<#handler> for #server #arguments #condition {
            fn from(handler: #handler) -> Self {
                Self { handler: ::std::sync::Arc::new(handler), #types }
            }
        }

        #attributes
        impl #bounds ::core::convert::From<::std::sync::Arc<#handler>> for #server #arguments #condition {
            fn from(handler: ::std::sync::Arc<#handler>) -> Self {
                Self { handler, #types }
            }
        }

        #attributes
        impl #unbounded ::core::clone::Clone for #server #arguments {
            fn clone(&self) -> Self {
                Self { handler: ::core::clone::Clone::clone(&self.handler), #types }
            }
        }
    }
}
