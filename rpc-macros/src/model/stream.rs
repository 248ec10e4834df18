//! The two spellings of a stream: `Streaming<T>`, which a handler takes, and `impl Stream<Item = T>`, which it gives.

use super::Item;
use super::types::{plain, unsized_by_value, value_and_error};
use super::walk::{Place, Walk};
use crate::report::Report;
use syn::punctuated::Punctuated;
use syn::{GenericArgument, PathArguments, PathSegment, Token, TraitBound, Type};
use syn::{TypeImplTrait, TypeParamBound, TypePath, parse_quote};

/// What an argument of this type streams, if it is `Streaming<T>` or was meant to be.
pub(super) fn taken(ty: &Type, report: &mut Report) -> Option<Item> {
    let (owned, reference) = match plain(ty) {
        Type::Reference(reference) => (plain(&reference.elem), Some(reference)),
        other => (other, None),
    };
    match owned {
        Type::Path(path) if is_streaming(path) => {
            if let Some(reference) = reference {
                let message =
                    "a handler owns the streams that it takes: write `Streaming<T>`, without a reference";
                report.mistake(reference, message);
            }
            Some(item_taken(path, report))
        }
        Type::ImplTrait(stream) if is_stream(&stream.bounds) => {
            let message =
                "a handler takes a stream as `Streaming<T>`: write this, and callers can give any stream";
            report.mistake(ty, message);
            Some(Item::unknown())
        }
        _ => None,
    }
}

/// What a method streams that gives back this type, if it is `impl Stream<Item = T>` or was meant to be.
pub(super) fn given(ty: &Type, report: &mut Report) -> Option<Item> {
    match plain(ty) {
        Type::ImplTrait(stream) if is_stream(&stream.bounds) => {
            extra_bounds(stream, report);
            Some(item_given(stream, report))
        }
        Type::Path(path) if is_streaming(path) => {
            let message = "`Streaming<T>` is what callers get of a stream: write `impl Stream<Item = T>`, \
                           or `impl Stream<Item = Result<T, E>>`, and return any stream";
            report.mistake(path, message);
            Some(Item::unknown())
        }
        _ => None,
    }
}

/// The `impl Stream` in the result of a method: the whole of it, or the value of a `Result`.
pub(crate) fn in_result(ty: &mut Type) -> Option<&mut TypeImplTrait> {
    match ty {
        Type::Group(group) => in_result(&mut group.elem),
        Type::Paren(paren) => in_result(&mut paren.elem),
        Type::ImplTrait(stream) if is_stream(&stream.bounds) => Some(stream),
        Type::Path(path) => match &mut path.path.segments.last_mut()?.arguments {
            PathArguments::AngleBracketed(angled) => match angled.args.first_mut()? {
                GenericArgument::Type(value) => in_result(value),
                _ => None,
            },
            _ => None,
        },
        _ => None,
    }
}

/// A path that ends in `Streaming`, with arguments or without.
pub(super) fn is_streaming(path: &TypePath) -> bool {
    path.path.segments.last().is_some_and(|last| last.ident == "Streaming")
}

/// Bounds that have `Stream` among them.
pub(super) fn is_stream(bounds: &Punctuated<TypeParamBound, Token![+]>) -> bool {
    bounds.iter().any(|bound| stream_bound(bound).is_some())
}

fn stream_bound(bound: &TypeParamBound) -> Option<&PathSegment> {
    match bound {
        TypeParamBound::Trait(TraitBound { maybe: None, path, .. }) => {
            path.segments.last().filter(|last| last.ident == "Stream")
        }
        _ => None,
    }
}

/// The item of a `Streaming<T>` or a `Streaming<T, E>`.
fn item_taken(path: &TypePath, report: &mut Report) -> Item {
    let arguments = path.path.segments.last().map(|last| &last.arguments);
    let types: Option<Vec<&Type>> = match arguments {
        Some(PathArguments::AngleBracketed(angled)) => {
            let types = angled.args.iter().map(|argument| match argument {
                GenericArgument::Type(ty) => Some(ty),
                _ => None,
            });
            types.collect()
        }
        _ => None,
    };
    match types.as_deref() {
        Some([value]) => Item::checked(value, None, report),
        Some([value, error]) => Item::checked(value, Some(error), report),
        _ => {
            let message = "a stream says what its items are: write `Streaming<T>`, \
                           or `Streaming<T, E>` if it can end with an error of its own";
            report.mistake(path, message);
            Item::unknown()
        }
    }
}

/// The item of an `impl Stream<Item = T>`, where `T` may be a `Result`.
fn item_given(stream: &TypeImplTrait, report: &mut Report) -> Item {
    let item = stream.bounds.iter().find_map(stream_bound).and_then(|segment| match &segment.arguments {
        PathArguments::AngleBracketed(angled) => angled.args.iter().find_map(|argument| match argument {
            GenericArgument::AssocType(assigned) if assigned.ident == "Item" => Some(&assigned.ty),
            _ => None,
        }),
        _ => None,
    });
    let Some(item) = item else {
        report.mistake(stream, "a stream says what its items are: write `impl Stream<Item = T>`");
        return Item::unknown();
    };
    let (value, error) = value_and_error(item, report);
    Item::checked(value, error, report)
}

/// Traits are for handlers to meet; a lifetime would say what callers cannot see.
fn extra_bounds(stream: &TypeImplTrait, report: &mut Report) {
    for bound in &stream.bounds {
        match bound {
            TypeParamBound::Lifetime(lifetime) if lifetime.ident != "static" => {
                let message = "a stream may borrow from `&self` and from the arguments without saying so: \
                               leave this lifetime out";
                report.mistake(lifetime, message);
            }
            TypeParamBound::PreciseCapture(capture) => {
                let message = "a stream may borrow from `&self` and from the arguments without saying so: \
                               leave out `use<...>`";
                report.mistake(capture, message);
            }
            _ => {}
        }
    }
}

impl Item {
    fn checked(value: &Type, error: Option<&Type>, report: &mut Report) -> Item {
        unsized_by_value(plain(value), "`String`", "`Vec<...>`", report);
        for ty in std::iter::once(value).chain(error) {
            Walk::over(ty, Place::Item, report);
        }
        Item { value: Box::new(value.clone()), error: error.cloned().map(Box::new) }
    }

    /// Stands for an item that could not be read, which has been reported.
    fn unknown() -> Item {
        Item { value: Box::new(parse_quote!(())), error: None }
    }
}
