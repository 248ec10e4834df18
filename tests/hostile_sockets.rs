//! Attacks in which the kernel has a part, on real sockets.

#[path = "support/hostile/mod.rs"]
mod hostile;

use std::time::Duration;

use hostile::always::{Always, bystander};
use hostile::raw::Raw;
use hostile::wire::{self, DRAIN, Value, framed};
use hostile::{TargetClient, Victim};
use rpc::{Code, Error, Executed, Limits};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, timeout};

const SECOND: Duration = Duration::from_secs(1);
const HUNDREDTH: Duration = Duration::from_millis(100);

fn sum() -> Vec<u8> {
    wire::array(&[&[1], &[2]])
}

// ---- 7 and 8: resets, and halves that are closed ----

#[test]
fn case_07_a_reset_within_a_frame_drops_handlers_at_once() {
    Victim::attacked_over_tcp(Limits::default(), async |victim| {
        let mut took = Vec::new();
        for _ in 0..5 {
            let mut stream = TcpStream::connect(&victim.url["tcp://".len()..]).await.expect("connected");
            let half = &framed(&wire::request(3, "Target.add", &sum()))[..9];
            let bytes =
                [wire::hello(), framed(&wire::request(1, "Target.hold", &[0x90])), half.to_vec()].concat();
            stream.write_all(&bytes).await.expect("written");
            victim.ledger.running(1).await;
            stream.set_zero_linger().expect("an option of every socket");
            drop(stream);
            took.push(victim.ledger.running(0).await);
        }
        // The kernel has its part in it: an odd pause of the machine is not held against the server.
        took.sort();
        assert!(took[2] <= HUNDREDTH, "{took:?}");
    });
}

#[test]
fn case_07_a_reset_within_a_reply_resolves_the_callers() {
    Always::on_sockets().holds(
        async || ((), bystander().await),
        async |()| {
            let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
            let url = format!("tcp://{}", listener.local_addr().expect("an address"));
            let connecting = tokio::spawn(TargetClient::connect(&url).into_future());
            let (mut stream, _) = listener.accept().await.expect("a client");
            stream.write_all(&wire::hello()).await.expect("written");
            let client = connecting.await.expect("joined").expect("connected");
            let call = tokio::spawn(client.add(1, 2).into_future());
            // The hello and the request have come when this many bytes have.
            let mut bytes = vec![0; 4 + 4];
            stream.read_exact(&mut bytes).await.expect("a hello");
            let hello = u32::from_be_bytes([bytes[4], bytes[5], bytes[6], bytes[7]]) as usize;
            stream.read_exact(&mut vec![0; hello + 4]).await.expect("a request");
            stream.write_all(&framed(&wire::reply(1 << 20, &[3]))[..7]).await.expect("written");
            stream.set_zero_linger().expect("an option of every socket");
            drop(stream);
            let error =
                timeout(5 * SECOND, call).await.expect("in time").expect("joined").expect_err("a reset");
            assert_eq!((error.code(), error.executed()), (Code::Unavailable, Executed::Maybe));
        },
    );
}

#[test]
fn case_08_replies_still_arrive_over_tcp() {
    Victim::attacked_over_tcp(Limits::default(), async |victim| {
        let mut raw = Raw::open(&victim.url).await;
        raw.say(&wire::request(1, "Target.hold", &[0x90])).await;
        raw.say(&wire::goaway(u64::MAX, DRAIN, "")).await;
        raw.finish().await;
        victim.ledger.running(1).await;
        victim.gate.add_permits(1);
        let mut replies = 0;
        while let Some(message) = timeout(5 * SECOND, raw.recv()).await.expect("closed in time") {
            replies += usize::from(message.kind() == 1);
        }
        assert_eq!(replies, 1);
    });
}

#[test]
fn case_08_a_half_closed_peer_that_is_gone_is_noticed_over_tcp() {
    Victim::attacked_over_tcp(Limits::default().with_keepalive_interval(SECOND / 10), async |victim| {
        let mut raw = Raw::open(&victim.url).await;
        raw.say(&wire::request(1, "Target.hold", &[0x90])).await;
        victim.ledger.running(1).await;
        raw.say(&wire::goaway(u64::MAX, DRAIN, "")).await;
        raw.finish().await;
        drop(raw);
        // The first ping only makes the other system say that nobody is there; the second one is refused.
        victim.ledger.running(0).await;
    });
}

// ---- 70 and 71: what a transport does ----

#[test]
fn case_70_short_writes_to_a_peer_that_reads_little_at_a_time_complete() {
    const SEVENS: usize = 300_000;
    Victim::attacked_over_tcp(Limits::default(), async |victim| {
        let socket = TcpSocket::new_v4().expect("a socket");
        // So little fits into it that no reply is ever written at once.
        socket.set_recv_buffer_size(4_096).expect("an option of every socket");
        let address = victim.url["tcp://".len()..].parse().expect("an address");
        let mut stream = socket.connect(address).await.expect("connected");
        stream.write_all(&wire::hello()).await.expect("written");
        let sevens = wire::array(&[&wire::uint(SEVENS as u64)]);
        for id in 1..=3 {
            stream.write_all(&framed(&wire::request(id, "Target.sevens", &sevens))).await.expect("written");
        }
        let all = async {
            let mut sevens = 0;
            // The heads of the replies and the hello come between them.
            while sevens < 3 * SEVENS {
                let mut some = [0; 1_000];
                let count = stream.read(&mut some).await.expect("it is open");
                assert!(count > 0, "closed after {sevens} sevens");
                sevens += some[..count].iter().filter(|byte| **byte == 7).count();
                tokio::task::yield_now().await;
            }
        };
        timeout(60 * SECOND, all).await.expect("it goes on");
        victim.serves_neighbours().await;
    });
}

/// What a client has done when its connection is reset.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Stage {
    /// Connected, and sent its hello.
    Connecting,
    /// Read half of the other side's hello.
    Greeted,
    /// Made its calls, of which so many bytes were read.
    Called(usize),
    /// Read half of a reply.
    Answered,
}

/// Makes calls of a server that goes with a reset; gives how they ended.
async fn reset_at(stage: Stage) -> Vec<Error> {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let url = format!("tcp://{}", listener.local_addr().expect("an address"));
    // So that calls which were not sent need not wait long for the end of the next attempt to connect.
    let limits = Limits::default().with_backoff(SECOND / 1_000);
    let connecting = tokio::spawn(TargetClient::connect(&url).limits(limits).into_future());
    let (mut stream, _) = listener.accept().await.expect("a client");
    // From here on nobody listens: what was not sent is not sent elsewhere.
    drop(listener);
    let reset = |stream: TcpStream| stream.set_zero_linger().expect("an option of every socket");
    let hello = wire::hello();
    let mut their_hello = [0; 8];
    stream.read_exact(&mut their_hello).await.expect("a hello");
    if [Stage::Connecting, Stage::Greeted].contains(&stage) {
        let sent = if stage == Stage::Greeted { hello.len() / 2 } else { 0 };
        stream.write_all(&hello[..sent]).await.expect("written");
        reset(stream);
        return vec![connecting.await.expect("joined").expect_err("no server")];
    }
    stream.write_all(&hello).await.expect("written");
    let client = connecting.await.expect("joined").expect("connected");
    let data = vec![7; 1 << 20];
    let calls: Vec<JoinHandle<Result<(), Error>>> = (0..8)
        .map(|number| {
            let (client, data) = (client.clone(), data.clone());
            tokio::spawn(async move {
                match number % 2 {
                    0 => client.add(number, 1).await.map(drop),
                    _ => client.length("", &data).await.map(drop),
                }
            })
        })
        .collect();
    match stage {
        Stage::Called(bytes) => {
            stream.read_exact(&mut vec![0; bytes]).await.expect("requests");
        }
        _ => {
            stream.read_exact(&mut vec![0; 1_000]).await.expect("requests");
            stream.write_all(&framed(&wire::reply(1 << 20, &[3]))[..7]).await.expect("written");
        }
    }
    reset(stream);
    let mut errors = Vec::new();
    for call in calls {
        let ended = timeout(60 * SECOND, call).await.expect("every caller learns how its call ended");
        errors.push(ended.expect("joined").expect_err("nobody answers"));
    }
    errors
}

#[test]
fn case_71_whenever_a_connection_is_reset_every_caller_learns_it() {
    Always::on_sockets().holds(
        async || ((), bystander().await),
        async |()| {
            let called = [1, 100, 1_000, 100_000, 3 << 20].map(Stage::Called);
            for stage in [Stage::Connecting, Stage::Greeted, Stage::Answered].into_iter().chain(called) {
                for error in reset_at(stage).await {
                    assert_eq!(error.code(), Code::Unavailable, "{stage:?}: {error:?}");
                    assert_ne!(error.executed(), Executed::Yes, "{stage:?}: {error:?}");
                }
            }
        },
    );
}

// ---- 82 to 84: more than there is room for ----

#[test]
fn case_82_a_connection_above_the_limit_is_refused_and_those_below_go_on() {
    const CONNECTIONS: usize = 50;
    Victim::attacked_over_tcp(Limits::default().with_connections(CONNECTIONS), async |victim| {
        // The neighbour is the first.
        let mut below = Vec::new();
        for _ in 1..CONNECTIONS {
            below.push(Raw::open(&victim.url).await);
        }
        for _ in 0..20 {
            Raw::connect(&victim.url).await.is_closed_silently().await;
            let error = TargetClient::connect(&victim.url).await.expect_err("the server is full");
            assert_eq!((error.code(), error.executed()), (Code::Unavailable, Executed::No));
        }
        for raw in &mut below {
            assert_eq!(raw.call(1, "Target.add", &sum()).await.value(), (1, &Value::Uint(3)));
        }
        // A place that was left is taken, as soon as the server knows.
        drop(below.pop());
        let taken = async {
            loop {
                match TargetClient::connect(&victim.url).await {
                    Ok(client) => break client,
                    Err(_still_full) => sleep(SECOND / 1_000).await,
                }
            }
        };
        let client = timeout(20 * SECOND, taken).await.expect("there is a place again");
        assert_eq!(client.add(1, 2).await.expect("a sum"), 3);
    });
}

#[test]
fn case_83_half_open_connections_are_closed_in_time_for_a_good_client() {
    const HALF_OPEN: usize = 64;
    let limits = Limits::default().with_half_open(HALF_OPEN).with_hello_timeout(SECOND / 2);
    Victim::attacked_over_tcp(limits, async |victim| {
        let mut silent = Vec::new();
        for _ in 0..2 * HALF_OPEN {
            silent.push(TcpStream::connect(&victim.url["tcp://".len()..]).await.expect("there is room"));
        }
        victim.serves_neighbours().await;
        // Behind two times as many as may be without their hello: all those before are closed first.
        let since = Instant::now();
        let limits = Limits::default().with_hello_timeout(20 * SECOND);
        let client = TargetClient::connect(&victim.url).limits(limits).await.expect("it has its turn");
        assert_eq!(client.add(1, 2).await.expect("a sum"), 3);
        assert!(since.elapsed() >= SECOND / 2, "{:?}: nobody was before it", since.elapsed());
    });
}

#[test]
fn case_84_of_large_replies_that_nobody_reads_little_is_kept() {
    const REPLY: u64 = 4 << 20;
    // One reply, the queue, what one read brings and what such calls take themselves.
    let always = Always::on_sockets().with_heap(REPLY + (1 << 20) + (1 << 20));
    let limits = Limits::default().with_stall_timeout(SECOND);
    Victim::attacked_over_tcp_but(always, limits, async |victim| {
        let before = victim.ledger.started();
        let mut raw = Raw::open(&victim.url).await;
        for id in 1..=300 {
            raw.say(&wire::request(id, "Target.zeros", &wire::array(&[&wire::uint(REPLY - 1_000)]))).await;
        }
        // Whoever began to read before the stall is noticed would get one reply after the other.
        sleep(2 * SECOND).await;
        let started = victim.ledger.started() - before;
        assert!((1..=2).contains(&started), "{started} handlers were started");
        // What lies in the system's own queues comes, then the reason, or a reset in place of it.
        timeout(20 * SECOND, async { while raw.recv.read_u8().await.is_ok() {} })
            .await
            .expect("it is closed");
    });
}
