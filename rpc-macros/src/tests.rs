//! The pipeline as a whole: tokens in, tokens or errors out.

mod accepted;
mod refused;
mod snapshots;

use crate::pipeline;
use proc_macro2::TokenStream;

/// The expansion as a user would read it, or the messages of the errors.
fn expand(options: &str, item: &str) -> Result<String, Vec<String>> {
    let options: TokenStream = options.parse().expect("a test's options are tokens");
    let item: TokenStream = item.parse().expect("a test's item is tokens");
    match pipeline::run(options, item) {
        Ok(tokens) => {
            let file = syn::parse2(tokens.clone())
                .unwrap_or_else(|error| panic!("the expansion is not Rust: {error}\n{tokens}"));
            Ok(prettyplease::unparse(&file))
        }
        Err(errors) => Err(errors.into_iter().map(|error| error.to_string()).collect()),
    }
}
