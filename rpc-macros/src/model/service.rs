//! The trait as a whole: its options, its generics, its items.

use super::{Attributes, Fresh, Method, PollingOptions, Service, ServiceTokens, method};
use crate::parse::Options;
use crate::report::Report;
use proc_macro2::{Ident, Span, TokenStream, TokenTree};
use quote::ToTokens;
use std::collections::HashSet;
use syn::ext::IdentExt;
use syn::{GenericParam, Generics, ItemTrait, TraitItem, WherePredicate, parse_quote};

pub(crate) fn service(options: Options, syntax: ItemTrait, report: &mut Report) -> Service {
    let fresh = Fresh::beside(syntax.to_token_stream());
    if let Some(unsafety) = &syntax.unsafety {
        report.mistake(unsafety, "a service is implemented in safe code: leave out `unsafe`");
    }
    if let Some(auto) = &syntax.modifiers.auto_token {
        report.mistake(auto, "a service is implemented by hand: leave out `auto`");
    }
    let attributes = Attributes::read(syntax.attrs, report, |key, report| {
        let name = key.name();
        let message = format!("`#[rpc({name})]` belongs on a method; a trait has `#[service(...)]`");
        report.mistake(&key, message);
    });
    other_macros(&attributes, report);
    generics(&syntax.generics, report);
    Service {
        krate: options.krate.unwrap_or_else(|| parse_quote!(::rpc)),
        name: options.name.map_or_else(|| syntax.ident.unraw().to_string(), |name| name.value()),
        compact: options.compact.is_some(),
        polling: PollingOptions { inline: options.inline, spawn: options.spawn },
        attributes,
        visibility: syntax.vis,
        tokens: ServiceTokens { trait_token: syntax.trait_token, braces: syntax.brace_token },
        ident: syntax.ident,
        generics: syntax.generics,
        supertraits: syntax.supertraits,
        methods: syntax.items.into_iter().filter_map(|item| method_of(item, report)).collect(),
        fresh,
    }
}

/// The method that an item of the trait is, or what is wrong with it.
fn method_of(item: TraitItem, report: &mut Report) -> Option<Method> {
    match item {
        TraitItem::Fn(item) => return Some(method::method(item, report)),
        TraitItem::Const(item) => {
            report.mistake(
                item.const_token,
                "a constant does not travel: write it outside the trait, or make it a method",
            );
        }
        TraitItem::Type(item) => {
            let message = "the client cannot know the handler's types: write the type in the signature, \
                           or make the trait generic: `trait Name<T>`";
            report.mistake(item.type_token, message);
        }
        TraitItem::Macro(item) => {
            let message = "`#[service]` sees the trait before this macro is expanded: write the methods out, \
                           or have a macro produce the whole trait with its `#[service]`";
            report.mistake(item.mac.path, message);
        }
        other => {
            let start: TokenStream = other.into_token_stream().into_iter().take(1).collect();
            let message = "only `async fn`s stand in a service: leave out `pub` and `default`, \
                           a method is as visible as its trait";
            report.mistake(start, message);
        }
    }
    None
}

fn generics(generics: &Generics, report: &mut Report) {
    for parameter in &generics.params {
        let attributes = match parameter {
            GenericParam::Lifetime(parameter) => {
                let message = "the values of a service outlive any call: leave the lifetime out, \
                               and write references in the arguments without one";
                report.mistake(parameter, message);
                &parameter.attrs
            }
            GenericParam::Type(parameter) => &parameter.attrs,
            GenericParam::Const(parameter) => &parameter.attrs,
        };
        if let Some(attribute) = attributes.first() {
            report.mistake(attribute, "a parameter of the trait takes no attributes: leave it out");
        }
    }
    for predicate in generics.where_clause.iter().flat_map(|clause| &clause.predicates) {
        if let WherePredicate::Type(predicate) = predicate
            && !is_self(&predicate.bounded_ty)
            && let Some(own) = find_self(predicate.to_token_stream())
        {
            let message = "`Self` is another type for the client than for the handler: \
                           only `Self: Bound` can stand in the `where` clause of a service";
            report.mistake(own, message);
        }
    }
    for parameter in generics.type_params() {
        if let Some(own) = find_self(parameter.to_token_stream()) {
            let message =
                "`Self` is another type for the client than for the handler: write a type that both know";
            report.mistake(own, message);
        }
    }
}

/// `Self: Bound` is a supertrait by another spelling.
pub(crate) fn is_self(ty: &syn::Type) -> bool {
    matches!(ty, syn::Type::Path(path) if path.path.is_ident("Self"))
}

fn find_self(tokens: TokenStream) -> Option<Ident> {
    identifiers(tokens).into_iter().find(|ident| ident == "Self")
}

fn other_macros(attributes: &Attributes, report: &mut Report) {
    if let Some(second) = attributes.find("service") {
        report.mistake(second, "`#[service]` stands here a second time: leave one of them out");
    }
    if let Some(boxing) = attributes.find("async_trait") {
        report.mistake(
            boxing,
            "a service has plain `async fn`s: leave out `#[async_trait]`, on its impls as well",
        );
    }
}

impl Fresh {
    fn beside(syntax: TokenStream) -> Fresh {
        let taken: HashSet<String> = identifiers(syntax).iter().map(ToString::to_string).collect();
        let fresh = |name: &str| {
            let numbered = (2_usize..).map(|number| format!("{name}{number}"));
            let mut names = std::iter::once(name.to_owned()).chain(numbered);
            let free = names.find(|name| !taken.contains(name));
            Ident::new(free.as_deref().unwrap_or(name), Span::mixed_site())
        };
        Fresh { handler: fresh("Handler"), via: fresh("Via") }
    }
}

fn identifiers(tokens: TokenStream) -> Vec<Ident> {
    let mut found = Vec::new();
    for token in tokens {
        match token {
            TokenTree::Ident(ident) => found.push(ident),
            TokenTree::Group(group) => found.extend(identifiers(group.stream())),
            TokenTree::Punct(_) | TokenTree::Literal(_) => {}
        }
    }
    found
}
