//! The road of a trait: parse -> model -> check -> expand.

use crate::report::Report;
use crate::{check, expand, model, parse};
use proc_macro2::TokenStream;

/// Turns a trait and the options that stand on it into the trait, its client and its server.
///
/// # Errors
/// All mistakes in them, each at its token.
pub(crate) fn run(options: TokenStream, item: TokenStream) -> syn::Result<TokenStream> {
    let mut report = Report::default();
    let options = parse::options(options, &mut report);
    let service = parse::item(item, &mut report).map(|item| model::service(options, item, &mut report));
    if let Some(service) = &service {
        check::service(service, &mut report);
    }
    report.finish()?;
    Ok(service.iter().map(expand::service).collect())
}
