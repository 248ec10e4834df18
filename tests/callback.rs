//! Calls back: a server calls its clients, over the connections that they opened.

#[path = "support/game.rs"]
mod game;
#[path = "support/lifecycle/mod.rs"]
mod support;

use std::sync::Arc;
use std::time::Duration;

use game::{GameClient, GameServer, Match, Player, WAYS, assert_unavailable, caller, everywhere};
use rpc::{Channel, Code, Context, Error, Executed, Limits, Server, TcpListener, service};
use support::faults::{Faults, Faulty};
use support::{Event, Serving, Way, patiently};

// ---- both ways ----

#[test]
fn calls_go_to_and_fro_to_a_depth_of_ten() {
    everywhere(async |way| {
        let game = Match::begin(way).await;
        for levels in [0, 1, 2, 9, 10] {
            let seen = game.client.bounce(levels).timeout(Duration::from_secs(60)).await.expect("a reply");
            assert_eq!(seen.len() as u64, levels + 1);
            // The outermost was called last in this list.
            let sides: Vec<_> = seen.iter().rev().map(|seen| seen.side.as_str()).collect();
            let expected = ["server", "client"].into_iter().cycle();
            assert_eq!(sides, expected.take(seen.len()).collect::<Vec<_>>());
            for seen in &seen {
                let left = seen.millis_left.expect("the deadline is inherited");
                assert!((1..=60_000).contains(&left), "{left} ms left");
                if seen.side == "client" {
                    assert_eq!(seen.peer, game.serving.address);
                }
            }
        }
        assert!(game.client.bounce(10).await.expect("a reply").iter().all(|seen| seen.millis_left.is_none()));
    });
}

#[test]
fn many_deep_calls_go_to_and_fro_at_once() {
    everywhere(async |way| {
        let game = Match::begin(way).await;
        let calls: Vec<_> = (0..100).map(|_| tokio::spawn(game.client.bounce(10).into_future())).collect();
        for call in calls {
            assert_eq!(call.await.expect("no panic").expect("a reply").len(), 11);
        }
    });
}

#[test]
fn dropping_the_outermost_call_drops_the_innermost_handler() {
    everywhere(async |way| {
        let mut game = Match::begin(way).await;
        let call = tokio::spawn(game.client.hold(10).into_future());
        for level in [10, 8, 6, 4, 2, 0] {
            game.server_events.expect(Event::Started(level)).await;
        }
        for level in [9, 7, 5, 3, 1] {
            game.client_events.expect(Event::Started(level)).await;
        }
        call.abort();
        for level in [10, 8, 6, 4, 2, 0] {
            game.server_events.expect(Event::Dropped(level)).await;
        }
        for level in [9, 7, 5, 3, 1] {
            game.client_events.expect(Event::Dropped(level)).await;
        }
        // And nothing is left that could hold a place.
        assert_eq!(game.client.bounce(10).await.expect("a reply").len(), 11);
    });
}

#[tokio::test]
async fn a_handler_that_outlives_its_call_calls_back_too() {
    for way in WAYS {
        let mut game = Match::begin(way).await;
        let call = tokio::spawn(game.client.insist(1).into_future());
        game.server_events.expect(Event::Started(1)).await;
        call.abort();
        game.server_events.expect(Event::Cancelled(1)).await;
        game.server_events.expect(Event::Ended(1)).await;
    }
}

#[tokio::test]
async fn handlers_of_one_way_calls_call_back() {
    for way in WAYS {
        let mut game = Match::begin(way).await;
        game.client.note(1).await.expect("it is queued");
        game.server_events.expect(Event::Started(1)).await;
        game.server_events.expect(Event::Ended(1)).await;
        game.client.remember().await.expect("a reply");
        game.at_server.remembered().expect("it was kept").note(2).await.expect("it is queued");
        game.client_events.expect(Event::Started(2)).await;
        game.client_events.expect(Event::Ended(2)).await;
    }
}

#[tokio::test(start_paused = true)]
async fn the_deadline_of_the_outermost_call_ends_them_all() {
    let mut game = Match::begin(Way::Memory).await;
    let error = game.client.hold(10).timeout(Duration::from_secs(1)).await.expect_err("the gate is shut");
    assert_eq!((error.code(), error.executed()), (Code::DeadlineExceeded, Executed::Maybe));
    // Each level keeps the time by itself, so the order is nobody's.
    for (events, count) in [(&mut game.server_events, 6), (&mut game.client_events, 5)] {
        let mut dropped = 0;
        while dropped < count {
            dropped += usize::from(matches!(events.next().await, Event::Dropped(_)));
        }
    }
}

#[test]
fn a_client_is_called_beyond_the_handler_that_it_called_and_by_clones() {
    everywhere(async |way| {
        let mut game = Match::begin(way).await;
        game.client.remember().await.expect("a reply");
        let kept = game.at_server.remembered().expect("it was kept");
        let seen = kept.clone().bounce(3).await.expect("a reply");
        assert_eq!(
            seen.iter().map(|seen| seen.side.as_str()).collect::<Vec<_>>(),
            ["server", "client", "server", "client"]
        );
        // The gate is the server's.
        let held = tokio::spawn(kept.hold(1).into_future());
        game.client_events.expect(Event::Started(1)).await;
        game.at_server.recorder.open_gate();
        assert_eq!(held.await.expect("no panic").expect("a reply"), 1);
        // A client keeps a server the same way.
        kept.remember().await.expect("a reply");
        let server = game.at_client.remembered().expect("it was kept");
        assert_eq!(server.bounce(0).await.expect("a reply")[0].side, "server");
    });
}

#[test]
fn a_blocking_client_serves_on_the_librarys_thread() {
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let (at_server, _events) = Player::new("server");
    let server = Server::new().add(GameServer::new(at_server));
    let serving = runtime.block_on(Serving::start(server, "tcp://127.0.0.1:0"));
    let (at_client, _events) = Player::new("client");
    let connecting = GameClient::connect(&serving.address).serve(GameServer::new(at_client));
    let client = connecting.blocking().expect("connected");
    let seen = client.bounce(3).blocking().expect("a reply");
    assert_eq!(seen.len(), 4);
    for seen in seen.iter().filter(|seen| seen.side == "client") {
        assert_eq!(seen.thread.as_deref(), Some("rpc"));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_handler_that_blocks_elsewhere_calls_back_without_async() {
    let game = Match::begin(Way::Tcp).await;
    game.client.remember().await.expect("a reply");
    let kept = game.at_server.remembered().expect("it was kept");
    let called = kept.clone();
    let seen = tokio::task::spawn_blocking(move || called.bounce(1).blocking()).await.expect("no panic");
    assert_eq!(seen.expect("a reply").len(), 2);
    let error = kept.bounce(1).blocking().expect_err("this is an async task");
    assert_eq!((error.code(), error.executed()), (Code::FailedPrecondition, Executed::No));
}

// ---- what is served ----

#[service(name = "Game")]
trait Other {
    async fn other(&self) -> u64;
}

struct Answer;

impl Other for Answer {
    async fn other(&self) -> u64 {
        42
    }
}

#[service]
trait Watch {
    async fn watch(&self) -> u64;
}

impl Watch for Answer {
    async fn watch(&self) -> u64 {
        43
    }
}

#[tokio::test]
async fn a_client_serves_any_number_of_services_of_different_names() {
    let game = Match::begin(Way::Tcp).await;
    let connect = || {
        let connecting = Channel::connect(game.serving.address.as_str());
        connecting.serve(GameServer::new(Player::new("client").0)).serve(WatchServer::new(Answer))
    };
    let client = GameClient::new(connect().await.expect("connected"));
    client.remember().await.expect("a reply");
    let kept = game.at_server.remembered().expect("it was kept");
    assert_eq!(kept.bounce(0).await.expect("a reply").len(), 1);
    assert_eq!(WatchClient::new(kept.as_ref().clone()).watch().await.expect("a reply"), 43);

    for error in [
        connect().serve(OtherServer::new(Answer)).await.expect_err("two of one name"),
        connect().serve(OtherServer::new(Answer)).lazy().expect_err("two of one name"),
    ] {
        assert_eq!((error.code(), error.executed()), (Code::InvalidArgument, Executed::No));
        assert!(error.message().contains("\"Game\""), "{error}");
    }
    let blocking = tokio::task::spawn_blocking(connect_twice(&game.serving.address));
    assert_eq!(blocking.await.expect("no panic").code(), Code::InvalidArgument);
}

fn connect_twice(address: &str) -> impl FnOnce() -> Error + Send + 'static {
    let connecting =
        Channel::connect(address).serve(WatchServer::new(Answer)).serve(WatchServer::new(Answer));
    move || connecting.blocking().expect_err("two of one name")
}

#[tokio::test]
async fn a_client_that_does_not_serve_says_so() {
    let game = Match::begin(Way::Tcp).await;
    let client = GameClient::connect(game.serving.address.as_str()).await.expect("connected");
    let error = client.bounce(1).await.expect_err("it serves nothing");
    assert_eq!(error.code(), Code::Unimplemented);
    client.remember().await.expect("a reply");
    let kept = game.at_server.remembered().expect("it was kept");
    let error = kept.bounce(0).await.expect_err("it serves nothing");
    assert_eq!((error.code(), error.executed()), (Code::Unimplemented, Executed::No));
}

#[tokio::test]
async fn a_connection_that_replaces_another_serves_the_same() {
    for way in WAYS {
        let (at_client, _events) = Player::new("client");
        let (at_server, mut server_events) = Player::new("server");
        let serve = || Server::new().add(GameServer::new(at_server.clone()));
        let serving = Serving::start(serve(), &way.address()).await;
        let address = serving.address.clone();
        let limits = Limits::default().with_backoff(Duration::from_millis(5));
        let connecting = GameClient::connect(&address).limits(limits);
        let client = connecting.serve(GameServer::new(at_client)).await.expect("connected");
        client.remember().await.expect("a reply");
        let first = at_server.remembered().expect("it was kept");
        assert_eq!(first.bounce(0).await.expect("a reply")[0].side, "client");

        let pending = tokio::spawn(client.hold(0).into_future());
        server_events.expect(Event::Started(0)).await;
        serving.kill().await;
        let error = patiently("the end", pending).await.expect("no panic").expect_err("lost");
        assert_unavailable(&error, Executed::Maybe);
        let _serving = Serving::start(serve(), &address).await;
        patiently("a reply", client.remember().wait_for_ready()).await.expect("a reply");
        let second = at_server.remembered().expect("it was kept");
        assert_eq!(second.bounce(4).await.expect("a reply").len(), 5);
        // The one before was called over a connection that is no more.
        let error = first.bounce(0).await.expect_err("it is over");
        assert_unavailable(&error, Executed::No);
        assert!(error.message().contains("is over"), "{error}");
    }
}

// ---- nobody to call ----

#[tokio::test]
async fn outside_of_a_handler_and_in_process_there_is_nobody_to_call() {
    let error = caller().bounce(0).await.expect_err("no handler");
    assert_unavailable(&error, Executed::No);
    assert!(error.message().contains("no call was being served"), "{error}");
    let error = caller().note(1).await.expect_err("no handler");
    assert_unavailable(&error, Executed::No);
    assert!(Context::current().peer().address().is_none());

    let (player, _events) = Player::new("here");
    let client = GameClient::in_process(GameServer::new(player));
    let error = client.bounce(1).await.expect_err("no connection");
    // The handler ran, which cannot call.
    assert_unavailable(&error, Executed::Yes);
    assert!(error.message().contains("in process"), "{error}");
}

#[test]
fn outside_of_a_runtime_it_is_the_same() {
    let error = caller().bounce(0).blocking().expect_err("no handler");
    assert_unavailable(&error, Executed::No);
}

#[tokio::test]
async fn a_client_that_is_kept_keeps_neither_the_connection_nor_its_memory() {
    for round in 0..2 {
        let faults = Faults::new(None);
        let (at_server, _events) = Player::new("server");
        let listener = TcpListener::bind("127.0.0.1", 0).await.expect("a port");
        let bound =
            Server::new().add(GameServer::new(at_server.clone())).bind(Faulty(listener, faults.clone()));
        let serving = Serving::run(bound.await.expect("bound"));
        let (at_client, _events) = Player::new("client");
        // What a connection has opened holds the handler once.
        let held = Arc::strong_count(&at_server);
        let connecting = GameClient::connect(&serving.address).serve(GameServer::new(at_client.clone()));
        let client = connecting.await.expect("connected");
        client.remember().await.expect("a reply");
        let kept = at_server.remembered().expect("it was kept");
        kept.remember().await.expect("a reply");
        let server = at_client.remembered().expect("it was kept");
        assert_eq!(faults.halves(), 2);
        assert!(Arc::strong_count(&at_server) > held, "the connection has a dispatcher");

        let mut serving = Some(serving);
        match round {
            // The client is dropped; that its handler has kept a client of the server does not hold it.
            0 => drop(client),
            _ => serving.take().expect("it is there").kill().await,
        }
        patiently("the end of the connection", faults.all_closed()).await;
        let gone = async {
            while Arc::strong_count(&at_server) > held || Arc::strong_count(&at_client) > 1 {
                tokio::task::yield_now().await;
                // The client's registry goes with the client.
                if round == 1 && Arc::strong_count(&at_server) <= held {
                    break;
                }
            }
        };
        patiently("the end of its memory", gone).await;
        assert_unavailable(&kept.bounce(0).await.expect_err("it is over"), Executed::No);
        assert_unavailable(&server.bounce(0).await.expect_err("it is over"), Executed::No);
        assert_unavailable(&server.note(0).await.expect_err("it is over"), Executed::No);
    }
}

// ---- limits ----

#[test]
fn floods_both_ways_at_once_do_not_wait_for_each_other() {
    everywhere(async |way| {
        // Far less than what is under way, so that each side has always more to send than it may.
        let limits = || Limits::default().with_send_queue_bytes(16 * 1024);
        let game = Match::with_limits(way, limits(), limits()).await;
        let floods: Vec<_> =
            (0..4).map(|_| tokio::spawn(game.client.flood(25, 100_000).into_future())).collect();
        let mirrors: Vec<_> =
            (0..50).map(|_| tokio::spawn(game.client.mirror(vec![1; 100_000]).into_future())).collect();
        for flood in floods {
            assert_eq!(flood.await.expect("no panic").expect("a reply"), 25 * 100_000);
        }
        for mirror in mirrors {
            assert_eq!(mirror.await.expect("no panic").expect("a reply").len(), 100_000);
        }
    });
}

#[test]
fn one_way_calls_beyond_their_limit_that_call_back_all_run() {
    everywhere(async |way| {
        let limits = || Limits::default().with_calls(2);
        let mut game = Match::with_limits(way, limits(), limits()).await;
        game.client.remember().await.expect("a reply");
        let kept = game.at_server.remembered().expect("it was kept");
        for number in 0..100 {
            game.client.note(number).await.expect("it is queued");
            kept.note(number).await.expect("it is queued");
        }
        for events in [&mut game.server_events, &mut game.client_events] {
            let (mut running, mut ended) = (0, 0);
            while ended < 100 {
                match events.next().await {
                    Event::Started(_) => running += 1,
                    Event::Ended(_) => {
                        running -= 1;
                        ended += 1;
                    }
                    other => panic!("{other:?}"),
                }
                assert!(running <= 2, "{running} run at once");
            }
        }
    });
}

#[test]
fn calls_back_wait_for_a_place_of_the_clients_limit() {
    everywhere(async |way| {
        let limits = Limits::default().with_calls(2);
        let game = Match::with_limits(way, limits, Limits::default()).await;
        assert_eq!(game.client.flood(100, 10).await.expect("all had their turn"), 1_000);
    });
}
