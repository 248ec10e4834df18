//! Generates tonic's service from a description in Rust, so that no `protoc` is needed, and notes the compiler.

use std::{env, process::Command};
use tonic_build::manual::{Builder, Method, Service};

fn main() {
    let method = |name: &str, route: &str, input: &str, output: &str| {
        Method::builder()
            .name(name)
            .route_name(route)
            .input_type(format!("super::{input}"))
            .output_type(format!("super::{output}"))
            .codec_path("tonic_prost::ProstCodec")
    };
    let service = Service::builder()
        .package("bench")
        .name("Arithmetic")
        .method(method("add", "Add", "Terms", "Sum").build())
        .method(method("echo", "Echo", "Payload", "Payload").build())
        .method(method("add_after", "AddAfter", "TermsLater", "Sum").build())
        .method(method("spin", "Spin", "Number", "Number").build())
        .method(method("count", "Count", "Number", "Number").server_streaming().build())
        .method(method("watch", "Watch", "Nothing", "Number").server_streaming().build())
        .method(method("sum", "Sum", "Number", "Number").client_streaming().build())
        .method(method("bounce", "Bounce", "Number", "Number").client_streaming().server_streaming().build())
        .method(method("repeat", "Repeat", "Repetition", "Payload").server_streaming().build())
        .build();
    Builder::new().compile(&[service]);

    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rustc-env=RUSTC_VERSION={}", compiler_version());
}

fn compiler_version() -> String {
    let rustc = env::var("RUSTC").unwrap_or_else(|_| "rustc".to_owned());
    let output = Command::new(rustc).arg("--version").output();
    output.map_or_else(
        |_| "rustc".to_owned(),
        |output| String::from_utf8_lossy(&output.stdout).trim().to_owned(),
    )
}
