//! One method: its receiver, its options, its arguments and what it gives back.

use super::{Attributes, Method, MethodOptions, MethodTokens, argument, types};
use crate::keys::{Key, METHOD_KEYS};
use crate::report::Report;
use syn::{FnArg, Receiver, ReceiverKind, Safety, Signature, Token, TraitItemFn, Type, TypeReference};

pub(super) fn method(syntax: TraitItemFn, report: &mut Report) -> Method {
    let mut options = MethodOptions::default();
    let attributes = Attributes::read(syntax.attrs, report, |key, report| options.read(&key, report));
    let Signature { asyncness, fn_token, ident, paren_token, inputs, output, .. } =
        qualified(syntax.sig, report);
    let mut arguments = Vec::new();
    let mut receiver_token = None;
    for input in inputs {
        match input {
            FnArg::Receiver(own) => {
                receiver_token = Some(own.self_token);
                receiver(own, report);
            }
            FnArg::Typed(typed) => arguments.push(argument::argument(typed, arguments.len(), report)),
        }
    }
    if receiver_token.is_none() {
        report.mistake(
            &ident,
            format_args!("a service method takes `&self`: write `async fn {ident}(&self, ...)`"),
        );
    }
    let outcome = types::outcome(&output, report);
    Method {
        attributes,
        tokens: MethodTokens {
            asyncness: asyncness.unwrap_or_else(|| Token![async](ident.span())),
            fn_token,
            parentheses: paren_token,
            receiver: receiver_token.unwrap_or_else(|| Token![self](ident.span())),
        },
        ident,
        options,
        arguments,
        outcome,
        body: syntax.default,
    }
}

impl MethodOptions {
    fn read(&mut self, key: &Key, report: &mut Report) {
        match key.name().as_str() {
            "name" => {
                let name = key.text(report);
                key.fill(&mut self.name, name, report);
            }
            "alias" => self.aliases.extend(key.text(report)),
            "oneway" => key.flag(&mut self.oneway, report),
            "idempotent" => key.flag(&mut self.idempotent, report),
            "no_cancel" => key.flag(&mut self.no_cancel, report),
            "inline" => key.flag(&mut self.polling.inline, report),
            "spawn" => key.flag(&mut self.polling.spawn, report),
            _ => {
                let elsewhere = [
                    ("default", "on an argument: `#[rpc(default)] name: Type`"),
                    ("compact", "on the trait: `#[service(compact)]`"),
                    ("crate", "on the trait: `#[service(crate = path)]`"),
                ];
                key.unknown("`#[rpc]`", &METHOD_KEYS, &elsewhere, report);
            }
        }
    }
}

/// Reports what may not stand around the name of a method: qualifiers, generics, variadics.
fn qualified(signature: Signature, report: &mut Report) -> Signature {
    let name = &signature.ident;
    if let Some(constness) = &signature.constness {
        report.mistake(
            constness,
            format_args!("a call happens at run time: leave out `const` and write `async fn {name}`"),
        );
    }
    if signature.asyncness.is_none() {
        let message = format!("a call takes time: write `async fn {name}`, with the value as its result");
        report.mistake(signature.fn_token, message);
    }
    if let Safety::Unsafe(unsafety) = &signature.safety {
        let message =
            "a caller far away cannot keep an `unsafe` promise: leave it out, and check the arguments";
        report.mistake(unsafety, message);
    }
    if let Some(abi) = &signature.abi {
        report.mistake(abi, "a service method is called by its dispatcher only: leave out `extern`");
    }
    if let Some(variadic) = &signature.variadic {
        report.mistake(variadic, "a call has a fixed list of arguments: write a `Vec<T>` in place of `...`");
    }
    for parameter in &signature.generics.params {
        let message = match parameter {
            syn::GenericParam::Lifetime(_) => {
                "a method has no lifetimes of its own: leave it out, a reference lives as long as the call"
            }
            syn::GenericParam::Type(_) => {
                "a dispatcher must know the types of a method: write a concrete type, \
                 or make the trait generic: `trait Name<T>`"
            }
            syn::GenericParam::Const(_) => {
                "a dispatcher must know the types of a method: write a number, \
                 or make the trait generic: `trait Name<const N: usize>`"
            }
        };
        report.mistake(parameter, message);
    }
    if let Some(condition) = &signature.generics.where_clause {
        report.mistake(condition, "a method is there for every caller: move its `where` clause to the trait");
    }
    signature
}

fn receiver(receiver: Receiver, report: &mut Report) {
    let instead = "write `&self`, and keep what changes behind a lock or an atomic";
    match &receiver.kind {
        ReceiverKind::Reference(_, None, None) => {}
        ReceiverKind::Reference(_, Some(lifetime), None) => {
            report.mistake(lifetime, "a method has no lifetimes of its own: write `&self`");
        }
        ReceiverKind::Reference(_, _, Some(_)) => {
            report
                .mistake(&receiver, format_args!("calls run side by side and share the handler: {instead}"));
        }
        ReceiverKind::Value => {
            report.mistake(&receiver, format_args!("a call does not use up the handler: {instead}"));
        }
        ReceiverKind::Typed(_, ty) => {
            let message = match types::plain(ty) {
                Type::Reference(TypeReference { lifetime: None, mutability: None, .. }) => {
                    "a service method takes its handler by reference: write `&self`"
                }
                _ => "the dispatcher keeps the handler and lends it to each call: write `&self`",
            };
            report.mistake(&receiver, message);
        }
        _ => report.mistake(&receiver, "a service method takes its handler by reference: write `&self`"),
    }
    // What other attributes say about a receiver is the compiler's business.
    Attributes::read(receiver.attrs, report, |key, report| {
        let name = key.name();
        report.mistake(&key, format_args!("`{name}` says nothing about `self`: put it on the method"));
    });
}
