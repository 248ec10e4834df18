//! What passes the checks, and that nothing makes the macro panic.

use super::expand;
use crate::pipeline;
use proc_macro2::{Group, TokenStream, TokenTree};

#[test]
fn accepted_forms_expand() {
    for (options, item) in [
        ("", "trait Empty {}"),
        ("name = \"\"", "trait Bare { async fn a(&self); }"),
        ("name = \"a.b\", compact,", "trait Named { async fn a(&self); }"),
        ("crate = ::a::b", "trait Elsewhere { async fn a(&self); }"),
        ("crate = self::b", "trait Elsewhere { async fn a(&self); }"),
        ("", "trait Unit { async fn a(&self) -> (); #[rpc(oneway)] async fn b(&self) -> (); }"),
        ("", "trait Attrs { #![allow(dead_code)] async fn a(&self) { #![allow(unused)] } }"),
        ("", "trait Nested { async fn a(&self, a: Option<&str>, b: Vec<(&[u8], &str)>, c: Cow<'_, str>); }"),
        ("", "trait Static { async fn a(&self, a: Cow<'static, str>) -> Cow<'static, str>; }"),
        ("", "trait Lent { async fn a(&self, a: &Vec<&str>, b: &[Option<&str>], c: &'_ str, d: &(u8,)); }"),
        ("", "trait Parens { async fn a(&self, a: (&str), b: &([u8])) -> (Result<(), E>); }"),
        ("", "trait Plain { async fn a(&self) -> search::Result; async fn b(&self) -> Result; }"),
        ("", "trait Cfg { #[cfg(a)] async fn a(&self); #[cfg(b)] async fn a(&self, b: u8); }"),
        ("", "trait Trailing { async fn a(&self, #[rpc(default)] a: u8, #[rpc(default)] #[cfg(x)] b: u8); }"),
        ("", "trait Const<const N: usize> { async fn a(&self, a: Block<N>); }"),
        ("", "trait Both { #[rpc(oneway)] #[rpc(no_cancel)] async fn a(&self); }"),
        ("", "trait Angles<> { async fn a<>(&self); }"),
        ("", "trait Given { async fn a(&self) -> impl Stream<Item = ()>; }"),
        (
            "",
            "trait Elsewhere { async fn a(&self) -> (impl futures_core::Stream<Item = Cow<'static, str>>); }",
        ),
        ("", "trait Beside { async fn a(&self) -> impl 'static + Unpin + Stream<Item = u8> + Sync; }"),
        ("", "trait Opened { async fn a(&self) -> io::Result<(impl Stream<Item = u8>), E>; }"),
        ("", "trait Alias { async fn a(&self) -> impl Stream<Item = io::Outcome>; }"),
        (
            "",
            "trait Taken { async fn a(&self, a: (rpc::Streaming<(u8, String)>), b: ::rpc::Streaming<u8, E>); }",
        ),
        (
            "",
            "trait Results { async fn a(&self, a: Streaming<Result<u8, E>>, b: Streaming<io::Result<u8>>); }",
        ),
        ("", "trait Streaming { async fn streaming(&self, streaming: Streaming<Stream>) -> Stream; }"),
        (
            "",
            "trait Both { #[rpc(no_cancel)] async fn a(&self, a: Streaming<u8>) -> impl Stream<Item = u8>; }",
        ),
        ("inline", "trait Fixed { async fn a(&self); #[rpc(spawn)] async fn b(&self); }"),
        ("spawn, compact", "trait Fixed { #[rpc(inline)] async fn a(&self); async fn b(&self); }"),
        ("inline", "trait Flows { async fn a(&self) -> impl Stream<Item = u8>; }"),
        ("", "trait Flows { #[rpc(spawn)] async fn a(&self, a: Streaming<u8>); }"),
        ("", "trait Again { #[rpc(idempotent)] async fn a(&self) -> impl Stream<Item = u8>; }"),
    ] {
        expand(options, item).unwrap_or_else(|errors| panic!("{item}: {errors:?}"));
    }
}

#[test]
fn the_most_arguments() {
    let list = |count: usize| (0..count).map(|n| format!(", a{n}: u8")).collect::<String>();
    assert!(expand("", &format!("trait Long {{ async fn a(&self{}); }}", list(16))).is_ok());
    assert!(expand("", &format!("trait Long {{ async fn a(&self{}); }}", list(17))).is_err());
}

#[test]
fn streams_are_numbered_among_themselves() {
    let item = "trait Some { async fn a(&self, a: u8, b: Streaming<u8>, c: &str, d: Streaming<u8, E>); }";
    let expanded = expand("", item).unwrap();
    let call = "(a, ::rpc::StreamArgument(1), c, ::rpc::StreamArgument(2))";
    assert!(expanded.contains(call), "{expanded}");
    assert!(expanded.contains(".stream(b)\n            .try_stream(d)"), "{expanded}");
}

#[test]
fn a_stream_is_send_once() {
    for (result, declared) in [
        ("impl Stream<Item = u8>", "impl Stream<Item = u8> + ::core::marker::Send,"),
        ("impl Stream<Item = u8> + Send", "impl Stream<Item = u8> + Send,"),
        ("impl Send + Stream<Item = u8>", "impl Send + Stream<Item = u8>,"),
        ("impl core::marker::Send + Stream<Item = u8>", "impl core::marker::Send + Stream<Item = u8>,"),
        ("impl Stream<Item = u8> +", "impl Stream<Item = u8> + ::core::marker::Send,"),
        (
            "Result<impl Stream<Item = u8>, Send>",
            "Result<impl Stream<Item = u8> + ::core::marker::Send, Send>,",
        ),
    ] {
        let expanded = expand("", &format!("trait Some {{ async fn a(&self) -> {result}; }}")).unwrap();
        assert!(expanded.contains(&format!("Output = {declared}")), "{result}: {expanded}");
    }
}

#[test]
fn a_dispatcher_without_arguments_decodes_none() {
    let none = expand("", "trait None { async fn a(&self); }").unwrap();
    assert!(!none.contains("let mut arguments"), "{none}");
    let sometimes = "trait Some { #[cfg(a)] async fn a(&self, #[rpc(default)] #[cfg(b)] b: u8); }";
    let sometimes = expand("", sometimes).unwrap();
    assert!(sometimes.contains("#[cfg(any(all(a, b)))]\n        let mut arguments"), "{sometimes}");
}

#[test]
fn type_parameters_of_the_macro_are_fresh() {
    let expanded = expand("", "trait Handler<Via> { async fn a(&self, a: Handler2) -> Via; }").unwrap();
    assert!(expanded.contains("HandlerServer<Via, Handler3>"), "{expanded}");
    assert!(expanded.contains("fn connect<Via2>"), "{expanded}");
}

#[test]
fn a_method_decides_before_its_service_where_it_starts() {
    let methods = "trait Some { async fn a(&self); #[rpc(inline)] async fn b(&self); #[rpc(spawn)] \
                   async fn c(&self); async fn d(&self) -> impl Stream<Item = u8>; }";
    for (options, expected) in [
        ("", ["", ".inline()", ".spawn()", ""]),
        ("inline", [".inline()", ".inline()", ".spawn()", ""]),
        ("spawn", [".spawn()", ".inline()", ".spawn()", ".spawn()"]),
    ] {
        let expanded = expand(options, methods).unwrap();
        for (name, polling) in ["a", "b", "c", "d"].iter().zip(expected) {
            let streaming = if *name == "d" { ".streaming()" } else { "" };
            let method = format!("::rpc::Method::new(\"{name}\", &[]){polling}{streaming},");
            assert!(expanded.contains(&method), "{options}: {method}: {expanded}");
        }
    }
}

/// Leaves out every token in turn: what is left may be refused, but is neither a panic nor garbage.
#[test]
fn no_damage_makes_it_panic() {
    for source in [
        include_str!("../../tests/snapshots/small.rs"),
        include_str!("../../tests/snapshots/generic.rs"),
        include_str!("../../tests/snapshots/decorated.rs"),
        include_str!("../../tests/snapshots/streams.rs"),
    ] {
        let whole: TokenStream = source.parse().unwrap();
        let damaged = without_each(&whole);
        assert!(damaged.len() > 100);
        for item in damaged {
            if let Ok(expanded) = pipeline::run(TokenStream::new(), item.clone()) {
                syn::parse2::<syn::File>(expanded).unwrap_or_else(|error| panic!("{error}\n{item}"));
            }
        }
    }
}

/// Every stream that is `tokens` without one of its tokens, at any depth.
fn without_each(tokens: &TokenStream) -> Vec<TokenStream> {
    let all: Vec<TokenTree> = tokens.clone().into_iter().collect();
    let mut found = Vec::new();
    for position in 0..all.len() {
        let with = |replacement: Option<TokenTree>| {
            let (before, after) = (&all[..position], &all[position + 1..]);
            before.iter().cloned().chain(replacement).chain(after.iter().cloned()).collect()
        };
        found.push(with(None));
        if let TokenTree::Group(group) = &all[position] {
            let inner = without_each(&group.stream()).into_iter();
            found.extend(inner.map(|inner| with(Some(Group::new(group.delimiter(), inner).into()))));
        }
    }
    found
}
