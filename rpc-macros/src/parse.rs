//! Tokens to syntax: the options of `#[service(...)]` and the trait that it stands on.

use crate::keys::Key;
use crate::report::Report;
use proc_macro2::{Ident, TokenStream};
use quote::ToTokens;
use syn::parse::Parser;
use syn::{Item, ItemTrait, LitStr, Path};

/// What `#[service(...)]` says.
#[derive(Default)]
pub(crate) struct Options {
    pub(crate) name: Option<LitStr>,
    pub(crate) krate: Option<Path>,
    pub(crate) compact: Option<Ident>,
    pub(crate) inline: Option<Ident>,
    pub(crate) spawn: Option<Ident>,
}

/// Reads `name = "...", crate = path, compact, inline`.
pub(crate) fn options(tokens: TokenStream, report: &mut Report) -> Options {
    let mut options = Options::default();
    for key in report.parsed(Key::parse_list.parse2(tokens)).unwrap_or_default() {
        match key.name().as_str() {
            "name" => {
                let name = key.text(report);
                key.fill(&mut options.name, name, report);
            }
            "crate" => {
                let krate = key.path(report);
                key.fill(&mut options.krate, krate, report);
            }
            "compact" => key.flag(&mut options.compact, report),
            "inline" => key.flag(&mut options.inline, report),
            "spawn" => key.flag(&mut options.spawn, report),
            _ => {
                let on_methods = "on a method: `#[rpc(...)]`";
                let elsewhere = ["oneway", "idempotent", "no_cancel", "alias"].map(|key| (key, on_methods));
                let known = ["name", "crate", "compact", "inline", "spawn"];
                key.unknown("`#[service]`", &known, &elsewhere, report);
            }
        }
    }
    options
}

/// Reads the trait, or says why this is none.
pub(crate) fn item(tokens: TokenStream, report: &mut Report) -> Option<ItemTrait> {
    let (place, message): (TokenStream, &str) = match report.parsed(syn::parse2::<Item>(tokens))? {
        Item::Trait(item) => return Some(item),
        Item::Impl(item) => (
            item.impl_token.to_token_stream(),
            "`#[service]` stands on the trait: leave it out here, an impl of a service is an ordinary impl",
        ),
        Item::TraitAlias(item) => (
            item.trait_token.to_token_stream(),
            "a trait alias has no methods: write `trait Name: Bounds { async fn ... }`",
        ),
        other => (
            other.to_token_stream(),
            "`#[service]` stands on a trait: write `#[service] trait Name { async fn method(&self); }`",
        ),
    };
    report.mistake(place, message);
    None
}
