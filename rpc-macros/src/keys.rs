//! The inside of `#[service(...)]` and `#[rpc(...)]`: keys, some with a value.

use crate::report::Report;
use proc_macro2::{Ident, TokenStream, TokenTree};
use quote::{ToTokens, quote};
use syn::ext::IdentExt;
use syn::parse::{Parse, ParseStream};
use syn::punctuated::Punctuated;
use syn::{LitStr, Path, Token};

/// What `#[rpc(...)]` may say of a method.
pub(crate) const METHOD_KEYS: [&str; 7] =
    ["oneway", "idempotent", "no_cancel", "inline", "spawn", "name", "alias"];

/// `key`, `key = value` or `key(...)`: whether the value fits is for the reader of the key to say.
pub(crate) struct Key {
    ident: Ident,
    value: Value,
}

enum Value {
    None,
    Assigned(TokenStream),
    Other(TokenStream),
}

impl Key {
    /// `key, key = value`, with or without a comma at the end.
    pub(crate) fn parse_list(input: ParseStream<'_>) -> syn::Result<Vec<Key>> {
        let keys = Punctuated::<Key, Token![,]>::parse_terminated(input)?;
        Ok(keys.into_iter().collect())
    }

    pub(crate) fn name(&self) -> String {
        self.ident.unraw().to_string()
    }

    /// A key that stands alone, such as `idempotent`.
    pub(crate) fn flag(&self, slot: &mut Option<Ident>, report: &mut Report) {
        if let Value::Assigned(_) | Value::Other(_) = self.value {
            report.mistake(self, format_args!("`{0}` takes no value: write `{0}`", self.name()));
        }
        self.fill(slot, Some(self.ident.clone()), report);
    }

    /// A key with a text, such as `name = "..."`.
    pub(crate) fn text(&self, report: &mut Report) -> Option<LitStr> {
        let text = match &self.value {
            Value::Assigned(value) => syn::parse2(value.clone()).ok(),
            Value::None | Value::Other(_) => None,
        };
        if text.is_none() {
            report.mistake(self, format_args!("`{0}` needs a text: write `{0} = \"...\"`", self.name()));
        }
        text
    }

    /// A key with a path, such as `crate = path`.
    pub(crate) fn path(&self, report: &mut Report) -> Option<Path> {
        let path = match &self.value {
            Value::Assigned(value) => syn::parse::Parser::parse2(Path::parse_mod_style, value.clone()).ok(),
            Value::None | Value::Other(_) => None,
        };
        if path.is_none() {
            let message = "`crate` needs a path, without quotes: write `crate = path::to::rpc`";
            report.mistake(self, message);
        }
        path
    }

    /// Puts a value where only one may stand.
    pub(crate) fn fill<T>(&self, slot: &mut Option<T>, value: Option<T>, report: &mut Report) {
        if slot.is_some() {
            let message = format!("`{}` stands here a second time: leave one of them out", self.name());
            report.mistake(&self.ident, message);
        } else {
            *slot = value;
        }
    }

    /// A key that `attribute` does not have: `elsewhere` says of some where they belong.
    pub(crate) fn unknown(
        &self,
        attribute: &str,
        known: &[&str],
        elsewhere: &[(&str, &str)],
        report: &mut Report,
    ) {
        let name = self.name();
        let hint = if let Some((_, place)) = elsewhere.iter().find(|(key, _)| *key == name) {
            format!("it belongs {place}")
        } else if let Some(near) = nearest(&name, known) {
            format!("did you mean `{near}`?")
        } else {
            let known: Vec<String> = known.iter().map(|key| format!("`{key}`")).collect();
            format!("it takes {}", known.join(", "))
        };
        report.mistake(&self.ident, format_args!("{attribute} has no `{name}`: {hint}"));
    }
}

impl Parse for Key {
    fn parse(input: ParseStream<'_>) -> syn::Result<Self> {
        let ident = input.call(Ident::parse_any)?;
        let assigned = input.parse::<Option<Token![=]>>()?.is_some();
        let mut value = TokenStream::new();
        while !input.is_empty() && !input.peek(Token![,]) {
            value.extend([input.parse::<TokenTree>()?]);
        }
        let value = match (assigned, value.is_empty()) {
            (true, _) => Value::Assigned(value),
            (false, true) => Value::None,
            (false, false) => Value::Other(value),
        };
        Ok(Key { ident, value })
    }
}

impl ToTokens for Key {
    fn to_tokens(&self, tokens: &mut TokenStream) {
        let Key { ident, value } = self;
        tokens.extend(match value {
            Value::None => quote!(#ident),
            Value::Assigned(value) => quote!(#ident = #value),
            Value::Other(value) => quote!(#ident #value),
        });
    }
}

/// The known key that `name` is most likely a slip of, if any is near.
fn nearest<'a>(name: &str, known: &[&'a str]) -> Option<&'a str> {
    let (slips, key) = known.iter().map(|key| (slips(name, key), *key)).min()?;
    (slips <= 1 + key.len() / 4).then_some(key)
}

/// How many characters must be put in, left out or replaced to make `a` out of `b`.
fn slips(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    // `row[j]` is the distance between the part of `a` read so far and the first `j` of `b`.
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, from) in a.chars().enumerate() {
        let mut diagonal = std::mem::replace(&mut row[0], i + 1);
        for (j, to) in b.iter().enumerate() {
            let replaced = diagonal + usize::from(from != *to);
            diagonal = row[j + 1];
            row[j + 1] = replaced.min(diagonal + 1).min(row[j] + 1);
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use super::{METHOD_KEYS, nearest, slips};

    #[test]
    fn slips_are_counted() {
        for (a, b, expected) in [("", "", 0), ("", "abc", 3), ("kitten", "sitting", 3), ("name", "name", 0)] {
            assert_eq!(slips(a, b), expected, "{a} {b}");
            assert_eq!(slips(b, a), expected, "{b} {a}");
        }
    }

    #[test]
    fn only_near_keys_are_suggested() {
        let known = METHOD_KEYS;
        assert_eq!(nearest("idempotant", &known), Some("idempotent"));
        assert_eq!(nearest("one_way", &known), Some("oneway"));
        assert_eq!(nearest("nocancel", &known), Some("no_cancel"));
        assert_eq!(nearest("in_line", &known), Some("inline"));
        assert_eq!(nearest("spawned", &known), Some("spawn"));
        assert_eq!(nearest("timeout", &known), None);
        assert_eq!(nearest("x", &known), None);
    }
}
