//! The client: a stub for each method.

use super::generics::Parameters;
use super::{Names, allow_deprecated, at, attributes_of_impl, debug, docs, generics, moved};
use crate::model::{Argument, Method, Outcome, Service};
use proc_macro2::{Span, TokenStream};
use quote::{quote, quote_spanned};
use syn::LitStr;
use syn::ext::IdentExt;

/// ```text
/// Input:   trait Name { ... }
/// Output:  struct NameClient { channel: Channel }
///          impl NameClient { fn new; fn connect; fn in_process; each method }
///          impl Clone, Debug, From<Channel>, AsRef<Channel> for NameClient
/// ```
pub(super) fn expand(service: &Service, names: &Names) -> TokenStream {
    let (declaration, constructors) = (declaration(service, names), constructors(service, names));
    let methods = service.methods.iter().map(|method| stub(service, method));
    let attributes = service.attributes.for_code();
    let deprecated = allow_deprecated(service.attributes.is_deprecated());
    let (client, Parameters { bounded, .. }) = (&names.client, &names.client_parameters);
    let (bounds, arguments, condition) = bounded.split_for_impl();
    let conversions = conversions(service, names);
    let debug = debug(service, client, &names.client_parameters, &["channel"]);
    quote! {
        #declaration

        #attributes
        #deprecated
        impl #bounds #client #arguments #condition {
            #constructors
            #(#methods)*
        }

        #conversions
        #debug
    }
}

fn declaration(service: &Service, names: &Names) -> TokenStream {
    let Service { krate, visibility, .. } = service;
    let (client, Parameters { declared, .. }) = (&names.client, &names.client_parameters);
    let attributes = service.attributes.for_named();
    let own = docs(&format!(
        "Calls a [`{}`] through a channel.\n\n\
         Each method makes one call, which begins when it is first polled. Clones share the channel.",
        service.ident.unraw()
    ));
    let paragraph = service.attributes.has_docs().then(|| docs("\n"));
    let theirs = service.attributes.docs();
    let types = names.client_parameters.types_field();
    quote! {
        #own
        #paragraph
        #theirs
        #attributes
        #visibility struct #client #declared {
            channel: #krate::Channel,
            #types
        }
    }
}

fn constructors(service: &Service, names: &Names) -> TokenStream {
    let Service { krate, visibility, fresh, .. } = service;
    let (server, handler, via) = (&names.server, &fresh.handler, &fresh.via);
    let (_, server_arguments, _) = names.server_parameters.declared.split_for_impl();
    let bound = generics::implemented(service);
    let types = names.client_parameters.types_value();
    let new = docs("A client that calls through `channel`, which others may share.");
    let connect = docs(
        "Connects to a server, such as `\"tcp://127.0.0.1:9000\"`: await it, or call `blocking()` on it.",
    );
    let in_process =
        docs("A client of a server in this process: values are marshalled, but cross no socket.");
    quote_spanned! {Span::mixed_site()=>
        #new
        #visibility fn new(channel: #krate::Channel) -> Self {
            Self { channel, #types }
        }

        #connect
        #visibility fn connect<#via>(to: impl #krate::Connect<#via>) -> #krate::Connecting<Self> {
            #krate::Connecting::new(to)
        }

        #in_process
        #visibility fn in_process<#handler: #bound>(service: #server #server_arguments) -> Self {
            Self::new(#krate::Channel::in_process(service))
        }
    }
}

/// ```text
/// Input:   async fn divide(&self, dividend: i64, divisor: i64) -> Result<i64, MathError>;
/// Output:  fn divide(&self, dividend: i64, divisor: i64) -> Call<i64, MathError> {
///              self.channel.call("Name.divide", (dividend, divisor))
///          }
/// ```
fn stub(service: &Service, method: &Method) -> TokenStream {
    let Service { krate, visibility, .. } = service;
    let Method { ident, arguments, options, .. } = method;
    let attributes = method.attributes.for_documented();
    // In generated code the compiler's lints are silent: what they say of names, they have said of the trait.
    let ident = moved(ident, at(ident));
    let wire_name = wire_name(service, method);
    let documentation =
        (!method.attributes.has_docs()).then(|| docs(&format!("Calls `{}`.", wire_name.value())));
    let parameters = arguments.iter().map(|Argument { attributes, ident, ty, .. }| {
        let (attributes, ident) = (attributes.for_code(), moved(ident, at(ident)));
        quote!(#attributes #ident: #ty)
    });
    let values = arguments.iter().map(|Argument { attributes, ident, .. }| {
        let (attributes, ident) = (attributes.cfgs(), moved(ident, at(ident)));
        quote!(#attributes #ident)
    });
    // A tuple of one needs a comma; every other reads better without.
    let comma = (arguments.len() == 1).then(|| quote!(,));
    // What the compiler may find wrong with the result is shown at the result.
    let (result, place) = match &method.outcome {
        Outcome::Nothing => (quote!(()), at(&ident)),
        Outcome::Value(ty) => (quote!(#ty), at(ty)),
        Outcome::Result { written, value, error } => (quote!(#value, #error), at(written)),
    };
    let call = match (&options.oneway, service.compact) {
        (None, false) => quote_spanned!(place=> call),
        (None, true) => quote_spanned!(place=> call_compact),
        (Some(_), false) => quote_spanned!(place=> notify),
        (Some(_), true) => quote_spanned!(place=> notify_compact),
    };
    let idempotent = options.idempotent.as_ref().map(|_| quote!(.idempotent()));
    quote_spanned! {ident.span()=>
        #documentation
        #attributes
        #visibility fn #ident(&self #(, #parameters)*) -> #krate::Call<#result> {
            self.channel.#call(#wire_name, (#(#values),* #comma)) #idempotent
        }
    }
}

fn wire_name(service: &Service, method: &Method) -> LitStr {
    let name = method.name();
    let full = match service.name.as_str() {
        "" => name.value(),
        service => format!("{service}.{}", name.value()),
    };
    LitStr::new(&full, name.span())
}

fn conversions(service: &Service, names: &Names) -> TokenStream {
    let krate = &service.krate;
    let (client, parameters) = (&names.client, &names.client_parameters);
    let (declared, arguments, _) = parameters.declared.split_for_impl();
    let attributes = attributes_of_impl(service);
    let types = parameters.types_value();
    quote_spanned! {Span::mixed_site()=>
        #attributes
        impl #declared ::core::convert::From<#krate::Channel> for #client #arguments {
            fn from(channel: #krate::Channel) -> Self {
                Self { channel, #types }
            }
        }

        #attributes
        impl #declared ::core::convert::AsRef<#krate::Channel> for #client #arguments {
            fn as_ref(&self) -> &#krate::Channel {
                &self.channel
            }
        }

        #attributes
        impl #declared ::core::clone::Clone for #client #arguments {
            fn clone(&self) -> Self {
                Self { channel: ::core::clone::Clone::clone(&self.channel), #types }
            }
        }
    }
}
