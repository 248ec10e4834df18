//! Many calls at once: the limit of a connection, and handlers that keep a thread to themselves.

#[path = "support/always/mod.rs"]
mod always;
#[path = "support/lifecycle/mod.rs"]
mod support;

use std::sync::Mutex;
use std::time::Duration;

use always::{Always, Neighbour, resident};
use rpc::{Channel, Code, Executed, Limits, Server, service};
use support::{Event, Scene, Serving, Way, patiently};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::mpsc;

#[tokio::test]
async fn case_62_our_client_waits_for_a_place() {
    for limit in [1, 7] {
        let server = Server::new().limits(Limits::default().with_calls(limit));
        let mut scene = Scene::with_server(Way::Tcp, server).await;
        let limit = limit as u64;
        let calls: Vec<_> = (0..limit + 10).map(|number| tokio::spawn(scene.client.wait(number))).collect();
        for _ in 0..limit {
            assert!(matches!(scene.events.next().await, Event::Started(_)));
        }
        // Any other call is behind those that wait.
        let error = scene.client.echo(99).timeout(Duration::from_millis(20)).await.expect_err("no place");
        assert_eq!((error.code(), error.executed()), (Code::DeadlineExceeded, Executed::No));
        assert_eq!(scene.events.drain(), []);
        scene.handler.open_gate();
        for (number, call) in (0..).zip(calls) {
            assert_eq!(call.await.expect("no panic").expect("it had only to wait"), number);
        }
        scene.settle().await;
        assert_eq!(scene.handler.executions(99), 0);
    }
}

#[tokio::test]
async fn case_62_whoever_does_not_wait_is_refused_call_by_call() {
    let server = Server::new().limits(Limits::default().with_calls(2));
    let scene = Scene::with_server(Way::Tcp, server).await;
    let address = scene.serving.as_ref().expect("a socket").address.trim_start_matches("tcp://").to_owned();
    let mut violator = TcpStream::connect(address).await.expect("the server listens");
    // A hello without features and limits, then three calls of `Probe.wait`.
    violator.write_all(b"\xc1RPC\0\0\0\x06\x95\x0a\x01\x01\x90\x80").await.expect("written");
    for id in 1..=3 {
        let mut frame = b"\0\0\0\x10\x94\0".to_vec();
        frame.push(id);
        frame.extend_from_slice(b"\xaaProbe.wait\x91");
        frame.push(id);
        violator.write_all(&frame).await.expect("written");
    }
    let mut head = [0; 8];
    violator.read_exact(&mut head).await.expect("a hello");
    let mut hello = vec![0; usize::from(head[7])];
    violator.read_exact(&mut hello).await.expect("a hello");
    let limit = hello.windows(7).any(|bytes| bytes == b"\xa5calls\x02");
    assert!(limit, "the limit is told: {hello:?}");

    // The third is refused while the other two run: [1, 3, error, nil].
    let refusal = read_frame(&mut violator).await;
    assert_eq!(refusal[..3], [0x94, 1, 3]);
    let text = String::from_utf8_lossy(&refusal);
    assert!(text.contains("2 calls run on this connection"), "{text}");
    assert_eq!(scene.handler.executions(3), 0);
    // And the other two have lost nothing by it.
    scene.handler.open_gate();
    let mut replies = [read_frame(&mut violator).await, read_frame(&mut violator).await];
    replies.sort();
    assert_eq!(replies, [[0x94, 1, 1, 0xc0, 1], [0x94, 1, 2, 0xc0, 2]]);
}

async fn read_frame(stream: &mut TcpStream) -> Vec<u8> {
    let length = patiently("a frame", stream.read_u32()).await.expect("a length");
    let mut frame = vec![0; length as usize];
    patiently("a frame", stream.read_exact(&mut frame)).await.expect("a frame");
    frame
}

#[tokio::test]
async fn case_62_a_handler_that_was_cancelled_and_still_runs_is_counted() {
    let server = Server::new().limits(Limits::default().with_calls(1));
    let mut scene = Scene::with_server(Way::Tcp, server).await;
    let mut call = scene.client.finish(1);
    tokio::select! {
        _ = &mut call => panic!("the gate is shut"),
        () = scene.events.until(Event::Started(1)) => {}
    }
    drop(call);
    scene.events.expect(Event::Cancelled(1)).await;
    // Nothing runs beside it, whatever that means for the next call.
    let error = scene.client.echo(2).timeout(Duration::from_millis(20)).await.expect_err("no place");
    assert_eq!(error.executed(), Executed::No, "{error}");
    scene.handler.open_gate();
    scene.events.expect(Event::Ended(1)).await;
    assert_eq!(scene.client.echo(3).await.expect("the place is free"), 3);
    scene.settle().await;
    assert_eq!(scene.handler.executions(2), 0);
}

/// What waits to be written is bounded: a caller that is faster than the other side waits.
#[tokio::test]
async fn one_way_calls_wait_when_the_other_side_does_not_read() {
    let limits = Limits::default().with_send_queue_bytes(1_000);
    let mut scene = Scene::open(Way::Memory).await;
    let address = scene.serving.as_ref().expect("a server").address.clone();
    let client =
        support::ProbeClient::from(Channel::connect(&address).limits(limits).await.expect("connected"));
    // Never yielding, the caller never lets the connection's task write.
    let mut queued = 0;
    loop {
        let mut call = std::pin::pin!(client.note(queued));
        let polled = std::future::poll_fn(|cx| std::task::Poll::Ready(call.as_mut().poll(cx))).await;
        match polled {
            std::task::Poll::Ready(result) => result.expect("queued"),
            std::task::Poll::Pending => {
                call.await.expect("queued, once there was room");
                break;
            }
        }
        queued += 1;
        assert!(queued < 1_000, "the queue has no end");
    }
    assert!(queued > 20, "a queue of 1,000 bytes holds more than {queued}");
    scene.settle().await;
    assert_eq!(scene.handler.executed() as u64, queued + 1);
}

// ---- handlers that do not yield ----

#[tokio::test]
async fn one_way_calls_beyond_the_limit_wait_and_none_is_lost() {
    let server = Server::new().limits(Limits::default().with_calls(4));
    let mut scene = Scene::with_server(Way::Tcp, server).await;
    let notes = async {
        for number in 0..2_000 {
            scene.client.note_slowly(number).await.expect("queued");
        }
    };
    let open = async {
        scene.events.next().await;
        scene.handler.open_gate();
    };
    patiently("the queue", async { tokio::join!(notes, open) }).await;
    scene.settle().await;
    assert_eq!(scene.handler.executed(), 2_000);
}

#[tokio::test]
async fn one_way_calls_take_no_place_from_a_client_that_keeps_to_the_limit() {
    let server = Server::new().limits(Limits::default().with_calls(4));
    let mut scene = Scene::with_server(Way::Tcp, server).await;
    for number in 0..3 {
        scene.client.note_slowly(number).await.expect("queued");
        assert_eq!(scene.events.next().await, Event::Started(number));
    }
    let calls: Vec<_> = (10..14).map(|number| tokio::spawn(scene.client.wait(number))).collect();
    let open = async {
        scene.events.until(Event::Started(10)).await;
        scene.handler.open_gate();
    };
    patiently("a start", open).await;
    for (number, call) in (10..).zip(calls) {
        assert_eq!(call.await.expect("no panic").expect("four may run"), number);
    }
}

#[service]
trait Busy {
    /// Keeps its thread until the test lets it go, if it is told to.
    async fn hog(&self, keeps: bool) -> u64;
    async fn quick(&self, number: u64) -> u64;
}

struct Hog {
    keeps: mpsc::UnboundedSender<()>,
    let_go: Mutex<std::sync::mpsc::Receiver<()>>,
}

impl Busy for Hog {
    async fn hog(&self, keeps: bool) -> u64 {
        if keeps {
            self.keeps.send(()).expect("the test listens");
            // Also when the test has failed and is gone.
            let _ = self.let_go.lock().expect("one at a time").recv();
        }
        0
    }
    async fn quick(&self, number: u64) -> u64 {
        number
    }
}

#[test]
fn case_61_a_handler_that_does_not_yield_stops_no_other_call_of_its_connection() {
    let begin = async || {
        let (keeps, kept) = mpsc::unbounded_channel();
        let (let_go, wait) = std::sync::mpsc::channel();
        let server = resident(Server::new()).add(BusyServer::new(Hog { keeps, let_go: Mutex::new(wait) }));
        let serving = Serving::start(server, "tcp://127.0.0.1:0").await;
        let neighbour = Channel::connect(serving.address.as_str()).await.expect("connected");
        ((serving, kept, let_go), Neighbour::new(neighbour))
    };
    Always::on_threads().holds(begin, async |(serving, kept, let_go)| {
        let client = BusyClient::connect(serving.address.as_str()).await.expect("connected");
        let hog = tokio::spawn(client.hog(true));
        patiently("the handler", kept.recv()).await.expect("it keeps a thread");
        for number in 0..100 {
            let quick = patiently("a reply beside a busy handler", client.quick(number)).await;
            assert_eq!(quick.expect("a reply"), number);
        }
        assert!(!hog.is_finished());
        let_go.send(()).expect("it waits");
        assert_eq!(hog.await.expect("no panic").expect("a reply"), 0);
    });
}
