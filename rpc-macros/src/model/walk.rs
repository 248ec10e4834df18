//! What cannot travel, at any depth of a type.

use super::stream;
use super::types::{is, plain};
use crate::report::Report;
use proc_macro2::Ident;
use quote::ToTokens;
use syn::visit::{self, Visit};
use syn::{Lifetime, Type, TypeParamBound, TypeReference};

/// Where the type stands that is looked through.
#[derive(Clone, Copy, PartialEq)]
pub(super) enum Place {
    Argument,
    Result,
    /// What a stream carries, in an argument or a result.
    Item,
}

/// Looks through a type, and reports what cannot travel.
pub(super) struct Walk<'r> {
    place: Place,
    report: &'r mut Report,
}

impl<'r> Walk<'r> {
    pub(super) fn over(ty: &Type, place: Place, report: &'r mut Report) {
        Walk { place, report }.visit_type(ty);
    }

    fn cannot_travel(&mut self, place: impl ToTokens, what: &str, instead: &str) {
        self.report.mistake(place, format_args!("{what} cannot travel: {instead}"));
    }

    /// Where a stream that was found inside another type can stand.
    fn stream_instead(&self) -> &'static str {
        match self.place {
            Place::Argument => "write `Streaming<T>` as an argument of its own",
            Place::Result => "write `impl Stream<Item = T>` as the result, or as the value of a `Result`",
            Place::Item => "call once for each stream",
        }
    }
}

/// The rules for `&`, wherever it stands in an argument.
pub(super) fn borrowed(reference: &TypeReference, report: &mut Report) {
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

impl<'ast> Visit<'ast> for Walk<'_> {
    fn visit_type_reference(&mut self, reference: &'ast TypeReference) {
        match self.place {
            Place::Argument => {}
            Place::Result => {
                let message = "a result outlives what the handler could borrow from: return an owned value, \
                               such as `String` for `&str` and `Vec<T>` for `&[T]`";
                self.report.mistake(reference, message);
                return;
            }
            Place::Item => {
                let message = "an item outlives what it could borrow from: write an owned type, \
                               such as `String` for `&str` and `Vec<T>` for `&[T]`";
                self.report.mistake(reference, message);
                return;
            }
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
        let message = match self.place {
            _ if lifetime.ident == "static" => return,
            Place::Argument if lifetime.ident == "_" => return,
            Place::Argument => "an argument lives as long as its call: write `'_` here",
            Place::Result => "a result outlives what the handler could borrow from: return an owned type",
            Place::Item => "an item outlives what it could borrow from: write an owned type",
        };
        self.report.mistake(lifetime, message);
    }

    fn visit_type_impl_trait(&mut self, ty: &'ast syn::TypeImplTrait) {
        if stream::is_stream(&ty.bounds) {
            self.cannot_travel(ty, "a stream inside another type", self.stream_instead());
            return;
        }
        let is_future = ty.bounds.iter().any(|bound| match bound {
            TypeParamBound::Trait(bound) => {
                bound.path.segments.last().is_some_and(|last| last.ident == "Future")
            }
            _ => false,
        });
        let message = if is_future {
            "an `async fn` gives a future by itself: write what the future gives"
        } else {
            "both sides must know this type: write a concrete type in place of `impl Trait`"
        };
        self.report.mistake(ty, message);
    }

    fn visit_type_path(&mut self, ty: &'ast syn::TypePath) {
        if stream::is_streaming(ty) {
            self.cannot_travel(ty, "a stream inside another type", self.stream_instead());
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
        let message = match self.place {
            Place::Argument | Place::Result => {
                "a call that never ends cannot be answered: leave out `-> !`, or return a value"
            }
            Place::Item => "there is no value of this type to send: write what the items are",
        };
        self.report.mistake(ty, message);
    }

    fn visit_type_trait_object(&mut self, ty: &'ast syn::TypeTraitObject) {
        let instead = if stream::is_stream(&ty.bounds) {
            self.stream_instead()
        } else {
            "write a concrete type, such as an enum of what it may be"
        };
        self.cannot_travel(ty, "a trait object", instead);
    }

    fn visit_type_fn_ptr(&mut self, ty: &'ast syn::TypeFnPtr) {
        self.cannot_travel(ty, "a function", "send a value that says what to do");
    }

    fn visit_type_ptr(&mut self, ty: &'ast syn::TypePtr) {
        self.cannot_travel(ty, "a pointer", "send what it points at");
    }
}
