//! What is refused, by a fragment of each message. Where each message points is seen in the `ui` tests.

use super::expand;

/// Each is the only mistake in its trait: the inside of `trait Name { ... }`.
const IN_TRAITS: &[(&str, &str)] = &[
    // Receivers.
    ("async fn a(&mut self);", "share the handler: write `&self`"),
    ("async fn a(self);", "does not use up the handler: write `&self`"),
    ("async fn a(mut self);", "does not use up the handler: write `&self`"),
    ("async fn a(&'static self);", "no lifetimes of its own: write `&self`"),
    ("async fn a(self: Arc<Self>);", "lends it to each call: write `&self`"),
    ("async fn a(self: &Self);", "by reference: write `&self`"),
    ("async fn a();", "write `async fn a(&self, ...)`"),
    ("async fn a(#[rpc(default)] &self);", "says nothing about `self`"),
    // Around the name.
    ("fn a(&self);", "write `async fn a`"),
    ("const async fn a(&self);", "leave out `const`"),
    ("async unsafe fn a(&self);", "cannot keep an `unsafe` promise"),
    ("async extern \"C\" fn a(&self);", "leave out `extern`"),
    ("async fn a(&self, ...);", "`Vec<T>` in place of `...`"),
    ("async fn a<T>(&self);", "make the trait generic: `trait Name<T>`"),
    ("async fn a<'a>(&self);", "leave it out, a reference lives as long as the call"),
    ("async fn a<const N: usize>(&self);", "`trait Name<const N: usize>`"),
    ("async fn a(&self) where Self: Sized;", "move its `where` clause to the trait"),
    ("pub async fn a(&self);", "leave out `pub`"),
    ("default async fn a(&self);", "leave out `pub` and `default`"),
    // Arguments.
    ("async fn a(&self, _: u8);", "an argument needs a name"),
    ("async fn a(&self, (a, b): (u8, u8));", "a name, not a pattern"),
    ("async fn a(&self, ref a: u8);", "a name, not a pattern"),
    ("async fn a(&self, mut a: u8) {}", "write `let mut a = a;`"),
    ("async fn a(&self, a: u8, a: u8);", "already an argument `a`"),
    ("async fn a(&self, a: &mut u8);", "does not travel back"),
    ("async fn a(&self, a: Vec<&mut str>);", "does not travel back"),
    ("async fn a(&self, a: &'static str);", "leave this lifetime out"),
    ("async fn a(&self, a: Cow<'a, str>);", "write `'_` here"),
    ("async fn a(&self, a: Option<&u64>);", "only `&str` and `&[u8]` can be borrowed"),
    ("async fn a(&self, a: &Vec<&[u16]>);", "only `&str` and `&[u8]` can be borrowed"),
    ("async fn a(&self, a: str);", "write `&str` or `String`"),
    ("async fn a(&self, a: [u8]);", "write `&[...]` or `Vec<...>`"),
    ("async fn a(&self, a: impl Into<String>);", "a concrete type in place of `impl Trait`"),
    ("async fn a(&self, a: &impl Into<String>);", "a concrete type in place of `impl Trait`"),
    ("async fn a(&self, a: Box<dyn Error>);", "a trait object cannot travel"),
    ("async fn a(&self, a: &dyn Error);", "a trait object cannot travel"),
    ("async fn a(&self, a: fn(u8));", "a function cannot travel"),
    ("async fn a(&self, a: *const u8);", "a pointer cannot travel"),
    ("async fn a(&self, a: Vec<_>);", "in place of `_`"),
    ("async fn a(&self, a: Self);", "`Self` is another type for the client"),
    ("async fn a(&self, a: [u8; Self::LENGTH]);", "`Self` is another type for the client"),
    // Arguments that are streams.
    ("async fn a(&self, a: Streaming);", "write `Streaming<T>`, or `Streaming<T, E>`"),
    ("async fn a(&self, a: rpc::Streaming<>);", "write `Streaming<T>`, or `Streaming<T, E>`"),
    ("async fn a(&self, a: Streaming<u8, E, F>);", "write `Streaming<T>`, or `Streaming<T, E>`"),
    ("async fn a(&self, a: Streaming<'a, u8>);", "write `Streaming<T>`, or `Streaming<T, E>`"),
    ("async fn a(&self, a: Streaming<Item = u8>);", "write `Streaming<T>`, or `Streaming<T, E>`"),
    ("async fn a(&self, a: &Streaming<u8>);", "without a reference"),
    ("async fn a(&self, a: &mut (Streaming<u8>));", "without a reference"),
    ("async fn a(&self, a: impl Stream<Item = u8>);", "takes a stream as `Streaming<T>`"),
    ("async fn a(&self, a: &mut impl rpc::Stream<Item = u8>);", "takes a stream as `Streaming<T>`"),
    ("async fn a(&self, a: Vec<Streaming<u8>>);", "as an argument of its own"),
    ("async fn a(&self, a: (u8, rpc::Streaming<u8>));", "as an argument of its own"),
    ("async fn a(&self, a: Option<Streaming>);", "as an argument of its own"),
    ("async fn a(&self, a: &[Streaming<u8>]);", "as an argument of its own"),
    ("async fn a(&self, a: Option<impl Stream<Item = u8>>);", "as an argument of its own"),
    ("async fn a(&self, a: Pin<Box<dyn Stream<Item = u8>>>);", "as an argument of its own"),
    ("async fn a(&self, a: Streaming<&str>);", "an item outlives"),
    ("async fn a(&self, a: Streaming<u8, &'static str>);", "an item outlives"),
    ("async fn a(&self, a: Streaming<Cow<'_, str>>);", "an item outlives"),
    ("async fn a(&self, a: Streaming<str>);", "write `String`"),
    ("async fn a(&self, a: Streaming<[u8]>);", "write `Vec<...>`"),
    ("async fn a(&self, a: Streaming<!>);", "no value of this type"),
    ("async fn a(&self, a: Streaming<impl Into<u8>>);", "a concrete type in place of `impl Trait`"),
    ("async fn a(&self, a: Streaming<impl Stream<Item = u8>>);", "call once for each stream"),
    ("async fn a(&self, a: Streaming<Vec<Streaming<u8>>>);", "call once for each stream"),
    ("async fn a(&self, a: Streaming<_>);", "in place of `_`"),
    ("async fn a(&self, a: Streaming<u8, Self>);", "`Self` is another type for the client"),
    ("async fn a(&self, a: Streaming<Box<dyn Error>>);", "such as an enum of what it may be"),
    // Results.
    ("async fn a(&self) -> &str;", "return an owned value"),
    ("async fn a(&self) -> Option<&'static str>;", "return an owned value"),
    ("async fn a(&self) -> Cow<'_, str>;", "return an owned type"),
    ("async fn a(&self) -> str;", "write `String`"),
    ("async fn a(&self) -> [u8];", "write `Vec<...>`"),
    ("async fn a(&self) -> Result<u8>;", "write both types, as in `Result<T, E>`"),
    ("async fn a(&self) -> io::Result<u8>;", "write both types, as in `Result<T, E>`"),
    ("async fn a(&self) -> impl Iterator<Item = u8>;", "a concrete type in place of `impl Trait`"),
    ("async fn a(&self) -> impl Future<Output = u8>;", "write what the future gives"),
    ("async fn a(&self) -> Box<dyn Error>;", "a trait object cannot travel"),
    ("async fn a(&self) -> !;", "a call that never ends"),
    ("async fn a(&self) -> Option<Self>;", "`Self` is another type for the client"),
    // Results that are streams.
    ("async fn a(&self) -> Streaming<u8>;", "write `impl Stream<Item = T>`"),
    ("async fn a(&self) -> Result<rpc::Streaming<u8, E>, E>;", "write `impl Stream<Item = T>`"),
    ("async fn a(&self) -> Vec<Streaming<u8>>;", "as the result, or as the value of a `Result`"),
    ("async fn a(&self) -> Result<u8, Streaming<u8>>;", "as the result, or as the value of a `Result`"),
    ("async fn a(&self) -> Option<impl Stream<Item = u8>>;", "as the result, or as the value of a `Result`"),
    ("async fn a(&self) -> (u8, impl Stream<Item = u8>);", "as the result, or as the value of a `Result`"),
    ("async fn a(&self) -> Result<Vec<impl Stream<Item = u8>>, E>;", "as the value of a `Result`"),
    (
        "async fn a(&self) -> Result<impl Stream<Item = u8>, impl Stream<Item = u8>>;",
        "as the value of a `Result`",
    ),
    (
        "async fn a(&self) -> Pin<Box<dyn Stream<Item = u8> + Send>>;",
        "as the result, or as the value of a `Result`",
    ),
    ("async fn a(&self) -> Result<impl Stream<Item = u8>>;", "write both types, as in `Result<T, E>`"),
    ("async fn a(&self) -> impl Stream<Item = Result<u8>>;", "write both types, as in `Result<T, E>`"),
    ("async fn a(&self) -> impl Stream;", "write `impl Stream<Item = T>`"),
    ("async fn a(&self) -> impl Stream<>;", "write `impl Stream<Item = T>`"),
    ("async fn a(&self) -> impl Stream<u8>;", "write `impl Stream<Item = T>`"),
    ("async fn a(&self) -> impl Stream<Item: Send>;", "write `impl Stream<Item = T>`"),
    ("async fn a(&self) -> impl ?Stream<Item = u8>;", "a concrete type in place of `impl Trait`"),
    ("async fn a(&self) -> impl Stream<Item = &str>;", "an item outlives"),
    ("async fn a(&self) -> impl Stream<Item = Cow<'_, str>>;", "an item outlives"),
    ("async fn a(&self) -> impl Stream<Item = Result<u8, &str>>;", "an item outlives"),
    ("async fn a(&self) -> impl Stream<Item = str>;", "write `String`"),
    ("async fn a(&self) -> impl Stream<Item = impl Stream<Item = u8>>;", "call once for each stream"),
    ("async fn a(&self) -> impl Stream<Item = Streaming<u8>>;", "call once for each stream"),
    ("async fn a(&self) -> impl Stream<Item = impl Into<u8>>;", "a concrete type in place of `impl Trait`"),
    ("async fn a(&self) -> impl Stream<Item = Self>;", "`Self` is another type for the client"),
    ("async fn a(&self) -> impl Stream<Item = u8> + '_;", "leave this lifetime out"),
    ("async fn a(&self) -> impl Stream<Item = u8> + use<>;", "leave out `use<...>`"),
    ("async fn a(&self) -> Result<impl Stream<Item = u8>, &str>;", "return an owned value"),
    // Options of a method.
    ("#[rpc] async fn a(&self);", "`#[rpc]` says nothing"),
    ("#[rpc()] async fn a(&self);", "`#[rpc]` says nothing"),
    ("#[rpc(idempotant)] async fn a(&self);", "did you mean `idempotent`?"),
    ("#[rpc(one_way)] async fn a(&self);", "did you mean `oneway`?"),
    ("#[rpc(retries)] async fn a(&self);", "it takes `oneway`, `idempotent`"),
    ("#[rpc(compact)] async fn a(&self);", "on the trait: `#[service(compact)]`"),
    ("#[rpc(default)] async fn a(&self);", "on an argument"),
    ("#[rpc(idempotent = true)] async fn a(&self);", "takes no value"),
    ("#[rpc(name)] async fn a(&self);", "write `name = \"...\"`"),
    ("#[rpc(name = 5)] async fn a(&self);", "write `name = \"...\"`"),
    ("#[rpc(name = \"\")] async fn a(&self);", "needs a name on the wire"),
    ("#[rpc(alias(\"b\"))] async fn a(&self);", "write `alias = \"...\"`"),
    ("#[rpc(oneway, oneway)] async fn a(&self);", "a second time"),
    ("#[rpc(name = \"b\")] #[rpc(name = \"c\")] async fn a(&self);", "a second time"),
    ("#[rpc(oneway)] async fn a(&self) -> u8;", "nobody waits for the result"),
    ("#[rpc(oneway)] async fn a(&self) -> Result<(), E>;", "nobody waits for the result"),
    ("#[rpc(oneway, idempotent)] async fn a(&self);", "never repeated"),
    ("#[rpc(oneway)] async fn a(&self) -> impl Stream<Item = u8>;", "nobody waits for the result"),
    ("#[rpc(oneway)] async fn a(&self) -> Result<impl Stream<Item = u8>, E>;", "nobody waits for the result"),
    ("#[rpc(oneway)] async fn a(&self, a: Streaming<u8>, b: Streaming<u8>);", "over before its streams are"),
    ("#[rpc(idempotent)] async fn a(&self, a: Streaming<u8>);", "a stream cannot be sent twice"),
    ("#[rpc(inline, spawn)] async fn a(&self);", "leave out `spawn`, or leave out `inline`"),
    ("#[rpc(spawn)] #[rpc(inline)] async fn a(&self);", "leave out `spawn`, or leave out `inline`"),
    ("#[rpc(inline)] #[rpc(inline)] async fn a(&self);", "a second time"),
    ("#[rpc(inlined)] async fn a(&self);", "did you mean `inline`?"),
    ("#[rpc(spawned)] async fn a(&self);", "did you mean `spawn`?"),
    ("#[rpc(spawn = false)] async fn a(&self);", "takes no value"),
    ("#[rpc(inline)] async fn a(&self) -> impl Stream<Item = u8>;", "has a task of its own"),
    ("#[rpc(inline)] async fn a(&self, a: Streaming<u8>);", "has a task of its own"),
    ("async fn a(&self, #[rpc(inline)] a: u8);", "it belongs on the method"),
    ("#[cfg_attr(a, rpc(oneway))] async fn a(&self);", "cannot depend on a condition"),
    // Options of an argument.
    ("async fn a(&self, #[rpc(default)] a: u8, b: u8);", "move `a` behind `b`"),
    ("async fn a(&self, #[rpc(default)] a: &str);", "nothing to borrow when it is missing"),
    ("async fn a(&self, #[rpc(default)] a: (&u8));", "nothing to borrow when it is missing"),
    ("async fn a(&self, #[rpc(oneway)] a: u8);", "it belongs on the method"),
    ("async fn a(&self, #[rpc(defualt)] a: u8);", "did you mean `default`?"),
    ("async fn a(&self, #[cfg(a)] a: u8);", "would shift the arguments"),
    ("async fn a(&self, #[cfg_attr(a, cfg(b))] a: u8);", "would shift the arguments"),
    ("async fn a(&self, #[rpc(default)] a: Streaming<u8>);", "may be empty, but is never missing"),
    ("async fn a(&self, #[rpc(default)] a: Streaming<u8>, b: u8);", "may be empty, but is never missing"),
    ("async fn a(&self, #[cfg(a)] a: Streaming<u8>);", "may be empty, but is never missing"),
    ("async fn a(&self, #[rpc(default)] a: u8, b: Streaming<u8>);", "move `a` behind `b`"),
    // Names.
    ("async fn new(&self);", "has a function `new` already"),
    ("async fn connect(&self);", "has a function `connect` already"),
    ("async fn r#in_process(&self);", "has a function `in_process` already"),
    ("async fn a(&self); async fn a(&self);", "already a method `a`"),
    ("async fn a(&self); #[rpc(name = \"a\")] async fn b(&self);", "taken on the wire, by the method `a`"),
    ("async fn a(&self); #[rpc(alias = \"a\")] async fn b(&self);", "taken on the wire, by the method `a`"),
    ("#[rpc(alias = \"a\")] async fn a(&self);", "taken on the wire, by the method `a`"),
    (
        "#[cfg(x)] async fn a(&self); #[rpc(name = \"a\")] async fn b(&self);",
        "taken on the wire, by the method `a`",
    ),
    // Other items.
    ("const LENGTH: usize;", "a constant does not travel"),
    ("type Key;", "make the trait generic"),
    ("methods!();", "before this macro is expanded"),
];

/// Mistakes outside the braces: the options of `#[service(...)]` and the item.
const OF_TRAITS: &[(&str, &str, &str)] = &[
    ("", "struct Name;", "stands on a trait"),
    ("", "fn name() {}", "stands on a trait"),
    ("", "impl Name for Handler {}", "an impl of a service is an ordinary impl"),
    ("", "trait Name = Other;", "a trait alias has no methods"),
    ("", "unsafe trait Name {}", "leave out `unsafe`"),
    ("", "auto trait Name {}", "leave out `auto`"),
    ("", "trait Name<'a> {}", "leave the lifetime out"),
    ("", "trait Name<#[cfg(a)] T> {}", "takes no attributes"),
    ("", "trait Name<T: Into<Self>> {}", "`Self` is another type for the client"),
    ("", "trait Name<T> where T: Into<Self> {}", "only `Self: Bound`"),
    ("", "#[rpc(oneway)] trait Name {}", "belongs on a method"),
    ("", "#[rpc::service] trait Name {}", "a second time"),
    ("", "#[async_trait::async_trait] trait Name {}", "leave out `#[async_trait]`"),
    ("nmae = \"a\"", "trait Name {}", "did you mean `name`?"),
    ("oneway", "trait Name {}", "it belongs on a method"),
    ("version = 2", "trait Name {}", "it takes `name`, `crate`, `compact`"),
    ("name", "trait Name {}", "write `name = \"...\"`"),
    ("name = \"a\", name = \"b\"", "trait Name {}", "a second time"),
    ("crate = \"rpc\"", "trait Name {}", "without quotes"),
    ("compact = true", "trait Name {}", "takes no value"),
    ("inline, spawn", "trait Name {}", "leave out `spawn`, or leave out `inline`"),
    ("inline, inline", "trait Name {}", "a second time"),
    ("in_line", "trait Name {}", "did you mean `inline`?"),
    ("", "#[rpc(spawn)] trait Name {}", "belongs on a method"),
];

#[test]
fn each_mistake_is_told_once() {
    for (inside, fragment) in IN_TRAITS {
        check("", &format!("trait Name {{ {inside} }}"), fragment);
    }
    for (options, item, fragment) in OF_TRAITS {
        check(options, item, fragment);
    }
}

fn check(options: &str, item: &str, fragment: &str) {
    let errors = expand(options, item).expect_err(item);
    assert_eq!(errors.len(), 1, "{item}: {errors:#?}");
    assert!(errors[0].contains(fragment), "{item}: {errors:#?}");
}

#[test]
fn all_mistakes_are_told_together() {
    let errors = expand(
        "nmae = \"a\"",
        "unsafe trait Name { type Key; fn a(self, _: u8) -> &str; async fn new(&self); async fn new(&self); }",
    )
    .unwrap_err();
    let fragments = [
        "did you mean `name`?",
        "leave out `unsafe`",
        "write the type in the signature",
        "write `async fn a`",
        "does not use up",
        "an argument needs a name",
        "return an owned value",
        "function `new` already",
        "function `new` already",
        "already a method `new`",
    ];
    assert_eq!(errors.len(), fragments.len(), "{errors:#?}");
    for (error, fragment) in errors.iter().zip(fragments) {
        assert!(error.contains(fragment), "{fragment}: {errors:#?}");
    }
}

#[test]
fn what_is_no_rust_is_an_error_of_the_parser() {
    for item in ["", "trait", "trait Name { async fn a(&self, a); }", "5"] {
        assert_eq!(expand("", item).unwrap_err().len(), 1, "{item}");
    }
    assert_eq!(expand("= 5", "trait Name {}").unwrap_err().len(), 1);
}
