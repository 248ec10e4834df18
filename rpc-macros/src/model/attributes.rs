//! The attributes of a trait, a method or an argument, and where in the generated code each of them belongs.

use crate::keys::Key;
use crate::report::Report;
use proc_macro2::{Ident, TokenStream};
use quote::{ToTokens, quote, quote_spanned};
use syn::parse::Parser;
use syn::punctuated::Punctuated;
use syn::spanned::Spanned;
use syn::{Attribute, Meta, Token, parse_quote_spanned};

/// Attributes in their order, without `#[rpc(...)]`; each `#[cfg_attr(...)]` holds one of them.
#[derive(Default)]
pub(crate) struct Attributes {
    list: Vec<Conditional>,
}

/// `#[meta]`, or `#[cfg_attr(condition, meta)]`.
struct Conditional {
    kind: Kind,
    condition: Option<TokenStream>,
    meta: Meta,
}

#[derive(Clone, Copy, PartialEq)]
enum Kind {
    /// The text of a doc comment.
    Doc,
    /// `#[doc(hidden)]` and the like.
    Rustdoc,
    Cfg,
    Deprecated,
    Lint,
    /// Anything else is about the trait alone: an attribute macro, `#[must_use]`, `#[diagnostic::...]`.
    Other,
}

impl Attributes {
    /// Reads attributes, and hands the keys of each `#[rpc(...)]` among them to `rpc`.
    pub(crate) fn read(
        attributes: Vec<Attribute>,
        report: &mut Report,
        mut rpc: impl FnMut(Key, &mut Report),
    ) -> Attributes {
        let mut read = Attributes::default();
        for attribute in attributes {
            if attribute.path().is_ident("rpc") {
                rpc_keys(&attribute, report).into_iter().for_each(|key| rpc(key, report));
            } else {
                read.add(None, attribute.meta, report);
            }
        }
        read
    }

    /// Adds an attribute, taking `#[cfg_attr(condition, a, b)]` apart.
    fn add(&mut self, condition: Option<TokenStream>, meta: Meta, report: &mut Report) {
        if let Some((inner, metas)) = conditional(&meta) {
            let condition = match condition {
                Some(outer) => quote!(all(#outer, #inner)),
                None => inner.to_token_stream(),
            };
            metas.into_iter().for_each(|meta| self.add(Some(condition.clone()), meta, report));
            return;
        }
        if meta.path().is_ident("rpc") {
            let message = "`#[rpc]` cannot depend on a condition: take it out of the `cfg_attr`, \
                           or write the method twice, each under its `#[cfg]`";
            report.mistake(&meta, message);
            return;
        }
        self.list.push(Conditional::new(condition, meta));
    }

    /// All of them, for the trait itself.
    pub(crate) fn all(&self) -> TokenStream {
        self.list.iter().map(ToTokens::to_token_stream).collect()
    }

    /// For what is generated and has the docs of the item: docs, conditions, deprecation, lints.
    pub(crate) fn for_documented(&self) -> TokenStream {
        self.generated(&[Kind::Doc, Kind::Rustdoc, Kind::Cfg, Kind::Deprecated, Kind::Lint])
    }

    /// For what is generated and has docs of its own: whether they are shown, conditions, deprecation, lints.
    pub(crate) fn for_named(&self) -> TokenStream {
        self.generated(&[Kind::Rustdoc, Kind::Cfg, Kind::Deprecated, Kind::Lint])
    }

    /// For blocks of code, which cannot be deprecated: conditions and lints.
    pub(crate) fn for_code(&self) -> TokenStream {
        self.generated(&[Kind::Cfg, Kind::Lint])
    }

    /// For expressions: conditions.
    pub(crate) fn cfgs(&self) -> TokenStream {
        self.generated(&[Kind::Cfg])
    }

    /// The text of the docs alone.
    pub(crate) fn docs(&self) -> TokenStream {
        self.generated(&[Kind::Doc])
    }

    fn generated(&self, kinds: &[Kind]) -> TokenStream {
        let chosen = self.list.iter().filter(|attribute| kinds.contains(&attribute.kind));
        chosen.map(Conditional::generated).collect()
    }

    /// The first condition under which the item exists.
    pub(crate) fn cfg(&self) -> Option<&Meta> {
        self.list.iter().find(|attribute| attribute.kind == Kind::Cfg).map(|attribute| &attribute.meta)
    }

    /// What is inside each `#[cfg(...)]`: the item exists where all of these hold.
    pub(crate) fn conditions(&self) -> impl Iterator<Item = &TokenStream> {
        self.list.iter().filter_map(|attribute| match &attribute.meta {
            Meta::List(list) if attribute.kind == Kind::Cfg => Some(&list.tokens),
            _ => None,
        })
    }

    pub(crate) fn has_docs(&self) -> bool {
        self.list.iter().any(|attribute| attribute.kind == Kind::Doc)
    }

    pub(crate) fn is_deprecated(&self) -> bool {
        self.list.iter().any(|attribute| attribute.kind == Kind::Deprecated)
    }

    /// The first attribute whose path ends in `name`.
    pub(crate) fn find(&self, name: &str) -> Option<&Meta> {
        let metas = self.list.iter().map(|attribute| &attribute.meta);
        metas.into_iter().find(|meta| meta.path().segments.last().is_some_and(|last| last.ident == name))
    }
}

impl Conditional {
    fn new(condition: Option<TokenStream>, meta: Meta) -> Conditional {
        let kind = Kind::of(&meta);
        match (kind, &condition, &meta) {
            // Only a plain `#[cfg]` may stand on an expression.
            (Kind::Cfg, Some(condition), Meta::List(list)) => {
                let inner = &list.tokens;
                let meta = parse_quote_spanned!(list.path.span()=> cfg(any(not(#condition), all(#inner))));
                Conditional { kind, condition: None, meta }
            }
            _ => Conditional { kind, condition, meta },
        }
    }

    /// The attribute on something that is generated. `expect` becomes `allow` there: the lint that its author
    /// expects is found in the trait, and need not be found again.
    fn generated(&self) -> TokenStream {
        let Conditional { kind, condition, meta } = self;
        let mut meta = meta.clone();
        if let (Kind::Lint, Meta::List(list)) = (kind, &mut meta)
            && list.path.is_ident("expect")
        {
            let expect = list.path.segments[0].ident.span();
            list.path = Ident::new("allow", expect).into();
        }
        Conditional { kind: *kind, condition: condition.clone(), meta }.to_token_stream()
    }
}

impl ToTokens for Conditional {
    fn to_tokens(&self, tokens: &mut TokenStream) {
        let meta = &self.meta;
        let span = meta.path().span();
        tokens.extend(match &self.condition {
            Some(condition) => quote_spanned!(span=> #[cfg_attr(#condition, #meta)]),
            None => quote_spanned!(span=> #[#meta]),
        });
    }
}

impl Kind {
    fn of(meta: &Meta) -> Kind {
        let Some(name) = meta.path().get_ident() else { return Kind::Other };
        match name.to_string().as_str() {
            "doc" if matches!(meta, Meta::NameValue(_)) => Kind::Doc,
            "doc" => Kind::Rustdoc,
            "cfg" => Kind::Cfg,
            "deprecated" => Kind::Deprecated,
            "allow" | "expect" | "warn" | "deny" | "forbid" => Kind::Lint,
            _ => Kind::Other,
        }
    }
}

/// The condition and the attributes of a `cfg_attr`; whatever else it may be is left to the compiler.
fn conditional(meta: &Meta) -> Option<(Meta, Vec<Meta>)> {
    let Meta::List(list) = meta else { return None };
    if !list.path.is_ident("cfg_attr") {
        return None;
    }
    let parts = Punctuated::<Meta, Token![,]>::parse_terminated.parse2(list.tokens.clone()).ok()?;
    let mut parts = parts.into_iter();
    Some((parts.next()?, parts.collect()))
}

fn rpc_keys(attribute: &Attribute, report: &mut Report) -> Vec<Key> {
    match &attribute.meta {
        Meta::List(list) if !list.tokens.is_empty() => {
            report.parsed(Key::parse_list.parse2(list.tokens.clone())).unwrap_or_default()
        }
        _ => {
            report.mistake(attribute, "`#[rpc]` says nothing: write what it is, as in `#[rpc(idempotent)]`");
            Vec::new()
        }
    }
}
