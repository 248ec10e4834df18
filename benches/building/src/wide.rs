//! The same wide trait for either framework, with a handler and a caller: what is compiled for each method.

use crate::project::Framework;
use std::fmt::Write as _;

/// The types of arguments and results, and a value of each.
const TYPES: &[(&str, &str)] = &[
    ("u64", "7"),
    ("String", "\"seven\".to_owned()"),
    ("f64", "7.5"),
    ("Point", "Point { x: 0.5, y: 1.5, name: \"p\".to_owned() }"),
    ("bool", "true"),
    ("Vec<f64>", "vec![0.5, 1.5]"),
    ("Option<i32>", "Some(-7)"),
    ("Vec<Point>", "Vec::new()"),
];

/// Where in the list of types each of the four arguments begins, and how far it moves from method to method. Few methods
/// have the same four types so: a framework that compiles something for each list of types has to do it.
const STRIDES: [usize; 4] = [1, 3, 5, 7];

/// A program whose trait has this many methods, each with four arguments; prints how many gave what they should.
pub fn program(framework: Framework, methods: usize) -> String {
    let frame = match framework {
        Framework::Rpc => include_str!("../programs/rpc_wide.rs"),
        Framework::Tarpc => include_str!("../programs/tarpc_wide.rs"),
    };
    let mut declarations = String::new();
    let mut handlers = String::new();
    let mut callers = String::new();
    let mut calls = String::new();
    let (service, receiver, context, current) = match framework {
        Framework::Rpc => ("rpc::service", "&self, ", "", ""),
        Framework::Tarpc => ("tarpc::service", "", "self, _: Context, ", "context::current(), "),
    };
    let handled = if context.is_empty() { receiver } else { context };
    for method in 0..methods {
        let turn = method / TYPES.len();
        let types =
            STRIDES.map(|stride| TYPES[(stride + method * stride + turn * (stride / 2)) % TYPES.len()]);
        let [(a, value), (b, second), (c, third), (d, fourth)] = types;
        let parameters = format!("a: {a}, b: {b}, c: {c}, d: {d}");
        write!(
            declarations,
            "\n    /// Gives its first argument back.\n    async fn method_{method}({receiver}{parameters}) -> {a};\n"
        )
        .ok();
        write!(
            handlers,
            "\n    async fn method_{method}({handled}{parameters}) -> {a} {{\n        let _ = (b, c, d);\n        a\n    }}\n"
        )
        .ok();
        write!(
            callers,
            "\nasync fn call_{method}(client: &WideClient) -> Result<bool, Box<dyn std::error::Error + Send + Sync>> {{\n    \
             Ok(client.method_{method}({current}{value}, {second}, {third}, {fourth}).await? == {value})\n}}\n"
        )
        .ok();
        writeln!(calls, "    right += u32::from(call_{method}(client).await?);").ok();
    }
    format!(
        "{frame}\n#[{service}]\npub trait Wide {{{declarations}}}\n\nimpl Wide for Handler {{{handlers}}}\n{callers}\n\
         async fn call_all(client: &WideClient) -> Result<u32, Box<dyn std::error::Error + Send + Sync>> {{\n    \
         let mut right = 0;\n{calls}    Ok(right)\n}}\n"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_declare_the_same_methods() {
        let declared = |framework| {
            let program = program(framework, 12).replace("&self, ", "");
            let declared: Vec<_> =
                program.lines().filter(|line| line.ends_with(';')).map(str::to_owned).collect();
            declared.into_iter().filter(|line| line.contains("async fn method_")).collect::<Vec<_>>()
        };
        assert_eq!(declared(Framework::Rpc).len(), 12);
        assert_eq!(declared(Framework::Rpc), declared(Framework::Tarpc));
    }

    #[test]
    fn few_methods_have_the_same_types() {
        let program = program(Framework::Rpc, 100);
        let lists =
            program.lines().filter_map(|line| line.trim().strip_prefix("async fn method_")?.split_once('('));
        let distinct: std::collections::BTreeSet<_> =
            lists.filter(|(_, list)| list.ends_with(';')).map(|(_, list)| list).collect();
        assert!(distinct.len() > 60, "{}", distinct.len());
    }
}
