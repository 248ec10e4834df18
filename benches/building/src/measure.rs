//! What is built, and in which order.

use crate::Result;
use crate::project::{Framework, Project};
use crate::usage::Usage;
use crate::wide::program;
use std::fs;
use std::path::Path;

/// How many methods the wide trait has.
pub const METHODS: usize = 100;

/// How many it has where code is compared with that of [`METHODS`].
pub const FEWER_METHODS: usize = 50;

/// What can be measured by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// A first program, with all that it depends on.
    Quickstart,
    /// A trait of many methods, whose dependencies are built already.
    Wide,
}

/// What was measured: a usage for each round, by what was built and with which framework.
#[derive(Debug, Default)]
pub struct Findings {
    /// In the order of the report.
    pub builds: Vec<Builds>,
    /// The bytes of code of the wide trait with [`FEWER_METHODS`] and with [`METHODS`].
    pub code: Vec<(&'static str, [u64; 2])>,
}

/// One kind of build with one framework.
#[derive(Debug)]
pub struct Builds {
    pub what: &'static str,
    pub who: &'static str,
    pub usages: Vec<Usage>,
}

impl Findings {
    fn add(&mut self, what: &'static str, who: &'static str, usage: Usage) {
        eprintln!("{what}, {who}: {:.2} s CPU, {:.2} s", usage.cpu.as_secs_f64(), usage.wall.as_secs_f64());
        match self.builds.iter_mut().find(|builds| builds.what == what && builds.who == who) {
            Some(builds) => builds.usages.push(usage),
            None => self.builds.push(Builds { what, who, usages: vec![usage] }),
        }
    }
}

pub const RPC: &str = "rpc";
pub const TARPC: &str = "tarpc";
pub const TARPC_TCP: &str = "tarpc over TCP";

const QUICKSTART: &str = "first program, clean debug build";
const DEBUG: &str = "100 methods, debug build";
const ADDED: &str = "a method added, debug build";
const RELEASE: &str = "100 methods, release build";

/// Builds all of a part, in turns.
pub fn measure(part: Part, within: &Path, rounds: usize) -> Result<Findings> {
    let mut findings = Findings::default();
    match part {
        Part::Quickstart => quickstarts(within, rounds, &mut findings)?,
        Part::Wide => wide(within, rounds, &mut findings)?,
    }
    Ok(findings)
}

/// That what is generated for a few methods compiles, with either framework.
pub fn smoke(within: &Path) -> Result<()> {
    for (name, framework) in WIDE {
        let project = wide_project(within, name, framework, 5)?;
        project.cargo(&["check"])?;
        println!("{name}: a trait of five methods compiles");
    }
    Ok(())
}

fn quickstarts(within: &Path, rounds: usize, findings: &mut Findings) -> Result<()> {
    let ours = fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../../examples/quickstart.rs"))?;
    let serde = "serde = { version = \"1\", features = [\"derive\"] }\n";
    // From a registry, dependencies are compiled without what would make compiling them again faster.
    let from_registry: String = ["rpc", "rpc-core", "rpc-macros", "rpc-transport"]
        .map(|name| format!("\n[profile.dev.package.{name}]\nincremental = false\n"))
        .concat();
    let tokio_features = ["macros", "rt-multi-thread", "time"];
    let rpc = format!("{}{serde}{}{from_registry}", ours_as_dependency(), tokio(&tokio_features));
    let readme = format!("anyhow = \"1\"\nfutures = \"0.3\"\n{}", tokio(&["macros", "rt-multi-thread"]));
    let in_process = format!("{}{readme}", tarpc(&["tokio1"]));
    let tcp = format!("{}{readme}", tarpc(OVER_TCP));
    let contenders = [
        (RPC, Project::create(within, "rpc_first", &rpc, &ours)?),
        (
            TARPC,
            Project::create(within, "tarpc_first", &in_process, include_str!("../programs/tarpc_hello.rs"))?,
        ),
        (
            TARPC_TCP,
            Project::create(within, "tarpc_tcp_first", &tcp, include_str!("../programs/tarpc_hello_tcp.rs"))?,
        ),
    ];
    for round in 0..rounds {
        for (who, project) in in_turn(&contenders, round) {
            findings.add(QUICKSTART, who, project.cargo(&["build"])?);
            project.run("debug")?;
            // One at a time on the disk.
            project.forget()?;
        }
    }
    findings.builds.sort_by_key(|builds| contenders.iter().position(|(who, _)| *who == builds.who));
    Ok(())
}

const WIDE: [(&str, Framework); 2] = [("rpc_wide", Framework::Rpc), ("tarpc_wide", Framework::Tarpc)];

fn wide(within: &Path, rounds: usize, findings: &mut Findings) -> Result<()> {
    let mut contenders = Vec::new();
    for ((name, framework), who) in WIDE.into_iter().zip([RPC, TARPC]) {
        let project = wide_project(within, name, framework, 1)?;
        // The dependencies are built before anything is measured.
        for build in [&["build"][..], &["build", "--release"]] {
            project.cargo(build)?;
        }
        contenders.push((who, (project, framework)));
    }
    for round in 0..rounds {
        for (who, (project, framework)) in in_turn(&contenders, round) {
            let wide = program(*framework, METHODS);
            for (what, build) in [(DEBUG, &["build"][..]), (RELEASE, &["build", "--release"])] {
                project.forget_increments()?;
                // Cargo goes by the time at which it was written.
                project.write(&wide)?;
                let usage = project.cargo(build)?;
                findings.add(what, who, usage);
                if what == DEBUG {
                    all_answer(project, "debug")?;
                    project.write(&program(*framework, METHODS + 1))?;
                    findings.add(ADDED, who, project.cargo(build)?);
                }
            }
        }
    }
    let order = [DEBUG, ADDED, RELEASE];
    findings.builds.sort_by_key(|builds| {
        (
            order.iter().position(|what| *what == builds.what),
            [RPC, TARPC].iter().position(|who| *who == builds.who),
        )
    });
    for (who, (project, framework)) in &contenders {
        all_answer(project, "release")?;
        let many = project.code("release")?;
        project.write(&program(*framework, FEWER_METHODS))?;
        project.cargo(&["build", "--release"])?;
        findings.code.push((who, [project.code("release")?, many]));
    }
    Ok(())
}

fn wide_project(within: &Path, name: &'static str, framework: Framework, methods: usize) -> Result<Project> {
    let depend = match framework {
        Framework::Rpc => ours_as_dependency(),
        Framework::Tarpc => format!("futures = \"0.3\"\n{}", tarpc(OVER_TCP)),
    };
    let serde = "serde = { version = \"1\", features = [\"derive\"] }\n";
    let dependencies = format!("{depend}{serde}{}", tokio(&["macros", "rt-multi-thread"]));
    Project::create(within, name, &dependencies, &program(framework, methods))
}

/// That each method, called through a socket, gave what it should.
fn all_answer(project: &Project, profile: &str) -> Result<()> {
    match project.run(profile)? {
        right if right == METHODS.to_string() => Ok(()),
        wrong => Err(format!("{wrong} of {METHODS} methods gave what they should").into()),
    }
}

/// Who is first changes from round to round.
fn in_turn<'a, T>(
    contenders: &'a [(&'static str, T)],
    round: usize,
) -> impl Iterator<Item = (&'static str, &'a T)> {
    let first = round % contenders.len();
    contenders.iter().cycle().skip(first).take(contenders.len()).map(|(who, what)| (*who, what))
}

const OVER_TCP: &[&str] = &["serde-transport", "serde-transport-bincode", "tcp", "tokio1"];

fn ours_as_dependency() -> String {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../..");
    format!("rpc = {{ path = {path:?} }}\n")
}

fn tarpc(features: &[&str]) -> String {
    format!("tarpc = {{ version = \"0.38\", features = {features:?} }}\n")
}

fn tokio(features: &[&str]) -> String {
    format!("tokio = {{ version = \"1\", features = {features:?} }}\n")
}
