//! What the measured processes do: answer the questions that come on standard input, one line each way.
//!
//! They end with the process that started them, since then their standard input ends.

use crate::{
    contender::{
        Calls, Contender, Downloads, Handlers, Name, Result, Streams,
        fixed::{RpcInline, RpcSpawn},
        raw::Raw,
        rpc::{Rpc, in_process},
        tarpc::Tarpc,
        tcp::Tcp,
        tonic::Tonic,
    },
    measure::{process_cpu, raise_descriptor_limit, resident_memory},
    options::Flavour,
    workload::{Calling, Downloading, Handling, Kind, Stint, Streaming, Work, Workload},
};
use std::{
    future::Future,
    io::stdin,
    net::SocketAddr,
    process, thread,
    time::{Duration, Instant},
};
use tokio::{runtime::Runtime, time::timeout};

/// What the client process of a contender does.
type ClientRole = fn(&Runtime, SocketAddr) -> Result<()>;

impl Name {
    /// What its server process does.
    pub fn server(self) -> fn(&Runtime) -> Result<()> {
        match self {
            Self::Tcp => serve::<Tcp>,
            Self::Raw => serve::<Raw<false>>,
            Self::Raw2 => serve::<Raw<true>>,
            Self::Rpc => serve::<Rpc>,
            Self::RpcInline => serve::<RpcInline>,
            Self::RpcSpawn => serve::<RpcSpawn>,
            Self::Tarpc => serve::<Tarpc<false>>,
            Self::TarpcInline => serve::<Tarpc<true>>,
            Self::Tonic => serve::<Tonic>,
        }
    }
}

impl Kind {
    /// Who has clients of this kind, and what their processes do.
    fn clients(self) -> &'static [(Name, ClientRole)] {
        match self {
            Self::Calls => &[
                (Name::Raw, make_calls::<Raw<false>>),
                (Name::Raw2, make_calls::<Raw<true>>),
                (Name::Rpc, make_calls::<Rpc>),
                (Name::Tarpc, make_calls::<Tarpc<false>>),
                (Name::TarpcInline, make_calls::<Tarpc<true>>),
                (Name::Tonic, make_calls::<Tonic>),
            ],
            Self::Streams => &[
                (Name::Raw, open_streams::<Raw<false>>),
                (Name::Raw2, open_streams::<Raw<true>>),
                (Name::Rpc, open_streams::<Rpc>),
                (Name::Tonic, open_streams::<Tonic>),
            ],
            Self::Downloads => &[
                (Name::Tcp, download::<Tcp>),
                (Name::Raw, download::<Raw<false>>),
                (Name::Raw2, download::<Raw<true>>),
                (Name::Rpc, download::<Rpc>),
                (Name::Tonic, download::<Tonic>),
            ],
            Self::Handlers => &[
                (Name::Raw, occupy::<Raw<false>>),
                (Name::Raw2, occupy::<Raw<true>>),
                (Name::Rpc, occupy::<Rpc>),
                (Name::RpcInline, occupy::<RpcInline>),
                (Name::RpcSpawn, occupy::<RpcSpawn>),
                (Name::Tarpc, occupy::<Tarpc<false>>),
                (Name::TarpcInline, occupy::<Tarpc<true>>),
                (Name::Tonic, occupy::<Tonic>),
            ],
        }
    }

    /// Whether a contender has clients of this kind.
    pub fn suits(self, contender: Name) -> bool {
        self.clients().iter().any(|&(name, _)| name == contender)
    }

    /// What the client process of a contender does.
    pub fn client(self, contender: Name) -> Result<ClientRole> {
        let known = self.clients().iter().find(|&&(name, _)| name == contender);
        known.map(|&(_, role)| role).ok_or_else(|| format!("{contender} has no {}", self.as_str()).into())
    }
}

fn make_calls<C: Contender<Client: Calls>>(runtime: &Runtime, server: SocketAddr) -> Result<()> {
    answer_about_client::<C, Calling>(runtime, server)
}

fn open_streams<C: Contender<Client: Streams>>(runtime: &Runtime, server: SocketAddr) -> Result<()> {
    answer_about_client::<C, Streaming>(runtime, server)
}

fn download<C: Contender<Client: Downloads>>(runtime: &Runtime, server: SocketAddr) -> Result<()> {
    answer_about_client::<C, Downloading>(runtime, server)
}

fn occupy<C: Contender<Client: Handlers>>(runtime: &Runtime, server: SocketAddr) -> Result<()> {
    answer_about_client::<C, Handling>(runtime, server)
}

/// Serves `C`, says where, and answers `cpu` with nanoseconds and `memory` with bytes.
fn serve<C: Contender>(runtime: &Runtime) -> Result<()> {
    raise_descriptor_limit()?;
    thread::spawn(|| {
        let ended = answer_about_server();
        process::exit(i32::from(ended.is_err()));
    });
    runtime.block_on(C::serve(|address| println!("{address}")))
}

fn answer_about_server() -> Result<()> {
    for question in stdin().lines() {
        match question?.as_str() {
            "cpu" => println!("{}", process_cpu().as_nanos()),
            "memory" => println!("{}", resident_memory()?),
            unknown => return Err(format!("a server cannot {unknown:?}").into()),
        }
    }
    Ok(())
}

/// `open` connects for a workload, `run` keeps its callers busy for a time, `count` so many times, `close` disconnects, `idle` opens connections that
/// are used once and then left alone, and `memory` is answered with bytes.
fn answer_about_client<C: Contender, W: Work<C::Client>>(
    runtime: &Runtime,
    server: SocketAddr,
) -> Result<()> {
    raise_descriptor_limit()?;
    let mut opened = None;
    let mut idle = Vec::new();
    for question in stdin().lines() {
        match question?.split(' ').collect::<Vec<_>>()[..] {
            ["open", workload] => {
                let workload = Workload::named(workload)?;
                let clients = runtime.block_on(connect::<C, W>(server, workload))?;
                opened = Some((workload, clients));
                println!("opened");
            }
            ["run", milliseconds] => {
                let (workload, clients) = opened.as_ref().ok_or("run before open")?;
                let duration = Duration::from_millis(milliseconds.parse()?);
                let run = within(duration + PATIENCE, W::run(workload, clients, Stint::Time(duration)));
                println!("{}", runtime.block_on(run)?);
            }
            ["count", times] => {
                let (workload, clients) = opened.as_ref().ok_or("count before open")?;
                let run = within(MORE_PATIENCE, W::run(workload, clients, Stint::Times(times.parse()?)));
                println!("{}", runtime.block_on(run)?.count);
            }
            ["close"] => {
                // Some clients say goodbye through the runtime when they are dropped.
                runtime.block_on(async { opened = None });
                println!("closed");
            }
            ["idle", connections] => {
                let more = runtime.block_on(connect_idle::<C, W>(server, connections.parse()?))?;
                idle.extend(more);
                println!("opened");
            }
            ["memory"] => println!("{}", resident_memory()?),
            ref unknown => return Err(format!("a client cannot {unknown:?}").into()),
        }
    }
    Ok(())
}

/// Opens connections and tries each of them once.
async fn connect<C: Contender, W: Work<C::Client>>(
    server: SocketAddr,
    workload: &Workload,
) -> Result<Vec<C::Client>> {
    let mut clients = Vec::with_capacity(workload.connections);
    for _ in 0..workload.connections {
        let mut client = within(PATIENCE, C::connect(server)).await?;
        within(PATIENCE, W::verify(workload, &mut client)).await?;
        clients.push(client);
    }
    Ok(clients)
}

async fn connect_idle<C: Contender, W: Work<C::Client>>(
    server: SocketAddr,
    connections: usize,
) -> Result<Vec<W::Idle>> {
    let mut idle = Vec::with_capacity(connections);
    for _ in 0..connections {
        let client = within(PATIENCE, C::connect(server)).await?;
        idle.push(within(PATIENCE, W::idle(client)).await?);
    }
    Ok(idle)
}

/// Makes calls within this process for `duration` and says how many nanoseconds of CPU time one takes: the same as
/// by the clock, since nothing is waited for, but true on a busy machine too.
pub fn call_in_process(duration: Duration) -> Result<()> {
    let runtime = Flavour::CurrentThread.runtime()?;
    runtime.block_on(async {
        let mut client = in_process();
        let (mut calls, started, cpu) = (0_i64, Instant::now(), process_cpu());
        while started.elapsed() < duration {
            for _ in 0..1000 {
                calls += 1;
                if Calls::add(&mut client, calls, -1).await? != calls - 1 {
                    return Err("wrong result: in process".into());
                }
            }
        }
        println!("{}", (process_cpu() - cpu).as_nanos() as f64 / calls as f64);
        Ok(())
    })
}

/// Whatever takes longer hangs, and that must be a failure rather than a benchmark that never ends.
async fn within<T>(limit: Duration, work: impl Future<Output = Result<T>>) -> Result<T> {
    timeout(limit, work).await.map_err(|_| format!("no end after {limit:?}"))?
}

const PATIENCE: Duration = Duration::from_secs(20);

/// For a process whose instructions are counted one by one.
const MORE_PATIENCE: Duration = Duration::from_secs(600);
