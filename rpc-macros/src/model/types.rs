//! What may stand in the type of an argument or a result.

use super::{Outcome, Passing};
use crate::report::Report;
use proc_macro2::Ident;
use quote::ToTokens;
use syn::visit::{self, Visit};
use syn::{GenericArgument, Lifetime, PathArguments, ReturnType, Type, TypeParamBound, TypeReference};

/// How an argument of this type is passed; reports what cannot travel.
pub(super) fn argument(ty: &Type, report: &mut Report) -> Passing {
    match plain(ty) {
        Type::Reference(reference) => {
            borrowed(reference, report);
            match plain(&reference.elem) {
                Type::Slice(slice) => {
                    Walk::new(Place::Argument, report).visit_type(&slice.elem);
                    if is(&slice.elem, "u8") {
                        Passing::Decoded
                    } else {
                        Passing::LentSlice((*slice.elem).clone())
                    }
                }
                text if is(text, "str") => Passing::Decoded,
                other => {
                    Walk::new(Place::Argument, report).visit_type(other);
                    Passing::Lent(other.clone())
                }
            }
        }
        other => {
            unsized_by_value(other, "`&str` or `String`", "`&[...]` or `Vec<...>`", report);
            Walk::new(Place::Argument, report).visit_type(other);
            Passing::Decoded
        }
    }
}

/// What a method gives back; reports what cannot travel.
pub(super) fn outcome(output: &ReturnType, report: &mut Report) -> Outcome {
    let ReturnType::Type(_, written) = output else { return Outcome::Nothing };
    unsized_by_value(plain(written), "`String`", "`Vec<...>`", report);
    Walk::new(Place::Result, report).visit_type(written);
    match plain(written) {
        Type::Tuple(tuple) if tuple.elems.is_empty() => Outcome::Nothing,
        other => match result_arguments(other).as_deref() {
            Some([value, error]) => Outcome::Result {
                written: written.clone(),
                value: Box::new(value.clone()),
                error: Box::new(error.clone()),
            },
            Some([_]) => {
                let message = "this `Result` hides its error: write both types, as in `Result<T, E>` \
                               (`Result<T, rpc::Error>` to fail with a code)";
                report.mistake(written, message);
                Outcome::Value(written.clone())
            }
            _ => Outcome::Value(written.clone()),
        },
    }
}

/// The type inside parentheses, and inside the invisible groups that `macro_rules!` puts around a `$ty`.
pub(crate) fn plain(ty: &Type) -> &Type {
    match ty {
        Type::Group(group) => plain(&group.elem),
        Type::Paren(paren) => plain(&paren.elem),
        other => other,
    }
}

/// The types between the angles of a path that ends in `Result<...>`.
fn result_arguments(ty: &Type) -> Option<Vec<Type>> {
    let Type::Path(path) = ty else { return None };
    let last = path.path.segments.last().filter(|last| last.ident == "Result")?;
    let PathArguments::AngleBracketed(angled) = &last.arguments else { return None };
    let types = angled.args.iter().filter_map(|argument| match argument {
        GenericArgument::Type(ty) => Some(ty.clone()),
        _ => None,
    });
    Some(types.collect())
}

fn unsized_by_value(ty: &Type, text: &str, slice: &str, report: &mut Report) {
    if is(ty, "str") {
        report.mistake(ty, format_args!("a `str` has no size of its own: write {text}"));
    } else if let Type::Slice(_) = ty {
        report.mistake(ty, format_args!("a slice has no size of its own: write {slice}"));
    }
}

fn is(ty: &Type, name: &str) -> bool {
    matches!(plain(ty), Type::Path(path) if path.qself.is_none() && path.path.is_ident(name))
}

/// The rules for `&`, wherever it stands in an argument.
fn borrowed(reference: &TypeReference, report: &mut Report) {
    if let Some(mutability) = &reference.mutability {
        let message = "what a handler changes does not travel back: write `&T` or `T`, \
                       and return what has changed";
        report.mistake(mutability, message);
    }
    if let Some(lifetime) = reference.lifetime.as_ref().filter(|lifetime| lifetime.ident != "_") {
        let message = "an argument lives as long as its call: leave this lifetime out";
        report.mistake(lifetime, message);
    }
}

#[derive(Clone, Copy, PartialEq)]
enum Place {
    Argument,
    Result,
}

/// Looks through a type for what cannot travel, at any depth.
struct Walk<'r> {
    place: Place,
    report: &'r mut Report,
}

impl<'r> Walk<'r> {
    fn new(place: Place, report: &'r mut Report) -> Self {
        Walk { place, report }
    }

    fn cannot_travel(&mut self, place: impl ToTokens, what: &str, instead: &str) {
        self.report.mistake(place, format_args!("{what} cannot travel: {instead}"));
    }
}

impl<'ast> Visit<'ast> for Walk<'_> {
    fn visit_type_reference(&mut self, reference: &'ast TypeReference) {
        if self.place == Place::Result {
            let message = "a result outlives what the handler could borrow from: return an owned value, \
                           such as `String` for `&str` and `Vec<T>` for `&[T]`";
            self.report.mistake(reference, message);
            return;
        }
        borrowed(reference, self.report);
        let in_place = match plain(&reference.elem) {
            Type::Slice(slice) => is(&slice.elem, "u8"),
            other => is(other, "str"),
        };
        if !in_place {
            let message =
                "inside another type only `&str` and `&[u8]` can be borrowed: write an owned type here";
            self.report.mistake(reference, message);
        }
    }

    fn visit_lifetime(&mut self, lifetime: &'ast Lifetime) {
        match self.place {
            _ if lifetime.ident == "static" => {}
            Place::Argument if lifetime.ident == "_" => {}
            Place::Argument => {
                self.report.mistake(lifetime, "an argument lives as long as its call: write `'_` here");
            }
            Place::Result => {
                let message = "a result outlives what the handler could borrow from: return an owned type";
                self.report.mistake(lifetime, message);
            }
        }
    }

    fn visit_type_impl_trait(&mut self, ty: &'ast syn::TypeImplTrait) {
        let is = |name: &str| {
            ty.bounds.iter().any(|bound| match bound {
                TypeParamBound::Trait(bound) => {
                    bound.path.segments.last().is_some_and(|last| last.ident == name)
                }
                _ => false,
            })
        };
        let message = if is("Stream") {
            NO_STREAMS
        } else if is("Future") {
            "an `async fn` gives a future by itself: write what the future gives"
        } else {
            "both sides must know this type: write a concrete type in place of `impl Trait`"
        };
        self.report.mistake(ty, message);
    }

    fn visit_type_path(&mut self, ty: &'ast syn::TypePath) {
        if ty.path.segments.last().is_some_and(|last| last.ident == "Streaming" && !last.arguments.is_none())
        {
            self.report.mistake(ty, NO_STREAMS);
        } else {
            visit::visit_type_path(self, ty);
        }
    }

    fn visit_ident(&mut self, ident: &'ast Ident) {
        if ident == "Self" {
            let message = "`Self` is another type for the client than for the handler: \
                           write a type that both know";
            self.report.mistake(ident, message);
        }
    }

    fn visit_type_infer(&mut self, ty: &'ast syn::TypeInfer) {
        self.report.mistake(ty, "both sides must know this type: write it out in place of `_`");
    }

    fn visit_type_never(&mut self, ty: &'ast syn::TypeNever) {
        self.report
            .mistake(ty, "a call that never ends cannot be answered: leave out `-> !`, or return a value");
    }

    fn visit_type_trait_object(&mut self, ty: &'ast syn::TypeTraitObject) {
        self.cannot_travel(ty, "a trait object", "write a concrete type, such as an enum of what it may be");
    }

    fn visit_type_fn_ptr(&mut self, ty: &'ast syn::TypeFnPtr) {
        self.cannot_travel(ty, "a function", "send a value that says what to do");
    }

    fn visit_type_ptr(&mut self, ty: &'ast syn::TypePtr) {
        self.cannot_travel(ty, "a pointer", "send what it points at");
    }
}

const NO_STREAMS: &str = "streams are not supported yet: send a `Vec<T>`, or call once for each part";
