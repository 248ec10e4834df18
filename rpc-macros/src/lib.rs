//! `#[service]`: a trait becomes a client stub and a server dispatcher.
//!
//! The road of a trait through this crate is one function, `pipeline::run`:
//!
//! ```text
//! tokens -- parse --> syntax -- model --> Service -- check --> Service -- expand --> tokens
//!               \----------------\-----------------\--> Report: all mistakes, each at its token
//! ```
//!
//! `parse` knows tokens, `model` knows what Rust lets one write and what a service means by it, `check` knows
//! the rules between the parts of a service, and `expand` knows how generated code reads. Only a service without
//! mistakes is expanded, so that `expand` cannot fail. What the generated code means is not known here: this
//! crate names the runtime's items (`::rpc::...`) and depends on none of its crates.
#![forbid(unsafe_code)]

mod check;
mod expand;
#[cfg(test)]
mod fuzzing;
mod keys;
mod model;
mod parse;
mod pipeline;
mod report;

/// Turns a trait into a service: the trait to implement, a client stub and a server dispatcher.
///
/// ```ignore
/// #[rpc::service]
/// pub trait Calculator {
///     /// The sum of two integers.
///     async fn add(&self, a: i64, b: i64) -> i64;
///     /// Fails as its own type.
///     #[rpc(idempotent)]
///     async fn divide(&self, dividend: i64, divisor: i64) -> Result<i64, MathError>;
/// }
/// ```
///
/// gives, beside the trait, `CalculatorClient`, whose methods return a `Call` to await, and
/// `CalculatorServer`, which serves any `Calculator`. An impl of the trait is an ordinary impl with `async fn`s.
///
/// # Streams
///
/// A handler gives a stream as `impl Stream<Item = T>` or `Result<impl Stream<Item = T>, E>`, and callers get a
/// `Streaming<T>`; it takes one as a `Streaming<T>`, and callers give any stream of `T`. With `Item = Result<T, E>`,
/// which is `Streaming<T, E>` on the other side, the first `Err` ends the stream.
///
/// # Options of the service
///
/// | `#[service(...)]` | |
/// |---|---|
/// | `name = "..."` | the service's name on the wire, in place of the trait's; `""` gives bare method names |
/// | `crate = path` | where the `rpc` crate is found, when it is not `::rpc` |
/// | `compact` | structs travel as arrays, without the names of their fields |
/// | `inline`, `spawn` | for all methods that say neither themselves |
///
/// # Options of a method
///
/// | `#[rpc(...)]` | |
/// |---|---|
/// | `idempotent` | running it twice does no harm: a call may be repeated when its outcome is unknown |
/// | `oneway` | no reply is sent or awaited |
/// | `no_cancel` | a handler that was started runs to its end, even if the caller is gone |
/// | `inline` | its handlers start on the connection's task, however long they take to their first wait |
/// | `spawn` | its handlers have tasks of their own from the start |
/// | `name = "..."` | the method's name on the wire |
/// | `alias = "..."` | another name it answers to; repeatable |
/// | `default` | on a trailing argument: a caller that does not send it means `Default::default()` |
///
/// Every accepted and refused form is listed in `docs/service.md` of the repository.
#[proc_macro_attribute]
pub fn service(options: proc_macro::TokenStream, item: proc_macro::TokenStream) -> proc_macro::TokenStream {
    pipeline::run(options.into(), item.into()).unwrap_or_else(syn::Error::into_compile_error).into()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests;
