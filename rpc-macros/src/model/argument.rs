//! One argument: a name, a type, and what its attributes say.

use super::{Argument, Attributes, types};
use crate::keys::METHOD_KEYS;
use crate::report::Report;
use proc_macro2::Ident;
use quote::format_ident;
use syn::spanned::Spanned;
use syn::{Pat, PatType};

/// Reads the argument at this position of its method, the receiver not counted.
pub(super) fn argument(syntax: PatType, position: usize, report: &mut Report) -> Argument {
    let mut default = None;
    let attributes = Attributes::read(syntax.attrs, report, |key, report| match key.name().as_str() {
        "default" => key.flag(&mut default, report),
        _ => {
            let on_methods = "on the method";
            let elsewhere = METHOD_KEYS.map(|key| (key, on_methods));
            key.unknown("`#[rpc]` on an argument", &["default"], &elsewhere, report);
        }
    });
    let passing = types::argument(&syntax.ty, report);
    let ident = name(&syntax.pat, report)
        .unwrap_or_else(|| format_ident!("argument_{position}", span = syntax.pat.span()));
    Argument { attributes, ident, ty: *syntax.ty, passing, default }
}

/// The name of an argument, unless it is a pattern.
fn name(pattern: &Pat, report: &mut Report) -> Option<Ident> {
    let message = match pattern {
        Pat::Ident(name) if name.by_ref.is_none() && name.subpat.is_none() => {
            if let Some(mutability) = &name.mutability {
                let message = format!(
                    "a service's arguments are not `mut`: leave it out here, and write `let mut {0} = {0};` \
                     where it changes",
                    name.ident
                );
                report.mistake(mutability, message);
            }
            return Some(name.ident.clone());
        }
        Pat::Wild(_) => "an argument needs a name, which callers see: write `name: Type`",
        _ => "an argument is a name, not a pattern: write `name: Type`, and take it apart in the body",
    };
    report.mistake(pattern, message);
    None
}
