//! The dispatcher: how a request finds its method.

use super::generics::Parameters;
use super::{Names, allow_deprecated, at, attributes_of_impl, moved};
use crate::model::{Argument, Method, Outcome, Passing, Service};
use proc_macro2::{Span, TokenStream};
use quote::{quote, quote_spanned};
use syn::LitStr;
use syn::ext::IdentExt;

/// `dead_code` is allowed here so that a program that only calls is not told that it never uses the trait: what is
/// allowed to be unused counts as using what it names.
///
/// ```text
/// Input:   trait Name { async fn add(&self, a: i64, b: i64) -> i64; }
/// Output:  impl Service for NameServer<Handler> {
///              const NAME = "Name";
///              const METHODS = &[Method::new("add", &["a", "b"])];
///              async fn dispatch(&self, request: &Request) -> Reply { ... }
///          }
/// ```
pub(super) fn expand(service: &Service, names: &Names) -> TokenStream {
    let Service { krate, name, .. } = service;
    let (server, Parameters { bounded, .. }) = (&names.server, &names.server_parameters);
    let (bounds, server_arguments, condition) = bounded.split_for_impl();
    let attributes = attributes_of_impl(service);
    let deprecated_method = service.methods.iter().any(|method| method.attributes.is_deprecated());
    let deprecated = allow_deprecated(deprecated_method && !service.attributes.is_deprecated());
    let methods = service.methods.iter().map(|method| description(service, method));
    let body = body(service);
    quote_spanned! {Span::mixed_site()=>
        #attributes
        #deprecated
        #[allow(dead_code)]
        impl #bounds #krate::Service for #server #server_arguments #condition {
            const NAME: &'static str = #name;
            const METHODS: &'static [#krate::Method] = &[#(#methods),*];

            async fn dispatch(&self, request: &#krate::Request) -> #krate::Reply {
                #body
            }
        }
    }
}

/// `Method::new("add", &["a", "b"])`, and what else a server must know of it beforehand.
fn description(service: &Service, method: &Method) -> TokenStream {
    let (krate, options) = (&service.krate, &method.options);
    let (cfgs, name) = (method.attributes.cfgs(), method.name());
    let arguments = method.arguments.iter().map(|Argument { attributes, ident, .. }| {
        let (cfgs, name) = (attributes.cfgs(), LitStr::new(&ident.unraw().to_string(), ident.span()));
        quote!(#cfgs #name)
    });
    let aliases = (!options.aliases.is_empty()).then(|| {
        let aliases = &options.aliases;
        quote!(.aliases(&[#(#aliases),*]))
    });
    let oneway = options.oneway.as_ref().map(|_| quote!(.oneway()));
    let idempotent = options.idempotent.as_ref().map(|_| quote!(.idempotent()));
    let no_cancel = options.no_cancel.as_ref().map(|_| quote!(.no_cancel()));
    let polling = method.polling(service);
    // What is said of a whole service is said of the methods that it can be said of.
    let inline = (polling.inline.is_some() && !method.has_streams()).then(|| quote!(.inline()));
    let spawn = polling.spawn.as_ref().map(|_| quote!(.spawn()));
    let streaming = method.has_streams().then(|| quote!(.streaming()));
    let compact = service.compact.then(|| quote!(.compact()));
    quote! {
        #cfgs #krate::Method::new(#name, &[#(#arguments),*])
            #aliases #oneway #idempotent #no_cancel #inline #spawn #streaming #compact
    }
}

fn body(service: &Service) -> TokenStream {
    if service.methods.is_empty() {
        return quote_spanned!(Span::mixed_site()=> request.unimplemented());
    }
    let arms = service.methods.iter().map(|method| arm(service, method));
    let arguments = Needed::by(service).map(|needed| {
        let cfg = needed.cfg();
        quote_spanned!(Span::mixed_site()=> #cfg let mut arguments = request.arguments()?;)
    });
    quote_spanned! {Span::mixed_site()=>
        #arguments
        match request.method() {
            #(#arms)*
            _ => request.unimplemented(),
        }
    }
}

/// ```text
/// Input:   async fn add(&self, a: i64, b: i64) -> i64;
///          async fn primes(&self, limit: u64) -> impl Stream<Item = u64>;
/// Output:  "add" => request.reply(Name::add(&*self.handler, arguments.next()?, arguments.next()?).await),
///          "primes" => request.stream(Name::primes(&*self.handler, arguments.next()?).await).await,
/// ```
fn arm(service: &Service, method: &Method) -> TokenStream {
    let (cfgs, name, ident) = (method.attributes.cfgs(), method.name(), &method.ident);
    let place = method.outcome.written().map_or_else(|| at(ident), |written| at(&written));
    let service_trait = moved(&service.ident, place);
    let (_, types, _) = service.generics.split_for_impl();
    let types = types.as_turbofish();
    let arguments = method.arguments.iter().map(decoded);
    // Named by its trait, the method is found even where the handler or its `Arc` has another of that name.
    let call = quote_spanned! {place=>
        #service_trait #types::#ident(&*self.handler #(, #arguments)*).await
    };
    let reply = match &method.outcome {
        Outcome::Nothing | Outcome::Value(_) => quote_spanned!(place=> request.reply(#call)),
        Outcome::Result { .. } => quote_spanned!(place=> request.result(#call)),
        Outcome::Stream { item, error, .. } => {
            let stream = if error.is_some() { quote_spanned!(place=> request.opened(#call)?) } else { call };
            match item.error {
                None => quote_spanned!(place=> request.stream(#stream).await),
                Some(_) => quote_spanned!(place=> request.try_stream(#stream).await),
            }
        }
    };
    quote_spanned!(Span::mixed_site()=> #cfgs #name => #reply,)
}

/// The expression that decodes an argument, shown at its type where that cannot be decoded.
fn decoded(argument: &Argument) -> TokenStream {
    let cfgs = argument.attributes.cfgs();
    let place = at(&argument.ty);
    match (&argument.passing, &argument.default) {
        (Passing::Decoded, None) => quote_spanned!(place=> #cfgs arguments.next()?),
        (Passing::Decoded, Some(_)) => quote_spanned!(place=> #cfgs arguments.next_or_default()?),
        (Passing::Lent(ty), _) => quote_spanned!(place=> #cfgs &arguments.next::<#ty>()?),
        (Passing::LentSlice(ty), _) => {
            quote_spanned!(place=> #cfgs &arguments.next::<::std::vec::Vec<#ty>>()?)
        }
        (Passing::Streamed(_), _) => quote_spanned!(place=> #cfgs request.streaming(arguments.next()?)?),
    }
}

/// When a dispatcher has arguments to decode: a local that no method uses would be a warning in the user's crate.
enum Needed {
    Always,
    /// Where one of these conditions holds.
    Where(Vec<TokenStream>),
}

impl Needed {
    fn by(service: &Service) -> Option<Needed> {
        let mut conditions = Vec::new();
        for method in &service.methods {
            for argument in &method.arguments {
                let both: Vec<&TokenStream> =
                    method.attributes.conditions().chain(argument.attributes.conditions()).collect();
                if both.is_empty() {
                    return Some(Needed::Always);
                }
                conditions.push(quote!(all(#(#both),*)));
            }
        }
        (!conditions.is_empty()).then_some(Needed::Where(conditions))
    }

    fn cfg(&self) -> Option<TokenStream> {
        match self {
            Needed::Always => None,
            Needed::Where(conditions) => Some(quote!(#[cfg(any(#(#conditions),*))])),
        }
    }
}
