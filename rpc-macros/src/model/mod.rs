//! Syntax to meaning: what a service is, once the spelling of its trait is forgotten.
//!
//! What the model cannot hold is reported where it is met; the part concerned is then filled in as well as can
//! be, so that the checks after it still see every method and argument.

mod argument;
mod attributes;
mod method;
mod service;
mod stream;
mod types;
mod walk;

pub(crate) use self::attributes::Attributes;
pub(crate) use self::service::{is_self, service};
pub(crate) use self::stream::in_result as stream_in_result;
pub(crate) use self::types::plain;

use proc_macro2::Ident;
use syn::ext::IdentExt;
use syn::punctuated::Punctuated;
use syn::{Block, Generics, LitStr, Path, Token, Type, TypeParamBound, Visibility, token};

/// A trait that is served.
pub(crate) struct Service {
    /// Where the runtime is found: `::rpc`, or what `#[service(crate = ...)]` says.
    pub(crate) krate: Path,
    pub(crate) attributes: Attributes,
    pub(crate) visibility: Visibility,
    pub(crate) ident: Ident,
    pub(crate) tokens: ServiceTokens,
    /// The trait's name on the wire; empty gives bare method names.
    pub(crate) name: String,
    /// Whether structs travel without the names of their fields.
    pub(crate) compact: bool,
    /// What holds for the methods that do not say it themselves.
    pub(crate) polling: PollingOptions,
    /// As written: the bounds that all values need are added when the code is generated.
    pub(crate) generics: Generics,
    pub(crate) supertraits: Punctuated<TypeParamBound, Token![+]>,
    pub(crate) methods: Vec<Method>,
    /// Names for the type parameters that generated code adds: no name in the trait is one of them.
    pub(crate) fresh: Fresh,
}

/// Names of type parameters that appear nowhere in the trait.
pub(crate) struct Fresh {
    pub(crate) handler: Ident,
    pub(crate) via: Ident,
}

/// One `async fn` of the trait.
pub(crate) struct Method {
    pub(crate) attributes: Attributes,
    pub(crate) ident: Ident,
    pub(crate) tokens: MethodTokens,
    pub(crate) options: MethodOptions,
    pub(crate) arguments: Vec<Argument>,
    pub(crate) outcome: Outcome,
    pub(crate) body: Option<Block>,
}

/// Tokens of the trait that keep their place in the user's file: lints and hygiene go by it.
pub(crate) struct ServiceTokens {
    pub(crate) trait_token: Token![trait],
    pub(crate) braces: token::Brace,
}

/// Tokens of a method that keep their place in the user's file: lints and hygiene go by it.
pub(crate) struct MethodTokens {
    pub(crate) asyncness: Token![async],
    pub(crate) fn_token: Token![fn],
    pub(crate) parentheses: token::Paren,
    /// The body's own `self` is this one.
    pub(crate) receiver: Token![self],
}

/// What `#[rpc(...)]` on a method says, each with the token that says it.
#[derive(Default)]
pub(crate) struct MethodOptions {
    pub(crate) name: Option<LitStr>,
    pub(crate) aliases: Vec<LitStr>,
    pub(crate) oneway: Option<Ident>,
    pub(crate) idempotent: Option<Ident>,
    pub(crate) no_cancel: Option<Ident>,
    pub(crate) polling: PollingOptions,
}

/// Where a handler is polled first, each with the token that says it: at most one of them in a service without
/// mistakes.
#[derive(Default)]
pub(crate) struct PollingOptions {
    pub(crate) inline: Option<Ident>,
    pub(crate) spawn: Option<Ident>,
}

/// One argument of a method.
pub(crate) struct Argument {
    pub(crate) attributes: Attributes,
    pub(crate) ident: Ident,
    /// As written.
    pub(crate) ty: Type,
    pub(crate) passing: Passing,
    /// `#[rpc(default)]`: may be missing in what a caller sends.
    pub(crate) default: Option<Ident>,
}

/// How an argument that was decoded reaches the handler.
pub(crate) enum Passing {
    /// As it is decoded. `&str` and `&[u8]` are of this kind: they are decoded in place.
    Decoded,
    /// `&T`: the `T` is decoded, and lent for the time of the call.
    Lent(Type),
    /// `&[T]`: a vector of `T` is decoded, and lent for the time of the call.
    LentSlice(Type),
    /// `Streaming<T>`: its number is decoded, and the stream of that number is handed on.
    Streamed(Item),
}

/// What a method gives back.
pub(crate) enum Outcome {
    Nothing,
    Value(Box<Type>),
    /// `written` is the whole type, by whatever path its author calls `Result`.
    Result {
        written: Box<Type>,
        value: Box<Type>,
        error: Box<Type>,
    },
    /// `impl Stream<Item = T>`, or a `Result` of one, which then has an `error`.
    Stream {
        written: Box<Type>,
        item: Item,
        error: Option<Box<Type>>,
    },
}

/// What a stream carries: values, and an error that ends it early if it has one of its own.
pub(crate) struct Item {
    pub(crate) value: Box<Type>,
    pub(crate) error: Option<Box<Type>>,
}

impl Outcome {
    /// The type as it stands in the trait, if there is one that matters.
    pub(crate) fn written(&self) -> Option<&Type> {
        match self {
            Outcome::Nothing => None,
            Outcome::Value(written) | Outcome::Result { written, .. } | Outcome::Stream { written, .. } => {
                Some(written)
            }
        }
    }
}

impl PollingOptions {
    fn is_given(&self) -> bool {
        self.inline.is_some() || self.spawn.is_some()
    }
}

impl Argument {
    pub(crate) fn is_stream(&self) -> bool {
        matches!(self.passing, Passing::Streamed(_))
    }
}

impl Method {
    /// Whether a call of it has streams, in its arguments or as its reply.
    pub(crate) fn has_streams(&self) -> bool {
        matches!(self.outcome, Outcome::Stream { .. }) || self.arguments.iter().any(Argument::is_stream)
    }

    /// What it says of its polling, or else what its service says.
    pub(crate) fn polling<'a>(&'a self, service: &'a Service) -> &'a PollingOptions {
        let own = &self.options.polling;
        if own.is_given() { own } else { &service.polling }
    }

    /// The method's name on the wire, within its service.
    pub(crate) fn name(&self) -> LitStr {
        self.options
            .name
            .clone()
            .unwrap_or_else(|| LitStr::new(&self.ident.unraw().to_string(), self.ident.span()))
    }
}
