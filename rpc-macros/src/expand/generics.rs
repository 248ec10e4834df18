//! The type parameters of a trait, as the trait, the client and the server each write them.

use crate::model::{Service, is_self};
use proc_macro2::{Ident, TokenStream};
use quote::{ToTokens, quote};
use syn::punctuated::Punctuated;
use syn::{GenericParam, Generics, WherePredicate, parse_quote};

/// The parameters of one generated type.
///
/// ```text
///             trait Store<K: Ord, V = u8>
/// declared    StoreClient<K, V = u8>                  StoreServer<K, V, Handler>
/// bounded     impl<K: Ord + Value, V: Value>          impl<K: Ord + Value, V: Value, Handler: Store<K, V>>
/// values      K, V                                    K, V
/// ```
pub(super) struct Parameters {
    pub(super) declared: Generics,
    pub(super) bounded: Generics,
    /// The trait's own type parameters, which no field of the generated type would name.
    values: Vec<Ident>,
}

impl Parameters {
    pub(super) fn of_client(service: &Service) -> Parameters {
        let values = service.generics.type_params().map(|parameter| parameter.ident.clone()).collect();
        Parameters { declared: unbounded(&service.generics), bounded: beside_the_trait(service), values }
    }

    /// Those of the client, and the handler: behind it no parameter can have a default.
    pub(super) fn of_server(service: &Service) -> Parameters {
        let Parameters { mut declared, mut bounded, values } = Parameters::of_client(service);
        without_defaults(&mut declared);
        let (handler, bound) = (&service.fresh.handler, implemented(service));
        declared.params.push(parse_quote!(#handler));
        bounded.params.push(parse_quote!(#handler: #bound));
        Parameters { declared, bounded, values }
    }

    /// `types: PhantomData<fn() -> (K, V)>`, for the struct.
    pub(super) fn types_field(&self) -> Option<TokenStream> {
        let types = match self.values.as_slice() {
            [] => return None,
            [only] => only.to_token_stream(),
            values => quote!((#(#values),*)),
        };
        Some(quote!(types: ::core::marker::PhantomData<fn() -> #types>))
    }

    /// `types: PhantomData`, where the struct is made.
    pub(super) fn types_value(&self) -> Option<TokenStream> {
        (!self.values.is_empty()).then(|| quote!(types: ::core::marker::PhantomData))
    }
}

/// The parameters of the trait itself: each type is one that can travel.
pub(super) fn of_trait(service: &Service) -> Generics {
    let mut generics = service.generics.clone();
    let krate = &service.krate;
    for parameter in generics.type_params_mut() {
        parameter.bounds.push(parse_quote!(#krate::Value));
    }
    generics
}

/// `Store<K, V>`: the bound that a handler meets.
pub(super) fn implemented(service: &Service) -> TokenStream {
    let (ident, (_, arguments, _)) = (&service.ident, service.generics.split_for_impl());
    quote!(#ident #arguments)
}

/// The bounds of the trait for another `Self`: `Self: Bound` is a supertrait, which the trait's own bound implies.
fn beside_the_trait(service: &Service) -> Generics {
    let mut generics = of_trait(service);
    without_defaults(&mut generics);
    if let Some(clause) = &mut generics.where_clause {
        let kept = std::mem::take(&mut clause.predicates).into_iter().filter(|predicate| match predicate {
            WherePredicate::Type(predicate) => !is_self(&predicate.bounded_ty),
            _ => true,
        });
        clause.predicates = kept.collect();
    }
    generics
}

fn unbounded(generics: &Generics) -> Generics {
    let mut generics = generics.clone();
    generics.where_clause = None;
    for parameter in generics.type_params_mut() {
        parameter.colon_token = None;
        parameter.bounds = Punctuated::new();
    }
    generics
}

fn without_defaults(generics: &mut Generics) {
    for parameter in &mut generics.params {
        match parameter {
            GenericParam::Type(parameter) => parameter.default = None,
            GenericParam::Const(parameter) => parameter.default = None,
            GenericParam::Lifetime(_) => {}
        }
    }
}
