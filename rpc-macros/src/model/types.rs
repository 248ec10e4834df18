//! What may stand in the type of an argument or a result.

use super::stream;
use super::walk::{Place, Walk, borrowed};
use super::{Outcome, Passing};
use crate::report::Report;
use syn::{GenericArgument, PathArguments, ReturnType, Type};

/// How an argument of this type is passed; reports what cannot travel.
pub(super) fn argument(ty: &Type, report: &mut Report) -> Passing {
    if let Some(item) = stream::taken(ty, report) {
        return Passing::Streamed(item);
    }
    match plain(ty) {
        Type::Reference(reference) => {
            borrowed(reference, report);
            match plain(&reference.elem) {
                Type::Slice(slice) => {
                    Walk::over(&slice.elem, Place::Argument, report);
                    if is(&slice.elem, "u8") {
                        Passing::Decoded
                    } else {
                        Passing::LentSlice((*slice.elem).clone())
                    }
                }
                text if is(text, "str") => Passing::Decoded,
                other => {
                    Walk::over(other, Place::Argument, report);
                    Passing::Lent(other.clone())
                }
            }
        }
        other => {
            unsized_by_value(other, "`&str` or `String`", "`&[...]` or `Vec<...>`", report);
            Walk::over(other, Place::Argument, report);
            Passing::Decoded
        }
    }
}

/// What a method gives back; reports what cannot travel.
pub(super) fn outcome(output: &ReturnType, report: &mut Report) -> Outcome {
    let ReturnType::Type(_, written) = output else { return Outcome::Nothing };
    let (value, error) = value_and_error(written, report);
    if let Some(item) = stream::given(value, report) {
        if let Some(error) = error {
            Walk::over(error, Place::Result, report);
        }
        return Outcome::Stream { written: written.clone(), item, error: error.cloned().map(Box::new) };
    }
    unsized_by_value(plain(written), "`String`", "`Vec<...>`", report);
    Walk::over(written, Place::Result, report);
    match (plain(written), error) {
        (Type::Tuple(tuple), _) if tuple.elems.is_empty() => Outcome::Nothing,
        (_, Some(error)) => Outcome::Result {
            written: written.clone(),
            value: Box::new(value.clone()),
            error: Box::new(error.clone()),
        },
        (_, None) => Outcome::Value(written.clone()),
    }
}

/// `T` and `E` of a `Result<T, E>`; of any other type, the type and no error. Reports a `Result<T>`.
pub(super) fn value_and_error<'a>(ty: &'a Type, report: &mut Report) -> (&'a Type, Option<&'a Type>) {
    match result_arguments(ty).as_deref() {
        Some([value, error]) => (value, Some(error)),
        Some([value]) => {
            let message = "this `Result` hides its error: write both types, as in `Result<T, E>` \
                           (`Result<T, rpc::Error>` to fail with a code)";
            report.mistake(ty, message);
            (value, None)
        }
        _ => (ty, None),
    }
}

/// The types between the angles of a path that ends in `Result<...>`.
fn result_arguments(ty: &Type) -> Option<Vec<&Type>> {
    let Type::Path(path) = plain(ty) else { return None };
    let last = path.path.segments.last().filter(|last| last.ident == "Result")?;
    let PathArguments::AngleBracketed(angled) = &last.arguments else { return None };
    let types = angled.args.iter().filter_map(|argument| match argument {
        GenericArgument::Type(ty) => Some(ty),
        _ => None,
    });
    Some(types.collect())
}

/// The type inside parentheses, and inside the invisible groups that `macro_rules!` puts around a `$ty`.
pub(crate) fn plain(ty: &Type) -> &Type {
    match ty {
        Type::Group(group) => plain(&group.elem),
        Type::Paren(paren) => plain(&paren.elem),
        other => other,
    }
}

pub(super) fn unsized_by_value(ty: &Type, text: &str, slice: &str, report: &mut Report) {
    if is(ty, "str") {
        report.mistake(ty, format_args!("a `str` has no size of its own: write {text}"));
    } else if let Type::Slice(_) = ty {
        report.mistake(ty, format_args!("a slice has no size of its own: write {slice}"));
    }
}

pub(super) fn is(ty: &Type, name: &str) -> bool {
    matches!(plain(ty), Type::Path(path) if path.qself.is_none() && path.path.is_ident(name))
}
