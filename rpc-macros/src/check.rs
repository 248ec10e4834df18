//! The rules between the parts of a service: names, options and arguments that do not go together.

use crate::model::{Argument, Attributes, Method, Outcome, PollingOptions, Service, plain};
use crate::report::Report;
use syn::LitStr;
use syn::ext::IdentExt;

/// Methods that every client has.
const CLIENT_METHODS: [&str; 3] = ["new", "connect", "in_process"];

/// The longest list of arguments that the runtime can send.
const MOST_ARGUMENTS: usize = 16;

pub(crate) fn service(service: &Service, report: &mut Report) {
    one_place_to_start(&service.polling, report);
    for method in &service.methods {
        options_go_together(method, report);
        one_place_to_start(&method.options.polling, report);
        streams_allow_the_options(method, report);
        argument_names_differ(method, report);
        arguments_are_few(method, report);
        defaults_come_last(method, report);
        client_has_no_such_method(method, service, report);
        wire_names_are_texts(method, report);
    }
    methods_differ(service, report);
    wire_names_differ(service, report);
}

fn options_go_together(method: &Method, report: &mut Report) {
    let Some(oneway) = &method.options.oneway else { return };
    match &method.outcome {
        Outcome::Nothing => {}
        Outcome::Value(written) | Outcome::Result { written, .. } | Outcome::Stream { written, .. } => {
            let message =
                "nobody waits for the result of a one-way method: leave it out, or leave out `oneway`";
            report.mistake(written, message);
        }
    }
    if method.options.idempotent.is_some() {
        let message = "a one-way call is never repeated: leave out `idempotent`, or leave out `oneway`";
        report.mistake(oneway, message);
    }
}

fn one_place_to_start(polling: &PollingOptions, report: &mut Report) {
    if let (Some(_), Some(spawn)) = (&polling.inline, &polling.spawn) {
        let message = "a handler starts on the connection's task or on one of its own: \
                       leave out `spawn`, or leave out `inline`";
        report.mistake(spawn, message);
    }
}

/// A stream is sent once, by a caller who stays for it, and a task of its own moves it.
fn streams_allow_the_options(method: &Method, report: &mut Report) {
    if let (true, Some(inline)) = (method.has_streams(), &method.options.polling.inline) {
        report.mistake(inline, "a method with streams has a task of its own: leave out `inline`");
    }
    let Some(first) = method.arguments.iter().find(|argument| argument.is_stream()) else { return };
    if method.options.oneway.is_some() {
        let message = "a one-way call is over before its streams are: send a `Vec<T>`, or leave out `oneway`";
        report.mistake(&first.ty, message);
    } else if let Some(idempotent) = &method.options.idempotent {
        let message =
            "a stream cannot be sent twice, and so this call is never repeated: leave out `idempotent`";
        report.mistake(idempotent, message);
    }
}

fn argument_names_differ(method: &Method, report: &mut Report) {
    let same = |first: &Argument, second: &Argument| {
        first.ident == second.ident && coexist(&first.attributes, &second.attributes)
    };
    for (_, second) in repeated(&method.arguments, same) {
        let message = format!("there is already an argument `{}`: give it another name", second.ident);
        report.mistake(&second.ident, message);
    }
}

fn arguments_are_few(method: &Method, report: &mut Report) {
    if let Some(first) = method.arguments.get(MOST_ARGUMENTS) {
        let message = format!(
            "a method takes at most {MOST_ARGUMENTS} arguments, and `{}` has {}: put them in a struct",
            method.ident,
            method.arguments.len()
        );
        report.mistake(&first.ident, message);
    }
}

/// A missing argument can only be told from a present one at the end of the list.
fn defaults_come_last(method: &Method, report: &mut Report) {
    let is_required = |argument: &Argument| argument.default.is_none() || argument.is_stream();
    let required = method.arguments.iter().rposition(is_required);
    for (position, argument) in method.arguments.iter().enumerate() {
        if argument.is_stream() {
            streams_are_not_missing(argument, report);
        } else if let Some(default) = &argument.default {
            if let Some(required) = required.filter(|required| position < *required) {
                let message = format!(
                    "only the last arguments may be missing: move `{}` behind `{}`",
                    argument.ident, method.arguments[required].ident
                );
                report.mistake(default, message);
            }
            if let syn::Type::Reference(reference) = plain(&argument.ty) {
                let message = "there is nothing to borrow when it is missing: write an owned type";
                report.mistake(reference, message);
            }
        } else if let Some(condition) = argument.attributes.cfg() {
            let message = "this would shift the arguments after it: only a trailing argument with \
                           `#[rpc(default)]` can have a `#[cfg]`";
            report.mistake(condition, message);
        }
    }
}

fn streams_are_not_missing(argument: &Argument, report: &mut Report) {
    if let Some(default) = &argument.default {
        report.mistake(default, "a stream may be empty, but is never missing: leave out `default`");
    }
    if let Some(condition) = argument.attributes.cfg() {
        let message = "a stream may be empty, but is never missing: leave this `#[cfg]` out, \
                       or write the method twice, each under its own";
        report.mistake(condition, message);
    }
}

fn client_has_no_such_method(method: &Method, service: &Service, report: &mut Report) {
    let name = method.ident.unraw().to_string();
    if CLIENT_METHODS.contains(&name.as_str()) {
        let message = format!(
            "`{0}Client` has a function `{name}` already: name the method otherwise, \
             and keep its name on the wire with `#[rpc(name = \"{name}\")]`",
            service.ident.unraw()
        );
        report.mistake(&method.ident, message);
    }
}

fn wire_names_are_texts(method: &Method, report: &mut Report) {
    for name in method.options.name.iter().chain(&method.options.aliases) {
        if name.value().is_empty() {
            report.mistake(name, "a method needs a name on the wire: write one, or leave this out");
        }
    }
}

fn methods_differ(service: &Service, report: &mut Report) {
    for (_, second) in repeated(&service.methods, same_method) {
        let message = format!("there is already a method `{}`: give it another name", second.ident);
        report.mistake(&second.ident, message);
    }
}

fn wire_names_differ(service: &Service, report: &mut Report) {
    let names: Vec<WireName<'_>> = service.methods.iter().flat_map(WireName::of).collect();
    let same = |first: &WireName<'_>, second: &WireName<'_>| {
        let coexist = std::ptr::eq(first.method, second.method)
            || coexist(&first.method.attributes, &second.method.attributes);
        // Two methods of one name have been reported as such.
        first.name.value() == second.name.value() && coexist && !same_method(first.method, second.method)
    };
    for (first, second) in repeated(&names, same) {
        let message = format!(
            "the name `{}` is taken on the wire, by the method `{}`: choose another",
            second.name.value(),
            first.method.ident
        );
        report.mistake(&second.name, message);
    }
}

fn same_method(first: &Method, second: &Method) -> bool {
    !std::ptr::eq(first, second)
        && first.ident == second.ident
        && coexist(&first.attributes, &second.attributes)
}

struct WireName<'a> {
    name: LitStr,
    method: &'a Method,
}

impl<'a> WireName<'a> {
    fn of(method: &'a Method) -> impl Iterator<Item = WireName<'a>> {
        let names = std::iter::once(method.name()).chain(method.options.aliases.iter().cloned());
        names.map(move |name| WireName { name, method })
    }
}

/// Whether both may be there at once: not if each has a `#[cfg]` of its own, which the compiler will weigh.
fn coexist(first: &Attributes, second: &Attributes) -> bool {
    let (first, second) = (first.cfgs(), second.cfgs());
    first.is_empty() || second.is_empty() || first.to_string() == second.to_string()
}

/// Each item that is `same` as one before it, with the first such one.
fn repeated<T>(items: &[T], same: impl Fn(&T, &T) -> bool) -> impl Iterator<Item = (&T, &T)> {
    items.iter().enumerate().filter_map(move |(position, item)| {
        let first = items[..position].iter().find(|earlier| same(earlier, item))?;
        Some((first, item))
    })
}
