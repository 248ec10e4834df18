//! What it costs that the arguments of a call are bounded in depth and memory while they are unmarshalled: this program
//! beside the same, built without that (`--cfg rpc_unguarded`).

use std::{
    env,
    error::Error,
    hint::black_box,
    path::{Path, PathBuf},
    process::{Command, ExitCode},
    time::{Duration, Instant},
};

use rpc::{Channel, Code, Method, Reply, Request, Service};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use tokio::runtime::Builder;

use crate::callgrind;

/// By so many percent it may add to the instructions of any of these.
const MOST: f64 = 10.0;

/// So many times each is unmarshalled under callgrind, and three times as many.
const TIMES: u64 = 4_000;

/// So many times each is unmarshalled by the clock, and how often each program is run for that: the shortest time is the
/// one that nothing else has disturbed.
const TIMED: u64 = 200_000;
const ROUNDS: usize = 5;

/// Small arguments, each with its name.
const ARGUMENTS: [(&str, &str); 6] = [
    ("integers", "two integers"),
    ("texts", "a text and an integer"),
    ("point", "a struct of three floats"),
    ("list", "a list of eight integers"),
    ("choice", "an enum within an option"),
    ("record", "a struct of ten fields, with two lists"),
];

#[derive(Serialize, Deserialize)]
struct Point {
    x: f64,
    y: f64,
    z: f64,
}

#[derive(Serialize, Deserialize)]
enum Choice {
    Nothing,
    Number(i64),
    Pair { left: Option<u8>, right: Option<u8> },
}

#[derive(Serialize, Deserialize)]
struct Record {
    id: u64,
    name: String,
    email: String,
    age: u32,
    balance: f64,
    active: bool,
    registered: i64,
    referrer: Option<String>,
    tags: Vec<String>,
    orders: Vec<u32>,
}

fn record() -> Record {
    Record {
        id: 8_234_567_890,
        name: "Ada Lovelace".to_owned(),
        email: "ada.lovelace@example.org".to_owned(),
        age: 36,
        balance: 1_234.56,
        active: true,
        registered: 1_763_700_000_000,
        referrer: Some("Charles Babbage".to_owned()),
        tags: ["engine", "poetry", "numbers"].map(str::to_owned).to_vec(),
        orders: vec![3, 141, 59_265, 358_979],
    }
}

/// Compares all of them; fails if the guard adds too much to the instructions of one.
pub fn check() -> Result<ExitCode, Box<dyn Error>> {
    let (guarded, unguarded) = (env::current_exe()?, build_unguarded()?);
    let mut held = true;
    println!("What the guard adds to unmarshalling:");
    for (name, what) in ARGUMENTS {
        let (with, without) = (instructions(&guarded, name)?, instructions(&unguarded, name)?);
        let (time_with, time_without) = times(&guarded, &unguarded, name)?;
        let (added, time_added) = (percent(with, without), percent(time_with, time_without));
        held &= added <= MOST;
        println!(
            "{what:<40} {with:>7.1} instructions, {without:>7.1} without: {added:>+5.1} %; \
             {time_with:>6.1} ns, {time_without:>6.1} without: {time_added:>+5.1} %"
        );
    }
    if held {
        return Ok(ExitCode::SUCCESS);
    }
    println!("It may add {MOST} % to the instructions of each.");
    Ok(ExitCode::FAILURE)
}

fn percent(with: f64, without: f64) -> f64 {
    100.0 * (with / without - 1.0)
}

/// This program without the guard, in a place of its own beside this one.
fn build_unguarded() -> Result<PathBuf, Box<dyn Error>> {
    let target = env::current_exe()?
        .ancestors()
        .nth(2)
        .ok_or("a program that cargo has built lies in its target directory")?
        .join("unguarded");
    let manifest = Path::new(env!("CARGO_MANIFEST_DIR")).join("Cargo.toml");
    let status = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
        .args(["build", "--release", "--locked", "--quiet", "--manifest-path"])
        .arg(manifest)
        .arg("--target-dir")
        .arg(&target)
        .env_remove("CARGO_ENCODED_RUSTFLAGS")
        .env("RUSTFLAGS", "--cfg rpc_unguarded")
        .status()?;
    if !status.success() {
        return Err("the program without the guard could not be built".into());
    }
    Ok(target.join("release").join(env!("CARGO_PKG_NAME")))
}

/// How many instructions it takes a program to unmarshal one.
fn instructions(program: &Path, name: &str) -> Result<f64, Box<dyn Error>> {
    let count = |times: u64| {
        callgrind::run_program(program, &["unmarshal", name, &times.to_string()], Path::new("/dev/null"))
    };
    Ok((count(3 * TIMES)? - count(TIMES)?) as f64 / (2 * TIMES) as f64)
}

/// How many nanoseconds it takes each of two programs, which take turns.
fn times(one: &Path, other: &Path, name: &str) -> Result<(f64, f64), Box<dyn Error>> {
    let time = |program: &Path| -> Result<f64, Box<dyn Error>> {
        let output = Command::new(program).args(["unmarshal", name, &TIMED.to_string()]).output()?;
        let nanos: f64 = String::from_utf8(output.stdout)?.trim().parse()?;
        Ok(nanos / TIMED as f64)
    };
    let mut least = (f64::INFINITY, f64::INFINITY);
    for _ in 0..ROUNDS {
        least = (least.0.min(time(one)?), least.1.min(time(other)?));
    }
    Ok(least)
}

/// Unmarshals one so many times, and says how many nanoseconds that took.
pub fn unmarshal(name: &str, times: u64) -> Result<(), Box<dyn Error>> {
    let channel = Channel::in_process(Unmarshals(times));
    let took: u64 = Builder::new_current_thread().build()?.block_on(async {
        match name {
            "integers" => channel.call::<u64, rpc::Error>("Unmarshals.integers", (&1_000_000, &1_000)).await,
            "texts" => {
                channel.call::<u64, rpc::Error>("Unmarshals.texts", (&"a customer of ours", &36)).await
            }
            "point" => {
                channel
                    .call::<u64, rpc::Error>("Unmarshals.point", (&Point { x: 1.5, y: -2.25, z: 3.125 },))
                    .await
            }
            "list" => {
                channel.call::<u64, rpc::Error>("Unmarshals.list", (&[1, 2, 300, 4, 5, 60_000, 7, 8],)).await
            }
            "choice" => {
                let choice = Some(Choice::Pair { left: Some(3), right: None });
                channel.call::<u64, rpc::Error>("Unmarshals.choice", (&choice,)).await
            }
            _ => channel.call::<u64, rpc::Error>("Unmarshals.record", (&record(),)).await,
        }
    })?;
    println!("{took}");
    Ok(())
}

/// A dispatcher that unmarshals its arguments again and again, as generated ones do once.
#[derive(Clone)]
struct Unmarshals(u64);

impl Service for Unmarshals {
    const NAME: &'static str = "Unmarshals";

    const METHODS: &'static [Method] = &[
        Method::new("integers", &["a", "b"]),
        Method::new("texts", &["text", "number"]),
        Method::new("point", &["point"]),
        Method::new("list", &["list"]),
        Method::new("choice", &["choice"]),
        Method::new("record", &["record"]),
    ];

    async fn dispatch(&self, request: &Request) -> Reply {
        let took = match request.method() {
            "integers" => self.two::<i64, i64>(request),
            "texts" => self.two::<String, u32>(request),
            "point" => self.one::<Point>(request),
            "list" => self.one::<Vec<u32>>(request),
            "choice" => self.one::<Option<Choice>>(request),
            "record" => self.one::<Record>(request),
            _ => return request.unimplemented(),
        };
        let failed = |error: rpc::Error| rpc::Error::new(Code::Internal, error.to_string());
        request.result(took.map(|took| took.as_nanos() as u64).map_err(failed))
    }
}

impl Unmarshals {
    fn one<T: DeserializeOwned>(&self, request: &Request) -> Result<Duration, rpc::Error> {
        self.again(|| {
            let mut arguments = request.arguments().map_err(unsound)?;
            black_box(arguments.next::<T>().map_err(unsound)?);
            Ok(())
        })
    }

    fn two<T: DeserializeOwned, U: DeserializeOwned>(
        &self,
        request: &Request,
    ) -> Result<Duration, rpc::Error> {
        self.again(|| {
            let mut arguments = request.arguments().map_err(unsound)?;
            black_box(arguments.next::<T>().map_err(unsound)?);
            black_box(arguments.next::<U>().map_err(unsound)?);
            Ok(())
        })
    }

    fn again(&self, mut once: impl FnMut() -> Result<(), rpc::Error>) -> Result<Duration, rpc::Error> {
        let begun = Instant::now();
        for _ in 0..self.0 {
            once()?;
        }
        Ok(begun.elapsed())
    }
}

fn unsound(failure: impl std::fmt::Debug) -> rpc::Error {
    rpc::Error::new(Code::Internal, format!("{failure:?}"))
}
