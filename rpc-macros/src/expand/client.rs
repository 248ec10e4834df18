//! The client: a stub for each method.

use super::generics::Parameters;
use super::{Names, allow_deprecated, at, attributes_of_impl, debug, docs, generics, located, moved};
use crate::model::{Argument, Item, Method, Outcome, Passing, Service};
use proc_macro2::{Literal, Span, TokenStream};
use quote::{quote, quote_spanned};
use syn::ext::IdentExt;
use syn::{LitStr, Path};

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
///          async fn sum(&self, numbers: Streaming<i64>) -> i64;
/// Output:  fn divide(&self, dividend: i64, divisor: i64) -> Call<i64, MathError> {
///              self.channel.call("Name.divide", (dividend, divisor))
///          }
///          fn sum(&self, numbers: impl Stream<Item = i64> + Send + 'static) -> Call<i64> {
///              self.channel.call("Name.sum", (StreamArgument(1),)).stream(numbers)
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
    let parameters = arguments.iter().map(|argument| parameter(krate, argument));
    let values = values(krate, arguments);
    // A tuple of one needs a comma; every other reads better without.
    let comma = (arguments.len() == 1).then(|| quote!(,));
    // What the compiler may find wrong with the result is shown at the result.
    let place = method.outcome.written().map_or_else(|| at(&ident), |written| at(&written));
    let here = located(krate, place);
    let result = match &method.outcome {
        Outcome::Nothing => quote!(()),
        Outcome::Value(ty) => quote!(#ty),
        Outcome::Result { value, error, .. } => quote!(#value, #error),
        Outcome::Stream { item: Item { value, error: ends }, error, .. } => {
            let (ends, error) = (ends.iter(), error.iter());
            quote_spanned!(place=> #here::Streaming<#value #(, #ends)*> #(, #error)*)
        }
    };
    let result = quote_spanned!(place=> #here::Call<#result>);
    let call = match (&options.oneway, service.compact) {
        (None, false) => quote_spanned!(place=> call),
        (None, true) => quote_spanned!(place=> call_compact),
        (Some(_), false) => quote_spanned!(place=> notify),
        (Some(_), true) => quote_spanned!(place=> notify_compact),
    };
    let idempotent = options.idempotent.as_ref().map(|_| quote!(.idempotent()));
    let streams = arguments.iter().filter_map(stream);
    let call = quote_spanned! {place=>
        self.channel.#call(#wire_name, (#(#values),* #comma)) #idempotent #(#streams)*
    };
    quote_spanned! {ident.span()=>
        #documentation
        #attributes
        #visibility fn #ident(&self #(, #parameters)*) -> #result {
            #call
        }
    }
}

/// `name: T`; where the handler takes a stream, callers give any.
fn parameter(krate: &Path, argument: &Argument) -> TokenStream {
    let Argument { attributes, ident, ty, passing, .. } = argument;
    let (attributes, ident) = (attributes.for_code(), moved(ident, at(ident)));
    let Passing::Streamed(Item { value, error }) = passing else { return quote!(#attributes #ident: #ty) };
    let place = at(ty);
    let krate = located(krate, place);
    let item = match error {
        None => quote!(#value),
        Some(error) => quote_spanned!(place=> ::core::result::Result<#value, #error>),
    };
    quote_spanned! {place=>
        #attributes #ident: impl #krate::Stream<Item = #item> + ::core::marker::Send + 'static
    }
}

/// The arguments as they are sent. In place of a stream stands its number: the first is 1, as 0 is the reply's.
fn values(krate: &Path, arguments: &[Argument]) -> Vec<TokenStream> {
    let mut streams = 0;
    let value = |argument: &Argument| {
        let Argument { attributes, ident, ty, .. } = argument;
        let (attributes, ident) = (attributes.cfgs(), moved(ident, at(ident)));
        if argument.is_stream() {
            streams += 1;
            let number = Literal::usize_unsuffixed(streams);
            quote_spanned!(at(ty)=> #krate::StreamArgument(#number))
        } else {
            quote!(#attributes #ident)
        }
    };
    arguments.iter().map(value).collect()
}

/// `.stream(name)`, which hands a stream to its call.
fn stream(argument: &Argument) -> Option<TokenStream> {
    let Argument { ident, ty, passing, .. } = argument;
    let Passing::Streamed(item) = passing else { return None };
    let (ident, place) = (moved(ident, at(ident)), at(ty));
    Some(match item.error {
        None => quote_spanned!(place=> .stream(#ident)),
        Some(_) => quote_spanned!(place=> .try_stream(#ident)),
    })
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
