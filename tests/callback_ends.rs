//! How a connection ends on which both sides call: every call both ways has its outcome, and what may finish does.

#[path = "support/game.rs"]
mod game;
#[path = "support/hostile/mod.rs"]
mod hostile;
#[path = "support/lifecycle/mod.rs"]
mod support;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use game::{GameClient, GameServer, Match, Player, WAYS, assert_unavailable};
use hostile::raw::Raw;
use hostile::wire::{self, framed};
use rpc::{Code, Error, Executed, Limits, MemoryConnector, Server};
use support::faults::{Faults, Faulty};
use support::{Event, Events, Serving, Way, patiently, unused_memory};
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout};

const SECOND: Duration = Duration::from_secs(1);

type Pending<T> = JoinHandle<Result<T, Error>>;

async fn outcome<T>(call: Pending<T>) -> Result<T, Error> {
    patiently("the end of a call", call).await.expect("no panic")
}

/// A client of the client, as a handler of the server's has kept it.
async fn kept(client: &GameClient, at_server: &Player) -> GameClient {
    client.remember().await.expect("a reply");
    at_server.remembered().expect("it was kept")
}

/// Waits until so many handlers have been dropped.
async fn dropped(events: &mut Events, mut count: usize) {
    while count > 0 {
        count -= usize::from(matches!(events.next().await, Event::Dropped(_)));
    }
}

/// Calls until the other side takes no more, which a call learns without having been executed.
async fn until_refused(client: &GameClient) {
    let refused = async {
        loop {
            if let Err(error) = client.mirror(Vec::new()).await {
                return assert_unavailable(&error, Executed::No);
            }
        }
    };
    patiently("a refusal", refused).await;
}

// ---- a server that drains ----

#[tokio::test(start_paused = true)]
async fn a_server_that_drains_finishes_handlers_that_call_their_clients() {
    let game = Match::begin(Way::Memory).await;
    let mut server_events = game.server_events;
    let outer: Pending<_> = tokio::spawn(game.client.bounce_later(10).into_future());
    server_events.expect(Event::Started(10)).await;
    let mut drained = game.serving.shutdown.shutdown();
    // Far longer than a server takes calls that it did not ask for. No time passes but the clock's.
    tokio::select! {
        () = &mut drained => panic!("a call runs"),
        () = tokio::time::sleep(20 * SECOND) => {}
    }
    until_refused(&game.client).await;
    game.at_server.recorder.open_gate();
    assert_eq!(outcome(outer).await.expect("it was finished").len(), 11);
    patiently("the end of the drain", drained).await;
}

#[tokio::test]
async fn a_server_that_drains_under_calls_both_ways_loses_none() {
    for way in WAYS {
        let game = Match::begin(way).await;
        let mut server_events = game.server_events;
        let calls: Vec<Pending<_>> = (0..100)
            .map(|levels| tokio::spawn(game.client.bounce_later(levels % 11).into_future()))
            .collect();
        for _ in 0..100 {
            server_events.next().await;
        }
        let drained = game.serving.shutdown.shutdown();
        game.at_server.recorder.open_gate();
        for (levels, call) in calls.into_iter().enumerate() {
            assert_eq!(outcome(call).await.expect("it was finished").len(), levels % 11 + 1, "{way:?}");
        }
        patiently("the end of the drain", drained).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_server_that_drains_does_not_wait_for_ever_for_a_client() {
    let limits = Limits::default().with_drain_timeout(5 * SECOND);
    let mut game = Match::with_limits(Way::Memory, Limits::default(), limits).await;
    let outer: Pending<_> = tokio::spawn(game.client.hold(9).into_future());
    game.client_events.until(Event::Started(0)).await;
    let since = Instant::now();
    patiently("the end of the drain", game.serving.shutdown.shutdown()).await;
    assert!((5 * SECOND..6 * SECOND).contains(&since.elapsed()), "{:?}", since.elapsed());
    assert_unavailable(&outcome(outer).await.expect_err("it was dropped"), Executed::Maybe);
    dropped(&mut game.client_events, 5).await;
    dropped(&mut game.server_events, 5).await;
}

// ---- a client that goes ----

/// A client whose connections are counted.
struct Counted {
    client: GameClient,
    at_client: Arc<Player>,
    client_events: Events,
    at_server: Arc<Player>,
    faults: Arc<Faults>,
    serving: Serving,
}

async fn counted(limits: Limits) -> Counted {
    let (at_server, _events) = Player::new("server");
    let server = Server::new().add(GameServer::new(at_server.clone()));
    let serving = Serving::start(server, &unused_memory()).await;
    let faults = Faults::new(None);
    let connector = MemoryConnector::new(serving.address.trim_start_matches("mem://"));
    let (at_client, client_events) = Player::new("client");
    let connecting = GameClient::connect(Faulty(connector, faults.clone())).limits(limits);
    let client = connecting.serve(GameServer::new(at_client.clone())).await.expect("connected");
    Counted { client, at_client, client_events, at_server, faults, serving }
}

#[tokio::test(start_paused = true)]
async fn a_client_that_is_dropped_while_it_is_called_finishes_what_runs() {
    let Counted { client, at_client, mut client_events, at_server, faults, serving } =
        counted(Limits::default()).await;
    let kept = kept(&client, &at_server).await;
    let held: Pending<_> = tokio::spawn(kept.hold(0).into_future());
    client_events.expect(Event::Started(0)).await;
    // One that will call the server, which calls the client, and so on.
    let deep: Pending<_> = tokio::spawn(kept.bounce_later(5).into_future());
    client_events.expect(Event::Started(5)).await;
    drop(client);
    until_refused(&kept).await;
    tokio::time::sleep(10 * SECOND).await;
    assert_eq!(faults.halves(), 2, "its handlers run");
    at_client.recorder.open_gate();
    assert_eq!(outcome(held).await.expect("it was finished"), 0);
    assert_eq!(outcome(deep).await.expect("it was finished").len(), 6);
    let since = Instant::now();
    patiently("the end of the connection", faults.all_closed()).await;
    assert!(since.elapsed() < SECOND, "{:?}", since.elapsed());
    patiently("the end of the drain", serving.shutdown.shutdown()).await;
}

#[tokio::test(start_paused = true)]
async fn a_client_that_is_dropped_waits_for_its_handlers_no_longer_than_a_server() {
    let limits = Limits::default().with_drain_timeout(5 * SECOND);
    let Counted { client, mut client_events, at_server, faults, .. } = counted(limits).await;
    let kept = kept(&client, &at_server).await;
    let held: Pending<_> = tokio::spawn(kept.hold(0).into_future());
    client_events.expect(Event::Started(0)).await;
    let since = Instant::now();
    drop(client);
    assert_unavailable(&outcome(held).await.expect_err("it was dropped"), Executed::Maybe);
    client_events.expect(Event::Dropped(0)).await;
    patiently("the end of the connection", faults.all_closed()).await;
    assert!((5 * SECOND..7 * SECOND).contains(&since.elapsed()), "{:?}", since.elapsed());
}

#[tokio::test(start_paused = true)]
async fn a_client_that_serves_and_is_dropped_closes_its_socket_at_once() {
    let Counted { client, faults, .. } = counted(Limits::default()).await;
    client.bounce(3).await.expect("a reply");
    let since = Instant::now();
    drop(client);
    patiently("the end of the connection", faults.all_closed()).await;
    assert!(since.elapsed() < Duration::from_millis(100), "{:?}", since.elapsed());
}

#[tokio::test(start_paused = true)]
async fn a_call_back_that_has_its_place_in_the_moment_in_which_the_client_goes_is_made() {
    let (at_server, _events) = Player::new("server");
    let server = Server::new().add(GameServer::new(at_server));
    let serving = Serving::start(server, &unused_memory()).await;
    // A client that takes one call at a time.
    let mut raw = Raw::connect(&serving.address).await;
    raw.greet(&wire::hello_with(1, 1, &[], &[("frame_bytes", 4 << 20), ("calls", 1)])).await;
    raw.say(&wire::request(1, "Game.flood", &wire::array(&[&wire::uint(2), &wire::uint(1)]))).await;
    let first = raw.recv().await.expect("a call back");
    assert_eq!(first.kind(), 0);
    assert!(timeout(SECOND, raw.recv()).await.is_err(), "there is no place for the second");
    // Both come in one read: the place, and that the client goes.
    let value = wire::array(&[&wire::uint(0)]);
    let goes = wire::goaway(u64::MAX, wire::DRAIN, "");
    raw.send(&[framed(&wire::reply(first.id(), &value)), framed(&goes)].concat()).await;
    let made = async {
        loop {
            let message = raw.recv().await.expect("a message");
            if message.kind() == 0 {
                return message.id();
            }
        }
    };
    let second = timeout(SECOND, made).await.expect("a handler needs it that runs");
    raw.say(&wire::reply(second, &value)).await;
    assert_eq!(raw.recv().await.expect("the reply").value(), (1, &wire::Value::Uint(2)));
}

// ---- a side that is gone ----

/// Calls both ways, of which some have been sent and others wait for a place; and what ran when.
struct Outstanding {
    /// By the number of levels that each has to go.
    of_client: Vec<Pending<u64>>,
    of_server: Vec<Pending<u64>>,
}

/// How many calls each side takes.
const CALLS: usize = 3;

impl Outstanding {
    async fn begin(client: &GameClient, kept: &GameClient, events: [&mut Events; 2]) -> Outstanding {
        let call = |client: &GameClient| -> Vec<Pending<u64>> {
            (0..2 * CALLS).map(|_| tokio::spawn(client.hold(0).into_future())).collect()
        };
        let outstanding = Outstanding { of_client: call(client), of_server: call(kept) };
        for events in events {
            for _ in 0..CALLS {
                events.expect(Event::Started(0)).await;
            }
        }
        outstanding
    }

    /// What was sent may have run, and what was not has not.
    async fn judge(self) {
        for calls in [self.of_client, self.of_server] {
            let mut outcomes = BTreeMap::<_, usize>::new();
            for call in calls {
                let error = outcome(call).await.expect_err("the connection is lost");
                assert_eq!(error.code(), Code::Unavailable, "{error:?}");
                *outcomes.entry(format!("{:?}", error.executed())).or_default() += 1;
            }
            assert_eq!(outcomes, [("Maybe".to_owned(), CALLS), ("No".to_owned(), CALLS)].into());
        }
    }
}

#[tokio::test]
async fn when_the_server_is_gone_all_calls_both_ways_are_resolved() {
    for way in WAYS {
        let limits = || Limits::default().with_calls(CALLS);
        let mut game = Match::with_limits(way, limits(), limits()).await;
        let kept = kept(&game.client, &game.at_server).await;
        let events = [&mut game.server_events, &mut game.client_events];
        let outstanding = Outstanding::begin(&game.client, &kept, events).await;
        game.serving.kill().await;
        outstanding.judge().await;
        dropped(&mut game.client_events, CALLS).await;
        dropped(&mut game.server_events, CALLS).await;
    }
}

#[test]
fn when_the_runtime_of_the_client_is_gone_all_calls_both_ways_are_resolved() {
    let runtime = || {
        let mut builder = tokio::runtime::Builder::new_multi_thread();
        builder.worker_threads(1).enable_all().build().expect("a runtime")
    };
    for way in WAYS {
        let (mine, clients) = (runtime(), runtime());
        let limits = || Limits::default().with_calls(CALLS);
        let (at_server, mut server_events) = Player::new("server");
        let server = Server::new().limits(limits()).add(GameServer::new(at_server.clone()));
        let serving = mine.block_on(Serving::start(server, &way.address()));
        let (at_client, mut client_events) = Player::new("client");
        let connecting = GameClient::connect(&serving.address).limits(limits());
        let connecting = connecting.serve(GameServer::new(at_client.clone()));
        let client = clients.block_on(connecting.into_future()).expect("connected");
        let outstanding = mine.block_on(async {
            let kept = kept(&client, &at_server).await;
            Outstanding::begin(&client, &kept, [&mut server_events, &mut client_events]).await
        });
        clients.shutdown_background();
        mine.block_on(async {
            outstanding.judge().await;
            dropped(&mut client_events, CALLS).await;
            dropped(&mut server_events, CALLS).await;
            assert_unavailable(&client.bounce(0).await.expect_err("it has no runtime"), Executed::No);
        });
    }
}

#[tokio::test]
async fn a_chain_of_calls_both_ways_is_resolved_at_each_level_when_its_connection_is_lost() {
    for way in WAYS {
        let mut game = Match::begin(way).await;
        let chains: Vec<Pending<_>> =
            (0..10).map(|_| tokio::spawn(game.client.hold(9).into_future())).collect();
        for _ in 0..10 {
            game.client_events.until(Event::Started(0)).await;
        }
        game.serving.kill().await;
        for chain in chains {
            assert_unavailable(&outcome(chain).await.expect_err("lost"), Executed::Maybe);
        }
        dropped(&mut game.client_events, 50).await;
        dropped(&mut game.server_events, 50).await;
    }
}
